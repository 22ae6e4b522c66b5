// SPDX-License-Identifier: MIT
/*
 * The lines of a worker to all others. A line ends in one of three ways: at the end of file, which
 * is the death of the other worker; because of what came in; or because a new life of that one
 * takes its place. A write that fails ends nothing: what the other has written before is still to
 * be read, and the end of file comes after it.
 *
 *      mesh_add ──▶ next[other] ──job──▶ the old line, if any, is read to its end ──▶ lines[other]
 *
 * Messages up to COPY_MAX are copied together into the segments of the queue; a larger one waits in
 * all queues as one chunk. Nothing is freed while a hook runs: a line that has ended waits for the
 * end of the turn.
 */
#include "bus/mesh.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    HEAD = 4,                   /* the length before each message */
    COPY_MAX = 16 * 1024 - 128, /* fits a segment of the queue together with its head */
    STORM = 8 * 1024 * 1024,    /* a queue that was longer left much free memory behind */
    VECTORS = 64,               /* segments in one write: more than a socket takes */
};

#define LOG_SECONDS 1.0
/* When memory was short, and nothing waits whose going out would tell that there is room. */
#define ROOM_RETRY_SECONDS 0.1

struct mesh_line {
    struct mesh *mesh;
    struct link link; /* on mesh->ended */
    struct loop_io io;
    struct loop_job flush;
    unsigned other;
    bool over;    /* has ended, waits to be freed */
    bool deaf;    /* writing has failed: there is only something to read */
    bool blocked; /* the socket takes no more for now */
    bool full;    /* refuses; on_room is owed */
    bool storm;   /* there was one */
    uint8_t head_len;
    uint8_t head[HEAD];
    uint32_t want; /* length of the message whose head is complete */
    struct buf in; /* the part of it that has come */
    struct outq out;
    bool warned;   /* the log knows that it is full */
    double logged; /* when it was last told */
};

struct mesh {
    struct bus bus;
    struct loop *loop;
    uint8_t *read_buffer; /* borrowed */
    struct outpool pool;
    struct mesh_line *lines[BUS_WORKERS];
    struct mesh_line *next[BUS_WORKERS]; /* not told of yet */
    struct loop_job arrivals;
    struct link ended;
    struct loop_job sweep;
    struct loop_timer retry;
    void (*on_lost)(void *arg, unsigned other);
    void *lost_arg;
};

/* --- The end of a line ---------------------------------------------------------------------- */

static void free_line(struct mesh_line *l)
{
    struct mesh *m = l->mesh;
    loop_io_watch(m->loop, &l->io, 0);
    loop_undefer(&l->flush);
    if (!l->over)
        close(l->io.ev.fd);
    outq_clear(&l->out, &m->pool);
    buf_free(&l->in);
    mem_free(l);
}

static void on_sweep(struct loop_job *job)
{
    struct mesh *m = LIST_ITEM(job, struct mesh, sweep);
    bool storm = false;
    while (!link_empty(&m->ended)) {
        struct mesh_line *l = LIST_ITEM(m->ended.next, struct mesh_line, link);
        storm |= l->storm;
        list_remove(&l->link);
        free_line(l);
    }
    if (storm)
        mem_trim();
}

static void end(struct mesh_line *l)
{
    struct mesh *m = l->mesh;
    l->over = true;
    m->lines[l->other] = NULL;
    loop_io_watch(m->loop, &l->io, 0);
    loop_undefer(&l->flush);
    close(l->io.ev.fd);
    list_append(&m->ended, &l->link);
    loop_defer(m->loop, LOOP_FREE, &m->sweep);
    log_debug("the line to worker %u has ended", bus_worker(&m->bus, l->other));
    m->bus.hooks->on_gone(m->bus.arg, l->other);
}

/* The other worker lives, but nothing sensible can be read from it any more. */
static void break_off(struct mesh_line *l, const char *why)
{
    struct mesh *m = l->mesh;
    log_error("the line to worker %u is given up: %s", bus_worker(&m->bus, l->other), why);
    end(l);
    if (m->on_lost && !m->next[l->other])
        m->on_lost(m->lost_arg, l->other);
}

/* --- Reading -------------------------------------------------------------------------------- */

/* Tells one message. False when the line has ended. */
static bool deliver(struct mesh_line *l, const uint8_t *bytes, size_t len)
{
    struct bus *bus = &l->mesh->bus;
    l->head_len = 0;
    int r = bus->hooks->on_message(bus->arg, l->other, bytes, len);
    if (r < 0 && !l->over)
        break_off(l, "it sent a malformed message");
    return !l->over;
}

/* Takes what there is of a message's head. False while it is incomplete, or wrong. */
static bool take_head(struct mesh_line *l, const uint8_t **at, const uint8_t *stop)
{
    if (l->head_len == HEAD)
        return true;
    while (l->head_len < HEAD && *at < stop)
        l->head[l->head_len++] = *(*at)++;
    if (l->head_len < HEAD)
        return false;
    const uint8_t *h = l->head;
    l->want = h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
    if (l->want <= BUS_MESSAGE_MAX)
        return true;
    break_off(l, "it sent a message that is too long");
    return false;
}

