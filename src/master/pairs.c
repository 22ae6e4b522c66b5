// SPDX-License-Identifier: MIT
/*
 * A number for each two workers says when to connect them: 0 means that nothing is to be done, else
 * in so many ticks of a timer that runs only while there is such a number.
 */
#include "master/pairs.h"

#include "base/log.h"
#include "base/mem.h"
#include "master/wire.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK 0.1
#define LOG_PERIOD 10.0

enum {
    SOON = 1,
    LATER = 10,           /* ticks */
    BUFFER = 1024 * 1024, /* of a socket; the system may give less */
};

struct pairs {
    struct loop *loop;
    struct loop_timer tick;
    int workers;
    double logged;
    int *links;    /* the master's ends, -1: not alive */
    uint8_t due[]; /* [a * workers + b], a < b */
};

static uint8_t *due(struct pairs *p, int a, int b)
{
    return &p->due[a < b ? a * p->workers + b : b * p->workers + a];
}

static bool alive(const struct pairs *p, int worker)
{
    return p->links[worker] >= 0;
}

static void plan(struct pairs *p, int a, int b, uint8_t ticks)
{
    *due(p, a, b) = ticks;
    if (!loop_timer_active(&p->tick))
        loop_timer_start(p->loop, &p->tick, TICK);
}

/*
 * When the first has got its end and the second does not get the other, the first sees an end of
 * file at once: a peer that came and went.
 */
static bool hand_out(const struct pairs *p, const int *who, const int *fds)
{
    for (int i = 0; i < 2; i++) {
        struct wire m = {.kind = WIRE_PEER, .number = who[!i]};
        if (wire_send(p->links[who[i]], &m, fds[i]) < 0)
            return false;
    }
    return true;
}

static bool connect_them(const struct pairs *p, int a, int b)
{
    int fds[2], size = BUFFER;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return false;
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    bool done = hand_out(p, (int[]){a, b}, fds);
    int error = errno;
    close(fds[0]);
    close(fds[1]);
    errno = error;
    return done;
}

static void connect_now(struct pairs *p, int a, int b)
{
    *due(p, a, b) = 0;
    if (connect_them(p, a, b))
        return;
    if (errno != EPIPE && loop_now(p->loop) - p->logged >= LOG_PERIOD) {
        p->logged = loop_now(p->loop);
        log_warn("workers %d and %d are not connected yet: %s", a, b, strerror(errno));
    }
    plan(p, a, b, SOON);
}

static void on_tick(struct loop_timer *timer)
{
    struct pairs *p = LIST_ITEM(timer, struct pairs, tick);
    for (int a = 0; a < p->workers; a++)
        for (int b = a + 1; b < p->workers; b++) {
            uint8_t *ticks = due(p, a, b);
            if (*ticks > 1)
                plan(p, a, b, *ticks - 1);
            else if (*ticks)
                connect_now(p, a, b);
        }
}

struct pairs *pairs_new(struct loop *loop, int workers)
{
    size_t n = (size_t)workers;
    struct pairs *p = mem_alloc(sizeof *p + n * n);
    p->loop = loop;
    p->workers = workers;
    p->logged = -LOG_PERIOD;
    p->links = mem_alloc(n * sizeof *p->links);
    for (int i = 0; i < workers; i++)
        p->links[i] = -1;
    loop_timer_init(&p->tick, on_tick);
    return p;
}

void pairs_free(struct pairs *p)
{
    loop_timer_stop(p->loop, &p->tick);
    mem_free(p->links);
    mem_free(p);
}

void pairs_worker_started(struct pairs *p, int worker, int link)
{
    p->links[worker] = link;
    for (int i = 0; i < p->workers; i++)
        if (i != worker && alive(p, i))
            connect_now(p, i, worker);
}

void pairs_worker_ended(struct pairs *p, int worker)
{
    p->links[worker] = -1;
    for (int i = 0; i < p->workers; i++)
        if (i != worker)
            *due(p, worker, i) = 0;
}

void pairs_lost(struct pairs *p, int worker, int peer)
{
    if (peer < 0 || peer >= p->workers || peer == worker || !alive(p, worker) || !alive(p, peer))
        return;
    if (!*due(p, worker, peer))
        plan(p, worker, peer, LATER);
}
