// SPDX-License-Identifier: MIT
/*
 * Accepts connections from a listening socket that somebody else has bound. At the limit of
 * descriptors (or when the kernel is out of memory) it pauses and tries again by timer instead of
 * spinning: waiting connections stay in the kernel's queue until there is room.
 */
#ifndef NEAP_NET_ACCEPT_H
#define NEAP_NET_ACCEPT_H

#include "net/address.h"
#include "net/loop.h"

struct listener {
    struct loop *loop;
    struct loop_io io;
    struct loop_timer retry;
    double complained; /* when the last warning was logged */
    bool accepting;
    /* Takes over a connected, non-blocking, close-on-exec socket. */
    void (*on_accept)(struct listener *l, int fd, const struct address *peer);
};

/* Takes over the listening descriptor. Accepts only after listener_start. */
void listener_init(struct listener *l, struct loop *loop, int fd,
                   void (*on_accept)(struct listener *l, int fd, const struct address *peer));
void listener_start(struct listener *l);
void listener_stop(struct listener *l);

/*
 * Accepts all that waits in the queue right now, whether started or not: for refusing them before
 * the socket is closed.
 */
void listener_accept_all(struct listener *l);

/* Stops and closes the socket. Harmless when it is closed. */
void listener_close(struct listener *l);

#endif
