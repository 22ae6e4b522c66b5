// SPDX-License-Identifier: MIT
/* What the parts of a session (session*.c) call in each other. */
#ifndef NEAP_SESSION_SESSION_PRIVATE_H
#define NEAP_SESSION_SESSION_PRIVATE_H

#include "session/session.h"

enum { SESSION_QUEUE_MAX = 64 * 1024 }; /* bytes in the queue above which nothing more is read */

struct session_message {
    struct session_message *next;
    uint32_t len;
    uint8_t type;
    uint8_t bytes[];
};

/* session_queue.c: a copy of the event, at the end; false when memory is short. */
bool session_queue_add(struct session *s, const struct ws_event *ev);
/* session_queue.c: the first one; there is one. The caller frees it (mem_free). */
struct session_message *session_queue_take(struct session *s);
/* session_queue.c: forgets all. */
void session_queue_free(struct session *s);

/* session.c: it has ended, with the code that on_close will tell. Only the first end counts. */
void session_end(struct session *s, unsigned code, const void *reason, size_t len);

/* session_log.c: the session has just refused a frame or message by a limit: logs its size. */
void session_log_limit(const struct session *s);

/* session_check.c: dies when it is not as session.h's table has it (in builds for tests). */
void session_check(const struct session *s);

#endif
