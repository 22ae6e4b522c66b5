// SPDX-License-Identifier: MIT
/*
 * The Lua state of one worker. Everything in bind/ reaches it through the first upvalue of its C
 * functions, never through a global. What the modules of the binding keep is theirs: lmodule.h.
 *
 *      worker.c ─▶ lvm ─▶ modules: lserver, llistener, lcaller …      conn ─▶ lcaller ─▶ service
 *                   │                                                           │
 *                   └─▶ tasks (ltask.c): every call into Lua is a coroutine that may wait
 */
#ifndef NEAP_BIND_CORE_LVM_H
#define NEAP_BIND_CORE_LVM_H

#include "bind/core/lmodule.h"
#include "net/loop.h"

#include <lua.h>
#include <stdbool.h>

struct conn;
struct luaL_Reg;
struct ltask;

enum { LVM_CONN_ID = 24 }; /* room for the id of a connection, as text */

struct lvm {
    /* What every callback touches, the guard's state at its end. */
    lua_State *L;
    struct loop *loop;
    struct ltask *running; /* whose coroutine runs now; NULL in between */
    struct ltask *idle;    /* pool of finished coroutines */
    unsigned idle_count;
    unsigned tasks;              /* started and not finished, callbacks of connections included */
    void *states[LMODULE_SLOTS]; /* of the modules, by slot */

    const struct lmodule *const *modules;
    const char *library; /* the folder that holds neap/ */
    struct link ready;   /* tasks to be resumed in this turn */
    struct link alive;   /* all tasks there are, so that none is lost at the end */
    struct loop_job run_ready;
    unsigned sources; /* what may start tasks: active timers, open listeners */
    struct loop_job idle_job;
    bool loaded;  /* the app's top level has ended well */
    bool closing; /* nothing can be started any more */
    bool check;   /* `neap check` */
    bool checked; /* all that there is to tell has been told */

    /*
     * What modules do for those below them, set when they are opened: logs the error that has ended
     * a task, which is at the top of L and stays there; writes a connection's id, also in a signal
     * handler.
     */
    void (*log_raised)(struct ltask *t);
    void (*conn_id)(const struct conn *c, char out[LVM_CONN_ID]);

    /* The program's, from here on. */
    void *arg;
    /* Folder for files in memory that all workers share, or NULL: there is none. */
    const char *scratch;
    /* Told when the app has loaded (ok) or failed to (the error has been logged). */
    void (*on_loaded)(struct lvm *vm, bool ok);
    /*
     * Told at the end of a turn when nothing is left that could ever run: no task, timer or
     * listener.
     */
    void (*on_idle)(struct lvm *vm);
};

/*
 * Makes a state with these modules (up to a NULL, in the order in which they are to be opened) and
 * the library's own Lua modules found under `library` (a folder that holds neap/), for running an
 * app or for checking one. Both must outlive it. Ends the program with a message when the library
 * cannot be loaded. The caller owns it: lvm_free.
 */
struct lvm *lvm_new(struct loop *loop, const char *library, const struct lmodule *const *modules,
                    bool check);

/* Closes the state and frees it; no connection may be left. Finalizers of C modules still run. */
void lvm_free(struct lvm *vm);

/* Raises when the state is being closed: nothing can be started any more. */
void lvm_check_open(const struct lvm *vm, lua_State *L);

/* The vm behind a C function registered by lvm_register: its first upvalue. Never raises. */
static inline struct lvm *lvm_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/*
 * Adds C functions to the table at the top of the stack, with the vm as their first upvalue. May
 * raise (no memory).
 */
void lvm_register(struct lvm *vm, lua_State *L, const struct luaL_Reg *functions);

/*
 * For lmodule.take: the function that lua/neap/runtime/main.lua hands to C by this name, as a
 * reference of the registry. May raise (no memory).
 */
int lvm_take_hook(lua_State *L, const char *name);

/*
 * Looks whether the program is out of work, at the end of the turn; called when a task or a source
 * of tasks goes. Never raises.
 */
void lvm_went(struct lvm *vm);

#endif
