// SPDX-License-Identifier: MIT
/*
 * A connection's life: reading, writing, ending.
 *
 * Output is written once a turn: in runs over the connections that have some (hold_back), at the
 * turn's end at the latest; large output at once, while it is in the cache. Nothing is freed
 * inside a callback: conn_gone closes the socket, and when nobody needs the object any more it is
 * freed in the last stage of the turn.
 */
#include "conn/conn_private.h"

#include "base/check.h"
#include "base/log.h"
#include "net/tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    IOV_MAX_SEGMENTS = 64,
    OUTPUT_HELD = 16 * 1024, /* up to this much of a connection is held back */
    HELD_MAX = 128 * 1024,   /* of all connections */
};

#define LINGER_SECONDS 2.0

/* What a broadcast touches, and what a message does, as far as it is the connection's. */
_Static_assert(sizeof(struct conn) - offsetof(struct conn, state) <= 72, "two lines, or so");
_Static_assert(sizeof(struct conn) - offsetof(struct conn, stream) <= 3 * 64, "three lines");

void conn_check(const struct conn *c)
{
    bool open = c->state == CONN_OPEN, gone = c->state == CONN_GONE;
    CHECK(c->state <= CONN_GONE);
    CHECK(gone == (c->stream.fd < 0));
    CHECK(open || !(c->marked || c->closure_due));
    CHECK(!c->closure_due || c->deadline);
    CHECK(open || !c->out.len);
    CHECK(gone || !c->blocked || c->out.len);
    CHECK(c->blocked || !c->write_reads);
    CHECK(!gone || link_empty(&c->entry.link));
    CHECK(!c->freed || (gone && c->proto->may_free(c) && !link_empty(&c->job.link)));
}

/* What holds besides once watch() has seen to it. */
static void settled_check(const struct conn *c)
{
    bool linger = c->state == CONN_LINGER, gone = c->state == CONN_GONE;
    CHECK(gone || c->told_blocked == c->blocked);
    CHECK(!linger || !(c->blocked || c->held));
    CHECK(gone || c->stuck == (c->blocked || c->read_writes || c->closure_due));
    CHECK(!c->rest || !link_empty(&c->job.link));
    conn_check(c);
}

static void on_free_job(struct loop_job *job)
{
    struct conn *c = LIST_ITEM(job, struct conn, job);
    c->proto->free(c);
}

void conn_deinit(struct conn *c)
{
    CHECK(c->state == CONN_GONE && !c->out.len);
    (void)c;
}

/* Frees at the end of the turn once the socket is closed, and nobody needs the rest. */
static void free_when_done(struct conn *c)
{
    if (c->freed || c->state != CONN_GONE || !c->proto->may_free(c))
        return;
    c->freed = true;
    loop_undefer(&c->job);
    c->job.run = on_free_job;
    loop_defer(c->shared->loop, LOOP_FREE, &c->job);
}

static void close_socket(struct conn *c, bool lost)
{
    if (c->state == CONN_GONE)
        return;
    c->state = CONN_GONE;
    c->rest = c->marked = c->closure_due = false;
    loop_io_watch(c->shared->loop, &c->io, 0);
    wheel_remove(&c->entry);
    loop_undefer(&c->job);
    c->stream.ops->close(&c->stream);
    outq_clear(&c->out, &c->shared->pool);
    c->proto->gone(c, lost);
    conn_proceed_soon(c); /* tells what is due, and frees */
    conn_check(c);
}

void conn_gone(struct conn *c)
{
    close_socket(c, false);
}

void conn_lost(struct conn *c)
{
    close_socket(c, true);
}

void conn_linger(struct conn *c, uint32_t most)
{
    if (c->stream.ops->finish(&c->stream) < 0) {
        conn_gone(c);
        return;
    }
    c->state = CONN_LINGER;
    c->linger_left = most;
    c->marked = false;
    conn_clock_deadline(c, LINGER_SECONDS);
    conn_check(c);
}

bool conn_queue(struct conn *c, const void *bytes, size_t len)
{
    uint8_t *room = outq_extend(&c->out, &c->shared->pool, len);
    if (room)
        memcpy(room, bytes, len);
    return room;
}

/* One write; false when the stream broke. */
static bool write_some(struct conn *c)
{
    struct iovec iov[IOV_MAX_SEGMENTS];
    int count = outq_iovec(&c->out, iov, IOV_MAX_SEGMENTS);
    size_t asked = 0;
    for (int i = 0; i < count; i++)
        asked += iov[i].iov_len;
    ssize_t n = c->stream.ops->write(&c->stream, iov, count);
    if (n == STREAM_ERROR)
        return false;
    if (n > 0)
        outq_consume(&c->out, &c->shared->pool, (size_t)n);
    if (n > 0 && c->marked)
        conn_clock_mark_moved(c, (size_t)n);
    c->blocked = n < 0 || (size_t)n < asked;
    c->write_reads = n == STREAM_WANT_READ;
    return true;
}

/* Afterwards either all is out, or c->blocked, or the connection is gone. */
void conn_flush(struct conn *c)
{
    while (c->out.len && !c->blocked) {
        if (!write_some(c)) {
            conn_lost(c);
            return;
        }
    }
    if (!c->blocked && !c->told_blocked)
        return;
    c->told_blocked = c->blocked;
    c->proto->blocked(c, c->blocked);
    if (c->out.len && !c->blocked) /* what waited for that */
        conn_flush(c);
}

