// SPDX-License-Identifier: MIT
/*
 * The part of a connection after the handshake: events of the session go to the handler, one at a
 * time, in order.
 *
 * While a handler runs (it waits for something), the session is read on: control frames are
 * answered at once, messages are copied into a queue until QUEUE_MAX bytes wait; then the socket is
 * not read any further. What is told, and when:
 *
 *      on_open, (messages, pings, pongs, idle time-outs)*, on_error?, on_close
 *
 * Handlers that run beside (conn_join) hold up on_close alone.
 *
 * A session is over when the peer's close frame has come, when an error ended it, or when the
 * socket broke, whichever is first. The socket may outlive it for a moment (the close frame has to
 * be written), and the object may outlive the socket (a handler has to finish).
 */
#include "server/conn_private.h"

#include "base/err.h"
#include "base/mem.h"
#include "server/group.h"
#include "server/refusal.h"

#include <string.h>

enum { QUEUE_MAX = 64 * 1024 };

#define FAILURE_SECONDS 5.0 /* from an error of the peer's to the end of the socket */
#define FINISH_SECONDS 2.0  /* for the answer to a close frame that is not waited for */

struct conn_message {
    struct conn_message *next;
    uint32_t len;
    uint8_t type;
    uint8_t bytes[];
};

static const struct server_hooks *hooks_of(const struct conn *c)
{
    return c->endpoint->server->hooks;
}

static struct conn_message *take_queued(struct conn *c)
{
    struct conn_message *m = c->queue;
    c->queue = m->next;
    if (!c->queue)
        c->queue_tail = NULL;
    c->queued -= sizeof *m + m->len;
    return m;
}

void conn_ws_free_queue(struct conn *c)
{
    while (c->queue)
        mem_free(take_queued(c));
}

static bool enqueue(struct conn *c, const struct ws_event *ev)
{
    struct conn_message *m = mem_try(sizeof *m + ev->len);
    if (!m)
        return false;
    m->next = NULL;
    m->len = (uint32_t)ev->len;
    m->type = (uint8_t)ev->type;
    if (ev->len)
        memcpy(m->bytes, ev->data, ev->len);
    if (c->queue_tail)
        c->queue_tail->next = m;
    else
        c->queue = m;
    c->queue_tail = m;
    c->queued += sizeof *m + ev->len;
    return true;
}

static void set_reason(struct conn *c, const void *reason, size_t len)
{
    mem_free(c->reason);
    c->reason = len ? mem_try(len) : NULL;
    c->reason_len = c->reason ? (uint8_t)len : 0;
    if (c->reason)
        memcpy(c->reason, reason, len);
}

/* The session has ended, with the code that on_close will tell. Only the first end counts. */
static void end_session(struct conn *c, unsigned code, const void *reason, size_t len)
{
    if (c->over)
        return;
    c->over = c->close_due = true;
    group_leave_all(c);
    c->error_due = c->ws.error != 0;
    c->code = (uint16_t)code;
    set_reason(c, reason, len > 123 ? 123 : len);
    /* For writing what is left. A peer that broke a rule has a limit, others the write clock. */
    bool fault = c->ws.error && code != WS_INTERNAL_ERROR;
    conn_clock_deadline(c, fault ? FAILURE_SECONDS : 0);
}

void conn_ws_over(struct conn *c)
{
    end_session(c, WS_ABNORMAL, NULL, 0);
}

/* The peer broke a rule; the session has queued the close frame. */
static void session_failed(struct conn *c)
{
    const char *why = c->ws.why ? c->ws.why : err_text(c->ws.error);
    refusal_log_limit(c);
    end_session(c, c->ws.close_code, why, strlen(why));
}

static bool next_event(struct conn *c, struct ws_event *ev)
{
    int r = c->over ? 0 : ws_next(&c->ws, ev);
    if (r > 0 && ev->type != WS_CLOSE)
        return true;
    if (r > 0)
        end_session(c, ev->code, ev->data, ev->len);
    else if (r < 0 && c->ws.error)
        session_failed(c);
    return false;
}

static void note_event(struct conn *c, const struct ws_event *ev)
{
    if (ev->type == WS_PING || !c->pong_due)
        return; /* a pong or a data message is life; other control frames are not */
    c->pong_due = false;
    conn_clock_arm(c); /* the next ping may be due before the answer would have been */
}

/* Tells one event; true when its handler has not finished. */
static void tell(struct conn *c, const struct ws_event *ev)
{
    c->busy++;
    if (!hooks_of(c)->on_event(c, ev))
        c->busy--;
}

