// SPDX-License-Identifier: MIT
/* One process of a worker: it is started, talks through its line, and is gone. */
#include "base/log.h"
#include "line/birth.h"
#include "line/line.h"
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
    *p = (struct process){.place = place, .seat = seat};
    p->io.ev.fd = -1;
    heartbeat_init(&p->heart, &place->master->loop, place->number, m->config->handler_timeout);
}

void process_deinit(struct process *p)
{
    watchdog_free(p->watchdog);
}

/* --- The line ------------------------------------------------------------------------------- */

void process_send(const struct process *p, const struct wire *message, int fd)
{
    if (p->pid)
        wire_send(p->io.ev.fd, message, fd);
}

void process_unfit(struct process *p, const char *why)
{
    if (!p->refused)
        log_error("worker %d cannot be started: %s; if the program or its library was replaced "
                  "while the server runs, restart the server",
                  p->place->number, why);
    p->refused = true;
}

/* A program that speaks otherwise has taken the place of ours. */
static void on_other_version(struct process *p, unsigned version)
{
    char why[BIRTH_WHY];
    snprintf(why, sizeof why, "it speaks version %u of the line, this master %d", version,
             WIRE_VERSION);
    process_unfit(p, why);
    kill(p->pid, SIGKILL);
}

/*
 * Handles what has come. At end of file only the watching stops: the news of the death comes by
 * SIGCHLD.
 */
static void read_line(struct process *p)
{
    struct wire m;
    int fd, got;
    while ((got = wire_receive(p->io.ev.fd, &m, &fd, false)) != 0) {
        if (got < 0 && errno == EBADMSG)
            continue;
        if (got < 0 && errno == EPROTO) {
            on_other_version(p, m.version);
            return;
        }
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

static void on_line(struct loop_io *io, int events)
{
    (void)events;
    read_line(LIST_ITEM(io, struct process, io));
}

void process_close_line(struct process *p)
{
    if (p->io.ev.fd < 0)
        return;
    loop_io_watch(&p->place->master->loop, &p->io, 0);
    close(p->io.ev.fd);
    p->io.ev.fd = -1;
}

/* --- Birth ---------------------------------------------------------------------------------- */

/* The forked process: becomes a worker, or says why it cannot. */
static _Noreturn void live(const struct process *p, int line)
{
    const struct master_config *config = p->place->master->config;
    char why[BIRTH_WHY];
    config->become(line, p->place->number, config->arg);
    snprintf(why, sizeof why, "the program cannot be run again: %s", strerror(errno));
    birth_refuse(line, why);
    _exit(WORKER_FAILED);
}

/*
 * Forks with all signals blocked, so that none reaches the child while it still has the master's
 * handlers, or, after an exec, none yet.
 */
static pid_t fork_worker(const struct process *p, int line)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        live(p, line);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

/* A new page, which is announced to whoever will be at the other end of the line. */
static int announce(struct process *p, int line)
{
    const struct master *m = p->place->master;
    struct birth b = {
        .program = m->config->version ? m->config->version : "",
        .seat = p->seat,
        .workers = m->config->workers,
        .scratch = m->scratch,
    };
    watchdog_free(p->watchdog);
    p->watchdog = watchdog_new(&b.page);
    if (!p->watchdog)
        return -1;
    int result = birth_announce(line, &b), error = errno;
    close(b.page);
    errno = error;
    return result;
}

static void begin_life(struct process *p, pid_t pid, int line)
{
    struct master *m = p->place->master;
    p->pid = pid;
    p->refused = p->retires = false;
    p->started = loop_now(&m->loop);
    heartbeat_start(&p->heart, pid, &p->watchdog->pulse);
    loop_io_init(&p->io, line, on_line);
    loop_io_watch(&m->loop, &p->io, LOOP_READ);
    if (m->config->workers > 1)
        pairs_worker_started(m->pairs, p->seat, line);
}

int process_start(struct process *p)
{
    int pair[2];
    if (wire_pair(pair) < 0)
        return -1;
    pid_t pid = announce(p, pair[0]) < 0 ? -1 : fork_worker(p, pair[1]);
    int error = errno;
    close(pair[1]);
    if (pid > 0) {
        begin_life(p, pid, pair[0]);
        return 0;
    }
    close(pair[0]);
    errno = error;
    return -1;
}

/* --- Death ---------------------------------------------------------------------------------- */

void process_ended(struct process *p)
{
    struct master *m = p->place->master;
    read_line(p); /* its last words */
    pairs_worker_ended(m->pairs, p->seat);
    process_close_line(p);
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
