// SPDX-License-Identifier: MIT
/*
 * The clocks of a session: idle time, heartbeat, message assembly, and waiting for the peer's close
 * frame without a limit. Their rules stand in conn_clock.c.
 *
 * While a ping is unanswered no other follows: the answer is due a time after that one has left,
 * however short the interval is.
 */
#include "session/session_private.h"

#include "base/err.h"

static int32_t earlier(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static bool pong_awaited(const struct session *s)
{
    return s->pong_due && session_settings_of(s)->pong_timeout > 0;
}

static int32_t beat_left(const struct session *s)
{
    if (s->conn.marked)
        return CONN_NEVER; /* the write clock judges a peer that does not take it */
    return conn_clock_left(&s->conn, s->beat,
                           pong_awaited(s) ? session_settings_of(s)->pong_timeout
                                           : session_settings_of(s)->ping_interval);
}

/*
 * After our close frame no ping may follow (RFC 6455 §5.5.1). A peer that may take its time to
 * answer it has to be heard of as often as one that is pinged.
 */
static double farewell_seconds(const struct session *s)
{
    const struct session_settings *config = session_settings_of(s);
    bool other = s->conn.deadline || config->ping_interval <= 0 || config->pong_timeout <= 0;
    return other ? 0 : config->ping_interval + config->pong_timeout;
}

int32_t session_clock_left(const struct conn *c)
{
    const struct session *s = session_of(c);
    if (session_over(s))
        return CONN_NEVER;
    if (s->ws.close_sent)
        return conn_clock_left(&s->conn, s->last_input, farewell_seconds(s));
    int32_t left = beat_left(s);
    left = earlier(left,
                   conn_clock_left(&s->conn, s->last_input, session_settings_of(s)->idle_timeout));
    if (s->assembly)
        left = earlier(left, conn_clock_left(&s->conn, s->assembly_since,
                                             session_settings_of(s)->message_timeout));
    return left;
}

/* The peer has not answered our ping: tell it if it can hear, and do not wait for an answer. */
static void heart_stopped(struct session *s)
{
    static const char reason[] = "no pong";
    conn_log_timeout(&s->conn, "sent no pong", session_settings_of(s)->pong_timeout, "pongTimeout");
    ws_close(&s->ws, WS_GOING_AWAY, reason, sizeof reason - 1);
    conn_proceed(&s->conn);
    conn_lost(&s->conn);
}

static void beat(struct session *s)
{
    s->beat = conn_now(&s->conn);
    if (ws_ping(&s->ws, NULL, 0) < 0)
        return;
    s->pong_due = true;
    conn_mark(&s->conn);
    conn_dirty(&s->conn);
}

static void idle(struct session *s)
{
    static const char reason[] = "idle timeout";
    s->last_input = conn_now(&s->conn); /* the next period begins */
    if (s->busy || s->parallel)
        return; /* not idle while a handler is at work: the peer may wait for it */
    if (s->wants_idle)
        s->idle_due = true;
    else
        session_close(s, WS_GOING_AWAY, reason, sizeof reason - 1,
                      session_settings_of(s)->close_timeout);
}

static bool pong_missing(struct session *s)
{
    double seconds = session_settings_of(s)->pong_timeout;
    if (!pong_awaited(s) || s->conn.marked || !conn_clock_out(&s->conn, s->beat, seconds))
        return false;
    conn_clock_measure(&s->conn); /* what was written before the ping may still be on its way */
    return conn_clock_out(&s->conn, s->beat, seconds);
}

static void running_due(struct session *s)
{
    const struct session_settings *config = session_settings_of(s);
    if (pong_missing(s)) {
        heart_stopped(s);
        return;
    }
    if (s->assembly && conn_clock_out(&s->conn, s->assembly_since, config->message_timeout)) {
        s->ws.why = "message took too long";
        session_fail(s, ERR_POLICY, WS_POLICY_VIOLATION, s->ws.why);
        return;
    }
    if (conn_clock_out(&s->conn, s->last_input, config->idle_timeout))
        idle(s);
    bool pinged = pong_awaited(s) || s->conn.marked || s->ws.close_sent;
    if (!pinged && conn_clock_out(&s->conn, s->beat, config->ping_interval))
        beat(s);
}

void session_clock_due(struct conn *c)
{
    struct session *s = session_of(c);
    if (session_over(s))
        return;
    if (!s->ws.close_sent)
        running_due(s);
    else if (conn_clock_out(&s->conn, s->last_input, farewell_seconds(s)))
        conn_lost(&s->conn);
}

/* Our ping has left: from now on the answer is awaited. */
void session_mark_left(struct conn *c)
{
    session_of(c)->beat = conn_now(c);
}

/* What was queued before the ping is still being taken: the peer has not got to it yet. */
void session_mark_fed(struct conn *c)
{
    struct session *s = session_of(c);
    if (s->pong_due)
        s->beat = conn_now(c);
}

/* Without a running session nobody can wish that a peer may take nothing for ever. */
double session_write_timeout(const struct conn *c)
{
    const struct session *s = session_of(c);
    double seconds = session_settings_of(s)->write_timeout;
    bool running = c->state == CONN_OPEN && !session_over(s);
    return seconds > 0 || running ? seconds : CONN_WRITE_SECONDS;
}
