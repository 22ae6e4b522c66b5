// SPDX-License-Identifier: MIT
/*
 * A worker's lives. Each is a process; when one has died the next is started, and when one wants to
 * be replaced the next is started beside it and takes its place once it is ready:
 *
 *      process 0  ──serves──RETIRE──────serves──────▶ STOP ──drains──▶ gone
 *      process 1                 └─wait─▶ loads ─▶ READY ──serves──▶
 *
 * How long the master waits before the next life depends on the last. One that never became ready
 * most likely cannot: 0.1 s, doubling to 5 s. One that had been ready did serve, so its clients
 * should find a worker within a second, however often it dies: 0.1 s, doubling to half a second
 * only. A life of ten seconds forgets what was before.
 *
 * The kernel goes on to give a worker its share of the clients while it is away. For a moment they
 * may wait; when it does not come back, the others get them.
 */
#include "base/log.h"
#include "line/wire.h"
#include "master/master_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ATTEMPTS = 5 };
/* After so many lives that did not become ready, its clients should wait for it no longer. */
enum { ABSENT_AFTER = 3 };

#define DELAY_FIRST 0.1
#define DELAY_MAX 5.0
#define DELAY_MAX_SERVED 0.5
#define LONG_LIFE 10.0

static void on_restart(struct loop_timer *timer);

void worker_init(struct worker *w, struct master *m, int number)
{
    *w = (struct worker){.master = m, .number = number};
    loop_timer_init(&w->restart, on_restart);
    for (int i = 0; i < WORKER_PROCESSES; i++)
        process_init(&w->processes[i], w, number + i * m->config->workers);
    w->now = w->processes;
}

void worker_deinit(struct worker *w)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        process_deinit(&w->processes[i]);
}

struct process *worker_leaving(struct worker *w)
{
    struct process *other = &w->processes[w->now == w->processes];
    return other->pid ? other : NULL;
}

bool worker_gone(struct worker *w)
{
    return w->life == LIFE_OVER && !w->now->pid && !worker_leaving(w);
}

static bool listens(const struct worker *w)
{
    return sockets_worker_listens(w->master->sockets, w->number);
}

static void over(struct worker *w, int outcome)
{
    w->life = LIFE_OVER;
    w->outcome = outcome;
    loop_timer_stop(&w->master->loop, &w->restart);
    sockets_worker_gone(w->master->sockets, w->number);
}

static void send_to_both(const struct worker *w, const struct wire *message)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        process_send(&w->processes[i], message, -1);
}

void worker_renew(struct worker *w)
{
    send_to_both(w, &(struct wire){.kind = WIRE_CERTS});
}

void worker_send_tickets(struct worker *w)
{
    send_to_both(w, &(struct wire){.kind = WIRE_TICKETS, .tickets = w->master->tickets});
}

void worker_look(struct worker *w)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        heartbeat_look(&w->processes[i].heart);
}

void worker_forget(struct worker *w)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        process_close_link(&w->processes[i]);
    loop_timer_stop(&w->master->loop, &w->restart);
}

/* --- The next life -------------------------------------------------------------------------- */

static void plan_restart(struct worker *w, bool served)
{
    struct master *m = w->master;
    double most = served ? DELAY_MAX_SERVED : DELAY_MAX;
    w->delay = w->delay > 0 ? w->delay * 2 : DELAY_FIRST;
    if (w->delay > most)
        w->delay = most;
    w->life = LIFE_WAITING;
    w->restarts++;
    loop_timer_start(&m->loop, &w->restart, w->delay);
}

/* Its life did not become ready. After too many, with no other worker to go on with, all ends. */
static void start_failed(struct worker *w)
{
    struct master *m = w->master;
    w->attempts++;
    bool left = w->attempts >= ABSENT_AFTER && !worker_leaving(w) &&
                sockets_worker_absent(m->sockets, w->number);
    if (left && w->attempts == ABSENT_AFTER)
        log_warn("worker %d does not start: new connections go to the others", w->number);
    if (m->any_ready || w->attempts < ATTEMPTS) {
        plan_restart(w, false);
        return;
    }
    log_error("giving up: no worker became ready in %d attempts", ATTEMPTS);
    over(w, WORKER_FAILED);
    master_abort(m);
}

void worker_start(struct worker *w)
{
    sockets_worker_started(w->master->sockets, w->number);
    w->now = &w->processes[w->processes[0].pid != 0];
    if (process_start(w->now) < 0) {
        log_error("cannot start a worker: %s", strerror(errno));
        start_failed(w);
        return;
    }
    w->life = LIFE_STARTING;
    struct wire m = {.kind = WIRE_TICKETS, .tickets = w->master->tickets};
    process_send(w->now, &m, -1);
}

static void on_restart(struct loop_timer *timer)
{
    worker_start(LIST_ITEM(timer, struct worker, restart));
}

static void next_life(struct worker *w)
{
    bool served = w->life == LIFE_READY;
    if (served && loop_now(&w->master->loop) - w->ready >= LONG_LIFE)
        w->delay = 0;
    if (served)
        plan_restart(w, true);
    else
        start_failed(w);
}

