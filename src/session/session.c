// SPDX-License-Identifier: MIT
/*
 * Telling: events of the session go to the handler, one at a time, in order.
 *
 * While a handler runs (it waits for something), the session is read on: control frames are
 * answered at once, messages are copied into a queue until SESSION_QUEUE_MAX bytes wait; then the
 * socket is not read any further. What is told, and when:
 *
 *      on_open, (messages, pings, pongs, idle time-outs)*, on_error?, on_close
 *
 * Handlers that run in parallel hold up on_close alone.
 *
 * A session is over when the peer's close frame has come, when an error ended it, or when the
 * socket broke, whichever is first.
 */
#include "session/session_private.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proto/ws/frame.h"

#include <string.h>

enum {
    OUTPUT_HIGH = 64 * 1024, /* above this much unwritten output the peer is not read */
    LINGER_MAX = 16 * 1024 * 1024,
};

#define FAILURE_SECONDS 5.0 /* from an error of the peer's to the end of the socket */

static const struct session_hooks *hooks_of(const struct session *s)
{
    return session_settings_of(s)->hooks;
}

/* --- The end ---------------------------------------------------------------------------------- */

static void set_reason(struct session *s, const void *reason, size_t len)
{
    mem_free(s->reason);
    s->reason = len ? mem_try(len) : NULL;
    s->reason_len = s->reason ? (uint8_t)len : 0;
    if (s->reason)
        memcpy(s->reason, reason, len);
}

void session_end(struct session *s, unsigned code, const void *reason, size_t len)
{
    if (s->state == SESSION_OVER)
        return;
    s->state = SESSION_OVER;
    s->close_due = true;
    hooks_of(s)->ends(s);
    s->error_due = s->ws.error != 0;
    s->code = (uint16_t)code;
    set_reason(s, reason, len > FRAME_REASON_MAX ? FRAME_REASON_MAX : len);
    /*
     * For writing what is left. A peer that broke a rule has a limit, others the write clock. One
     * that lingers has its deadline already.
     */
    bool fault = s->ws.error && code != WS_INTERNAL_ERROR;
    if (s->conn.state == CONN_OPEN)
        conn_clock_deadline(&s->conn, fault ? FAILURE_SECONDS : 0);
    session_check(s);
}

/* The peer broke a rule; the session has queued the close frame. */
static void session_failed(struct session *s)
{
    const char *why = session_why(s);
    session_log_limit(s);
    session_end(s, s->ws.close_code, why, strlen(why));
}

int session_error(const struct session *s)
{
    return s->ws.error;
}

const char *session_why(const struct session *s)
{
    return s->ws.why ? s->ws.why : err_text(s->ws.error);
}

/* --- Telling ---------------------------------------------------------------------------------- */

static bool next_event(struct session *s, struct ws_event *ev)
{
    int r = s->state == SESSION_OVER ? 0 : ws_next(&s->ws, ev);
    if (r > 0 && ev->type != WS_CLOSE)
        return true;
    if (r > 0)
        session_end(s, ev->code, ev->data, ev->len);
    else if (r < 0 && s->ws.error)
        session_failed(s);
    return false;
}

static void note_event(struct session *s, const struct ws_event *ev)
{
    if (ev->type == WS_PING || !s->pong_due)
        return; /* a pong or a data message is life; other control frames are not */
    s->pong_due = false;
    conn_clock_arm(&s->conn); /* the next ping may be due before the answer would have been */
}

/* Tells one event; busy afterwards when its handler has not finished. */
static void tell(struct session *s, const struct ws_event *ev)
{
    s->busy++;
    if (!hooks_of(s)->on_event(s, ev))
        s->busy--;
}

static void tell_queued(struct session *s, size_t *work)
{
    struct session_message *m = session_queue_take(s);
    struct ws_event ev = {.type = m->type, .data = m->bytes, .len = m->len};
    *work += CONN_MESSAGE_WORK + m->len;
    s->stalled = s->queued > SESSION_QUEUE_MAX;
    tell(s, &ev);
    mem_free(m);
}

static void tell_open(struct session *s)
{
    s->open_due = false;
    s->busy++;
    if (!hooks_of(s)->on_open(s))
        s->busy--;
}

static void tell_idle(struct session *s)
{
    s->idle_due = false;
    s->busy++;
    if (!hooks_of(s)->on_idle(s))
        s->busy--;
}

static void tell_end(struct session *s)
{
    bool error = s->error_due;
    if (error)
        s->error_due = false;
    else
        s->close_due = false;
    s->busy++;
    bool waits = error
                     ? hooks_of(s)->on_error(s)
                     : hooks_of(s)->on_close(s, s->code, s->reason ? s->reason : "", s->reason_len);
    if (!waits)
        s->busy--;
}