/* Tells the messages in these bytes and keeps the beginning of one that is incomplete. */
static void parse(struct mesh_line *l, const uint8_t *at, size_t len)
{
    const uint8_t *stop = at + len;
    while (take_head(l, &at, stop)) {
        size_t there = (size_t)(stop - at), want = l->want;
        if (there >= want) {
            if (!deliver(l, at, want))
                return;
            at += want;
            continue;
        }
        if (there && buf_reserve(&l->in, want) < 0)
            break_off(l, "there is no memory for a message");
        else if (there)
            buf_append(&l->in, at, there);
        return;
    }
}

/* Sorts out `got` bytes, of which up to `rest` are in the message's own buffer. */
static void took(struct mesh_line *l, size_t got, size_t rest)
{
    size_t own = got < rest ? got : rest;
    buf_added(&l->in, own);
    if (rest && own == rest) {
        struct buf whole = l->in;
        l->in = (struct buf){0};
        bool on = deliver(l, buf_bytes(&whole), buf_len(&whole));
        buf_free(&whole);
        if (!on)
            return;
    }
    parse(l, l->mesh->read_buffer, got - own);
}

static bool temporary(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

/*
 * One read: the rest of an unfinished message goes straight to where its beginning is. Returns
 * true when something came; the line may be over afterwards either way.
 */
static bool receive(struct mesh_line *l)
{
    struct iovec iov[2] = {{0}, {l->mesh->read_buffer, MESH_READ_SIZE}};
    size_t rest = l->head_len == HEAD ? l->want - buf_len(&l->in) : 0;
    if (buf_reserve(&l->in, rest) < 0) {
        break_off(l, "there is no memory for a message");
        return false;
    }
    if (rest)
        iov[0] = (struct iovec){buf_room(&l->in), rest};
    struct msghdr h = {.msg_iov = rest ? iov : iov + 1, .msg_iovlen = rest ? 2 : 1};
    ssize_t got;
    do
        got = recvmsg(l->io.ev.fd, &h, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        took(l, (size_t)got, rest);
    else if (got == 0 || errno == ECONNRESET) /* it died with something of ours unread */
        end(l);
    else if (!temporary(errno))
        break_off(l, strerror(errno));
    return got > 0;
}

/* --- Writing -------------------------------------------------------------------------------- */

static void watch(struct mesh_line *l)
{
    l->blocked = l->out.len > 0;
    loop_io_watch(l->mesh->loop, &l->io, l->blocked ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void tell_room(struct mesh_line *l)
{
    struct bus *bus = &l->mesh->bus;
    if (!l->full || l->out.len > BUS_QUEUE_MAX / 2)
        return;
    l->full = false;
    if (l->warned)
        log_info("worker %u takes messages again", bus_worker(bus, l->other));
    l->warned = false;
    bus->hooks->on_room(bus->arg, l->other);
}

static void write_failed(struct mesh_line *l, int error)
{
    if (error != EPIPE && error != ECONNRESET) {
        break_off(l, strerror(error));
        return;
    }
    l->deaf = true;
    outq_clear(&l->out, &l->mesh->pool);
    watch(l);
}

static void flush(struct mesh_line *l)
{
    struct iovec iov[VECTORS];
    struct msghdr h = {.msg_iov = iov};
    h.msg_iovlen = (size_t)outq_iovec(&l->out, iov, VECTORS);
    ssize_t n = sendmsg(l->io.ev.fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && !temporary(errno)) {
        write_failed(l, errno);
        return;
    }
    if (n > 0)
        outq_consume(&l->out, &l->mesh->pool, (size_t)n);
    if (l->storm && !l->out.len) {
        l->storm = false;
        mem_trim();
    }
    watch(l);
    tell_room(l);
}

static void on_flush(struct loop_job *job)
{
    flush(LIST_ITEM(job, struct mesh_line, flush));
}

static void on_ready(struct loop_io *io, int events)
{
    struct mesh_line *l = LIST_ITEM(io, struct mesh_line, io);
    if (events & LOOP_WRITE)
        flush(l);
    if (events & LOOP_READ && !l->over)
        receive(l);
}

/* --- Queueing ------------------------------------------------------------------------------- */

/* Returns 0 or ERR_NOMEM; then nothing has changed. */
static int queue(struct mesh_line *l, struct chunk *message)
{
    struct outpool *pool = &l->mesh->pool;
    size_t len = message->len, copied = len <= COPY_MAX ? len : 0;
    uint8_t *at = outq_extend(&l->out, pool, HEAD + copied);
    if (!at)
        return ERR_NOMEM;
    for (int i = 0; i < HEAD; i++)
        at[i] = (uint8_t)(len >> 8 * i);
    if (copied)
        memcpy(at + HEAD, message->bytes, copied);
    if (copied < len) /* cannot fail behind bytes of our own */
        (void)outq_append_span(&l->out, pool, message, 0, message->len);
    return 0;
}

static int refuse(struct mesh_line *l)
{
    struct mesh *m = l->mesh;
    double now = loop_now(m->loop);
    l->full = true;
    if (l->out.len <= BUS_QUEUE_MAX / 2 && !loop_timer_active(&m->retry))
        loop_timer_start(m->loop, &m->retry, ROOM_RETRY_SECONDS);
    if (now - l->logged >= LOG_SECONDS) {
        l->logged = now;
        l->warned = true;
        log_warn("worker %u takes no messages: its queue is full", bus_worker(&m->bus, l->other));
    }
    return ERR_POLICY;
}

static int send_message(struct bus *bus, unsigned other, struct chunk *message)
{
    struct mesh *m = LIST_ITEM(bus, struct mesh, bus);
    struct mesh_line *l = other < BUS_WORKERS ? m->lines[other] : NULL;
    if (!l || l->deaf)
        return ERR_CLOSED;
    if (message->len > BUS_MESSAGE_MAX)
        return ERR_TOO_BIG;
    if (l->full || l->out.len + message->len > BUS_QUEUE_MAX || queue(l, message) < 0)
        return refuse(l);
    l->storm |= l->out.len > STORM;
    if (!l->blocked)
        loop_defer(m->loop, LOOP_FLUSH, &l->flush);
    return 0;
}

static void on_retry(struct loop_timer *timer)
{
    struct mesh *m = LIST_ITEM(timer, struct mesh, retry);
    for (unsigned i = 0; i < BUS_WORKERS; i++)
        if (m->lines[i])
            tell_room(m->lines[i]);
}

/* --- Arrival -------------------------------------------------------------------------------- */

/*
 * Puts the new line into its place. False while the old one has something to read. The other worker
 * is dead, so that nothing more comes once there is nothing; its end of file may be missing all the
 * same, when some process that it has started still holds the socket.
 */
static bool take_over(struct mesh *m, unsigned other)
{
    if (m->lines[other] && receive(m->lines[other]))
        return false;
    if (m->lines[other])
        end(m->lines[other]);
    struct mesh_line *l = m->lines[other] = m->next[other];
    m->next[other] = NULL;
    watch(l);
    log_debug("there is a line to worker %u", bus_worker(&m->bus, other));
    m->bus.hooks->on_other(m->bus.arg, other);
    return true;
}

static void on_arrivals(struct loop_job *job)
{
    struct mesh *m = LIST_ITEM(job, struct mesh, arrivals);
    for (unsigned i = 0; i < BUS_WORKERS; i++)
        if (m->next[i] && !take_over(m, i))
            loop_defer(m->loop, LOOP_RUN, &m->arrivals);
}

void mesh_add(struct mesh *m, unsigned other, int fd)
{
    if (other >= BUS_WORKERS || other == m->bus.self) {
        close(fd);
        return;
    }
    if (m->next[other]) /* a life that ended before anybody was told of it */
        free_line(m->next[other]);
    struct mesh_line *l = mem_alloc(sizeof *l);
    l->mesh = m;
    l->other = other;
    l->logged = -LOG_SECONDS;
    link_init(&l->link);
    loop_io_init(&l->io, fd, on_ready);
    loop_job_init(&l->flush, on_flush);
    m->next[other] = l;
    loop_defer(m->loop, LOOP_RUN, &m->arrivals);
}

/* --- The mesh ------------------------------------------------------------------------------- */

static void ignore(void *arg, unsigned other)
{
    (void)arg, (void)other;
}

static int ignore_message(void *arg, unsigned other, const uint8_t *bytes, size_t len)
{
    (void)arg, (void)other, (void)bytes, (void)len;
    return 0;
}

static const struct bus_hooks nobody = {ignore, ignore_message, ignore, ignore};
static const struct bus_ops ops = {.send = send_message};

struct mesh *mesh_new(struct loop *loop, uint8_t *read_buffer, unsigned self)
{
    struct mesh *m = mem_alloc(sizeof *m);
    m->bus = (struct bus){.ops = &ops, .hooks = &nobody, .self = self};
    m->loop = loop;
    m->read_buffer = read_buffer;
    link_init(&m->ended);
    loop_job_init(&m->arrivals, on_arrivals);
    loop_job_init(&m->sweep, on_sweep);
    loop_timer_init(&m->retry, on_retry);
    return m;
}

void mesh_free(struct mesh *m)
{
    on_sweep(&m->sweep);
    for (unsigned i = 0; i < BUS_WORKERS; i++) {
        if (m->lines[i])
            free_line(m->lines[i]);
        if (m->next[i])
            free_line(m->next[i]);
    }
    loop_undefer(&m->arrivals);
    loop_undefer(&m->sweep);
    loop_timer_stop(m->loop, &m->retry);
    outpool_deinit(&m->pool);
    mem_free(m);
}

struct bus *mesh_bus(struct mesh *m)
{
    return &m->bus;
}

void mesh_on_lost(struct mesh *m, void (*fn)(void *arg, unsigned other), void *arg)
{
    m->on_lost = fn;
    m->lost_arg = arg;
}
