// SPDX-License-Identifier: MIT
/*
 * A page of memory that a worker shares with its master, for what the worker has to say when it
 * cannot go on: a handler that no error can end, since it is in a C function that does not return.
 * Each life has a page of its own, a file in memory whose descriptor the worker is given.
 *
 *      worker: its own timer finds the run too long ─▶ writes the page ─▶ _exit
 *      master: SIGCHLD ─▶ reads the page, logs it ─▶ starts the worker again
 *
 * It is the worker that judges itself, in a signal handler, which comes even where C code never
 * returns: so neither process has to wake up while nothing goes wrong. In a signal handler nothing
 * may be logged or sent, but memory may be written. Where it does not, the master does
 * (heartbeat.h).
 */
#ifndef NEAP_LINE_WATCHDOG_H
#define NEAP_LINE_WATCHDOG_H

#include "base/pulse.h"

struct watchdog {
    struct pulse pulse;    /* for heartbeat.h */
    volatile bool written; /* by the worker: all that follows */
    bool loading;          /* the app was loading: it makes no sense to try again */
    char handler[64];      /* "onMessage", …; empty outside of all handlers */
    char connection[24];   /* its id; empty when there is none */
    char where[256];       /* the line of the app, as far as known */
};

/*
 * The master's: a page for a life that begins, and in *fd its descriptor, close-on-exec and the
 * caller's. NULL with errno when there is none.
 */
struct watchdog *watchdog_new(int *fd);
/* The worker's: the page of that descriptor; NULL when it is none. */
struct watchdog *watchdog_open(int fd);
void watchdog_free(struct watchdog *page); /* NULL is allowed */

/* Logs what the worker of that number has written; nothing when it has not. */
void watchdog_log(const struct watchdog *page, int worker);

#endif
