// SPDX-License-Identifier: MIT
/*
 * The master process: its loop, its signals, and how it ends. It holds no connection and no Lua
 * state, so that there is little in it that could fail, and a fork of it is cheap. It sleeps until
 * a worker speaks, works or dies, a signal comes, or somebody asks on the control socket.
 */
#include "master/master.h"

#include "base/log.h"
#include "base/mem.h"
#include "master/master_private.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Workers end by themselves when their time to drain is over; so much later they are killed. */
#define KILL_AFTER_SECONDS 1.0
#define LOG_RETRY_SECONDS 0.25
/* How long new session tickets are encrypted with the same key, unless the config says. */
#define TICKET_SECONDS (12 * 3600.0)

/* --- All workers together ------------------------------------------------------------------- */

static const struct place *places_end(const struct master *m)
{
    return m->places + m->config->workers;
}

static bool all_over(struct master *m)
{
    for (struct place *place = m->places; place < places_end(m); place++)
        if (!place_gone(place))
            return false;
    return true;
}

static bool all_settled(struct master *m)
{
    for (struct place *place = m->places; place < places_end(m); place++)
        if (place->life != LIFE_OVER && place->life != LIFE_READY)
            return false;
    return true;
}

static void announce(struct master *m)
{
    char text[512];
    m->announced = true;
    for (int i = 0; sockets_text(m->sockets, i, text, sizeof text); i++)
        log_info("listening %s", text);
    log_info("ready");
}

static void finish(struct master *m)
{
    if (!m->stopping)
        for (struct place *place = m->places; place < places_end(m); place++)
            if (m->status == 0)
                m->status = place->outcome;
    loop_stop(&m->loop);
}

void master_place_changed(struct master *m)
{
    if (all_over(m))
        finish(m);
    else if (m->any_ready && !m->announced && !m->stopping && all_settled(m))
        announce(m);
}

/* --- Stopping ------------------------------------------------------------------------------- */

static void kill_all(struct master *m)
{
    for (struct place *place = m->places; place < places_end(m); place++)
        place_kill(place);
}

void master_stop(struct master *m)
{
    if (m->stopping)
        return;
    m->stopping = true;
    signals_note_stop(&m->signals);
    log_info("stopping");
    /*
     * Without our copies the sockets end when the workers close theirs, and nothing more queues up.
     */
    for (struct place *place = m->places; place < places_end(m); place++)
        sockets_worker_gone(m->sockets, place->number);
    for (struct place *place = m->places; place < places_end(m); place++)
        place_stop(place);
    loop_timer_start(&m->loop, &m->deadline, m->config->drain + KILL_AFTER_SECONDS);
    master_place_changed(m);
}

void master_abort(struct master *m)
{
    m->stopping = true;
    m->status = 1;
    kill_all(m);
    master_place_changed(m);
}

static void on_deadline(struct loop_timer *timer)
{
    log_warn("workers that did not end in time are killed");
    kill_all(LIST_ITEM(timer, struct master, deadline));
}

/* --- Signals -------------------------------------------------------------------------------- */

static void on_stop(struct signals *s, bool again)
{
    struct master *m = LIST_ITEM(s, struct master, signals);
    if (!m->stopping) {
        master_stop(m);
    } else if (again) {
        log_warn("second signal: ending at once");
        master_abort(m);
    }
}

static void renew(struct master *m)
{
    if (m->stopping) {
        log_info("SIGHUP is ignored: the server is stopping");
        return;
    }
    log_info("SIGHUP: certificates are read again");
    for (struct place *place = m->places; place < places_end(m); place++)
        place_renew(place);
}

/* Several deaths may be one signal; and as process 1 of a container the master inherits orphans. */
static void bury(struct master *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (struct place *place = m->places; place < places_end(m); place++)
            place_bury(place, pid, status);
}

/* Some worker has used so much processor time that it is worth a look. */
static void look(struct master *m)
{
    for (struct place *place = m->places; place < places_end(m); place++)
        place_look(place);
}

static void on_signal(struct signals *s, int number)
{
    struct master *m = LIST_ITEM(s, struct master, signals);
    switch (number) {
    case SIGHUP: renew(m); break;
    case SIGUSR1: log_debug("SIGUSR1: there is no log file to open again"); break;
    case SIGUSR2: log_debug("SIGUSR2 means nothing yet"); break;
    case SIGCHLD: bury(m); break;
    case HEARTBEAT_SIGNAL: look(m); break;
    default: break;
    }
}

/* --- Session tickets ------------------------------------------------------------------------ */

static void plan_rotation(struct master *m)
{
    double period = m->config->ticket_period;
    loop_timer_start(&m->loop, &m->rotation, period > 0 ? period : TICKET_SECONDS);
}

/* A ticket encrypted just before a rotation is good for two more, which is a day. */
static void on_rotation(struct loop_timer *timer)
{
    struct master *m = LIST_ITEM(timer, struct master, rotation);
    tls_tickets_rotate(&m->tickets);
    for (struct place *place = m->places; place < places_end(m); place++)
        place_send_tickets(place);
    plan_rotation(m);
}

/* --- The log -------------------------------------------------------------------------------- */

static void on_log_waits(void *arg)
{
    struct master *m = arg;
    loop_timer_start(&m->loop, &m->log_retry, LOG_RETRY_SECONDS);
}

static void on_log_retry(struct loop_timer *timer)
{
    struct master *m = LIST_ITEM(timer, struct master, log_retry);
    if (log_flush())
        loop_timer_start(&m->loop, timer, LOG_RETRY_SECONDS);
}

/* --- The process ---------------------------------------------------------------------------- */

static struct master *master_new(const struct master_config *config)
{
    struct master *m = mem_alloc(sizeof *m + (size_t)config->workers * sizeof m->places[0]);
    m->config = config;
    loop_init(&m->loop);
    loop_timer_init(&m->deadline, on_deadline);
    loop_timer_init(&m->log_retry, on_log_retry);
    loop_timer_init(&m->rotation, on_rotation);
    tls_tickets_rotate(&m->tickets);
    plan_rotation(m);
    m->started = loop_now(&m->loop);
    m->sockets = sockets_new(config->workers);
    m->pairs = pairs_new(&m->loop, WORKER_PROCESSES * config->workers);
    m->scratch = scratch_open();
    for (int i = 0; i < config->workers; i++)
        place_init(&m->places[i], m, i);
    signals_start(&m->signals, &m->loop, on_signal, on_stop);
    log_on_wait(on_log_waits, m);
    return m;
}

static void master_free(struct master *m)
{
    log_on_wait(NULL, NULL);
    signals_close(&m->signals);
    pairs_free(m->pairs);
    loop_deinit(&m->loop);
    mem_free(m);
}

static int run(struct master *m)
{
    const struct master_config *config = m->config;
    m->control = control_open(&m->loop, config->control_path, commands_run, m);
    if (!m->control && config->control_path)
        return 1;
    for (struct place *place = m->places; place < places_end(m); place++)
        if (!m->stopping)
            place_start(place);
    while (!all_over(m))
        loop_run(&m->loop);
    if (m->control)
        control_finish(m->control);
    control_close(m->control);
    return m->status;
}

int master_run(const struct master_config *config)
{
    if (config->pid_file && pidfile_write(config->pid_file) < 0)
        return 1;
    struct master *m = master_new(config);
    int status = run(m);
    sockets_free(m->sockets);
    scratch_close(m->scratch);
    for (struct place *place = m->places; place < places_end(m); place++)
        place_deinit(place);
    master_free(m);
    if (config->pid_file)
        pidfile_remove(config->pid_file);
    return status;
}
