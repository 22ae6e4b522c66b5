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
#include "line/line.h"
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

#define DELAY_FIRST_SECONDS 0.1
#define DELAY_MAX_SECONDS 5.0
#define DELAY_SERVED_SECONDS 0.5
#define LONG_LIFE_SECONDS 10.0

static void on_restart(struct loop_timer *timer);

void place_init(struct place *place, struct master *m, int number)
{
    *place = (struct place){.master = m, .number = number};
    loop_timer_init(&place->restart, on_restart);
    for (int i = 0; i < WORKER_PROCESSES; i++)
        process_init(&place->processes[i], place, number + i * m->config->workers);
    place->now = place->processes;
}

void place_deinit(struct place *place)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        process_deinit(&place->processes[i]);
}

struct process *place_leaving(struct place *place)
{
    struct process *other = &place->processes[place->now == place->processes];
    return other->pid ? other : NULL;
}

bool place_gone(struct place *place)
{
    return place->life == LIFE_OVER && !place->now->pid && !place_leaving(place);
}

static bool listens(const struct place *place)
{
    return sockets_worker_listens(place->master->sockets, place->number);
}

static void over(struct place *place, int outcome)
{
    place->life = LIFE_OVER;
    place->outcome = outcome;
    loop_timer_stop(&place->master->loop, &place->restart);
    sockets_worker_gone(place->master->sockets, place->number);
}

static void send_to_both(const struct place *place, const struct wire *message)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        process_send(&place->processes[i], message, -1);
}

void place_renew(struct place *place)
{
    send_to_both(place, &(struct wire){.kind = WIRE_CERTS});
}

void place_send_tickets(struct place *place)
{
    send_to_both(place, &(struct wire){.kind = WIRE_TICKETS, .tickets = place->master->tickets});
}

void place_look(struct place *place)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        heartbeat_look(&place->processes[i].heart);
}

/* --- The next life -------------------------------------------------------------------------- */

static void plan_restart(struct place *place, bool served)
{
    struct master *m = place->master;
    double most = served ? DELAY_SERVED_SECONDS : DELAY_MAX_SECONDS;
    place->delay = place->delay > 0 ? place->delay * 2 : DELAY_FIRST_SECONDS;
    if (place->delay > most)
        place->delay = most;
    place->life = LIFE_WAITING;
    place->restarts++;
    loop_timer_start(&m->loop, &place->restart, place->delay);
}

/* Its life did not become ready. After too many, with no other worker to go on with, all ends. */
static void start_failed(struct place *place)
{
    struct master *m = place->master;
    place->attempts++;
    bool left = place->attempts >= ABSENT_AFTER && !place_leaving(place) &&
                sockets_worker_absent(m->sockets, place->number);
    if (left && place->attempts == ABSENT_AFTER)
        log_warn("worker %d does not start: new connections go to the others", place->number);
    if (m->any_ready || place->attempts < ATTEMPTS) {
        plan_restart(place, false);
        return;
    }
    log_error("giving up: no worker became ready in %d attempts", ATTEMPTS);
    over(place, WORKER_FAILED);
    master_abort(m);
}

void place_start(struct place *place)
{
    sockets_worker_started(place->master->sockets, place->number);
    place->now = &place->processes[place->processes[0].pid != 0];
    if (process_start(place->now) < 0) {
        log_error("cannot start a worker: %s", strerror(errno));
        start_failed(place);
        return;
    }
    place->life = LIFE_STARTING;
    struct wire m = {.kind = WIRE_TICKETS, .tickets = place->master->tickets};
    process_send(place->now, &m, -1);
}

static void on_restart(struct loop_timer *timer)
{
    place_start(LIST_ITEM(timer, struct place, restart));
}

static void next_life(struct place *place)
{
    bool served = place->life == LIFE_READY;
    if (served && loop_now(&place->master->loop) - place->ready >= LONG_LIFE_SECONDS)
        place->delay = 0;
    if (served)
        plan_restart(place, true);
    else
        start_failed(place);
}

/* Begins to replace a life that wants it; while the one before still leaves, that must wait. */
static void succeed(struct place *place)
{
    if (!place->now->retires || place->life != LIFE_READY || place_leaving(place) ||
        place->master->stopping)
        return;
    place->now = &place->processes[place->now == place->processes];
    next_life(place);
}

/* --- Messages ------------------------------------------------------------------------------- */

static void send_stop(const struct process *p, bool succeeded)
{
    struct wire m = {.kind = WIRE_STOP, .number = succeeded};
    m.seconds = p->place->master->config->drain;
    process_send(p, &m, -1);
}

