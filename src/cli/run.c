// SPDX-License-Identifier: MIT
/*
 * A worker: the loop, the Lua state and the line to the master, put together.
 *
 *      load the app ─▶ READY ─▶ serve ─▶ STOP (or the master is gone) ─▶ drain ─▶ exit
 *                                 └─ SIGTERM, or too much memory: RETIRE, and serve until STOP
 *
 * An app without listeners is a script: it ends when its last task has ended.
 */
#include "cli/run.h"

#include "base/mem.h"
#include "bind/core/lvm.h"
#include "bind/http/llistener.h"
#include "bus/mesh.h"
#include "cli/library.h"
#include "cli/version.h"
#include "line/link.h"
#include "line/scratch.h"
#include "line/watchdog.h"
#include "master/master.h"
#include "server/group.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAST_WORDS_SECONDS 0.25
/* For those who came in just before a successor took over to say what they want. */
#define ARRIVAL_SECONDS 0.5

struct worker {
    const struct options *options;
    struct loop loop;
    struct lvm *vm;
    struct worker_link *link;
    struct mesh *mesh; /* NULL: there is one worker */
    struct loop_io link_io;
    struct loop_job link_job;   /* what came while a socket was asked for */
    struct loop_timer deadline; /* of the drain */
    double until;               /* when that is */
    struct loop_timer arrivals; /* until it begins, when a successor serves */
    double drain_seconds;
    struct loop_timer log_retry;
    struct loop_signal term;
    bool serves;   /* the master knows that it is ready */
    bool retiring; /* and that it wants to be replaced */
    bool draining, failed, cut_off;
    int status;
};

static struct worker *worker_of(struct lvm *vm)
{
    return vm->arg;
}

static void finish(struct worker *w, int status)
{
    w->status = status;
    loop_stop(&w->loop);
}

static int bind_socket(struct lvm *vm, const char *address, int backlog, struct lvm_socket *out)
{
    struct worker *w = worker_of(vm);
    struct link_bind what = {
        .address = address, .scheme = out->secure ? "wss" : "ws", .backlog = backlog};
    struct link_bound bound;
    if (w->draining) { /* nothing would drain it */
        snprintf(out->error, sizeof out->error, "cannot listen on %.150s: the server is stopping",
                 address);
        return -1;
    }
    int r = link_bind_socket(w->link, &what, &bound);
    if (link_waiting(w->link))
        loop_defer(&w->loop, LOOP_RUN, &w->link_job);
    if (r < 0) {
        snprintf(out->error, sizeof out->error, "%s", bound.error);
        return -1;
    }
    out->fd = bound.fd;
    out->port = bound.port;
    return 0;
}

static void unbind_socket(struct lvm *vm, const char *address, int port)
{
    link_unbind(worker_of(vm)->link, address, port);
}

/* Nothing can ever run again: a script has ended, or the last listener has been stopped. */
static void on_idle(struct lvm *vm)
{
    struct worker *w = worker_of(vm);
    if (!w->draining)
        finish(w, w->failed ? WORKER_FAILED : WORKER_DONE);
}

static void on_drained(struct server *s)
{
    struct lvm *vm = LIST_ITEM(s, struct lvm, server);
    finish(worker_of(vm), WORKER_DONE);
}

/* Cuts off whoever is left; their onClose still runs. Handlers that wait even then are given up. */
static void on_deadline(struct loop_timer *timer)
{
    struct worker *w = LIST_ITEM(timer, struct worker, deadline);
    if (!w->cut_off) {
        w->cut_off = true;
        log_warn("connections were left after the drain time");
        server_abort(&w->vm->server);
        loop_timer_start(&w->loop, timer, LAST_WORDS_SECONDS);
        return;
    }
    fflush(stdout);
    log_close(0.1);
    _exit(WORKER_DONE); /* there is no order in which to take down what still waits */
}

static void drain(struct worker *w, double seconds)
{
    if (w->draining)
        return;
    w->draining = true;
    if (!w->vm->loaded) {
        finish(w, WORKER_DONE);
        return;
    }
    server_drain(&w->vm->server, on_drained);
    loop_timer_start(&w->loop, &w->deadline, seconds);
    w->until = loop_now(&w->loop) + seconds;
}

/* For finalizers, when nothing else runs any more: what is left of the drain. */
static double time_left(struct worker *w)
{
    double left = w->until > 0 ? w->until - loop_now(&w->loop) : w->options->drain;
    return left > LAST_WORDS_SECONDS ? left : LAST_WORDS_SECONDS;
}

