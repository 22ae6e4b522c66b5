// SPDX-License-Identifier: MIT
/*
 * A number for each two workers says when to connect them: 0 means that nothing is to be done, else
 * in so many ticks of a timer that runs only while there is such a number.
 */
#include "master/pairs.h"

#include "base/log.h"
#include "base/mem.h"
#include "line/wire.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_SECONDS 0.1
#define LOG_SECONDS 10.0

enum { SOON = 1, LATER = 10 }; /* ticks */

struct member {
    int line;  /* the master's end, -1: not alive */
    bool full; /* it took nothing when last tried */
};

struct pairs {
    struct loop *loop;
    struct loop_timer tick;
    int workers;
    double logged;
    struct member *members;
    uint8_t due[]; /* [a * workers + b], a < b */
};

static uint8_t *due(struct pairs *p, int a, int b)
{
    return &p->due[a < b ? a * p->workers + b : b * p->workers + a];
}

static bool alive(const struct pairs *p, int worker)
{
    return p->members[worker].line >= 0;
}

static void plan(struct pairs *p, int a, int b, uint8_t ticks)
{
    *due(p, a, b) = ticks;
    if (!loop_timer_active(&p->tick))
        loop_timer_start(p->loop, &p->tick, TICK_SECONDS);
}

/*
 * Who is likely to take nothing comes first: when the first has got its end and the second does not
 * get the other, the first sees one that came and went.
 */
static bool hand_out(const struct pairs *p, int a, int b, const int *fds)
{
    const int who[2] = {p->members[b].full ? b : a, p->members[b].full ? a : b};
    for (int i = 0; i < 2; i++) {
        struct member *m = &p->members[who[i]];
        struct wire message = {.kind = WIRE_OTHER, .number = who[!i]};
        m->full = wire_send(m->line, &message, fds[i]) < 0;
        if (m->full)
            return false;
    }
    return true;
}

/* Larger socket buffers than the system's were measured to save nothing. */
static bool connect_them(const struct pairs *p, int a, int b)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return false;
    bool done = hand_out(p, a, b, fds);
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
    if (errno != EPIPE && loop_now(p->loop) - p->logged >= LOG_SECONDS) {
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
    p->logged = -LOG_SECONDS;
    p->members = mem_alloc(n * sizeof *p->members);
    for (int i = 0; i < workers; i++)
        p->members[i].line = -1;
    loop_timer_init(&p->tick, on_tick);
    return p;
}

void pairs_free(struct pairs *p)
{
    loop_timer_stop(p->loop, &p->tick);
    mem_free(p->members);
    mem_free(p);
}

void pairs_worker_started(struct pairs *p, int worker, int line)
{
    p->members[worker] = (struct member){.line = line};
    for (int i = 0; i < p->workers; i++)
        if (i != worker && alive(p, i))
            connect_now(p, i, worker);
}

void pairs_worker_ended(struct pairs *p, int worker)
{
    p->members[worker].line = -1;
    for (int i = 0; i < p->workers; i++)
        if (i != worker)
            *due(p, worker, i) = 0;
}

void pairs_lost(struct pairs *p, int worker, int other)
{
    if (other < 0 || other >= p->workers || other == worker || !alive(p, worker) ||
        !alive(p, other))
        return;
    if (!*due(p, worker, other))
        plan(p, worker, other, LATER);
}