static void on_bind_request(struct process *p, const struct wire *m)
{
    struct wire answer = {.kind = WIRE_BOUND};
    struct place *place = p->place;
    struct sockets_request r = {
        .worker = place->number,
        .address = m->address,
        .scheme = m->scheme,
        .backlog = m->number,
    };
    int fd = -1;
    if (place->master->stopping || p != place->now)
        snprintf(answer.error, sizeof answer.error, "cannot listen on %.150s: %s", m->address,
                 place->master->stopping ? "the server is stopping"
                                         : "this worker is being replaced");
    else
        fd = sockets_bind(place->master->sockets, &r, &answer.number, answer.error);
    process_send(p, &answer, fd);
    if (place->master->stopping)
        send_stop(p, false); /* see line.c */
}

static void log_ready(const struct place *place)
{
    char number[16];
    snprintf(number, sizeof number, "%d", place->number);
    struct log_field field = {.key = "worker", .value = number};
    log_event(LOG_INFO, &field, 1, "worker ready");
}

static void on_ready_message(struct place *place)
{
    struct master *m = place->master;
    struct process *leaving = place_leaving(place);
    if (place->life != LIFE_STARTING)
        return;
    place->life = LIFE_READY;
    place->ready = loop_now(&m->loop);
    place->attempts = 0;
    m->any_ready = true;
    if (!m->stopping)
        sockets_worker_ready(m->sockets, place->number);
    if (m->announced)
        log_ready(place);
    if (leaving)
        send_stop(leaving, true);
    master_place_changed(m);
}

/* What the process that serves says of itself; one that is being replaced has no say any more. */
static void heard_now(struct place *place, const struct wire *m)
{
    switch (m->kind) {
    case WIRE_UNBIND:
        sockets_unbind(place->master->sockets, place->number, m->address, m->number);
        break;
    case WIRE_READY: on_ready_message(place); break;
    case WIRE_REFUSED: place->now->refused = true; break;
    case WIRE_UNFIT: process_unfit(place->now, m->error); break;
    case WIRE_RETIRE:
        place->now->retires = true;
        succeed(place);
        break;
    default: break;
    }
}

void place_heard(struct process *p, const struct wire *m)
{
    struct place *place = p->place;
    if (m->kind == WIRE_BIND)
        on_bind_request(p, m);
    else if (m->kind == WIRE_LOST)
        pairs_lost(place->master->pairs, p->seat, m->number);
    else if (p == place->now)
        heard_now(place, m);
}

/* --- Death ---------------------------------------------------------------------------------- */

/*
 * A script has run to its end: it exits by itself and listens on nothing. One that fails beside
 * workers that are ready is a server's that could not start this time.
 */
static bool script_end(const struct place *place, int status)
{
    if (!WIFEXITED(status) || listens(place))
        return false;
    return WEXITSTATUS(status) == WORKER_DONE || place->life == LIFE_READY ||
           !place->master->any_ready;
}

/* Its process is gone, and none had taken its place. */
static void life_ended(struct place *place, pid_t pid, int status)
{
    struct master *m = place->master;
    struct process *p = place->now;
    p->refused |= p->watchdog->loading || (p->heart.silenced && place->life == LIFE_STARTING);
    if (script_end(place, status)) {
        over(place, WEXITSTATUS(status));
    } else if (p->refused && !m->any_ready) {
        over(place, WORKER_FAILED);
        master_abort(m); /* the worker has logged why */
    } else {
        process_log_end(p, pid, status);
        next_life(place);
    }
}

static void ended(struct process *p, int status)
{
    struct place *place = p->place;
    struct master *m = place->master;
    pid_t pid = p->pid;
    process_ended(p);
    if (m->stopping) {
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
            process_log_end(p, pid, status);
        if (p == place->now)
            over(place, WORKER_DONE);
    } else if (p == place->now) {
        life_ended(place, pid, status);
    } else {
        process_log_end(p, pid, status);
        succeed(place);
    }
    master_place_changed(m);
}

void place_bury(struct place *place, pid_t pid, int status)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        if (place->processes[i].pid == pid)
            ended(&place->processes[i], status);
}

void place_stop(struct place *place)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        send_stop(&place->processes[i], false);
    if (!place->now->pid && place->life != LIFE_OVER)
        over(place, WORKER_DONE);
}

void place_kill(struct place *place)
{
    for (int i = 0; i < WORKER_PROCESSES; i++)
        if (place->processes[i].pid)
            kill(place->processes[i].pid, SIGKILL);
    if (!place->now->pid && place->life != LIFE_OVER)
        over(place, WORKER_DONE);
}
