// SPDX-License-Identifier: MIT
/*
 * The Lua state of one worker and what belongs to it. Everything in bind/ reaches it through the
 * first upvalue of its C functions, never through a global.
 *
 *      worker.c ─▶ lvm ─▶ server (hooks: lconn.c)      conn ─▶ lcaller ─▶ service instance
 *                   │                                            │
 *                   └─▶ tasks (ltask.c): every call into Lua is a coroutine that may wait
 */
#ifndef NEAP_BIND_CORE_LVM_H
#define NEAP_BIND_CORE_LVM_H

#include "bind/core/lfinal.h"
#include "bind/core/lguard.h"
#include "net/loop.h"
#include "server/server.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct ltask;
struct worker_link;

/* Functions that lua/neap/runtime/main.lua hands to C, kept as registry references. */
enum lvm_hook {
    LVM_UPGRADE,
    LVM_CONVERT,
    LVM_REQUEST_INDEX,
    LVM_LOAD,
    LVM_CHECK,
    LVM_STREAM,
    LVM_PAYLOAD,
    LVM_TELL,
    LVM_HOOKS
};

struct lvm_socket;

struct lvm {
    lua_State *L;
    struct loop *loop;
    struct server server;

    /*
     * How listeners get their sockets; NULL under `neap check`, which opens none. Set by the
     * program.
     */
    int (*bind_socket)(struct lvm *vm, const char *address, int backlog, struct lvm_socket *out);
    void (*unbind_socket)(struct lvm *vm, const char *address, int port);
    void *arg; /* the program's */
    /* Folder for files in memory that all workers share, or NULL: there is none. The program's. */
    const char *scratch;

    int hooks[LVM_HOOKS];
    /* registry references of metatables */
    int request_meta, caller_meta, error_meta, task_meta, pushed_meta;
    int attributes; /* and of the table of all callers' attributes, by Caller */

    struct ltask *running; /* whose coroutine runs now; NULL in between */
    struct link ready;     /* tasks to be resumed in this turn */
    struct link alive;     /* all tasks there are, so that none is lost at the end */
    struct link listeners; /* struct llistener */
    struct link services;  /* struct lservice */
    struct link dicts;     /* of lshared.c */
    struct link ticking;   /* active timers, of ltimer.c */
    struct link asking;    /* of lgroup.c: questions to other workers */
    struct loop_job run_ready;
    struct loop_job start_listeners;
    struct ltask *idle; /* pool of finished coroutines */
    unsigned idle_count;
    unsigned tasks;  /* started and not finished, callbacks of connections included */
    unsigned timers; /* active ones of lua/neap/task.lua */
    bool loaded;     /* the app's top level has ended well */
    bool check;      /* `neap check` */
    bool checked;    /* all that there is to tell has been told */
    int check_status;

    /* Told when the app has loaded (ok) or failed to (the error has been logged). */
    void (*on_loaded)(struct lvm *vm, bool ok);
    /*
     * Told at the end of a turn when nothing is left that could ever run: no task, timer or
     * listener.
     */
    void (*on_idle)(struct lvm *vm);
    struct loop_job idle_job;
    /*
     * Told in a signal handler, with `last` the second time, that a run can be ended by nothing but
     * the end of the process, which is to come then. NULL: nobody is told.
     */
    void (*on_stuck)(struct lvm *vm, const struct lguard_stuck *report, bool last);
    /* Told when the Lua heap got to its limit again, so soon that a new worker is better. */
    void (*on_breach)(struct lvm *vm);
    struct lguard guard;
    struct lfinal final;
    uintptr_t
        stack_base; /* of lstack.c: where the C stack begins, and bytes for nested coroutines */
    size_t stack_room;
};

/* A listening socket for a listener. */
struct lvm_socket {
    bool secure; /* asked for TLS: tells the log */
    int fd;
    int port;
    char error[256];
};

/*
 * Makes a state with the library's own modules found under `library` (a folder that holds neap/),
 * for running an app or for checking one. Ends the program with a message when the library cannot
 * be loaded.
 */
struct lvm *lvm_new(struct loop *loop, const char *library, bool check);

/*
 * Ends the app, once nothing of it is to run any more but its finalizers: those do, for so many
 * seconds at most.
 */
void lvm_finish(struct lvm *vm, double seconds);

/* Raises when the state is being closed: nothing can be started any more. */
void lvm_check_open(const struct lvm *vm, lua_State *L);

/* Closes the state; no connection may be left. */
void lvm_free(struct lvm *vm);

/*
 * Loads the app (file or folder) with its arguments (up to a NULL) in the first task; on_loaded
 * tells how it went, now or later.
 */
void lvm_load(struct lvm *vm, const char *app, char *const *args);

/* Runs `neap check`: returns its exit status. */
int lvm_check(struct lvm *vm, const char *app, char *const *args);

/* The vm behind a C function registered by lvm_register: its first upvalue. */
static inline struct lvm *lvm_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

struct luaL_Reg;
/* Adds C functions to the table at the top of the stack, with the vm as their first upvalue. */
void lvm_register(struct lvm *vm, lua_State *L, const struct luaL_Reg *functions);

/*
 * Looks whether the program is out of work, at the end of the turn; called when a task, timer or
 * listener goes.
 */
void lvm_went(struct lvm *vm);

#endif
