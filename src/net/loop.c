// SPDX-License-Identifier: MIT
/*
 * libev behind loop.h. The end-of-turn step is a prepare watcher: libev calls it after all
 * callbacks of a turn and before it waits again. An idle watcher that is active makes libev poll
 * without waiting; it is on only while deferred jobs are left over.
 */
#include "net/loop.h"

#include "base/seconds.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void on_hurry(struct ev_loop *ev, ev_idle *w, int events)
{
    (void)ev, (void)w, (void)events; /* its being active is all it is for */
}

/*
 * Loads what stands around a job into the cache, for when its turn comes: a thousand connections
 * that are flushed one after the other were last looked at long ago.
 */
static void fetch(const struct link *job)
{
    enum { LINE = 64, BEFORE = 3, BEHIND = 2 };
    for (int i = -BEFORE; i <= BEHIND; i++)
        __builtin_prefetch((const char *)job + i * LINE);
}

static void run_stage(struct link *jobs)
{
    struct link now;
    list_move(&now, jobs);
    while (!link_empty(&now)) {
        struct loop_job *job = LIST_ITEM(now.next, struct loop_job, link);
        list_remove(&job->link);
        fetch(now.next);
        job->run(job);
    }
}

static bool jobs_left(const struct loop *loop)
{
    for (int stage = 0; stage < LOOP_STAGES; stage++)
        if (!link_empty(&loop->jobs[stage]))
            return true;
    return false;
}

static void on_turn_end(struct ev_loop *ev, ev_prepare *w, int events)
{
    (void)events;
    struct loop *loop = w->data;
    loop->pulse->beats++;
    for (int stage = 0; stage < LOOP_STAGES; stage++)
        if (!link_empty(&loop->jobs[stage]))
            run_stage(&loop->jobs[stage]);
    loop->now = 0; /* the wait that follows takes time */
    bool left = jobs_left(loop);
    if (left == ev_is_active(&loop->hurry))
        return;
    if (left)
        ev_idle_start(ev, &loop->hurry);
    else
        ev_idle_stop(ev, &loop->hurry);
}

void loop_init(struct loop *loop)
{
    *loop = (struct loop){.pulse = &loop->own};
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!loop->ev) {
        fprintf(stderr, "neap: epoll is not available\n");
        exit(1);
    }
    for (int stage = 0; stage < LOOP_STAGES; stage++)
        link_init(&loop->jobs[stage]);
    ev_prepare_init(&loop->turn_end, on_turn_end);
    loop->turn_end.data = loop;
    ev_prepare_start(loop->ev, &loop->turn_end);
    ev_idle_init(&loop->hurry, on_hurry);
}

void loop_deinit(struct loop *loop)
{
    ev_loop_destroy(loop->ev);
}

void loop_run(struct loop *loop)
{
    if (!loop->stopped)
        ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
    ev_break(loop->ev, EVBREAK_ALL);
}

uint64_t loop_ms(struct loop *loop)
{
    /* libev's ev_now is wall-clock time, which may jump; only its timers are monotonic. */
    if (loop->now == 0) {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
        loop->now = seconds_ms(&ts);
    }
    return loop->now;
}

double loop_now(struct loop *loop)
{
    return (double)loop_ms(loop) / MS_PER_SECOND;
}

double loop_wall(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return seconds_from(&ts);
}

static void on_io(struct ev_loop *ev, ev_io *w, int events)
{
    (void)ev;
    struct loop_io *io = (struct loop_io *)(void *)w;
    io->on_ready(io, events);
}

void loop_io_init(struct loop_io *io, int fd, void (*on_ready)(struct loop_io *, int))
{
    ev_io_init(&io->ev, on_io, fd, 0);
    io->on_ready = on_ready;
}

void loop_io_watch(struct loop *loop, struct loop_io *io, int events)
{
    if (events == (ev_is_active(&io->ev) ? (io->ev.events & (EV_READ | EV_WRITE)) : 0))
        return;
    ev_io_stop(loop->ev, &io->ev);
    if (!events)
        return;
    ev_io_modify(&io->ev, events);
    ev_io_start(loop->ev, &io->ev);
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int events)
{
    (void)ev, (void)events;
    struct loop_timer *timer = (struct loop_timer *)(void *)w;
    timer->on_time(timer);
}

void loop_timer_init(struct loop_timer *timer, void (*on_time)(struct loop_timer *))
{
    ev_timer_init(&timer->ev, on_timer, 0, 0);
    timer->on_time = on_time;
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, double seconds)
{
    ev_timer_stop(loop->ev, &timer->ev);
    ev_timer_set(&timer->ev, seconds, 0);
    ev_timer_start(loop->ev, &timer->ev);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    ev_timer_stop(loop->ev, &timer->ev);
}

static void on_signal(struct ev_loop *ev, ev_signal *w, int events)
{
    (void)ev, (void)events;
    struct loop_signal *signal = (struct loop_signal *)(void *)w;
    signal->on_signal(signal);
}

void loop_signal_start(struct loop *loop, struct loop_signal *signal, int number,
                       void (*cb)(struct loop_signal *))
{
    ev_signal_init(&signal->ev, on_signal, number);
    signal->on_signal = cb;
    ev_signal_start(loop->ev, &signal->ev);
    ev_unref(loop->ev); /* a signal handler alone keeps no loop alive */
}

void loop_signal_stop(struct loop *loop, struct loop_signal *signal)
{
    ev_ref(loop->ev);
    ev_signal_stop(loop->ev, &signal->ev);
}

void loop_job_init(struct loop_job *job, void (*run)(struct loop_job *))
{
    link_init(&job->link);
    job->run = run;
}

void loop_defer(struct loop *loop, enum loop_stage stage, struct loop_job *job)
{
    if (link_empty(&job->link))
        list_append(&loop->jobs[stage], &job->link);
}

void loop_run_stage(struct loop *loop, enum loop_stage stage)
{
    run_stage(&loop->jobs[stage]);
}

void loop_undefer(struct loop_job *job)
{
    list_remove(&job->link);
}
