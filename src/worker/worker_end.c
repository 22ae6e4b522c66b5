// SPDX-License-Identifier: MIT
/*
 * How a worker ends. One that is to be replaced serves on until its successor does; then it closes
 * its listeners, but hears out those who came in just before.
 */
#include "base/log.h"
#include "bind/http/lserver.h"
#include "worker/worker_private.h"

#include <stdio.h>
#include <unistd.h>

#define LAST_WORDS_SECONDS 0.25
/* For the log of one that has overrun its time. */
#define LOG_CLOSE_LATE_SECONDS 0.1
/* For those who came in just before a successor took over to say what they want. */
#define ARRIVAL_SECONDS 0.5

void worker_finish(struct worker *w, int status)
{
    w->status = status;
    loop_stop(&w->loop);
}

static void on_drained(struct server *s)
{
    worker_finish(worker_of(lserver_vm(s)), WORKER_DONE);
}

/* Cuts off whoever is left; their onClose still runs. Handlers that wait even then are given up. */
static void on_deadline(struct loop_timer *timer)
{
    struct worker *w = LIST_ITEM(timer, struct worker, deadline);
    if (!w->cut_off) {
        w->cut_off = true;
        log_warn("connections were left after the drain time");
        server_abort(lserver_of(w->vm));
        loop_timer_start(&w->loop, timer, LAST_WORDS_SECONDS);
        return;
    }
    fflush(stdout);
    log_close(LOG_CLOSE_LATE_SECONDS);
    _exit(WORKER_DONE); /* there is no order in which to take down what still waits */
}

void worker_drain(struct worker *w, double seconds)
{
    if (w->draining)
        return;
    w->draining = true;
    if (!w->vm->loaded) {
        worker_finish(w, WORKER_DONE);
        return;
    }
    server_drain(lserver_of(w->vm), on_drained);
    loop_timer_start(&w->loop, &w->deadline, seconds);
    w->until = loop_now(&w->loop) + seconds;
}

double worker_time_left(struct worker *w)
{
    double left = w->until > 0 ? w->until - loop_now(&w->loop) : w->config->drain;
    return left > LAST_WORDS_SECONDS ? left : LAST_WORDS_SECONDS;
}

void worker_retire(struct worker *w)
{
    if (w->retiring || !w->serves || line_retire(w->line) < 0)
        worker_drain(w, w->config->drain);
    w->retiring = true;
}

static void on_arrived(struct loop_timer *timer)
{
    struct worker *w = LIST_ITEM(timer, struct worker, arrivals);
    worker_drain(w, w->drain_seconds);
}

void worker_succeeded(struct worker *w, double seconds)
{
    if (w->draining)
        return;
    server_hand_over(lserver_of(w->vm));
    w->drain_seconds = seconds;
    loop_timer_start(&w->loop, &w->arrivals, ARRIVAL_SECONDS);
}

void worker_end_init(struct worker *w)
{
    loop_timer_init(&w->deadline, on_deadline);
    loop_timer_init(&w->arrivals, on_arrived);
}
