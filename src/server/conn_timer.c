// SPDX-License-Identifier: MIT
/*
 * Deadlines of a connection, all on one lazy timer: traffic only notes the time; when the timer
 * fires it looks which deadline is really due and sleeps until the next. So a message touches no
 * timer heap. A connection without any deadline has no timer at all: most idle ones have none, and
 * memory is what they cost.
 *
 *      head, reply, closing, linger    c->deadline                 ends the connection
 *      idle                            last_input + idle_timeout   on_idle, or close 1001
 *      message assembly                assembly_since + …          fail 1008
 *      heartbeat                       ping_sent + ping_interval   ping
 *      its answer                      ping_sent + pong_timeout    close 1001, socket closed
 *      not read, since messages wait   every other second          look whether the peer is there
 *
 * While a ping is unanswered no other follows: the answer is due a time after the one that was
 * sent, however short the interval is.
 */
#include "server/conn_private.h"

#include "base/err.h"
#include "base/mem.h"

#include <math.h>

#define LOOK_SECONDS 2.0

struct conn_timer {
    struct loop_timer timer;
    struct conn *conn;
    double at;     /* when it fires, while it is active */
    double looked; /* after the peer: see look_after_peer */
};

static void on_time(struct loop_timer *timer);

static double now_of(const struct conn *c)
{
    return loop_now(c->endpoint->server->loop);
}

static double earlier(double a, double b)
{
    return a < b ? a : b;
}

static double after(double since, double timeout)
{
    return timeout > 0 ? since + timeout : INFINITY;
}

static bool session_runs(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->ws.close_sent;
}

static bool pong_awaited(const struct conn *c)
{
    return c->pong_due && c->route->config.pong_timeout > 0;
}

static double next_deadline(const struct conn *c)
{
    double at = c->deadline > 0 ? c->deadline : INFINITY;
    if (!session_runs(c))
        return at;
    const struct route_config *config = &c->route->config;
    at = earlier(at, after(c->last_input, config->idle_timeout));
    if (pong_awaited(c))
        at = earlier(at, after(c->ping_sent, config->pong_timeout));
    else
        at = earlier(at, after(c->ping_sent, config->ping_interval));
    if (c->assembly_since > 0)
        at = earlier(at, after(c->assembly_since, config->message_timeout));
    if (c->stalled && !c->hung_up)
        at = earlier(at, (c->timer ? c->timer->looked : now_of(c)) + LOOK_SECONDS);
    return at;
}

void conn_timer_arm(struct conn *c)
{
    double at = c->state == CONN_GONE ? INFINITY : next_deadline(c);
    struct conn_timer *t = c->timer;
    if (at == INFINITY || (t && loop_timer_active(&t->timer) && t->at <= at))
        return; /* it fires early enough, and will find out then */
    if (!t) {
        t = c->timer = mem_alloc(sizeof *t);
        t->conn = c;
        t->looked = now_of(c);
        loop_timer_init(&t->timer, on_time);
    }
    struct loop *loop = c->endpoint->server->loop;
    double now = loop_now(loop);
    t->at = at;
    loop_timer_start(loop, &t->timer, at > now ? at - now : 0);
}

void conn_timer_free(struct conn *c)
{
    if (!c->timer)
        return;
    loop_timer_stop(c->endpoint->server->loop, &c->timer->timer);
    mem_free(c->timer);
    c->timer = NULL;
}

void conn_timer_settle(struct conn *c)
{
    if (next_deadline(c) == INFINITY)
        conn_timer_free(c);
    else
        conn_timer_arm(c);
}

/* The peer has not answered our ping: tell it if it can hear, and do not wait for an answer. */
static void heart_stopped(struct conn *c)
{
    static const char reason[] = "no pong";
    ws_close(&c->ws, WS_GOING_AWAY, reason, sizeof reason - 1);
    conn_proceed(c);
    conn_gone(c);
}

static void beat(struct conn *c, double now)
{
    ws_ping(&c->ws, NULL, 0);
    c->ping_sent = now;
    c->pong_due = true;
    conn_dirty(c);
}

static void idle(struct conn *c, double now)
{
    static const char reason[] = "idle timeout";
    c->last_input = now; /* the next period begins */
    if (c->busy || c->beside)
        return; /* a handler at work is no idle connection */
    if (c->wants_idle)
        c->idle_due = true;
    else
        conn_close(c, WS_GOING_AWAY, reason, sizeof reason - 1, c->route->config.close_timeout);
}

/*
 * As long as messages wait the socket is not read, and nobody would hear that its peer is gone: a
 * client could leave behind connections that wait for ever. What it sent before it finished is
 * still told.
 */
static void look_after_peer(struct conn *c, double now)
{
    if (!c->stalled || c->hung_up || now < c->timer->looked + LOOK_SECONDS)
        return;
    c->timer->looked = now;
    enum stream_peer peer = stream_peer(&c->stream);
    c->hung_up = peer == STREAM_PEER_FINISHED;
    if (peer == STREAM_PEER_GONE)
        conn_gone(c);
}

static void session_deadlines(struct conn *c, double now)
{
    const struct route_config *config = &c->route->config;
    look_after_peer(c, now);
    if (c->state == CONN_GONE)
        return;
    if (pong_awaited(c) && now >= after(c->ping_sent, config->pong_timeout)) {
        if (conn_ws_wants_input(c)) {
            heart_stopped(c);
            return;
        }
        c->ping_sent = now; /* the answer may lie unread behind what waits for a handler */
    }
    if (c->assembly_since > 0 && now >= after(c->assembly_since, config->message_timeout)) {
        c->ws.why = "message took too long";
        conn_fail(c, ERR_POLICY, WS_POLICY_VIOLATION, c->ws.why);
        return;
    }
    if (now >= after(c->last_input, config->idle_timeout))
        idle(c, now);
    if (!pong_awaited(c) && now >= after(c->ping_sent, config->ping_interval) && session_runs(c))
        beat(c, now);
}

double conn_head_seconds(const struct conn *c)
{
    const struct listener_config *config = &c->endpoint->config;
    bool shaking = config->tls && !c->shaken && config->handshake_timeout > 0;
    return shaking ? earlier(config->handshake_timeout, config->head_timeout)
                   : config->head_timeout;
}

/* The handshake was finished in its time: what is left of the head's begins. */
static bool extend(struct conn *c)
{
    if (c->state != CONN_HEAD || c->shaken || c->stream.handshaking)
        return false;
    double had = conn_head_seconds(c);
    c->shaken = true;
    c->deadline += conn_head_seconds(c) - had;
    return conn_head_seconds(c) > had;
}

static void on_deadline(struct conn *c)
{
    if (extend(c))
        return;
    if (c->state == CONN_HEAD && c->setup && c->setup->parser && http_begun(c->setup->parser))
        conn_http_refuse(c, 408, NULL);
    else
        conn_gone(c);
}

static void on_time(struct loop_timer *timer)
{
    struct conn *c = LIST_ITEM(timer, struct conn_timer, timer)->conn;
    /*
     * The loop's timers and our clock differ by some milliseconds: what is due within those is due.
     */
    double now = loop_now(c->endpoint->server->loop) + 0.01;
    if (c->deadline > 0 && now >= c->deadline)
        on_deadline(c);
    else if (session_runs(c))
        session_deadlines(c, now);
    if (c->state != CONN_GONE)
        conn_timer_settle(c);
    conn_proceed(c);
}
