// SPDX-License-Identifier: MIT
/*
 * What the files of the master share: its structs, and the calls between them. Nobody outside
 * src/master/ includes this.
 *
 *      master.c     the process: signals, stopping, the end        commands.c   status, stop
 *      place.c      a worker's place and its lives                 control.c    the control socket
 *      process.c    one process of it: birth, messages, death
 *      sockets.c    the listening sockets                          pidfile.c    the pid file
 *      heartbeat.c  ends a worker that is stuck                    pairs.c      lines of workers
 *      signals.c    what signals say, and who has sent them
 *
 * A worker's lives:
 *
 *      WAITING ──timer──▶ STARTING ──READY──▶ READY
 *         ▲                  │                  │
 *         └────── died ──────┴── died, retires ─┘      OVER: it ended for good, or all stops
 */
#ifndef NEAP_MASTER_MASTER_PRIVATE_H
#define NEAP_MASTER_MASTER_PRIVATE_H

#include "line/scratch.h"
#include "line/watchdog.h"
#include "master/control.h"
#include "master/heartbeat.h"
#include "master/master.h"
#include "master/pairs.h"
#include "master/signals.h"
#include "master/sockets.h"
#include "net/loop.h"
#include "net/tls.h"

#include <sys/types.h>

enum life { LIFE_WAITING, LIFE_STARTING, LIFE_READY, LIFE_OVER };

struct wire;

struct process {
    struct place *place;
    int seat;                  /* see line_seat */
    pid_t pid;                 /* 0: there is none */
    struct loop_io io;         /* on the master's end of the line */
    double started;            /* when, in loop_now's time */
    struct watchdog *watchdog; /* what it has to say at its end; NULL before its first life */
    struct heartbeat heart;
    bool refused; /* its app does not load, or it cannot be a worker */
    bool retires; /* it wants to be replaced */
};

/* One that serves, and one that leaves. */
enum { WORKER_PROCESSES = 2 };

/* A worker's place: one process after another holds it. */
struct place {
    struct master *master;
    int number;
    enum life life;
    struct process processes[WORKER_PROCESSES];
    struct process *now; /* the one whose life this is */
    struct loop_timer restart;
    double ready; /* when, in loop_now's time */
    double delay; /* waited before this life; 0 for the first, and after a long one */
    int attempts; /* lives in a row that did not become ready */
    unsigned restarts;
    int outcome; /* when OVER by itself: its exit status */
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
    struct place places[];
};

/* process.c */
void process_init(struct process *p, struct place *place, int seat);
void process_deinit(struct process *p);
/* Starts it. Returns 0, or -1 with errno. */
int process_start(struct process *p);
/* Sends it a message, and a descriptor unless that is -1; to nobody when there is none. */
void process_send(const struct process *p, const struct wire *message, int fd);
void process_close_line(struct process *p);
/* It cannot be a worker, which is logged; it ends, and others would do no better. */
void process_unfit(struct process *p, const char *why);
/* It is gone: hears its last words. */
void process_ended(struct process *p);
/* Logs how it ended; `status` is waitpid's. */
void process_log_end(const struct process *p, pid_t pid, int status);

/* place.c */
void place_init(struct place *place, struct master *m, int number);
void place_deinit(struct place *place);
void place_start(struct place *place);
/* What one of its processes has said. */
void place_heard(struct process *p, const struct wire *m);
/* That process is gone, if it is one of its; `status` is waitpid's. */
void place_bury(struct place *place, pid_t pid, int status);
/* Asks it to drain; one that waits for its next life is over. */
void place_stop(struct place *place);
/* Has it read its certificates again. */
void place_renew(struct place *place);
/* Gives it the keys of session tickets. */
void place_send_tickets(struct place *place);
/* Looks whether it is stuck. */
void place_look(struct place *place);
/* Ends it without asking. */
void place_kill(struct place *place);
/* The process that is being replaced, or NULL. */
struct process *place_leaving(struct place *place);
/* It is over, and no process is left. */
bool place_gone(struct place *place);

/* master.c: what happens to all when something happens to one. */
void master_place_changed(struct master *m);
/* Stops in order. */
void master_stop(struct master *m);
/* Kills all; the program ends with status 1. */
void master_abort(struct master *m);

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
