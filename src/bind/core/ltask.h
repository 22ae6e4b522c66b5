// SPDX-License-Identifier: MIT
/*
 * Tasks: coroutines that C resumes. Every callback, timer and spawned function runs in one; it may
 * wait at any depth (a write to a slow peer, sleep, a channel), and others go on meanwhile.
 * Coroutines are pooled: a callback that does not wait costs one lua_resume and allocates nothing.
 *
 *      ltask_get ─▶ function and arguments ─▶ ltask_start ─▶ finished ─▶ t->finish ─▶ pool
 *                                                 │ ▲
 *                                 yields (waits)  ▼ │ ltask_wake, later in the turn
 *                                                parked
 *
 * What a task is in, by its state:
 *
 *                       NEW         READY    RUNNING       PARKED    OVER, and in the pool
 *      vm->ready        deferred    yes      no            no        no
 *      waiting          no          no       yes           yes       no
 *      timer            no          no       yes           yes       no
 *      vm->running      no          no       itself, or what runs inside of it
 *                                                          no        while its results are used
 *      co               not begun   waits    runs          waits     finished
 *      handle, pinned   yes         yes      yes           yes       until it is in the pool
 *      kin, shield      no          yes      yes           yes       until then
 *
 * A running task is on a list of waiting ones from when it is put there until it yields, and PARKED
 * until a yield that a C function does not pass on has been taken back.
 *
 * A yield of ours carries a private marker as its only value, so that coroutines of the app nest
 * inside a task: see lua/neap/runtime/coroutine.lua. C functions wait by `return ltask_wait(…)`,
 * never otherwise.
 *
 * Whatever allocates may collect, and a finalizer then runs on the stack that was given. A parked
 * coroutine is broken by that, and one that has failed may have no room left, so that a push ends
 * the process. So whatever concerns a task that waits or has failed is pushed on vm->L, the main
 * state; only finished values move between the two.
 */
#ifndef NEAP_BIND_CORE_LTASK_H
#define NEAP_BIND_CORE_LTASK_H

#include "bind/core/lvm.h"

enum { LTASK_SLOT = LMODULE_CORE + 4 };

enum ltask_state { LTASK_NEW, LTASK_READY, LTASK_RUNNING, LTASK_PARKED, LTASK_OVER };

struct ltask {
    struct link link;    /* in vm->ready */
    struct link waiting; /* on the list of what it waits for */
    struct link alive;   /* in vm->alive, from its creation to its end */
    struct link kin;     /* a stream's: in lcaller->streams */
    struct lvm *vm;
    lua_State *co;
    int anchor; /* registry reference of `co` */
    /* registry reference of its Lua handle while it is not over; LUA_NOREF: none yet */
    int handle;
    uint8_t what;      /* what it runs, for the finish function: see lconn.c */
    uint8_t waits_for; /* what it waits for, for the list's owner: see lcaller.c */
    uint8_t state;     /* enum ltask_state */
    bool waited;       /* it has yielded at least once */
    bool loads;        /* the app's top level: the guard gives it more time */
    uint8_t overdue;   /* enum lguard_why: how the guard is to end it, or raise, when it goes on */
    bool cancelled;    /* and the next four are of lcancel.c */
    bool exposed;      /* it has waited in shields for as long as it may */
    uint16_t shields;  /* how many it is in */
    struct ltask_shield *shield; /* the limit of these; NULL: it does not run yet */
    lua_State *raise_in;         /* while it waits: where that wait raises; NULL: it does not */
    /* a callback of a binary message: a returned string goes out as such */
    bool binary;
    /* registry reference of what must live as long as it; LUA_NOREF: none */
    int pinned;
    int args;                /* values on `co` for the next resume */
    struct conn *conn;       /* the connection whose callback it is, or NULL */
    const char *name;        /* for logs: "onMessage", "upgrade", "task"; static */
    struct loop_timer timer; /* sleep */
    /*
     * Told when it has ended: with `ok` its results are all that is on t->co; else the error was
     * logged and is at the top of vm->L, where it stays. The task is recycled afterwards.
     */
    void (*finish)(struct ltask *t, bool ok);
    struct ltask *next_idle;
};

/*
 * A task from the pool, its stack empty; `name` must outlive it. Push the function and its
 * arguments on t->co, then hand it to one of ltask_start, ltask_run, ltask_defer and ltask_drop,
 * which own it from then on. May raise on vm->L (no memory).
 */
struct ltask *ltask_get(struct lvm *vm, const char *name);

/*
 * Runs it until it ends or waits; the `args` arguments are at the top of t->co, on the function.
 * True when it waits; else t->finish has been called and t must not be used any more. Never raises:
 * what the app raises is logged.
 */
bool ltask_start(struct ltask *t, int args);

/* As ltask_start, to its end: it cannot wait. */
void ltask_run(struct ltask *t, int args);

/* In place of ltask_start: it is not to run after all. t->finish is not called. */
void ltask_drop(struct ltask *t);

/* As ltask_start, but later in this turn. Never raises. */
void ltask_defer(struct ltask *t, int args);

/*
 * Calls a function for a task that has ended well, protected, with the values at the top of t->co,
 * as lua_pcall does; it cannot wait. Returns lua_pcall's status; the error is at the top of vm->L.
 */
int ltask_call(struct ltask *t, int args, int results);

/*
 * Calls a function of the library on behalf of a task that may have failed, as lua_pcall does, with
 * the values at the top of vm->L, where its results or its error are then; it cannot wait. What the
 * guard ends in it is told by its results, or by the status.
 */
int ltask_ask(struct ltask *t, int args, int results);

/*
 * In a C function: `return ltask_wait(L)` suspends the running task (it yields); the function's
 * results are what ltask_wake passes. Raises where waiting is impossible, and in a cancelled task.
 */
int ltask_wait(lua_State *L);

/*
 * True when the running code may wait here (not inside a sort comparison, a gsub callback, a
 * metamethod of C). Raises in a task that was cancelled: ask before anything is put into a queue.
 */
bool ltask_can_wait(lua_State *L);

/*
 * Resumes a parked task later in this turn with the `args` values (two at most) at the top of
 * vm->L, which are popped. Drops them and returns false when it is not parked: while they were
 * made, a finalizer may have woken it.
 */
bool ltask_wake(struct ltask *t, int args);

/* The task behind Lua's handle at `index`, or NULL when it is over; raises for anything else. */
struct ltask *ltask_of_handle(lua_State *L, int index);

/* Stops first of all modules: frees all tasks, also those that wait. */
const struct lmodule *ltask_module(void);

#endif
