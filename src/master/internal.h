// SPDX-License-Identifier: MIT
/*
 * What the files of the master share: its two structs, and the calls between them. Nobody outside
 * src/master/ includes this.
 *
 *      master.c     the process: signals, stopping, the end        commands.c   status, stop
 *      workers.c    one worker's lives: fork, messages, death      control.c    the control socket
 *      sockets.c    the listening sockets                          pidfile.c    the pid file
 *      heartbeat.c  ends a worker that is stuck                    pairs.c      lines of workers
 *      signals.c    what signals say, and who has sent them
 *
 * A worker's lives:
 *
 *      WAITING ──timer──▶ STARTING ──READY──▶ READY
 *         ▲                  │                  │
 *         └────── died ──────┴──────────────────┘      OVER: it ended for good, or all stops
 */
#ifndef NEAP_MASTER_INTERNAL_H
#define NEAP_MASTER_INTERNAL_H

#include "master/control.h"
#include "master/heartbeat.h"
#include "master/master.h"
#include "master/pairs.h"
#include "master/scratch.h"
#include "master/signals.h"
#include "master/sockets.h"
#include "master/watchdog.h"
#include "net/loop.h"
#include "net/tls.h"

#include <sys/types.h>

enum life { LIFE_WAITING, LIFE_STARTING, LIFE_READY, LIFE_OVER };

struct worker {
    struct master *master;
    int number;
    enum life life;
    pid_t pid;         /* 0: no process */
    struct loop_io io; /* on the master's end of the link */
    struct loop_timer restart;
    double started, ready; /* when, in loop_now's time */
    double delay;          /* waited before this life; 0 for the first, and after a long one */
    int attempts;          /* lives in a row that did not become ready */
    unsigned restarts;
    struct watchdog *watchdog; /* what it has to say at its end */
    struct heartbeat heart;
    bool refused; /* in this life: its app does not load */
    int outcome;  /* when OVER by itself: its exit status */
};

struct master {
    const struct master_config *config;
    struct loop loop;
    struct signals signals;
    struct loop_timer deadline; /* of stopping */
    struct loop_timer log_retry;
    struct loop_timer rotation; /* of the keys of session tickets */
    struct tls_tickets tickets;
    struct sockets *sockets;
    struct pairs *pairs;
    struct scratch *scratch; /* or NULL: there is no place for it */
    struct control *control;
    double started;
    bool any_ready; /* some worker has been ready once */
    bool announced; /* all have, and the log says so */
    bool stopping;
    int status;
    struct worker workers[];
};

/* workers.c */
void worker_init(struct worker *w, struct master *m, int number);
void worker_start(struct worker *w);
/* Its process is gone; `status` is waitpid's. */
void worker_ended(struct worker *w, int status);
/* Asks it to drain; one that waits for its next life is over. */
void worker_stop(struct worker *w);
/* Has it read its certificates again. */
void worker_renew(struct worker *w);
/* Gives it the keys of session tickets. */
void worker_send_tickets(struct worker *w);
/* Ends it without asking. */
void worker_kill(struct worker *w);
/* In a forked worker: closes the master's end of another's link. */
void worker_forget(struct worker *w);

/* master.c: what happens to all when something happens to one. */
void master_worker_changed(struct master *m);
/* Stops in order. */
void master_stop(struct master *m);
/* Kills all; the program ends with status 1. */
void master_abort(struct master *m);
/* Gives up everything that is the master's alone; in a forked worker. */
void master_forget(struct master *m);

/* commands.c: a control_handler whose `arg` is the master. */
enum control_result commands_run(void *arg, const char *command, struct buf *reply);

/*
 * pidfile.c. Returns -1 when it cannot be written or names a running server; that has been logged
 * then.
 */
int pidfile_write(const char *path);
/* Removes it if it still names this process. */
void pidfile_remove(const char *path);

#endif