/* Begins to replace a life that wants it; while the one before still leaves, that must wait. */
static void succeed(struct worker *w)
{
    if (!w->now->retires || w->life != LIFE_READY || worker_leaving(w) || w->master->stopping)
        return;
    w->now = &w->processes[w->now == w->processes];
    next_life(w);
}

/* --- Messages ------------------------------------------------------------------------------- */

static void send_stop(const struct process *p, bool succeeded)
{
    struct wire m = {.kind = WIRE_STOP, .number = succeeded};
    m.seconds = p->worker->master->config->drain;
    process_send(p, &m, -1);
}

static void on_bind_request(struct process *p, const struct wire *m)
{
    struct wire answer = {.kind = WIRE_BOUND};
    struct worker *w = p->worker;
    struct sockets_request r = {
        .worker = w->number,
        .address = m->address,
        .scheme = m->scheme,
        .backlog = m->number,
    };
    int fd = -1;
    if (w->master->stopping || p != w->now)
        snprintf(answer.error, sizeof answer.error, "cannot listen on %.150s: %s", m->address,
                 w->master->stopping ? "the server is stopping" : "this worker is being replaced");
    else
        fd = sockets_bind(w->master->sockets, &r, &answer.number, answer.error);
    process_send(p, &answer, fd);
    if (w->master->stopping)
        send_stop(p, false); /* see link.c */
}

static void log_ready(const struct worker *w)
{
    char number[16];
    snprintf(number, sizeof number, "%d", w->number);
    struct log_field field = {.key = "worker", .value = number};
    log_event(LOG_INFO, &field, 1, "worker ready");
}

static void on_ready_message(struct worker *w)
{
    struct master *m = w->master;
    struct process *leaving = worker_leaving(w);
    if (w->life != LIFE_STARTING)
        return;
    w->life = LIFE_READY;
    w->ready = loop_now(&m->loop);
    w->attempts = 0;
    m->any_ready = true;
    if (!m->stopping)
        sockets_worker_ready(m->sockets, w->number);
    if (m->announced)
        log_ready(w);
    if (leaving)
        send_stop(leaving, true);
    master_worker_changed(m);
}

/* What the process that serves says of itself; one that is being replaced has no say any more. */
static void heard_now(struct worker *w, const struct wire *m)
{
    switch (m->kind) {
    case WIRE_UNBIND: sockets_unbind(w->master->sockets, w->number, m->address, m->number); break;
    case WIRE_READY: on_ready_message(w); break;
    case WIRE_REFUSED: w->now->refused = true; break;
    case WIRE_RETIRE:
        w->now->retires = true;
        succeed(w);
        break;
    default: break;
    }
}

void worker_heard(struct process *p, const struct wire *m)
{
    struct worker *w = p->worker;
    if (m->kind == WIRE_BIND)
        on_bind_request(p, m);
    else if (m->kind == WIRE_LOST)
        pairs_lost(w->master->pairs, p->seat, m->number);
    else if (p == w->now)
        heard_now(w, m);
}

/* --- Death ---------------------------------------------------------------------------------- */

/*
 * A script has run to its end: it exits by itself and listens on nothing. One that fails beside
 * workers that are ready is a server's that could not start this time.
 */
static bool script_end(const struct worker *w, int status)
{
    if (!WIFEXITED(status) || listens(w))
        return false;
    return WEXITSTATUS(status) == WORKER_DONE || w->life == LIFE_READY || !w->master->any_ready;
}

/* Its process is gone, and none had taken its place. */
static void life_ended(struct worker *w, pid_t pid, int status)
{
    struct master *m = w->master;
    struct process *p = w->now;
    p->refused |= p->watchdog->loading || (p->heart.silenced && w->life == LIFE_STARTING);
    if (script_end(w, status)) {
        over(w, WEXITSTATUS(status));
    } else if (p->refused && !m->any_ready) {
        over(w, WORKER_FAILED);
        master_abort(m); /* the worker has logged why */
    } else {
        process_log_end(p, pid, status);
        next_life(w);
    }
}

static void ended(struct process *p, int status)
{
    struct worker *w = p->worker;
    struct master *m = w->master;
    pid_t pid = p->pid;
    process_ended(p);
    if (m->stopping) {
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
            process_log_end(p, pid, status);
        if (p == w->now)
            over(w, WORKER_DONE);
    } else if (p == w->now) {
        life_ended(w, pid, status);
    } else {
        process_log_end(p, pid, status);
        succeed(w);
    }
    master_worker_changed(m);
}

void worker_bury(struct worker *w, pid_t pid, int status)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        if (w->processes[i].pid == pid)
            ended(&w->processes[i], status);
}

void worker_stop(struct worker *w)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        send_stop(&w->processes[i], false);
    if (!w->now->pid && w->life != LIFE_OVER)
        over(w, WORKER_DONE);
}

void worker_kill(struct worker *w)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        if (w->processes[i].pid)
            kill(w->processes[i].pid, SIGKILL);
    if (!w->now->pid && w->life != LIFE_OVER)
        over(w, WORKER_DONE);
}
