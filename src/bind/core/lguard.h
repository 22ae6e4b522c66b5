// SPDX-License-Identifier: MIT
/*
 * The guard: ends a handler that takes too much processor time or memory, by an error raised inside
 * it, and the worker where no error can be raised.
 *
 *      CPU timer ─▶ on_tick (a signal handler) ─▶ the same run as before, past its limit?
 *                      │                              └─▶ hook ─▶ error in the app's code,
 *                      └─ 2 s later still the same            again and again until it has left
 *                            └─▶ on_stuck, which ends the process ◀─ SIGXCPU of the master,
 *                                                                        where the timer is dead
 *
 *      heap > limit ─▶ in a run: the hook, at the next instruction of the app: a full collection;
 *                        is more than 15/16 of the limit left even so?
 *                         └─▶ an error in it, a full collection once it has left; for the second
 *                             within a minute: on_breach
 *                  └─▶ elsewhere: a full collection at the end of the turn
 *
 * A run is what lies between the resume of a task and its yield or end. The timer counts processor
 * time of this thread: a worker at rest never wakes for it, one that is stopped or starved is not
 * judged. A run costs two stores when it begins and one when it ends.
 *
 * How compiled code is interrupted: docs/decisions/0007-guard.md.
 */
#ifndef NEAP_BIND_CORE_LGUARD_H
#define NEAP_BIND_CORE_LGUARD_H

#include "base/pulse.h"
#include "bind/core/lheap.h"
#include "bind/core/lvm.h"

#include <time.h>

enum { LGUARD_SLOT = LMODULE_CORE };

/*
 * Why a run is ended; bits. LGUARD_CANCEL ends nothing: an error is raised once, where a wait was
 * that has been cancelled (lcancel.h).
 */
enum lguard_why { LGUARD_TIME = 1, LGUARD_MEMORY = 2, LGUARD_CANCEL = 4 };

enum { LGUARD_WHERE = 256, LGUARD_TEXT = 384 };

/* What is known of a run that cannot be ended. */
struct lguard_stuck {
    const char *handler; /* "onMessage", …; "" outside of all handlers */
    char connection[LVM_CONN_ID];
    char where[LGUARD_WHERE]; /* "app.lua:12", as far as known */
    bool loading;             /* it is the app's top level */
};

/* What is watched, and what the program does about it. */
struct lguard_config {
    double
        seconds;  /* of processor time for a run; 0: no limit. Code at load has ten times as long */
    size_t bytes; /* of the Lua heap; 0: no limit */
    /*
     * Told in a signal handler, with `last` the second time, that a run can be ended by nothing but
     * the end of the process, which is to come then. NULL: nobody is told.
     */
    void (*on_stuck)(struct lvm *vm, const struct lguard_stuck *report, bool last);
    /*
     * Told at the end of a turn that the heap got to its limit again, so soon that a new worker is
     * better. NULL: nobody is told.
     */
    void (*on_breach)(struct lvm *vm);
};

struct lguard {
    struct pulse *pulse;  /* the loop's; also beats when a run begins */
    volatile bool inside; /* between lguard_enter and lguard_leave */
    volatile bool armed;  /* the hook is set */
    volatile bool insist; /* end it even inside the library */
    volatile int why;     /* what this run is to be ended for */
    int raised;           /* what has been raised in this run */
    bool failed_inside;   /* a run within this one has failed by it */

    struct lvm *vm;
    struct lguard_config config;
    timer_t timer;
    /* LuaJIT's handler of SIGPROF: makes compiled code return to the interpreter */
    void (*pull)(int signal);
    char spare[512];        /* how the names of the library's own chunks begin */
    unsigned long seen;     /* beats, by the last tick */
    double since;           /* processor time when they were first seen */
    char text[LGUARD_TEXT]; /* the first error raised in this run */

    lua_Hook app_hook; /* what debug.sethook had set */
    int app_mask, app_count;

    struct lheap heap;
    struct loop_job collect; /* the heap, at the end of the turn */
    double breached;         /* when a handler was last ended for its use; 0: never */
    bool again;              /* and it was so soon after the one before: to be told */
};

static inline struct lguard *lguard_of(const struct lvm *vm)
{
    return vm->states[LGUARD_SLOT];
}

/* Begins to watch, once. Ends the program with a message where the system has no such timers. */
void lguard_start(struct lvm *vm, const struct lguard_config *config);

/* A run of the running task begins. */
static inline void lguard_enter(struct lguard *g)
{
    g->pulse->beats++;
    g->inside = true;
}

/* For lguard_leave: ends the interruption. True when an error was raised. */
bool lguard_end(struct lguard *g);

/* It has ended. True when the guard has raised an error in it: ask lguard_settle. */
static inline bool lguard_leave(struct lguard *g)
{
    g->inside = false;
    return __builtin_expect(g->why != 0, 0) && lguard_end(g);
}

/* A run inside of the one that is watched has ended, with lua_resume's status. */
static inline void lguard_inner(struct lguard *g, int status)
{
    g->failed_inside |= g->raised && status > LUA_YIELD;
}

/*
 * After a run in which the guard raised, or that had no memory: what it counts as, given
 * lua_resume's status. With an error the message is at the top of vm->L, as it was before.
 */
int lguard_settle(struct lguard *g, struct ltask *t, int status);

/* In place of lguard_settle, after a run whose outcome does not count. */
void lguard_forget(struct lguard *g);

/*
 * Has the hook end the run that goes on. Also from a signal handler or the allocator: it writes
 * memory and no more.
 */
void lguard_arm(struct lguard *g, enum lguard_why why);

const struct lmodule *lguard_module(void);

#endif