/* A handler runs: takes what has come into the queue, as far as there is room. */
static void absorb(struct session *s)
{
    struct ws_event ev;
    while (s->busy && !s->stalled && next_event(s, &ev)) {
        note_event(s, &ev);
        if (session_queue_add(s, &ev))
            s->stalled = s->queued > SESSION_QUEUE_MAX;
        else
            session_fail(s, ERR_NOMEM, WS_INTERNAL_ERROR, "out of memory");
    }
}

/* Tells one thing that is due, in the order of this file's head. False when there is nothing. */
static bool tell_next(struct session *s, size_t *work)
{
    struct ws_event ev;
    if (s->open_due) {
        tell_open(s);
    } else if (s->queue) {
        tell_queued(s, work);
    } else if (s->idle_due && s->state != SESSION_OVER) {
        tell_idle(s);
    } else if (next_event(s, &ev)) {
        *work += CONN_MESSAGE_WORK + ev.work;
        note_event(s, &ev);
        tell(s, &ev);
    } else if (s->error_due || (s->close_due && !s->parallel)) {
        tell_end(s);
    } else {
        return false;
    }
    return true;
}

/* What was read feeds the clocks; once we have closed, whatever it is. */
static inline void note_heard(struct session *s)
{
    unsigned heard = s->ws.heard;
    s->ws.heard = 0;
    if (heard & (WS_HEARD_DATA | WS_HEARD_CONTROL) || s->ws.close_sent)
        s->last_input = conn_now(&s->conn);
    if (heard & WS_HEARD_DATA && s->pong_due && !s->conn.marked)
        s->beat = conn_now(&s->conn);
}

/* Deadline of an unfinished message: counts from the first piece of that message. */
static inline void note_assembly(struct session *s)
{
    unsigned assembly = s->state == SESSION_OVER ? 0 : ws_assembling(&s->ws);
    if (assembly == s->assembly)
        return;
    s->assembly = assembly;
    s->assembly_since = conn_now(&s->conn);
    if (assembly)
        conn_clock_arm(&s->conn);
}

static bool above_buffered(const struct session *s)
{
    return s->conn.out.len > session_settings_of(s)->max_buffered;
}

/* A peer that does not read its answers is not asked for more: one batch may hold thousands. */
static bool output_full(const struct session *s)
{
    return above_buffered(s) && s->state != SESSION_OVER && !s->ws.close_sent;
}

/*
 * False when there is nothing that could be told: most connections that are flushed have got a
 * broadcast, and that is all. Every condition of tell_next, absorb and output_full stands here.
 */
static bool due(const struct session *s)
{
    return s->open_due || s->idle_due || s->state == SESSION_OVER || s->stalled || s->output_full ||
           s->queue || s->ws.fed_len || s->ws.input || s->ws.error || above_buffered(s);
}

static bool has_left(const struct session *s)
{
    return s->queue || (s->ws.fed_len && s->state != SESSION_OVER);
}

/* It has had its share of this turn, and could have more: others first. */
static bool spent(const struct session *s, size_t work)
{
    return work >= CONN_TURN_WORK && has_left(s);
}

static void dispatch(struct session *s)
{
    if (s->telling || s->conn.rest)
        return; /* inside a handler: the call below us goes on when it has returned */
    if (!due(s))
        return;
    size_t work = 0;
    /* What is told now may have come some time ago. */
    bool late = s->output_full || !s->conn.in_batch;
    s->output_full = output_full(s);
    s->telling = true;
    while (!s->busy && !s->output_full && !spent(s, work) && tell_next(s, &work))
        s->output_full = output_full(s);
    if (spent(s, work))
        s->conn.rest = !s->busy && !s->output_full;
    absorb(s);
    s->telling = false;
    s->conn.shared->work += work;
    if (late && s->state != SESSION_OVER) {
        note_heard(s);
        note_assembly(s);
    }
    session_check(s);
}

void session_done(struct session *s)
{
    s->busy--;
    if (s->telling)
        return;
    conn_proceed(&s->conn);
    if (s->state != SESSION_OVER)
        note_assembly(s);
}

void session_parallel_begin(struct session *s)
{
    s->parallel++;
}

void session_parallel_end(struct session *s)
{
    CHECK(s->parallel > 0);
    if (--s->parallel == 0)
        conn_proceed_soon(&s->conn);
}

void session_hold(struct session *s)
{
    s->busy++;
}

void session_release(struct session *s)
{
    CHECK(s->busy > 0);
    s->busy--;
    conn_proceed_soon(&s->conn);
}

void session_await_drain(struct session *s, bool awaited)
{
    s->writers_wait = awaited;
}

