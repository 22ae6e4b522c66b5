// SPDX-License-Identifier: MIT
/*
 * One worker: it is forked, talks through its link, dies, and is forked again.
 *
 * How long the master waits before the next life depends on the last. One that never became ready
 * most likely cannot: 0.1 s, doubling to 5 s. One that had been ready did serve, so its clients
 * shall find a worker within a second, however often it dies: 0.1 s, doubling to half a second
 * only. A life of ten seconds forgets what was before.
 *
 * The kernel goes on to give a worker its share of the clients while it is away. For a moment they
 * may wait; when it does not come back, the others get them.
 */
#include "base/log.h"
#include "master/internal.h"
#include "master/link.h"
#include "master/wire.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ATTEMPTS = 5 };
/* So many lives that did not become ready, and its clients shall not wait for it any longer. */
enum { ABSENT_AFTER = 3 };

#define DELAY_FIRST 0.1
#define DELAY_MAX 5.0
#define DELAY_MAX_SERVED 0.5
#define LONG_LIFE 10.0

static void on_restart(struct loop_timer *timer);

void worker_init(struct worker *w, struct master *m, int number)
{
    *w = (struct worker){.master = m, .number = number};
    w->io.ev.fd = -1;
    loop_timer_init(&w->restart, on_restart);
    w->watchdog = watchdog_new();
    heartbeat_init(&w->heart, &m->loop, number, m->config->handler_timeout);
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

/* --- Messages ------------------------------------------------------------------------------- */

static void send_stop(struct worker *w)
{
    struct wire m = {.kind = WIRE_STOP, .seconds = w->master->config->drain};
    wire_send(w->io.ev.fd, &m, -1);
}

void worker_renew(struct worker *w)
{
    struct wire m = {.kind = WIRE_CERTS};
    if (w->pid)
        wire_send(w->io.ev.fd, &m, -1);
}

void worker_send_tickets(struct worker *w)
{
    struct wire m = {.kind = WIRE_TICKETS, .tickets = w->master->tickets};
    if (w->pid)
        wire_send(w->io.ev.fd, &m, -1);
}

static void on_bind_request(struct worker *w, const struct wire *m)
{
    struct wire answer = {.kind = WIRE_BOUND};
    struct sockets_request r = {
        .worker = w->number,
        .address = m->address,
        .scheme = m->scheme,
        .backlog = m->number,
    };
    int fd = -1;
    if (w->master->stopping)
        snprintf(answer.error, sizeof answer.error,
                 "cannot listen on %.150s: the server is stopping", m->address);
    else
        fd = sockets_bind(w->master->sockets, &r, &answer.number, answer.error);
    wire_send(w->io.ev.fd, &answer, fd);
    if (w->master->stopping)
        send_stop(w); /* see link.c */
}

static void on_ready_message(struct worker *w)
{
    struct master *m = w->master;
    if (w->life != LIFE_STARTING)
        return;
    w->life = LIFE_READY;
    w->ready = loop_now(&m->loop);
    w->attempts = 0;
    m->any_ready = true;
    if (!m->stopping)
        sockets_worker_ready(m->sockets, w->number);
    if (m->announced) {
        char number[16];
        snprintf(number, sizeof number, "%d", w->number);
        struct log_field field = {.key = "worker", .value = number};
        log_event(LOG_INFO, &field, 1, "worker ready");
    }
    master_worker_changed(m);
}

static void on_message(struct worker *w, const struct wire *m)
{
    switch (m->kind) {
    case WIRE_BIND: on_bind_request(w, m); break;
    case WIRE_UNBIND: sockets_unbind(w->master->sockets, w->number, m->address, m->number); break;
    case WIRE_READY: on_ready_message(w); break;
    case WIRE_LOST: pairs_lost(w->master->pairs, w->number, m->number); break;
    case WIRE_REFUSED: w->refused = true; break;
    default: break;
    }
}

/*
 * Handles what has come. At end of file only the watching stops: the news of the death comes by
 * SIGCHLD.
 */
static void read_link(struct worker *w)
{
    struct wire m;
    int fd, got;
    while ((got = wire_receive(w->io.ev.fd, &m, &fd, false)) != 0) {
        if (got < 0 && errno == EBADMSG)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0)
            break;
        if (fd >= 0)
            close(fd); /* a worker has none to give */
        on_message(w, &m);
    }
    loop_io_watch(&w->master->loop, &w->io, 0);
}

static void on_link(struct loop_io *io, int events)
{
    (void)events;
    read_link(LIST_ITEM(io, struct worker, io));
}

static void close_link(struct worker *w)
{
    if (w->io.ev.fd < 0)
        return;
    loop_io_watch(&w->master->loop, &w->io, 0);
    close(w->io.ev.fd);
    w->io.ev.fd = -1;
}

void worker_forget(struct worker *w)
{
    close_link(w);
    loop_timer_stop(&w->master->loop, &w->restart);
}

/* --- Birth ---------------------------------------------------------------------------------- */

/*
 * What the master listens to does nothing in a worker, and SIGTERM nothing before the worker does
 * listen. A worker waits for children of its app itself.
 */
