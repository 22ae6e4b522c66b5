// SPDX-License-Identifier: MIT
/*
 * Finalizers of the app. The collector runs wherever memory is asked for: in the middle of
 * anything, on any stack, where no hook is called and nothing catches an error. So what it calls
 * there only queues the object; at the end of the turn the app's function runs in a task, watched
 * as all are. It cannot wait.
 *
 *      collector ─▶ on_collected ─▶ queue ─▶ end of the turn: a task each, "a finalizer"
 *                                     ▲
 *      the worker ends ─▶ objects that live, in `living`
 *
 * lua/neap/runtime/protect.lua sees to it that newproxy, ffi.gc, ffi.metatype and
 * debug.setmetatable set such ones. Finalizers of C modules, and functions of C given to ffi.gc,
 * run in the collector. Queued objects are on the heap, and count for its limit.
 */
#ifndef NEAP_BIND_CORE_LFINAL_H
#define NEAP_BIND_CORE_LFINAL_H

#include "net/loop.h"

#include <lua.h>
#include <stdbool.h>

struct lvm;

struct lfinal {
    /* registry reference of an array: object, function, object, … */
    int queue;
    int first, last; /* what is queued: first + 1 … last */
    /* registry reference of a table with weak keys: object → true, or its finalizer; false: queued
     * because the worker ends */
    int living;
    struct loop_job run;
    double until; /* of lfinal_finish */
    bool closing; /* it has been */
};

/* Adds `finalizer` and `living` to the core table at the top of the stack. */
void lfinal_open(struct lvm *vm, lua_State *L);

/*
 * Before the state is closed: runs what is queued and the finalizers of all that still lives, for
 * so many seconds at most.
 */
void lfinal_finish(struct lvm *vm, double seconds);

#endif