/* --- What the connection calls ---------------------------------------------------------------- */

void session_proceed(struct conn *c)
{
    dispatch(session_of(c));
}

bool session_has_left(const struct conn *c)
{
    const struct session *s = session_of(c);
    return has_left(s) && !s->busy;
}

void session_input(struct conn *c, uint8_t *bytes, size_t len)
{
    struct session *s = session_of(c);
    if (s->state == SESSION_OVER)
        return;
    if (ws_feed(&s->ws, bytes, len) == 0) {
        dispatch(s);
        if (s->state != SESSION_OVER)
            /* what a full queue, full output, or a handler that has not returned, left unread */
            ws_keep(&s->ws);
    }
    if (s->ws.error && s->state != SESSION_OVER)
        session_failed(s);
    note_heard(s);
    note_assembly(s);
    session_check(s);
}

static bool wants_input(const struct session *s)
{
    const struct conn *c = &s->conn;
    if (s->state == SESSION_OVER || s->stalled || s->output_full || c->rest)
        return false;
    /* What comes after our close frame is answered no more, however much is to be written. */
    return c->out.len <= OUTPUT_HIGH || s->ws.close_sent;
}

bool session_wants_input(const struct conn *c)
{
    return wants_input(session_of(c));
}

bool session_listens(const struct conn *c)
{
    return session_of(c)->state != SESSION_OVER;
}

/* Both sides have said good-bye, or we have and are done with the peer. */
static void all_written(struct session *s)
{
    struct conn *c = &s->conn;
    if (s->state == SESSION_OVER && s->ws.close_sent) {
        /*
         * After a clean exchange nothing can be unread: the peer must not send anything after its
         * close frame (RFC 6455 §5.5.1).
         */
        if (s->ws.close_got && !s->ws.error)
            conn_gone(c);
        else
            conn_linger(c, LINGER_MAX);
    } else if (s->ws.close_sent && s->close_now) {
        conn_linger(c, LINGER_MAX);
    } else if (c->closure_due) {
        conn_clock_closure(c);
    }
}

/* There is room in the output again, or nobody will need it any more. */
static void use_room(struct session *s)
{
    if (s->state != SESSION_OVER && above_buffered(s))
        return;
    if (s->output_full && s->conn.state == CONN_OPEN)
        s->conn.rest = true; /* the next turn goes on telling */
    if (!s->writers_wait)
        return;
    s->writers_wait = false;
    hooks_of(s)->on_drain(s);
}

bool session_written(struct conn *c)
{
    struct session *s = session_of(c);
    if (c->out.len == 0 && c->state == CONN_OPEN)
        all_written(s);
    if (s->writers_wait || s->output_full)
        use_room(s);
    if (c->state == CONN_GONE && !s->telling)
        ws_drop_input(&s->ws); /* whatever is left of it, nobody will be told */
    return wants_input(s);
}

void session_blocked(struct conn *c, bool blocked)
{
    ws_set_blocked(&session_of(c)->ws, blocked);
}

bool session_broken(struct conn *c)
{
    (void)c;
    return false;
}

void session_gone(struct conn *c, bool lost)
{
    struct session *s = session_of(c);
    if (lost)
        session_queue_free(s);
    session_end(s, WS_ABNORMAL, NULL, 0);
}

bool session_may_free(const struct conn *c)
{
    const struct session *s = session_of(c);
    return !(s->busy || s->parallel || s->open_due || s->error_due || s->close_due);
}

const char *session_path(const struct conn *c)
{
    return session_settings_of(session_of(c))->path;
}

/* --- Life ------------------------------------------------------------------------------------- */

void session_init(struct session *s, struct session_shared *shared,
                  const struct session_config *config)
{
    CHECK(config->role == WS_SERVER || shared->ws.random); /* clients mask (RFC 6455 §5.1) */
    ws_init(&s->ws, config->role, &config->settings->ws, &shared->ws, &s->conn.out);
    s->ws.auto_pong = !config->wants_pings;
    s->wants_idle = config->wants_idle;
    session_check(s);
}

bool session_open(struct session *s, const struct conn_proto *proto)
{
    struct conn *c = &s->conn;
    if (!hooks_of(s)->begins(s)) {
        hooks_of(s)->ends(s);
        return false;
    }
    c->proto = proto;
    s->state = SESSION_OPEN;
    s->open_due = true;
    c->deadline = 0;
    s->last_input = s->beat = conn_now(c);
    conn_clock_arm(c);
    session_check(s);
    return true;
}

void session_deinit(struct session *s)
{
    if (!s->ws.limits)
        return;
    session_queue_free(s);
    ws_deinit(&s->ws);
    mem_free(s->reason);
}
