// SPDX-License-Identifier: MIT
/*
 * A worker: the loop, the Lua state and the line to the master, put together.
 *
 *      load the app ─▶ READY ─▶ serve ─▶ STOP (or the master is gone) ─▶ drain ─▶ exit
 *                                 └─ SIGTERM, or too much memory: RETIRE, and serve until STOP
 *
 * An app without listeners is a script: it ends when its last task has ended.
 */
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "bind/core/lfinal.h"
#include "bind/core/lguard.h"
#include "bind/core/lload.h"
#include "bind/http/llistener.h"
#include "bind/lmodules.h"
#include "bus/mesh.h"
#include "line/watchdog.h"
#include "worker/worker_private.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_RETRY_SECONDS 0.1

/* Nothing can ever run again: a script has ended, or the last listener has been stopped. */
static void on_idle(struct lvm *vm)
{
    struct worker *w = worker_of(vm);
    if (!w->draining)
        worker_finish(w, w->failed ? WORKER_FAILED : WORKER_DONE);
}

static void on_term(struct loop_signal *signal)
{
    struct worker *w = LIST_ITEM(signal, struct worker, term);
    worker_retire(w);
}

/* Log lines that the system did not take are tried again now and then. */
static void on_log_waits(void *arg)
{
    struct worker *w = arg;
    loop_timer_start(&w->loop, &w->log_retry, LOG_RETRY_SECONDS);
}

static void on_log_retry(struct loop_timer *timer)
{
    if (log_flush())
        on_log_waits(LIST_ITEM(timer, struct worker, log_retry));
}

static void listen_to_all(struct worker *w)
{
    worker_line_init(w);
    worker_end_init(w);
    loop_signal_start(&w->loop, &w->term, SIGTERM, on_term);
    loop_timer_init(&w->log_retry, on_log_retry);
    log_on_wait(on_log_waits, w);
}

/* In a signal handler: only memory is written. */
static void on_stuck(struct lvm *vm, const struct lguard_stuck *report, bool last)
{
    struct watchdog *page = line_watchdog(worker_of(vm)->line);
    snprintf(page->handler, sizeof page->handler, "%s", report->handler);
    memcpy(page->connection, report->connection, sizeof page->connection);
    memcpy(page->where, report->where, sizeof page->where);
    page->loading = report->loading;
    page->written = true;
    if (last)
        _exit(WORKER_FAILED);
}

/* The second time in a minute that a handler needed more memory than the limit allows. */
static void on_breach(struct lvm *vm)
{
    struct worker *w = worker_of(vm);
    if (w->draining || w->retiring)
        return;
    log_warn("the memory limit was reached again within a minute: this worker is replaced");
    worker_retire(w);
}

static struct lvm *make_vm(struct worker *w)
{
    struct lvm *vm = lvm_new(&w->loop, w->config->lua_path, lmodules(), false);
    vm->arg = w;
    vm->scratch = line_scratch(w->line);
    vm->on_loaded = worker_loaded;
    vm->on_idle = on_idle;
    llistener_bind_with(vm, &(struct llistener_binder){worker_bind_socket, worker_unbind_socket});
    return vm;
}

static void watch_handlers(struct worker *w)
{
    struct lguard_config config = {.seconds = w->config->handler_timeout,
                                   .bytes = w->config->memory_limit,
                                   .on_stuck = on_stuck,
                                   .on_breach = on_breach};
    lguard_start(w->vm, &config);
}

int worker_run(struct line *line, const struct worker_config *config)
{
    struct worker *w = mem_alloc(sizeof *w);
    w->config = config;
    w->line = line;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what an app prints is seen at once, in a pipe too */
    loop_init(&w->loop);
    w->loop.pulse = &line_watchdog(line)->pulse;
    listen_to_all(w);
    w->vm = make_vm(w);
    worker_open_mesh(w);
    watch_handlers(w);
    lload_app(w->vm, config->app, config->args);
    loop_run(&w->loop);
    int status = w->status;
    lfinal_finish(w->vm, worker_time_left(w));
    w->loop.pulse->slow = true;
    lvm_free(w->vm); /* so that a leak checker sees what the Lua heap owned */
    if (w->mesh)
        mesh_free(w->mesh);
    return status;
}
