// SPDX-License-Identifier: MIT
/*
 * The size of the Lua heap, and its limit. LuaJIT's own allocator stays; in front of it every
 * request is counted.
 *
 *      used > limit ──▶ in a handler: the guard's hook, at the next instruction of the app:
 *                       a full collection; is more than 15/16 of the limit left even so?
 *                         └─▶ an error in it, a full collection once it has left; for the second
 *                             within a minute: vm->on_breach
 *                  └──▶ elsewhere: a full collection at the end of the turn
 *
 * LuaJIT does not collect when an allocation fails, and its collector allocates: so what is small
 * is never refused. What is large, a sixteenth of the limit and more, is refused once it would take
 * the heap to one and a half times the limit.
 */
#ifndef NEAP_BIND_CORE_LHEAP_H
#define NEAP_BIND_CORE_LHEAP_H

#include "net/loop.h"

#include <lua.h>
#include <stdbool.h>

struct lvm;

struct lheap {
    struct lvm *vm;
    lua_Alloc alloc; /* LuaJIT's */
    void *arg;
    size_t used;
    size_t limit; /* 0: none */
    size_t alarm; /* look again when `used` gets there */
    bool collecting;
    double breached; /* when a handler was last ended for it; 0: never */
    bool again;      /* and it was so soon after the one before: to be told */
    struct loop_job collect;
};

/* Begins to count; `limit` in bytes, more than 0. */
void lheap_start(struct lvm *vm, size_t limit);

/* Gives the state its own allocator back. */
void lheap_stop(struct lvm *vm);

/*
 * For the hook: collects. True when too much is left even so; else the alarm is set anew.
 */
bool lheap_exceeded(struct lvm *vm, lua_State *L);

/*
 * A handler was ended for its use of memory: at the end of the turn, collects and may tell
 * vm->on_breach.
 */
void lheap_breached(struct lvm *vm);

#endif
