// SPDX-License-Identifier: MIT
/*
 * Lines of the log about what was refused. Anybody can cause them, so equal ones are written at
 * most ten times in a second, and then their number.
 */
#ifndef NEAP_SERVER_REFUSAL_H
#define NEAP_SERVER_REFUSAL_H

#include "net/loop.h"

#include <stdbool.h>

struct conn;
struct server;

enum { REFUSAL_REASONS = 16, REFUSAL_TEXT = 48 };

/* What was refused since `second` was started, by reason. Embedded in the server. */
struct refusals {
    struct loop_timer second;
    unsigned count[REFUSAL_REASONS];
    char reasons[REFUSAL_REASONS][REFUSAL_TEXT]; /* empty behind the last */
};

void refusal_init(struct refusals *r);
void refusal_deinit(struct server *s);

/*
 * True when a line about one more refusal for this reason may be written; else it is counted for
 * the line that tells the number. Reasons are ours (a few dozen bytes, not a client's words): of
 * more than REFUSAL_REASONS in a second the last ones are counted as one.
 */
bool refusal_may_log(struct server *s, const char *reason);

/* The session has just refused a frame or message by a limit: logs its size and the setting. */
void refusal_log_limit(const struct conn *c);

/* The connection ends because of a clock: `what` the client did not do for so long, its setting. */
void refusal_log_timeout(const struct conn *c, const char *what, double seconds,
                         const char *setting);

#endif
