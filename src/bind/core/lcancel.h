// SPDX-License-Identifier: MIT
/*
 * Cancelling tasks. A cancelled task does not go on: the wait that it is in raises an error object
 * of kind "Cancelled", and so does every later call that may wait, whether it would have to or not.
 * One that has not begun never runs.
 *
 *      lcancel_task ─▶ waits?  ──▶ woken: its wait raises
 *                  ├─▶ runs?   ──▶ its next call that may wait raises: lcancel_check
 *                  ├─▶ shielded? ─▶ 5 s later as the above
 *                  ╰─▶ is new? ──▶ dropped
 *
 * How a wait raises: LuaJIT cannot come back into a C function that has yielded. What waits in
 * neap's own Lua is given `nil, err` and raises that (lua/neap/runtime/wait.lua). What waits in a C
 * function that the app calls itself (a Caller's method) is given the same, and the guard's hook
 * raises in the function that called it, before its next instruction: see lcancel_wait. So a call
 * that need not wait costs nothing.
 */
#ifndef NEAP_BIND_CORE_LCANCEL_H
#define NEAP_BIND_CORE_LCANCEL_H

#include "bind/core/ltask.h"

/*
 * Cancels a task. True when it waited and is woken, or had not begun and is dropped: then it may be
 * gone. Nothing of it runs before this returns.
 */
bool lcancel_task(struct ltask *t);

/* Raises on L where waiting raises. NULL, which is not a task, never does. */
void lcancel_raise(lua_State *L, const struct ltask *t);
static inline void lcancel_check(lua_State *L, const struct ltask *t)
{
    if (t && t->cancelled)
        lcancel_raise(L, t);
}

/*
 * As ltask_wait (it yields, and may raise), in a C function that apps call. Where no Lua function
 * has called it (pcall has, or it is the task's own) there is none to raise in: it returns `nil,
 * err` then.
 */
int lcancel_wait(lua_State *L);

/* For the guard's hook, in L, which is where the cancelled wait of the running task was: raises. */
void lcancel_inject(lua_State *L, struct ltask *t);

/* The task is over: frees what its cancelling needed. */
void lcancel_over(struct ltask *t);

const struct lmodule *lcancel_module(void);

#endif
