// SPDX-License-Identifier: MIT
/*
 * Lines of the log about what was refused. Anybody can cause them, so equal ones are written at
 * most ten times in a second, and then their number.
 */
#ifndef NEAP_CONN_REFUSAL_H
#define NEAP_CONN_REFUSAL_H

#include "net/loop.h"

#include <stdbool.h>

enum { REFUSAL_REASONS = 16, REFUSAL_TEXT = 48 };

/* What was refused since `second` was started, by reason. Embedded in struct conn_shared. */
struct refusals {
    struct loop *loop;
    struct loop_timer second;
    unsigned count[REFUSAL_REASONS];
    char reasons[REFUSAL_REASONS][REFUSAL_TEXT]; /* empty after the last */
};

void refusal_init(struct refusals *r, struct loop *loop);
void refusal_deinit(struct refusals *r);

/*
 * True when a line about one more refusal for this reason may be written; else it is counted for
 * the line that tells the number. Reasons are ours (a few dozen bytes, not a client's words): of
 * more than REFUSAL_REASONS in a second the last ones are counted as one.
 */
bool refusal_may_log(struct refusals *r, const char *reason);

#endif
