// SPDX-License-Identifier: MIT
/* Sending, and the ends that we begin. */
#include "session/session_private.h"

#include "base/err.h"

#include <string.h>

#define FINISH_SECONDS 2.0 /* for the answer to a close frame that is not waited for */

int session_send(struct session *s, enum ws_type type, const void *bytes, size_t len)
{
    if (!session_writable(s))
        return ERR_CLOSED;
    int r = ws_send(&s->ws, type, bytes, len);
    conn_dirty(&s->conn);
    return r;
}

int session_ping(struct session *s, const void *bytes, size_t len)
{
    if (!session_writable(s))
        return ERR_CLOSED;
    int r = ws_ping(&s->ws, bytes, len);
    conn_dirty(&s->conn);
    return r;
}

int session_pong(struct session *s, const void *bytes, size_t len)
{
    if (!session_writable(s))
        return ERR_CLOSED;
    int r = ws_pong(&s->ws, bytes, len);
    conn_dirty(&s->conn);
    return r;
}

/*
 * Too much is queued. Whether the peer is slow is known only once it was written to: all of that
 * may have been pushed in this turn.
 */
static bool too_slow(struct session *s)
{
    size_t most = session_settings_of(s)->max_buffered;
    if (conn_buffered(&s->conn) <= most)
        return false;
    if (!s->conn.blocked) {
        conn_flush(&s->conn);
        conn_dirty(&s->conn); /* it may have to be told now when more is taken */
    }
    return conn_buffered(&s->conn) > most;
}

/* Whether a push may be queued: 0, ERR_CLOSED, or ERR_POLICY after what the settings say. */
static int may_push(struct session *s)
{
    if (!session_writable(s))
        return ERR_CLOSED;
    if (!too_slow(s))
        return session_writable(s) ? 0 : ERR_CLOSED;
    if (!session_settings_of(s)->drop_slow)
        session_fail(s, ERR_POLICY, WS_TRY_AGAIN_LATER, "too slow");
    return ERR_POLICY;
}

int session_push(struct session *s, enum ws_type type, const void *bytes, size_t len)
{
    int r = may_push(s);
    return r < 0 ? r : session_send(s, type, bytes, len);
}

int session_push_broadcast(struct session *s, struct ws_broadcast *b)
{
    int r = may_push(s);
    if (r < 0)
        return r;
    r = ws_send_broadcast(&s->ws, b);
    conn_dirty(&s->conn);
    return r;
}

int session_close(struct session *s, unsigned code, const char *reason, size_t len, double timeout)
{
    if (!session_writable(s))
        return ERR_CLOSED;
    int r = ws_close(&s->ws, (uint16_t)code, reason, len);
    if (r < 0)
        return r;
    s->state = SESSION_CLOSING;
    session_settings_of(s)->hooks->ends(s);
    session_queue_free(s); /* nobody's now: what comes after it is read */
    s->stalled = s->output_full = false;
    s->close_now = timeout == 0;
    s->last_input = conn_now(&s->conn);
    conn_clock_after_output(&s->conn, timeout == 0 ? FINISH_SECONDS : timeout);
    conn_dirty(&s->conn);
    session_check(s);
    return 0;
}

void session_fail(struct session *s, int err, unsigned code, const char *reason)
{
    if (!session_running(s))
        return;
    session_queue_free(s); /* nobody's now */
    ws_fail(&s->ws, err, (uint16_t)code, reason);
    session_end(s, code, reason, strlen(reason));
    conn_dirty(&s->conn);
    session_check(s);
}
