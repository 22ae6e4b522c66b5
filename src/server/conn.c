// SPDX-License-Identifier: MIT
/*
 * A connection's life: reading, writing, ending. It does not know what the bytes mean: conn_http.c
 * does until the handshake, conn_ws.c after it.
 *
 * Output is written once a turn: in runs over the connections that have some (hold_back), at the
 * turn's end at the latest; large output at once, while it is in the cache. Nothing is freed
 * inside a callback: conn_gone closes the socket, and when nobody needs the object any more it is
 * freed in the last stage of the turn.
 */
#include "server/conn_private.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    IOV_MAX_SEGMENTS = 64,
    OUTPUT_HELD = 16 * 1024, /* up to this much of a connection is held back */
    HELD_MAX = 128 * 1024,   /* of all connections */
    OUTPUT_HIGH = 64 * 1024, /* above this much unwritten output a connection is not read */
};

#define LINGER_SECONDS 2.0

/* What is thrown away of a peer that goes on sending while it is refused, or closed. */
enum { LINGER_HTTP_MAX = 64 * 1024, LINGER_SESSION_MAX = 16 * 1024 * 1024 };

static struct server *server_of(const struct conn *c)
{
    return c->endpoint->server;
}

void conn_setup_free(struct conn *c)
{
    if (!c->setup)
        return;
    if (c->setup->parser)
        http_parser_free(c->setup->parser);
    buf_free(&c->setup->early);
    mem_free(c->setup);
    c->setup = NULL;
}

static void on_free_job(struct loop_job *job)
{
    struct conn *c = LIST_ITEM(job, struct conn, job);
    server_of(c)->hooks->on_free(c);
    conn_setup_free(c);
    conn_ws_free_queue(c);
    ws_deinit(&c->ws);
    if (c->head)
        http_head_unref(c->head);
    if (c->route)
        route_unref(c->route);
    mem_free(c->reason);
    list_remove(&c->link);
    struct endpoint *e = c->endpoint;
    if (c->counted) /* until now: what waits to be told is a burden as a socket is */
        endpoint_leave(e, &c->peer);
    mem_free(c);
    endpoint_conn_freed(e);
    endpoint_unref(e);
}

/* Frees at the end of the turn once the socket is closed, all has been told and no handler runs. */
static void free_when_done(struct conn *c)
{
    bool due = c->answer_due || c->open_due || c->error_due || c->close_due;
    if (c->freed || c->state != CONN_GONE || c->busy || c->beside || due)
        return;
    c->freed = true;
    loop_undefer(&c->job);
    c->job.run = on_free_job;
    loop_defer(server_of(c)->loop, LOOP_FREE, &c->job);
}

void conn_gone(struct conn *c)
{
    if (c->state == CONN_GONE)
        return;
    struct server *s = server_of(c);
    c->state = CONN_GONE;
    c->rest = false;
    loop_io_watch(s->loop, &c->io, 0);
    wheel_remove(&c->entry);
    loop_undefer(&c->job);
    c->stream.ops->close(&c->stream);
    outq_clear(&c->out, &s->pool);
    if (c->opened)
        conn_ws_over(c);
    loop_defer(s->loop, LOOP_FLUSH, &c->job); /* conn_proceed tells what is due, and frees */
}

void conn_lost(struct conn *c)
{
    conn_ws_free_queue(c);
    conn_gone(c);
}

void conn_linger(struct conn *c)
{
    if (c->stream.ops->finish(&c->stream) < 0 || c->peer_closed) {
        conn_gone(c);
        return;
    }
    c->state = CONN_LINGER;
    conn_clock_deadline(c, LINGER_SECONDS);
}

/* Afterwards either all is out, or c->blocked, or the connection is gone. */
void conn_flush(struct conn *c)
{
    struct outpool *pool = &server_of(c)->pool;
    while (c->out.len && !c->blocked) {
        struct iovec iov[IOV_MAX_SEGMENTS];
        int count = outq_iovec(&c->out, iov, IOV_MAX_SEGMENTS);
        size_t asked = 0;
        for (int i = 0; i < count; i++)
            asked += iov[i].iov_len;
        ssize_t n = c->stream.ops->write(&c->stream, iov, count);
        if (n == STREAM_ERROR) {
            conn_lost(c);
            return;
        }
        if (n > 0)
            outq_consume(&c->out, pool, (size_t)n);
        if (n > 0 && c->ping_waits)
            conn_clock_ping_moved(c, (size_t)n);
        c->blocked = n < 0 || (size_t)n < asked;
        c->write_reads = n == STREAM_WANT_READ;
    }
    if (c->opened)
        ws_set_blocked(&c->ws, c->blocked);
    if (c->out.len && !c->blocked) /* the pong that waited */
        conn_flush(c);
}

