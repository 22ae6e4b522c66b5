// SPDX-License-Identifier: MIT
/* One process of a worker: it is forked, talks through its link, and is gone. */
#include "base/log.h"
#include "line/link.h"
#include "line/wire.h"
#include "master/master_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void process_init(struct process *p, struct place *place, int seat)
{
    const struct master *m = place->master;
    *p = (struct process){.place = place, .seat = seat, .watchdog = watchdog_new()};
    p->io.ev.fd = -1;
    heartbeat_init(&p->heart, &place->master->loop, place->number, m->config->handler_timeout);
}

void process_deinit(struct process *p)
{
    watchdog_free(p->watchdog);
}

/* --- The link ------------------------------------------------------------------------------- */

void process_send(const struct process *p, const struct wire *message, int fd)
{
    if (p->pid)
        wire_send(p->io.ev.fd, message, fd);
}

/*
 * Handles what has come. At end of file only the watching stops: the news of the death comes by
 * SIGCHLD.
 */
static void read_link(struct process *p)
{
    struct wire m;
    int fd, got;
    while ((got = wire_receive(p->io.ev.fd, &m, &fd, false)) != 0) {
        if (got < 0 && errno == EBADMSG)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0)
            break;
        if (fd >= 0)
            close(fd); /* a worker has none to give */
        place_heard(p, &m);
    }
    loop_io_watch(&p->place->master->loop, &p->io, 0);
}

static void on_link(struct loop_io *io, int events)
{
    (void)events;
    read_link(LIST_ITEM(io, struct process, io));
}

void process_close_link(struct process *p)
{
    if (p->io.ev.fd < 0)
        return;
    loop_io_watch(&p->place->master->loop, &p->io, 0);
    close(p->io.ev.fd);
    p->io.ev.fd = -1;
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
static _Noreturn void live(struct process *p, int fd)
{
    struct master *m = p->place->master;
    const struct master_config *config = m->config;
    struct worker_link *link = link_new(fd, p->seat, config->workers);
    link_set_watchdog(link, p->watchdog);
    log_set_worker(link_worker(link));
    if (m->scratch)
        link_set_scratch(link, scratch_path(m->scratch));
    master_forget(m);
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
static pid_t fork_worker(struct process *p, const int pair[2])
{
    sigset_t all, before;
    fflush(NULL); /* else the child prints once more what waits in our buffers */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        live(p, pair[1]);
    }
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

int process_start(struct process *p)
{
    struct master *m = p->place->master;
    int pair[2];
    watchdog_clear(p->watchdog);
    if (wire_pair(pair) < 0)
        return -1;
    pid_t pid = fork_worker(p, pair);
    int error = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        errno = error;
        return -1;
    }
    p->pid = pid;
    p->refused = p->retires = false;
    p->started = loop_now(&m->loop);
    heartbeat_start(&p->heart, pid, &p->watchdog->pulse);
    loop_io_init(&p->io, pair[0], on_link);
    loop_io_watch(&m->loop, &p->io, LOOP_READ);
    if (m->config->workers > 1)
        pairs_worker_started(m->pairs, p->seat, pair[0]);
    return 0;
}

/* --- Death ---------------------------------------------------------------------------------- */

void process_ended(struct process *p)
{
    struct master *m = p->place->master;
    read_link(p); /* its last words */
    pairs_worker_ended(m->pairs, p->seat);
    process_close_link(p);
    p->pid = 0;
    heartbeat_stop(&p->heart);
    watchdog_log(p->watchdog, p->place->number);
}

void process_log_end(const struct process *p, pid_t pid, int status)
{
    char number[16], id[16], how[32], lived[32];
    bool killed = WIFSIGNALED(status);
    const char *name = killed ? sigabbrev_np(WTERMSIG(status)) : NULL;
    snprintf(number, sizeof number, "%d", p->place->number);
    snprintf(id, sizeof id, "%d", (int)pid);
    if (name)
        snprintf(how, sizeof how, "SIG%s", name);
    else
        snprintf(how, sizeof how, "%d", killed ? WTERMSIG(status) : WEXITSTATUS(status));
    snprintf(lived, sizeof lived, "%.1fs", loop_now(&p->place->master->loop) - p->started);
    struct log_field fields[] = {
        {.key = "worker", .value = number},
        {.key = "pid", .value = id},
        {.key = killed ? "signal" : "status", .value = how},
        {.key = "lived", .value = lived},
    };
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == WORKER_DONE;
    log_event(good ? LOG_INFO : LOG_ERROR, fields, 4, good ? "worker ended" : "worker died");
}