/* Goes on until another is ready in its place; asked again, it leaves at once. */
static void retire(struct worker *w)
{
    if (w->retiring || !w->serves || link_retire(w->link) < 0)
        drain(w, w->options->drain);
    w->retiring = true;
}

static void on_arrived(struct loop_timer *timer)
{
    struct worker *w = LIST_ITEM(timer, struct worker, arrivals);
    drain(w, w->drain_seconds);
}

static void succeeded(struct worker *w, double seconds)
{
    if (w->draining)
        return;
    server_hand_over(&w->vm->server);
    w->drain_seconds = seconds;
    loop_timer_start(&w->loop, &w->arrivals, ARRIVAL_SECONDS);
}

static void add_peer(struct worker *w)
{
    int peer, fd = link_take_peer(w->link, &peer);
    if (w->mesh)
        mesh_add(w->mesh, (unsigned)peer, fd);
    else
        close(fd);
}

static void on_lost_peer(void *arg, unsigned peer)
{
    struct worker *w = arg;
    link_lost(w->link, (int)peer);
}

static void open_mesh(struct worker *w)
{
    if (link_workers(w->link) == 1)
        return;
    w->mesh = mesh_new(&w->loop, w->vm->server.read_buffer, (unsigned)link_seat(w->link));
    mesh_bus(w->mesh)->workers = (unsigned)link_workers(w->link);
    mesh_on_lost(w->mesh, on_lost_peer, w);
    groups_use_bus(w->vm->server.groups, mesh_bus(w->mesh));
}

static void read_link(struct worker *w)
{
    double seconds = w->options->drain;
    for (;;) {
        switch (link_next(w->link, &seconds)) {
        case LINK_NOTHING: return;
        case LINK_STOP: drain(w, seconds); break;
        case LINK_SUCCEEDED: succeeded(w, seconds); break;
        case LINK_PEER: add_peer(w); break;
        case LINK_CERTS: llistener_renew_certificates(w->vm); break;
        case LINK_TICKETS: w->vm->server.tickets = *link_tickets(w->link); break;
        case LINK_GONE:
            loop_io_watch(&w->loop, &w->link_io, 0);
            log_warn("the master process is gone; draining");
            drain(w, seconds);
            return;
        }
    }
}

static void on_loaded(struct lvm *vm, bool ok)
{
    struct worker *w = worker_of(vm);
    bool listens = !link_empty(&vm->listeners);
    w->loop.pulse->slow = false;
    w->failed = !ok;
    if (ok) /* so that the first client finds the other workers */
        read_link(w);
    w->serves = listens && ok;
    if (w->serves)
        link_ready(w->link);
    else if (listens)
        link_refused(w->link);
    if (!ok)
        finish(w, WORKER_FAILED);
}

static void on_link(struct loop_io *io, int events)
{
    (void)events;
    read_link(LIST_ITEM(io, struct worker, link_io));
}

static void on_link_job(struct loop_job *job)
{
    read_link(LIST_ITEM(job, struct worker, link_job));
}

static void on_term(struct loop_signal *signal)
{
    struct worker *w = LIST_ITEM(signal, struct worker, term);
    retire(w);
}

/* Log lines that the system did not take are tried again now and then. */
static void on_log_waits(void *arg)
{
    struct worker *w = arg;
    loop_timer_start(&w->loop, &w->log_retry, 0.1);
}

static void on_log_retry(struct loop_timer *timer)
{
    if (log_flush())
        on_log_waits(LIST_ITEM(timer, struct worker, log_retry));
}

static void watch_master(struct worker *w)
{
    loop_job_init(&w->link_job, on_link_job);
    loop_io_init(&w->link_io, link_fd(w->link), on_link);
    loop_io_watch(&w->loop, &w->link_io, LOOP_READ);
    loop_signal_start(&w->loop, &w->term, SIGTERM, on_term);
    loop_timer_init(&w->deadline, on_deadline);
    loop_timer_init(&w->arrivals, on_arrived);
    loop_timer_init(&w->log_retry, on_log_retry);
    log_on_wait(on_log_waits, w);
}

/* In a signal handler: only memory is written. */
static void on_stuck(struct lvm *vm, const struct lguard_stuck *report, bool last)
{
    struct watchdog *page = link_watchdog(worker_of(vm)->link);
    snprintf(page->handler, sizeof page->handler, "%s", report->handler);
    memcpy(page->connection, report->connection, sizeof page->connection);
    memcpy(page->where, report->where, sizeof page->where);
    page->loading = report->loading;
    page->told = true;
    if (last)
        _exit(WORKER_FAILED);
}