static void tell_queued(struct conn *c, size_t *work)
{
    struct conn_message *m = take_queued(c);
    struct ws_event ev = {.type = m->type, .data = m->bytes, .len = m->len};
    *work += CONN_MESSAGE_WORK + m->len;
    if (!c->muted)
        tell(c, &ev);
    mem_free(m);
}

static void tell_open(struct conn *c)
{
    c->open_due = false;
    c->busy++;
    if (!hooks_of(c)->on_open(c))
        c->busy--;
}

static void tell_idle(struct conn *c)
{
    c->idle_due = false;
    c->busy++;
    if (!hooks_of(c)->on_idle(c))
        c->busy--;
}

static void tell_end(struct conn *c)
{
    bool error = c->error_due;
    if (error)
        c->error_due = false;
    else
        c->close_due = false;
    c->busy++;
    bool waits = error
                     ? hooks_of(c)->on_error(c)
                     : hooks_of(c)->on_close(c, c->code, c->reason ? c->reason : "", c->reason_len);
    if (!waits)
        c->busy--;
}

/* A handler runs: takes what has come into the queue, as far as there is room. */
static void absorb(struct conn *c)
{
    struct ws_event ev;
    while (c->busy && !c->stalled && next_event(c, &ev)) {
        note_event(c, &ev);
        if (!c->muted && !enqueue(c, &ev))
            conn_fail(c, ERR_NOMEM, WS_INTERNAL_ERROR, "out of memory");
        c->stalled = c->queued > QUEUE_MAX;
    }
}

/* Tells one thing that is due, in the order of this file's head. False when there is nothing. */
static bool tell_next(struct conn *c, size_t *work)
{
    struct ws_event ev;
    if (c->open_due) {
        tell_open(c);
    } else if (c->queue) {
        tell_queued(c, work);
        c->stalled = c->queued > QUEUE_MAX;
    } else if (c->idle_due && !c->over) {
        tell_idle(c);
    } else if (next_event(c, &ev)) {
        *work += CONN_MESSAGE_WORK + ev.work;
        note_event(c, &ev);
        tell(c, &ev);
    } else if (c->error_due || (c->close_due && !c->beside)) {
        tell_end(c);
    } else {
        return false;
    }
    return true;
}

/* What was read feeds the clocks; once we have closed, whatever it is. */
static inline void note_heard(struct conn *c)
{
    unsigned heard = c->ws.heard;
    c->ws.heard = 0;
    if (heard & (WS_HEARD_DATA | WS_HEARD_CONTROL) || c->ws.close_sent)
        c->last_input = conn_now(c);
    if (heard & WS_HEARD_DATA && c->pong_due && !c->ping_waits)
        c->beat = conn_now(c);
}

/* Deadline of an unfinished message: counts from the first piece of that message. */
static inline void note_assembly(struct conn *c)
{
    unsigned assembly = c->over ? 0 : ws_assembling(&c->ws);
    if (assembly == c->assembly)
        return;
    c->assembly = assembly;
    c->assembly_since = conn_now(c);
    if (assembly)
        conn_clock_arm(c);
}

/* A peer that does not read its answers is not asked for more: one batch may hold thousands. */
static bool crowded(const struct conn *c)
{
    return !c->over && !c->ws.close_sent && c->out.len > c->route->config.max_buffered;
}

/*
 * False when there is nothing that could be told: most connections that are flushed have got a
 * broadcast, and that is all. Every condition of tell_next, absorb and crowded stands here.
 */
static bool due(const struct conn *c)
{
    return c->open_due || c->idle_due || c->over || c->stalled || c->crowded || c->queue ||
           c->ws.fed_len || c->ws.input || c->ws.error ||
           c->out.len > c->route->config.max_buffered;
}

bool conn_ws_left(const struct conn *c)
{
    return c->queue || (c->ws.fed_len && !c->over);
}

/* It has had its share of this turn, and could have more: others first. */
static bool spent(const struct conn *c, size_t work)
{
    return work >= CONN_TURN_WORK && conn_ws_left(c);
}

void conn_ws_dispatch(struct conn *c)
{
    if (c->telling || c->rest)
        return; /* inside a handler: the call below us goes on when it has returned */
    if (!due(c))
        return;
    size_t work = 0;
    /* What is told now may have come some time ago. */
    bool late = c->crowded || !c->in_batch;
    c->crowded = crowded(c);
    c->telling = true;
    while (!c->busy && !c->crowded && !spent(c, work) && tell_next(c, &work))
        c->crowded = crowded(c);
    if (spent(c, work))
        c->rest = !c->busy && !c->crowded;
    absorb(c);
    c->telling = false;
    c->endpoint->server->work += work;
    if (late && !c->over) {
        note_heard(c);
        note_assembly(c);
    }
}

