// SPDX-License-Identifier: MIT
/* What holds of a session after every function that changes it; and how it lies in memory. */
#include "session/session_private.h"

#include "base/check.h"

#include <stddef.h>

/* What a broadcast touches lies in three lines of the cache, and what a message does in five. */
#define BROADCAST_END (offsetof(struct session, ws) + offsetof(struct ws, why))
_Static_assert(BROADCAST_END - offsetof(struct conn, state) <= 3 * 64 - 16, "three lines");
#define MESSAGE_END (offsetof(struct session, parallel) + sizeof(uint32_t))
_Static_assert(MESSAGE_END - offsetof(struct conn, stream) <= 5 * 64, "five lines");
_Static_assert(offsetof(struct session, conn) == 0, "session_of is a cast");
_Static_assert(offsetof(struct session_settings, ws) == 0, "limits are settings");

/* SESSION_NEW: nothing of it has been used. */
static void new_check(const struct session *s)
{
    CHECK(!(s->open_due || s->idle_due || s->telling || s->writers_wait || s->pong_due));
    CHECK(!(s->stalled || s->output_full || s->close_now || s->ws.close_sent || s->ws.input));
    CHECK(!(s->busy || s->parallel || s->queue || s->assembly));
}

/* How it ended, and that it has. */
static void end_check(const struct session *s)
{
    bool over = s->state == SESSION_OVER, ended = s->ws.close_got || s->ws.error;
    CHECK(over || !(s->error_due || s->close_due));
    CHECK(!s->error_due || (s->close_due && s->ws.error));
    CHECK(!over || ended || s->conn.state == CONN_GONE);
    CHECK(over || !s->ws.close_got);
    CHECK(over == (s->code != 0));
    CHECK(over || !s->reason);
    CHECK(!s->reason == !s->reason_len);
}

void session_check(const struct session *s)
{
    bool over = s->state == SESSION_OVER, closing = s->state == SESSION_CLOSING;
    CHECK(s->state <= SESSION_OVER);
    CHECK(over || s->conn.state == CONN_OPEN || (closing && s->close_now));
    CHECK(over || s->conn.state != CONN_GONE);
    CHECK(!closing || s->ws.close_sent);
    CHECK(!closing || !(s->queue || s->stalled || s->output_full));
    CHECK(!s->close_now || closing || over);
    CHECK(!s->queue == !s->queued);
    CHECK(over || s->stalled == (s->queued > SESSION_QUEUE_MAX));
    CHECK(!s->idle_due || s->wants_idle);
    end_check(s);
    if (s->state == SESSION_NEW)
        new_check(s);
}
