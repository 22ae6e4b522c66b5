// SPDX-License-Identifier: MIT
/*
 * The second line of the guard: finds a worker whose event loop does not turn although it uses
 * processor time, and that does not end itself, which is the first line (watchdog.h). Its timer may
 * be blocked or deleted, by C code that the app has called through ffi.
 *
 *      worker uses processor time ─▶ timer ─▶ same beats as before, for too long?
 *                                                 └─▶ SIGXCPU: say where you are, and end
 *                                                        └─ still there ─▶ SIGKILL
 *
 * The timer is the master's, on the clock of the *worker's* processor time: a worker at rest wakes
 * nobody. That clock counts all its threads; what is judged is the main thread's own time, so that
 * one that waits, was stopped or is starved is never ended, whatever threads of its libraries do.
 */
#ifndef NEAP_MASTER_HEARTBEAT_H
#define NEAP_MASTER_HEARTBEAT_H

#include "net/loop.h"

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct pulse;

/* The signal by which the timers come; the master watches for it and then looks at all workers. */
#define HEARTBEAT_SIGNAL SIGALRM

struct heartbeat {
    struct loop *loop;
    const struct pulse *pulse;
    int worker;
    double limit; /* of a handler, in seconds of processor time */
    pid_t pid;    /* 0: nobody is watched */
    timer_t timer;
    bool timed;
    unsigned long seen; /* beats when last looked */
    double since;       /* time that counted when they were first seen */
    bool silenced;      /* this process did not even end when asked to */
    struct loop_timer patience;
};

/* For worker number `worker`; `limit` 0: it is never judged. */
void heartbeat_init(struct heartbeat *h, struct loop *loop, int worker, double limit);

/* A new process of it, whose signs of life come through `pulse`. */
void heartbeat_start(struct heartbeat *h, pid_t pid, const struct pulse *pulse);

/* The process is gone, or somebody else's. */
void heartbeat_stop(struct heartbeat *h);

/* Looks at it, and ends it when its time is over. */
void heartbeat_look(struct heartbeat *h);

/*
 * The judgement: `used` seconds of processor time so far. True when too much of it has gone by
 * without a beat.
 */
bool heartbeat_lost(struct heartbeat *h, double used);

#endif
