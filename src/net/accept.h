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

struct accept {
    struct loop *loop;
    struct loop_io io;
    struct loop_timer retry;
    double complained; /* when the last warning was logged */
    bool accepting;
    /* Takes over a connected, non-blocking, close-on-exec socket. */
    void (*on_accept)(struct accept *a, int fd, const struct address *peer);
};

/* Takes over the listening descriptor. Accepts only after accept_start. */
void accept_init(struct accept *a, struct loop *loop, int fd,
                 void (*on_accept)(struct accept *a, int fd, const struct address *peer));
void accept_start(struct accept *a);
void accept_stop(struct accept *a);

/*
 * Accepts all that waits in the queue right now, whether started or not: for refusing them before
 * the socket is closed.
 */
void accept_all(struct accept *a);

/* Stops and closes the socket. Harmless when it is closed. */
void accept_close(struct accept *a);

#endif
