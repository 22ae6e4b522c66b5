// SPDX-License-Identifier: MIT
/*
 * The master's signals, read from descriptors (signalfd(2)), which tell who has sent them. They are
 * blocked, and a worker must unblock them after the fork: a mask is inherited, through exec too.
 *
 *      SIGTERM, SIGINT, SIGQUIT   ask to stop; see below
 *      SIGHUP, SIGUSR1, SIGUSR2   told
 *      SIGCHLD, HEARTBEAT_SIGNAL  told
 *
 * One wish to stop often comes as several signals: a terminal sends to the whole group, and a
 * parent in it passes on what it got; timeout(1) signals its child and then the group. So of what
 * comes within half a second from different senders all is one request. The same sender's next
 * signal is a second request, which is not to wait. Only what the kernel merges, because the first
 * is still pending, is one again; a request is left pending for a moment so that it can.
 */
#ifndef NEAP_MASTER_SIGNALS_H
#define NEAP_MASTER_SIGNALS_H

#include "net/loop.h"

#include <sys/types.h>

enum { SIGNALS_SENDERS = 8 };

struct signals {
    struct loop *loop;
    struct loop_io notices, requests; /* what is told at once, and requests to stop */
    struct loop_timer gather;         /* until requests are read */
    void (*on_signal)(struct signals *s, int number);
    void (*on_stop)(struct signals *s, bool again);
    double since; /* when the first request came; 0: none has */
    int sender_count;
    pid_t senders[SIGNALS_SENDERS]; /* of this request so far */
};

/*
 * Blocks the signals, gives them handlers that do nothing, and starts to listen: `on_signal` is
 * told each one that asks for no stop, `on_stop` each request. Dies without descriptors.
 */
void signals_start(struct signals *s, struct loop *loop,
                   void (*on_signal)(struct signals *s, int number),
                   void (*on_stop)(struct signals *s, bool again));

/* Somebody has asked by other means: a signal that follows within half a second is the same. */
void signals_note_stop(struct signals *s);

/* Closes the descriptors. The signals stay blocked. */
void signals_close(struct signals *s);

#endif
