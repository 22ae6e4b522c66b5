// SPDX-License-Identifier: MIT
/*
 * The worker's end of the line. A BIND is a question that is waited for. What comes before its
 * answer is kept, because the descriptor would not become readable for it again; but for a STOP: a
 * master that is stopping repeats it after each answer, and line_next tells it once. Of the lines
 * to one other worker only the last is kept: those before it ended with earlier lives of it.
 */
#include "line/line.h"

#include "base/mem.h"
#include "line/watchdog.h"
#include "line/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct line {
    int fd;
    int seat, workers;
    bool stopped;            /* STOP has been told */
    bool certs, new_tickets; /* kept for line_next */
    struct tls_tickets tickets;
    char *scratch;
    int lock; /* of that folder, or -1 */
    struct watchdog *watchdog;
    int offered;  /* the worker that line_next has told of */
    int waiting;  /* workers that it has not */
    int others[]; /* a socket to each, or -1 */
};

static int seats(const struct line *line)
{
    return 2 * line->workers;
}

struct line *line_new(int fd, int seat, int workers)
{
    size_t n = 2 * (size_t)workers;
    struct line *line = mem_alloc(sizeof *line + n * sizeof line->others[0]);
    line->fd = fd;
    line->seat = seat;
    line->workers = workers;
    line->lock = -1;
    for (int i = 0; i < seats(line); i++)
        line->others[i] = -1;
    return line;
}

void line_free(struct line *line)
{
    close(line->fd);
    for (int i = 0; i < seats(line); i++)
        if (line->others[i] >= 0)
            close(line->others[i]);
    if (line->lock >= 0)
        close(line->lock);
    watchdog_free(line->watchdog);
    mem_free(line->scratch);
    mem_free(line);
}

void line_set_scratch(struct line *line, const char *path, int lock)
{
    mem_free(line->scratch);
    if (line->lock >= 0)
        close(line->lock);
    line->scratch = mem_strdup(path);
    line->lock = lock;
}

void line_set_watchdog(struct line *line, struct watchdog *page)
{
    line->watchdog = page;
}

struct watchdog *line_watchdog(const struct line *line)
{
    return line->watchdog;
}

const char *line_scratch(const struct line *line)
{
    return line->scratch;
}

static int fail(struct line_bound *bound, const char *address, const char *why)
{
    bound->fd = -1;
    snprintf(bound->error, sizeof bound->error, "cannot listen on %.150s: %s", address, why);
    return -1;
}

/* Without a descriptor this process has reached its limit; there may be one left by and by. */
static void keep_other(struct line *line, int other, int *fd)
{
    if (other < 0 || other >= seats(line))
        return;
    if (*fd < 0) {
        line_lost(line, other);
        return;
    }
    if (line->others[other] >= 0)
        close(line->others[other]);
    else
        line->waiting++;
    line->others[other] = *fd;
    *fd = -1;
}

/* Takes a message that can wait, with its descriptor; false when it is of another kind. */
static bool keep(struct line *line, const struct wire *m, int *fd)
{
    if (m->kind == WIRE_OTHER) {
        keep_other(line, m->number, fd);
    } else if (m->kind == WIRE_CERTS) {
        line->certs = true;
    } else if (m->kind == WIRE_TICKETS) {
        line->tickets = m->tickets;
        line->new_tickets = true;
    } else {
        return false;
    }
    return true;
}

/* Waits for the answer to a BIND. Returns as wire_receive. */
static int answer(struct line *line, struct wire *m, int *fd)
{
    for (;;) {
        int got = wire_receive(line->fd, m, fd, true);
        if (got <= 0 || m->kind == WIRE_BOUND)
            return got;
        keep(line, m, fd);
        if (*fd >= 0)
            close(*fd);
    }
}

int line_bind_socket(struct line *line, const struct line_bind *what, struct line_bound *bound)
{
    struct wire m = {.kind = WIRE_BIND, .number = what->backlog};
    *bound = (struct line_bound){.fd = -1};
    if (strlen(what->address) >= sizeof m.address || strlen(what->scheme) >= sizeof m.scheme)
        return fail(bound, what->address, "the address is too long");
    snprintf(m.address, sizeof m.address, "%s", what->address);
    snprintf(m.scheme, sizeof m.scheme, "%s", what->scheme);
    int fd = -1;
    int got = wire_send(line->fd, &m, -1) < 0 ? -1 : answer(line, &m, &fd);
    if (got <= 0)
        return fail(bound, what->address, "the master process is gone");
    if (m.error[0]) {
        memcpy(bound->error, m.error, sizeof bound->error);
        return -1;
    }
    if (fd < 0)
        return fail(bound, what->address, "this worker has no descriptor left");
    bound->fd = fd;
    bound->port = m.number;
    return 0;
}

void line_unbind(struct line *line, const char *address, int port)
{
    struct wire m = {.kind = WIRE_UNBIND, .number = port};
    if (strlen(address) >= sizeof m.address)
        return;
    snprintf(m.address, sizeof m.address, "%s", address);
    wire_send(line->fd, &m, -1);
}

void line_ready(struct line *line)
{
    struct wire m = {.kind = WIRE_READY};
    wire_send(line->fd, &m, -1);
}

void line_refused(struct line *line)
{
    struct wire m = {.kind = WIRE_REFUSED};
    wire_send(line->fd, &m, -1);
}

int line_retire(struct line *line)
{
    struct wire m = {.kind = WIRE_RETIRE};
    return wire_send(line->fd, &m, -1);
}

int line_fd(const struct line *line)
{
    return line->fd;
}

static enum line_what tell_other(struct line *line)
{
    line->offered = 0;
    while (line->others[line->offered] < 0)
        line->offered++;
    return LINE_OTHER;
}

int line_take_other(struct line *line, int *other)
{
    *other = line->offered;
    int fd = line->others[line->offered];
    line->others[line->offered] = -1;
    line->waiting--;
    return fd;
}

void line_lost(struct line *line, int other)
{
    struct wire m = {.kind = WIRE_LOST, .number = other};
    wire_send(line->fd, &m, -1);
}

/* What has been kept, one thing at a time. */
static enum line_what take_kept(struct line *line)
{
    if (line->waiting)
        return tell_other(line);
    bool *flag = line->new_tickets ? &line->new_tickets : &line->certs;
    if (!*flag)
        return LINE_NOTHING;
    *flag = false;
    return flag == &line->certs ? LINE_CERTS : LINE_TICKETS;
}

bool line_waiting(const struct line *line)
{
    return line->waiting || line->certs || line->new_tickets;
}

const struct tls_tickets *line_tickets(const struct line *line)
{
    return &line->tickets;
}

enum line_what line_next(struct line *line, double *seconds)
{
    struct wire m;
    int fd, got;
    if (line_waiting(line))
        return take_kept(line);
    while ((got = wire_receive(line->fd, &m, &fd, false)) != 0) {
        if (got < 0 && errno != EBADMSG)
            return errno == EAGAIN ? LINE_NOTHING : LINE_GONE;
        bool kept = got > 0 && keep(line, &m, &fd);
        if (got > 0 && fd >= 0)
            close(fd);
        if (kept && line_waiting(line))
            return take_kept(line);
        if (got > 0 && m.kind == WIRE_STOP && !line->stopped) {
            line->stopped = true;
            *seconds = m.seconds;
            return m.number ? LINE_SUCCEEDED : LINE_STOP;
        }
    }
    return LINE_GONE;
}

int line_worker(const struct line *line)
{
    return line->seat % line->workers;
}

int line_seat(const struct line *line)
{
    return line->seat;
}

int line_workers(const struct line *line)
{
    return line->workers;
}
