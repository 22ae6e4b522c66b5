// SPDX-License-Identifier: MIT
/*
 * The worker's end of the line. A BIND is a question that is waited for. What comes before its
 * answer is kept, because the descriptor would not become readable for it again; but for a STOP: a
 * master that is stopping repeats it after each answer, and link_next tells it once. Of the lines
 * to one other worker only the last is kept: those before it ended with earlier lives of it.
 */
#include "line/link.h"

#include "base/mem.h"
#include "line/watchdog.h"
#include "line/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct worker_link {
    int fd;
    int seat, workers;
    bool stopped;            /* STOP has been told */
    bool certs, new_tickets; /* kept for link_next */
    struct tls_tickets tickets;
    char *scratch;
    int lock; /* of that folder, or -1 */
    struct watchdog *watchdog;
    int told;    /* the peer that link_next has told of */
    int waiting; /* peers that it has not */
    int peers[]; /* a socket to each, or -1 */
};

static int seats(const struct worker_link *link)
{
    return 2 * link->workers;
}

struct worker_link *link_new(int fd, int seat, int workers)
{
    size_t n = 2 * (size_t)workers;
    struct worker_link *link = mem_alloc(sizeof *link + n * sizeof link->peers[0]);
    link->fd = fd;
    link->seat = seat;
    link->workers = workers;
    link->lock = -1;
    for (int i = 0; i < seats(link); i++)
        link->peers[i] = -1;
    return link;
}

void link_free(struct worker_link *link)
{
    close(link->fd);
    for (int i = 0; i < seats(link); i++)
        if (link->peers[i] >= 0)
            close(link->peers[i]);
    if (link->lock >= 0)
        close(link->lock);
    watchdog_free(link->watchdog);
    mem_free(link->scratch);
    mem_free(link);
}

void link_set_scratch(struct worker_link *link, const char *path, int lock)
{
    mem_free(link->scratch);
    if (link->lock >= 0)
        close(link->lock);
    link->scratch = mem_strdup(path);
    link->lock = lock;
}

void link_set_watchdog(struct worker_link *link, struct watchdog *page)
{
    link->watchdog = page;
}

struct watchdog *link_watchdog(const struct worker_link *link)
{
    return link->watchdog;
}

const char *link_scratch(const struct worker_link *link)
{
    return link->scratch;
}

static int fail(struct link_bound *bound, const char *address, const char *why)
{
    bound->fd = -1;
    snprintf(bound->error, sizeof bound->error, "cannot listen on %.150s: %s", address, why);
    return -1;
}

/* Without a descriptor this process has reached its limit; there may be one left by and by. */
static void keep_peer(struct worker_link *link, int peer, int *fd)
{
    if (peer < 0 || peer >= seats(link))
        return;
    if (*fd < 0) {
        link_lost(link, peer);
        return;
    }
    if (link->peers[peer] >= 0)
        close(link->peers[peer]);
    else
        link->waiting++;
    link->peers[peer] = *fd;
    *fd = -1;
}

/* Takes a message that can wait, with its descriptor; false when it is of another kind. */
static bool keep(struct worker_link *link, const struct wire *m, int *fd)
{
    if (m->kind == WIRE_PEER) {
        keep_peer(link, m->number, fd);
    } else if (m->kind == WIRE_CERTS) {
        link->certs = true;
    } else if (m->kind == WIRE_TICKETS) {
        link->tickets = m->tickets;
        link->new_tickets = true;
    } else {
        return false;
    }
    return true;
}

/* Waits for the answer to a BIND. Returns as wire_receive. */
static int answer(struct worker_link *link, struct wire *m, int *fd)
{
    for (;;) {
        int got = wire_receive(link->fd, m, fd, true);
        if (got <= 0 || m->kind == WIRE_BOUND)
            return got;
        keep(link, m, fd);
        if (*fd >= 0)
            close(*fd);
    }
}

int link_bind_socket(struct worker_link *link, const struct link_bind *what,
                     struct link_bound *bound)
{
    struct wire m = {.kind = WIRE_BIND, .number = what->backlog};
    *bound = (struct link_bound){.fd = -1};
    if (strlen(what->address) >= sizeof m.address || strlen(what->scheme) >= sizeof m.scheme)
        return fail(bound, what->address, "the address is too long");
    snprintf(m.address, sizeof m.address, "%s", what->address);
    snprintf(m.scheme, sizeof m.scheme, "%s", what->scheme);
    int fd = -1;
    int got = wire_send(link->fd, &m, -1) < 0 ? -1 : answer(link, &m, &fd);
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

void link_unbind(struct worker_link *link, const char *address, int port)
{
    struct wire m = {.kind = WIRE_UNBIND, .number = port};
    if (strlen(address) >= sizeof m.address)
        return;
    snprintf(m.address, sizeof m.address, "%s", address);
    wire_send(link->fd, &m, -1);
}

void link_ready(struct worker_link *link)
{
    struct wire m = {.kind = WIRE_READY};
    wire_send(link->fd, &m, -1);
}

void link_refused(struct worker_link *link)
{
    struct wire m = {.kind = WIRE_REFUSED};
    wire_send(link->fd, &m, -1);
}

int link_retire(struct worker_link *link)
{
    struct wire m = {.kind = WIRE_RETIRE};
    return wire_send(link->fd, &m, -1);
}

int link_fd(const struct worker_link *link)
{
    return link->fd;
}

static enum link_what tell_peer(struct worker_link *link)
{
    link->told = 0;
    while (link->peers[link->told] < 0)
        link->told++;
    return LINK_PEER;
}

int link_take_peer(struct worker_link *link, int *peer)
{
    *peer = link->told;
    int fd = link->peers[link->told];
    link->peers[link->told] = -1;
    link->waiting--;
    return fd;
}

void link_lost(struct worker_link *link, int peer)
{
    struct wire m = {.kind = WIRE_LOST, .number = peer};
    wire_send(link->fd, &m, -1);
}

/* What has been kept, one thing at a time. */
static enum link_what take_kept(struct worker_link *link)
{
    if (link->waiting)
        return tell_peer(link);
    bool *flag = link->new_tickets ? &link->new_tickets : &link->certs;
    if (!*flag)
        return LINK_NOTHING;
    *flag = false;
    return flag == &link->certs ? LINK_CERTS : LINK_TICKETS;
}

bool link_waiting(const struct worker_link *link)
{
    return link->waiting || link->certs || link->new_tickets;
}

const struct tls_tickets *link_tickets(const struct worker_link *link)
{
    return &link->tickets;
}

enum link_what link_next(struct worker_link *link, double *seconds)
{
    struct wire m;
    int fd, got;
    if (link_waiting(link))
        return take_kept(link);
    while ((got = wire_receive(link->fd, &m, &fd, false)) != 0) {
        if (got < 0 && errno != EBADMSG)
            return errno == EAGAIN ? LINK_NOTHING : LINK_GONE;
        bool kept = got > 0 && keep(link, &m, &fd);
        if (got > 0 && fd >= 0)
            close(fd);
        if (kept && link_waiting(link))
            return take_kept(link);
        if (got > 0 && m.kind == WIRE_STOP && !link->stopped) {
            link->stopped = true;
            *seconds = m.seconds;
            return m.number ? LINK_SUCCEEDED : LINK_STOP;
        }
    }
    return LINK_GONE;
}

int link_worker(const struct worker_link *link)
{
    return link->seat % link->workers;
}

int link_seat(const struct worker_link *link)
{
    return link->seat;
}

int link_workers(const struct worker_link *link)
{
    return link->workers;
}