static void tell_drained(struct conn *c)
{
    if (!c->writers_wait)
        return;
    if (!c->over && c->out.len > c->route->config.max_buffered)
        return;
    c->writers_wait = false;
    server_of(c)->hooks->on_drain(c);
}

/* Both sides have said good-bye, or we have and are done with the peer. */
static bool session_finished(const struct conn *c)
{
    return c->state == CONN_OPEN && c->over && c->ws.close_sent;
}

/* What follows once all output of a state is written. */
static void after_flush(struct conn *c)
{
    if (c->state == CONN_REPLY) {
        conn_linger(c);
    } else if (session_finished(c)) {
        /*
         * After a clean exchange nothing can be unread: the peer must not send behind its close
         * frame (RFC 6455 §5.5.1).
         */
        if (c->ws.close_got && !c->ws.error)
            conn_gone(c);
        else
            conn_linger(c);
    } else if (c->state == CONN_OPEN && c->ws.close_sent && c->close_now) {
        conn_linger(c);
    } else if (c->closure_due) {
        conn_clock_closure(c);
    }
}

static bool wants_input(const struct conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
    case CONN_LINGER: return !c->peer_closed;
    case CONN_UPGRADE: return conn_http_wants_early(c);
    case CONN_OPEN:
        /* What comes after our close frame is answered no more, however much is to be written. */
        return !c->peer_closed && (c->out.len <= OUTPUT_HIGH || c->ws.close_sent) &&
               conn_ws_wants_input(c);
    default: return false;
    }
}

/* We do not read although the peer may have said something. */
static bool left_unread(const struct conn *c)
{
    return !c->peer_closed && !c->over && (c->state == CONN_UPGRADE || c->state == CONN_OPEN);
}

/* Starts and stops what depends on whether we read, and on whether the peer does. */
static void set_clocks(struct conn *c, bool reads)
{
    bool usual = !(c->blocked || c->read_writes || c->held || c->stuck || c->closure_due);
    if (reads && usual)
        return;
    bool waits = c->blocked || c->read_writes || c->closure_due;
    conn_clock_hold(c, !reads && left_unread(c));
    if (waits != c->stuck)
        conn_clock_output(c, waits);
}

static void watch(struct conn *c)
{
    if (c->state == CONN_GONE) {
        if (!c->telling)
            ws_drop_input(&c->ws); /* whatever is left of it, nobody will be told */
        return;
    }
    int events = 0;
    bool wanted = wants_input(c);
    if (wanted)
        events |= c->read_writes ? LOOP_WRITE : LOOP_READ;
    if (c->blocked)
        events |= c->write_reads ? LOOP_READ : LOOP_WRITE;
    loop_io_watch(server_of(c)->loop, &c->io, events);
    set_clocks(c, wanted);
    if (c->stream.pending && wanted) /* no event will tell */
        c->rest = true;
}

void conn_proceed(struct conn *c)
{
    if (c->opened)
        conn_ws_dispatch(c);
    if (c->state != CONN_GONE)
        conn_flush(c);
    if (c->state != CONN_GONE && c->out.len == 0)
        after_flush(c);
    tell_drained(c);
    watch(c);
    if (c->crowded && c->out.len <= c->route->config.max_buffered)
        c->rest = true; /* there is room again: the next turn goes on telling */
    if (c->rest)
        conn_rest(c);
    free_when_done(c);
}

void conn_dirty(struct conn *c)
{
    if (!c->in_batch && c->state != CONN_GONE)
        loop_defer(server_of(c)->loop, LOOP_FLUSH, &c->job);
}

/* After so much the peer does not hear that it talks in vain; a reset tells it. */
static void lingering(struct conn *c, size_t len)
{
    c->lingered += (uint32_t)len;
    if (c->lingered > (uint32_t)(c->opened ? LINGER_SESSION_MAX : LINGER_HTTP_MAX))
        conn_gone(c);
}

static void input(struct conn *c, uint8_t *bytes, size_t len)
{
    if (c->state == CONN_LINGER)
        lingering(c, len);
    if (c->state == CONN_HEAD)
        conn_http_input(c, bytes, len);
    else if (c->state == CONN_UPGRADE)
        conn_http_early(c, bytes, len);
    else if (c->opened) /* in CONN_LINGER the peer's close frame may still come */
        conn_ws_input(c, bytes, len);
}

/*
 * The peer sends no more. A session without its close frames is over then (RFC 6455 §7.1.5: 1006).
 */
static void end_of_input(struct conn *c)
{
    c->peer_closed = true;
    conn_gone(c);
}

/* Somebody wrote http:// for https://: is told so, in the open. */
static bool explained(struct conn *c)
{
    if (!c->stream.plain_http || c->state != CONN_HEAD)
        return false;
    stream_become_plain(&c->stream);
    conn_http_refuse(c, 400, "this port speaks TLS: use https:// or wss://");
    return true;
}

