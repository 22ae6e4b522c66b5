// SPDX-License-Identifier: MIT
/* The worker's side of the line to the master (link.h), on its loop. */
#include "base/log.h"
#include "bind/http/llistener.h"
#include "bind/http/lserver.h"
#include "bind/ws/lgroup.h"
#include "bus/mesh.h"
#include "group/group.h"
#include "worker/worker_private.h"

#include <stdio.h>
#include <unistd.h>

int worker_bind_socket(struct lvm *vm, const char *address, int backlog,
                       struct llistener_socket *out)
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

void worker_unbind_socket(struct lvm *vm, const char *address, int port)
{
    link_unbind(worker_of(vm)->link, address, port);
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

void worker_open_mesh(struct worker *w)
{
    if (link_workers(w->link) == 1)
        return;
    w->mesh =
        mesh_new(&w->loop, lserver_of(w->vm)->conns.read_buffer, (unsigned)link_seat(w->link));
    mesh_bus(w->mesh)->workers = (unsigned)link_workers(w->link);
    mesh_on_lost(w->mesh, on_lost_peer, w);
    groups_use_bus(lgroup_groups(w->vm), mesh_bus(w->mesh));
}

static void read_link(struct worker *w)
{
    double seconds = w->config->drain;
    for (;;) {
        switch (link_next(w->link, &seconds)) {
        case LINK_NOTHING: return;
        case LINK_STOP: worker_drain(w, seconds); break;
        case LINK_SUCCEEDED: worker_succeeded(w, seconds); break;
        case LINK_PEER: add_peer(w); break;
        case LINK_CERTS: llistener_renew_certificates(w->vm); break;
        case LINK_TICKETS: lserver_of(w->vm)->tickets = *link_tickets(w->link); break;
        case LINK_GONE:
            loop_io_watch(&w->loop, &w->link_io, 0);
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
        read_link(w);
    w->serves = listens && ok;
    if (w->serves)
        link_ready(w->link);
    else if (listens)
        link_refused(w->link);
    if (!ok)
        worker_finish(w, WORKER_FAILED);
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

void worker_line_init(struct worker *w)
{
    loop_job_init(&w->link_job, on_link_job);
    loop_io_init(&w->link_io, link_fd(w->link), on_link);
    loop_io_watch(&w->loop, &w->link_io, LOOP_READ);
}