static void own_signals(void)
{
    sigset_t none;
    signal(SIGCHLD, SIG_DFL);
    signal(HEARTBEAT_SIGNAL, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The forked process: becomes a worker and ends as one. Signals are blocked when it begins. */
static _Noreturn void live(struct worker *w, int fd)
{
    const struct master_config *config = w->master->config;
    int number = w->number;
    struct worker_link *link = link_new(fd, number, config->workers);
    link_set_watchdog(link, w->watchdog);
    log_set_worker(number);
    if (w->master->scratch)
        link_set_scratch(link, scratch_path(w->master->scratch));
    master_forget(w->master);
    own_signals();
    int status = config->work(link, config->arg);
    link_free(link);
    log_close(1);
    exit(status); /* not _exit: what the app has printed must be flushed */
}

/*
 * Forks with all signals blocked, so that none reaches the child while it still has the master's
 * handlers.
 */
static pid_t fork_worker(struct worker *w, const int pair[2])
{
    sigset_t all, before;
    fflush(NULL); /* else the child prints once more what waits in our buffers */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        live(w, pair[1]);
    }
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

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
    w->attempts++;
    bool left = w->attempts >= ABSENT_AFTER && sockets_worker_absent(w->master->sockets, w->number);
    if (left && w->attempts == ABSENT_AFTER)
        log_warn("worker %d does not start: new connections go to the others", w->number);
    if (w->master->any_ready || w->attempts < ATTEMPTS) {
        plan_restart(w, false);
        return;
    }
    log_error("giving up: no worker became ready in %d attempts", ATTEMPTS);
    over(w, WORKER_FAILED);
    master_abort(w->master);
}

void worker_start(struct worker *w)
{
    struct master *m = w->master;
    int pair[2];
    pid_t pid = -1;
    sockets_worker_started(m->sockets, w->number);
    watchdog_clear(w->watchdog);
    if (wire_pair(pair) == 0) {
        pid = fork_worker(w, pair);
        int error = errno;
        close(pair[1]);
        if (pid < 0)
            close(pair[0]);
        errno = error;
    }
    if (pid < 0) {
        log_error("cannot start a worker: %s", strerror(errno));
        start_failed(w);
        return;
    }
    w->pid = pid;
    w->life = LIFE_STARTING;
    w->refused = false;
    w->started = loop_now(&m->loop);
    heartbeat_start(&w->heart, pid, &w->watchdog->pulse);
    loop_io_init(&w->io, pair[0], on_link);
    loop_io_watch(&m->loop, &w->io, LOOP_READ);
    worker_send_tickets(w);
    pairs_worker_started(m->pairs, w->number, pair[0]);
}

static void on_restart(struct loop_timer *timer)
{
    worker_start(LIST_ITEM(timer, struct worker, restart));
}

/* --- Death ---------------------------------------------------------------------------------- */

static void log_death(const struct worker *w, pid_t pid, int status)
{
    char number[16], process[16], how[32], lived[32];
    bool killed = WIFSIGNALED(status);
    const char *name = killed ? sigabbrev_np(WTERMSIG(status)) : NULL;
    snprintf(number, sizeof number, "%d", w->number);
    snprintf(process, sizeof process, "%d", (int)pid);
    if (name)
        snprintf(how, sizeof how, "SIG%s", name);
    else
        snprintf(how, sizeof how, "%d", killed ? WTERMSIG(status) : WEXITSTATUS(status));
    snprintf(lived, sizeof lived, "%.1fs", loop_now(&w->master->loop) - w->started);
    struct log_field fields[] = {
        {.key = "worker", .value = number},
        {.key = "pid", .value = process},
        {.key = killed ? "signal" : "status", .value = how},
        {.key = "lived", .value = lived},
    };
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == WORKER_DONE;
    log_event(good ? LOG_INFO : LOG_ERROR, fields, 4, good ? "worker ended" : "worker died");
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

void worker_ended(struct worker *w, int status)
{
    struct master *m = w->master;
    pid_t pid = w->pid;
    read_link(w); /* its last words */
    pairs_worker_ended(m->pairs, w->number);
    close_link(w);
    w->pid = 0;
    heartbeat_stop(&w->heart);
    watchdog_log(w->watchdog, w->number);
    w->refused |= w->watchdog->loading || (w->heart.silenced && w->life == LIFE_STARTING);
    if (m->stopping) {
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
            log_death(w, pid, status);
        over(w, WORKER_DONE);
    } else if (script_end(w, status)) {
        over(w, WEXITSTATUS(status));
    } else if (w->refused && !m->any_ready) {
        over(w, WORKER_FAILED);
        master_abort(m); /* the worker has logged why */
    } else {
        log_death(w, pid, status);
        next_life(w);
    }
    master_worker_changed(m);
}

void worker_stop(struct worker *w)
{
    if (w->pid)
        send_stop(w);
    else if (w->life != LIFE_OVER)
        over(w, WORKER_DONE);
}

void worker_kill(struct worker *w)
{
    if (w->pid)
        kill(w->pid, SIGKILL);
    else if (w->life != LIFE_OVER)
        over(w, WORKER_DONE);
}