static bool wants_input(const struct conn *c)
{
    return c->state == CONN_LINGER || (c->state == CONN_OPEN && c->proto->wants_input(c));
}

/* We do not read although the peer may have said something. */
static bool left_unread(const struct conn *c)
{
    return c->state == CONN_OPEN && c->proto->listens(c);
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

static void watch(struct conn *c, bool wanted)
{
    int events = 0;
    if (wanted)
        events |= c->read_writes ? LOOP_WRITE : LOOP_READ;
    if (c->blocked)
        events |= c->write_reads ? LOOP_READ : LOOP_WRITE;
    loop_io_watch(c->shared->loop, &c->io, events);
    set_clocks(c, wanted);
    if (c->stream.pending && wanted) /* no event will tell */
        c->rest = true;
}

void conn_proceed(struct conn *c)
{
    c->proto->proceed(c);
    if (c->state != CONN_GONE)
        conn_flush(c);
    bool wanted = c->proto->written(c);
    if (c->state != CONN_GONE)
        watch(c, wanted || c->state == CONN_LINGER);
    if (c->rest)
        conn_rest(c);
    free_when_done(c);
    settled_check(c);
}

/* For what the loop has called: nobody deals with it after this. */
static void proceed_fully(struct conn *c)
{
    conn_proceed(c);
    conn_clock_check(c);
}

static void input(struct conn *c, uint8_t *bytes, size_t len)
{
    if (c->state == CONN_LINGER) {
        if (len > c->linger_left) {
            conn_gone(c);
            return;
        }
        c->linger_left -= (uint32_t)len;
    }
    c->proto->input(c, bytes, len);
}

static void broken(struct conn *c)
{
    if (c->proto->broken(c))
        return;
    char id[CONN_ID_SIZE + 1];
    conn_id_text(c, id);
    struct log_field field = {.key = "connection", .value = id};
    if (c->stream.why)
        log_event(LOG_DEBUG, &field, 1, "TLS: %s", c->stream.why);
    close_socket(c, !c->stream.cut_off);
}

static void read_batch(struct conn *c)
{
    uint8_t *buffer = c->shared->read_buffer;
    ssize_t n = c->stream.ops->read(&c->stream, buffer, CONN_READ_SIZE);
    c->read_writes = n == STREAM_WANT_WRITE;
    if (n > 0) {
        input(c, buffer, (size_t)n);
    } else if (n == 0) {
        conn_gone(c); /* a session without its close frames is over then */
    } else if (n == STREAM_ERROR) {
        broken(c);
    }
}

static void on_turn_end(struct loop_job *job)
{
    struct conn *c = LIST_ITEM(job, struct conn, job);
    c->shared->held_back = 0; /* this stage writes all of it */
    proceed_fully(c);
}

void conn_go_on(struct conn *c)
{
    bool left = c->proto->has_left(c); /* first, and the next turn reads on */
    c->rest = false;
    if (c->stream.pending && !left && wants_input(c)) {
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
 * expensive; within a run most are awake already. And code that is run in runs stays in the cache.
 * With 1,000 pipelining clients it is worth a fifth of the processor time. More than HELD_MAX
 * would leave the second-level cache before it is written; so would large output of one
 * connection.
 */
static void hold_back(struct conn *c)
{
    struct conn_shared *shared = c->shared;
    conn_proceed_soon(c);
    shared->held_back += c->out.len;
    if (shared->held_back >= HELD_MAX)
        loop_run_stage(shared->loop, LOOP_FLUSH);
}

static void on_ready(struct loop_io *io, int events)
{
    struct conn *c = LIST_ITEM(io, struct conn, io);
    if (c->stream.handshaking && !conn_may_shake(c->shared)) {
        conn_clock_hold(c, true);
        conn_clock_check(c);
        return;
    }
    c->in_batch = true;
    if (events & (c->write_reads ? LOOP_READ : LOOP_WRITE))
        c->blocked = c->write_reads = false;
    if (events & (c->read_writes ? LOOP_WRITE : LOOP_READ) && wants_input(c))
        read_batch(c);
    c->in_batch = false;
    if (c->state == CONN_OPEN && c->out.len && c->out.len <= OUTPUT_HELD)
        hold_back(c);
    else
        proceed_fully(c);
}

static bool open_stream(struct stream *stream, int fd, struct tls_context *tls)
{
    if (tls)
        return stream_init_tls(stream, fd, tls);
    stream_init_plain(stream, fd);
    return true;
}

bool conn_init(struct conn *c, struct conn_shared *shared, const struct conn_proto *proto,
               const struct conn_socket *socket)
{
    if (!open_stream(&c->stream, socket->fd, socket->tls)) {
        close(socket->fd);
        return false;
    }
    c->shared = shared;
    c->proto = proto;
    c->peer = *socket->peer;
    entropy_take(&shared->entropy, c->id, sizeof c->id);
    loop_io_init(&c->io, socket->fd, on_ready);
    loop_job_init(&c->job, on_turn_end);
    wheel_entry_init(&c->entry);
    return true;
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

void conn_log_refusal(const struct conn *c, const char *format, ...)
{
    char text[160], id[CONN_ID_SIZE + 1], address[ADDRESS_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    conn_id_text(c, id);
    address_text(&c->peer, address);
    const struct log_field fields[] = {
        {"connection", id, 0}, {"address", address, 0}, {"path", c->proto->path(c), 0}};
    log_event(LOG_INFO, fields, 3, "%s", text);
}
