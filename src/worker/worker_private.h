// SPDX-License-Identifier: MIT
/*
 * What the files of a worker share: its struct, and the calls between them. Nobody outside
 * src/worker/ includes this.
 *
 *      worker.c         the process: made, run, taken down
 *      worker_line.c    what the master says, and what it is asked for
 *      worker_end.c     the ways to an end: retiring, draining
 */
#ifndef NEAP_WORKER_WORKER_PRIVATE_H
#define NEAP_WORKER_WORKER_PRIVATE_H

#include "bind/core/lvm.h"
#include "line/line.h"
#include "net/loop.h"
#include "worker/worker.h"

struct llistener_socket;
struct mesh;

struct worker {
    const struct worker_config *config;
    struct loop loop;
    struct lvm *vm;
    struct line *line;
    struct mesh *mesh; /* NULL: there is one worker */
    struct loop_io line_io;
    struct loop_job line_job;   /* what came while a socket was asked for */
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

static inline struct worker *worker_of(struct lvm *vm)
{
    return vm->arg;
}

/* worker_line.c */
/* Listens to the master from now on. */
void worker_line_init(struct worker *w);
/* Has groups reach the other workers; nothing when there are none. */
void worker_open_mesh(struct worker *w);
/* The sockets of listeners, as the vm asks for them. */
int worker_bind_socket(struct lvm *vm, const char *address, int backlog,
                       struct llistener_socket *out);
void worker_unbind_socket(struct lvm *vm, const char *address, int port);
/* The app has loaded, or has not: tells the master. */
void worker_loaded(struct lvm *vm, bool ok);

/* worker_end.c */
void worker_end_init(struct worker *w);
/* Ends the loop; the process ends with that status. */
void worker_finish(struct worker *w, int status);
/* Tells everybody to go and ends when they have, after so many seconds at the latest. */
void worker_drain(struct worker *w, double seconds);
/* Goes on until another is ready in its place; asked again, it leaves at once. */
void worker_retire(struct worker *w);
/* Another is ready in its place: drains. */
void worker_succeeded(struct worker *w, double seconds);
/* For finalizers, when nothing else runs any more: what is left of the drain. */
double worker_time_left(struct worker *w);

#endif