/* The second time in a minute that a handler needed more memory than there shall be. */
static void on_breach(struct lvm *vm)
{
    struct worker *w = worker_of(vm);
    if (w->draining || w->retiring)
        return;
    log_warn("the memory limit was reached again within a minute: this worker is replaced");
    retire(w);
}

static int work(struct worker_link *link, void *arg)
{
    struct worker *w = mem_alloc(sizeof *w);
    w->options = arg;
    w->link = link;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what an app prints is seen at once, in a pipe too */
    loop_init(&w->loop);
    w->loop.pulse = &link_watchdog(link)->pulse;
    watch_master(w);
    w->vm = lvm_new(&w->loop, library_path(), false);
    w->vm->arg = w;
    w->vm->scratch = link_scratch(link);
    w->vm->bind_socket = bind_socket;
    w->vm->unbind_socket = unbind_socket;
    w->vm->on_loaded = on_loaded;
    w->vm->on_idle = on_idle;
    w->vm->on_stuck = on_stuck;
    w->vm->on_breach = on_breach;
    open_mesh(w);
    lguard_start(w->vm, w->options->handler_timeout, w->options->memory_limit);
    lvm_load(w->vm, w->options->app, w->options->args);
    loop_run(&w->loop);
    int status = w->status;
    lvm_finish(w->vm, time_left(w));
    w->loop.pulse->slow = true;
    lvm_free(w->vm); /* so that a leak checker sees what the Lua heap owned */
    if (w->mesh)
        mesh_free(w->mesh);
    return status;
}

/* A missing app is wrong usage, told before any process is started. */
static bool app_exists(const char *path)
{
    struct stat st;
    char entry[4200];
    if (stat(path, &st) < 0) {
        fprintf(stderr, "neap: there is no app at %s: no such file or folder\n", path);
        return false;
    }
    snprintf(entry, sizeof entry, "%s/init.lua", path);
    if (S_ISDIR(st.st_mode) && access(entry, F_OK) < 0) {
        fprintf(stderr, "neap: there is no app at %s: the folder has no init.lua\n", path);
        return false;
    }
    return true;
}

int run_command(const struct options *o)
{
    if (!app_exists(o->app))
        return 2;
    log_open(o->log_level, o->log_json);
    struct master_config config = {
        .workers = o->workers,
        .drain = o->drain,
        .handler_timeout = o->handler_timeout,
        .pid_file = o->pid_file,
        .control_path = o->control,
        .version = version_text(),
        .work = work,
        .arg = (void *)(size_t)o,
    };
    int status = master_run(&config);
    log_close(1);
    return status;
}

/* In a signal handler. */
static void on_check_stuck(struct lvm *vm, const struct lguard_stuck *report, bool last)
{
    static const char text[] = "the app exceeds its time limit for loading, in a function that "
                               "cannot be interrupted\n";
    (void)vm;
    if (!last)
        return;
    if (*report->where) {
        (void)!write(STDERR_FILENO, report->where, strlen(report->where));
        (void)!write(STDERR_FILENO, ": ", 2);
    }
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

static struct {
    const struct lvm *vm; /* NULL: nothing is being checked */
    struct scratch *scratch;
} checking;

/* The app has ended the program: os.exit has told of that, exit of the C library has not. */
static void on_check_exit(void)
{
    static const char text[] = "neap: the app ended the program while it loaded\n";
    if (!checking.vm)
        return;
    scratch_close(checking.scratch);
    log_close(1);
    if (checking.vm->checked)
        return;
    fflush(stdout);
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

int check_command(const struct options *o)
{
    if (!app_exists(o->app))
        return 2;
    log_open(LOG_WARN, false);
    atexit(on_check_exit);
    struct loop loop;
    loop_init(&loop);
    struct lvm *vm = lvm_new(&loop, library_path(), true);
    vm->on_stuck = on_check_stuck;
    lguard_start(vm, o->handler_timeout, o->memory_limit);
    struct scratch *scratch = scratch_open();
    vm->scratch = scratch ? scratch_path(scratch) : NULL;
    checking.vm = vm;
    checking.scratch = scratch;
    int status = lvm_check(vm, o->app, o->args);
    checking.vm = NULL;
    fflush(stdout);
    lvm_finish(vm, o->drain);
    lvm_free(vm);
    scratch_close(scratch);
    loop_deinit(&loop);
    log_close(1);
    return status;
}