static void broken(struct conn *c)
{
    if (explained(c))
        return;
    char id[CONN_ID_SIZE + 1];
    conn_id_text(c, id);
    struct log_field field = {.key = "connection", .value = id};
    if (c->stream.why)
        log_event(LOG_DEBUG, &field, 1, "TLS: %s", c->stream.why);
    if (c->stream.cut_off)
        conn_gone(c);
    else
        conn_lost(c);
}

static void read_batch(struct conn *c)
{
    struct server *s = server_of(c);
    ssize_t n = c->stream.ops->read(&c->stream, s->read_buffer, SERVER_READ_SIZE);
    if (n > 0)
        input(c, s->read_buffer, (size_t)n);
    else if (n == 0)
        end_of_input(c);
    else if (n == STREAM_ERROR)
        broken(c);
    c->read_writes = n == STREAM_WANT_WRITE;
}

static void on_turn_end(struct loop_job *job)
{
    struct conn *c = LIST_ITEM(job, struct conn, job);
    server_of(c)->held_back = 0; /* this stage writes all of it */
    conn_proceed(c);
}

void conn_go_on(struct conn *c)
{
    bool told = conn_ws_left(c) && !c->busy; /* first, and the next turn reads on */
    c->rest = false;
    if (c->stream.pending && !told && wants_input(c)) {
        conn_flush(c); /* first: what is pending may be the end */
        c->in_batch = true;
        if (wants_input(c))
            read_batch(c);
        c->in_batch = false;
    }
    conn_proceed(c);
}

/*
 * Answers of all connections that are read in this turn are written in runs: a run when HELD_MAX
 * bytes have gathered, and the rest at the turn's end. A write wakes a sleeping client, which is
 * dear; within a run most are awake already. And code that is run in runs stays in the cache.
 * With 1,000 pipelining clients it is worth a fifth of the processor time. More than HELD_MAX
 * would leave the second-level cache before it is written; so would large output of one
 * connection.
 */
static void hold_back(struct conn *c)
{
    struct server *s = server_of(c);
    loop_defer(s->loop, LOOP_FLUSH, &c->job);
    s->held_back += c->out.len;
    if (s->held_back >= HELD_MAX)
        loop_run_stage(s->loop, LOOP_FLUSH);
}

static void on_ready(struct loop_io *io, int events)
{
    struct conn *c = LIST_ITEM(io, struct conn, io);
    if (c->stream.handshaking && !server_may_shake(server_of(c))) {
        conn_clock_hold(c, true);
        return;
    }
    c->in_batch = true;
    if (events & (c->write_reads ? LOOP_READ : LOOP_WRITE))
        c->blocked = false;
    if (events & (c->read_writes ? LOOP_WRITE : LOOP_READ) && wants_input(c))
        read_batch(c);
    c->in_batch = false;
    if (c->state == CONN_OPEN && c->out.len && c->out.len <= OUTPUT_HELD)
        hold_back(c);
    else
        conn_proceed(c);
}

static bool open_stream(struct endpoint *e, int fd, struct stream *stream)
{
    if (e->config.tls)
        return stream_init_tls(stream, fd, e->config.tls);
    stream_init_plain(stream, fd);
    return true;
}

void conn_open(struct endpoint *e, int fd, const struct address *peer)
{
    struct server *s = e->server;
    struct conn *c = mem_alloc(sizeof *c);
    if (!open_stream(e, fd, &c->stream)) {
        close(fd);
        mem_free(c);
        return;
    }
    c->endpoint = endpoint_ref(e);
    c->peer = *peer;
    c->state = CONN_HEAD;
    loop_io_init(&c->io, fd, on_ready);
    loop_job_init(&c->job, on_turn_end);
    link_init(&c->link);
    wheel_entry_init(&c->entry);
    list_append(&e->conns, &c->link);
    ws_init(&c->ws, WS_SERVER, NULL, &s->shared, &c->out);
    server_random(s, c->id, sizeof c->id);
    int refusal = endpoint_enter(e, peer);
    c->counted = refusal == 0;
    if (refusal)
        conn_http_refuse(c, refusal, NULL);
    else
        conn_clock_deadline(c, conn_head_seconds(c));
    conn_proceed(c);
}

void conn_abort(struct conn *c)
{
    conn_gone(c);
}

bool conn_writable(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->over && !c->ws.close_sent;
}

void conn_id_text(const struct conn *c, char out[CONN_ID_SIZE + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int i = 0; i < 4; i++) {
        unsigned v =
            (unsigned)c->id[3 * i] << 16 | (unsigned)c->id[3 * i + 1] << 8 | c->id[3 * i + 2];
        for (int k = 0; k < 4; k++)
            out[4 * i + k] = digits[v >> (18 - 6 * k) & 63];
    }
    out[CONN_ID_SIZE] = '\0';
}
