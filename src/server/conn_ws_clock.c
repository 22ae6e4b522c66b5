// SPDX-License-Identifier: MIT
/*
 * The clocks of a session: idle time, heartbeat, message assembly, and waiting for the peer's close
 * frame without a limit. Their rules stand in conn_clock.c.
 *
 * While a ping is unanswered no other follows: the answer is due a time after that one has left,
 * however short the interval is.
 */
#include "server/conn_private.h"

#include "base/err.h"
#include "server/refusal.h"

static const struct route_config *config_of(const struct conn *c)
{
    return &c->route->config;
}

static int32_t earlier(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static bool pong_awaited(const struct conn *c)
{
    return c->pong_due && config_of(c)->pong_timeout > 0;
}

static int32_t beat_left(const struct conn *c)
{
    if (c->ping_waits)
        return CONN_NEVER; /* the write clock judges a peer that does not take it */
    return conn_clock_left(
        c, c->beat, pong_awaited(c) ? config_of(c)->pong_timeout : config_of(c)->ping_interval);
}

/*
 * After our close frame no ping may follow (RFC 6455 §5.5.1). A peer that may take its time to
 * answer it has to be heard of as often as one that is pinged.
 */
static double farewell_seconds(const struct conn *c)
{
    const struct route_config *config = config_of(c);
    bool other = c->deadline || config->ping_interval <= 0 || config->pong_timeout <= 0;
    return other ? 0 : config->ping_interval + config->pong_timeout;
}

int32_t conn_ws_clock_left(const struct conn *c)
{
    if (c->state != CONN_OPEN || c->over)
        return CONN_NEVER;
    if (c->ws.close_sent)
        return conn_clock_left(c, c->last_input, farewell_seconds(c));
    int32_t left = beat_left(c);
    left = earlier(left, conn_clock_left(c, c->last_input, config_of(c)->idle_timeout));
    if (c->assembly)
        left = earlier(left, conn_clock_left(c, c->assembly_since, config_of(c)->message_timeout));
    return left;
}

/* The peer has not answered our ping: tell it if it can hear, and do not wait for an answer. */
static void heart_stopped(struct conn *c)
{
    static const char reason[] = "no pong";
    refusal_log_timeout(c, "sent no pong", config_of(c)->pong_timeout, "pongTimeout");
    ws_close(&c->ws, WS_GOING_AWAY, reason, sizeof reason - 1);
    conn_proceed(c);
    conn_lost(c);
}

static void beat(struct conn *c)
{
    c->beat = conn_now(c);
    if (ws_ping(&c->ws, NULL, 0) < 0)
        return;
    c->pong_due = c->ping_waits = true;
    c->ping_mark = c->out.len < UINT32_MAX ? (uint32_t)c->out.len : UINT32_MAX;
    conn_dirty(c);
}

static void idle(struct conn *c)
{
    static const char reason[] = "idle timeout";
    c->last_input = conn_now(c); /* the next period begins */
    if (c->busy || c->beside)
        return; /* not idle while a handler is at work: the peer may wait for it */
    if (c->wants_idle)
        c->idle_due = true;
    else
        conn_close(c, WS_GOING_AWAY, reason, sizeof reason - 1, config_of(c)->close_timeout);
}

static bool pong_missing(struct conn *c)
{
    double seconds = config_of(c)->pong_timeout;
    if (!pong_awaited(c) || c->ping_waits || !conn_clock_out(c, c->beat, seconds))
        return false;
    conn_clock_measure(c); /* what was written before the ping may still be on its way */
    return conn_clock_out(c, c->beat, seconds);
}

static void running_due(struct conn *c)
{
    const struct route_config *config = config_of(c);
    if (pong_missing(c)) {
        heart_stopped(c);
        return;
    }
    if (c->assembly && conn_clock_out(c, c->assembly_since, config->message_timeout)) {
        c->ws.why = "message took too long";
        conn_fail(c, ERR_POLICY, WS_POLICY_VIOLATION, c->ws.why);
        return;
    }
    if (conn_clock_out(c, c->last_input, config->idle_timeout))
        idle(c);
    bool pinged = pong_awaited(c) || c->ping_waits || c->ws.close_sent;
    if (!pinged && conn_clock_out(c, c->beat, config->ping_interval))
        beat(c);
}

void conn_ws_clock_due(struct conn *c)
{
    if (c->state != CONN_OPEN || c->over)
        return;
    if (!c->ws.close_sent)
        running_due(c);
    else if (conn_clock_out(c, c->last_input, farewell_seconds(c)))
        conn_lost(c);
}
