// SPDX-License-Identifier: MIT
/* The worker's side of the line to the master (line.h), on its loop. */
#include "base/log.h"
#include "bind/http/llistener.h"
#include "bind/http/lserver.h"
#include "bind/ws/lgroup.h"
#include "bus/mesh.h"
#include "group/groups.h"
#include "worker/worker_private.h"

#include <stdio.h>
#include <unistd.h>

int worker_bind_socket(struct lvm *vm, const char *address, int backlog,
                       struct llistener_socket *out)
{
    struct worker *w = worker_of(vm);
    struct line_bind what = {
        .address = address, .scheme = out->secure ? "wss" : "ws", .backlog = backlog};
    struct line_bound bound;
    if (w->draining) { /* nothing would drain it */
        snprintf(out->error, sizeof out->error, "cannot listen on %.150s: the server is stopping",
                 address);
        return -1;
    }
    int r = line_bind_socket(w->line, &what, &bound);
    if (line_waiting(w->line))
        loop_defer(&w->loop, LOOP_RUN, &w->line_job);
    if (r < 0) {
        snprintf(out->error, sizeof out->error, "%s", bound.error);
        return -1;
    }
    out->fd = bound.fd;
    out->port = bound.port;
    return 0;
}

void worker_unbind_socket(struct lvm *vm, const char *address, int port)
{
    line_unbind(worker_of(vm)->line, address, port);
}

static void add_other(struct worker *w)
{
    int other, fd = line_take_other(w->line, &other);
    if (w->mesh)
        mesh_add(w->mesh, (unsigned)other, fd);
    else
        close(fd);
}

static void on_lost_other(void *arg, unsigned other)
{
    struct worker *w = arg;
    line_lost(w->line, (int)other);
}

void worker_open_mesh(struct worker *w)
{
    if (line_workers(w->line) == 1)
        return;
    w->mesh =
        mesh_new(&w->loop, lserver_of(w->vm)->conns.read_buffer, (unsigned)line_seat(w->line));
    mesh_bus(w->mesh)->workers = (unsigned)line_workers(w->line);
    mesh_on_lost(w->mesh, on_lost_other, w);
    groups_use_bus(lgroup_groups(w->vm), mesh_bus(w->mesh));
}

static void read_line(struct worker *w)
{
    double seconds = w->config->drain;
    for (;;) {
        switch (line_next(w->line, &seconds)) {
        case LINE_NOTHING: return;
        case LINE_STOP: worker_drain(w, seconds); break;
        case LINE_SUCCEEDED: worker_succeeded(w, seconds); break;
        case LINE_OTHER: add_other(w); break;
        case LINE_CERTS: llistener_renew_certificates(w->vm); break;
        case LINE_TICKETS: lserver_of(w->vm)->tickets = *line_tickets(w->line); break;
        case LINE_GONE:
            loop_io_watch(&w->loop, &w->line_io, 0);
            log_warn("the master process is gone; draining");
            worker_drain(w, seconds);
            return;
        }
    }
}

void worker_loaded(struct lvm *vm, bool ok)
{
    struct worker *w = worker_of(vm);
    bool listens = llistener_any(vm);
    w->loop.pulse->slow = false;
    w->failed = !ok;
    if (ok) /* so that the first client finds the other workers */
        read_line(w);
    w->serves = listens && ok;
    if (w->serves)
        line_ready(w->line);
    else if (listens)
        line_refused(w->line);
    if (!ok)
        worker_finish(w, WORKER_FAILED);
}

static void on_line(struct loop_io *io, int events)
{
    (void)events;
    read_line(LIST_ITEM(io, struct worker, line_io));
}

static void on_line_job(struct loop_job *job)
{
    read_line(LIST_ITEM(job, struct worker, line_job));
}

void worker_line_init(struct worker *w)
{
    loop_job_init(&w->line_job, on_line_job);
    loop_io_init(&w->line_io, line_fd(w->line), on_line);
    loop_io_watch(&w->loop, &w->line_io, LOOP_READ);
}