void conn_ws_input(struct conn *c, uint8_t *bytes, size_t len)
{
    if (c->over)
        return;
    if (ws_feed(&c->ws, bytes, len) == 0) {
        conn_ws_dispatch(c);
        if (!c->over)
            /* what a full queue, full output, or a handler that has not returned, left unread */
            ws_keep(&c->ws);
    }
    if (c->ws.error && !c->over)
        session_failed(c);
    note_heard(c);
    note_assembly(c);
}

bool conn_ws_wants_input(const struct conn *c)
{
    return !c->over && !c->stalled && !c->crowded && !c->rest;
}

void conn_done(struct conn *c)
{
    c->busy--;
    if (c->telling)
        return;
    conn_proceed(c);
    if (!c->over)
        note_assembly(c);
}

/* What was waited for has gone: looks at the end of the turn what can go on. */
static void proceed_soon(struct conn *c)
{
    loop_defer(c->endpoint->server->loop, LOOP_FLUSH, &c->job);
}

void conn_join(struct conn *c)
{
    c->beside++;
}

void conn_leave(struct conn *c)
{
    if (--c->beside == 0)
        proceed_soon(c);
}

void conn_hold(struct conn *c)
{
    c->busy++;
}

void conn_release(struct conn *c)
{
    c->busy--;
    proceed_soon(c);
}

int conn_send(struct conn *c, enum ws_type type, const void *bytes, size_t len)
{
    if (!conn_writable(c))
        return ERR_CLOSED;
    int r = ws_send(&c->ws, type, bytes, len);
    conn_dirty(c);
    return r;
}

int conn_ping(struct conn *c, const void *bytes, size_t len)
{
    if (!conn_writable(c))
        return ERR_CLOSED;
    int r = ws_ping(&c->ws, bytes, len);
    conn_dirty(c);
    return r;
}

int conn_pong(struct conn *c, const void *bytes, size_t len)
{
    if (!conn_writable(c))
        return ERR_CLOSED;
    int r = ws_pong(&c->ws, bytes, len);
    conn_dirty(c);
    return r;
}

/*
 * Too much is queued. Whether the peer is slow is known only once it was written to: all of that
 * may have been pushed in this turn.
 */
static bool too_slow(struct conn *c)
{
    size_t most = c->route->config.max_buffered;
    if (conn_buffered(c) <= most)
        return false;
    if (!c->blocked) {
        conn_flush(c);
        conn_dirty(c); /* it may have to be told now when more is taken */
    }
    return conn_buffered(c) > most;
}

/* Whether a push may be queued: 0, ERR_CLOSED, or ERR_POLICY after what the route says was done. */
static int may_push(struct conn *c)
{
    if (!conn_writable(c))
        return ERR_CLOSED;
    if (!too_slow(c))
        return conn_writable(c) ? 0 : ERR_CLOSED;
    if (!c->route->config.drop_slow)
        conn_fail(c, ERR_POLICY, WS_TRY_AGAIN_LATER, "too slow");
    return ERR_POLICY;
}

int conn_push(struct conn *c, enum ws_type type, const void *bytes, size_t len)
{
    int r = may_push(c);
    return r < 0 ? r : conn_send(c, type, bytes, len);
}

int conn_push_broadcast(struct conn *c, struct ws_broadcast *b)
{
    int r = may_push(c);
    if (r < 0)
        return r;
    r = ws_send_broadcast(&c->ws, b);
    conn_dirty(c);
    return r;
}

/*
 * The peer's answer is waited for from when our close frame has arrived; until then the write clock
 * sees that it can, unless the route has none.
 */
static void begin_closure(struct conn *c, double seconds)
{
    c->last_input = conn_now(c);
    conn_clock_deadline(c, seconds);
    if (!c->deadline || c->route->config.write_timeout <= 0)
        return;
    c->deadline = conn_ms(seconds);
    c->closure_due = true;
}

int conn_close(struct conn *c, unsigned code, const char *reason, size_t len, double timeout)
{
    if (!conn_writable(c))
        return ERR_CLOSED;
    int r = ws_close(&c->ws, (uint16_t)code, reason, len);
    if (r < 0)
        return r;
    group_leave_all(c);
    c->muted = true;
    conn_ws_free_queue(c); /* nobody's now: what comes after it is read */
    c->stalled = false;
    c->close_now = timeout == 0;
    begin_closure(c, timeout == 0 ? FINISH_SECONDS : timeout);
    conn_dirty(c);
    return 0;
}

void conn_fail(struct conn *c, int err, unsigned code, const char *reason)
{
    if (c->over || c->state != CONN_OPEN)
        return;
    c->muted = true;
    ws_fail(&c->ws, err, (uint16_t)code, reason);
    end_session(c, code, reason, strlen(reason));
    conn_dirty(c);
}
