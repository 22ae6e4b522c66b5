// SPDX-License-Identifier: MIT
/*
 * The size of the Lua heap, and its limit. LuaJIT's own allocator stays; in front of it every
 * request is counted. What is to happen at the limit is the guard's business: lguard.h.
 *
 * LuaJIT does not collect when an allocation fails, and its collector allocates: so what is small
 * is never refused. What is large, a sixteenth of the limit and more, may be once it would take the
 * heap to one and a half times the limit.
 */
#ifndef NEAP_BIND_CORE_LHEAP_H
#define NEAP_BIND_CORE_LHEAP_H

#include <lua.h>
#include <stdbool.h>

struct lheap {
    lua_Alloc alloc; /* LuaJIT's */
    void *arg;
    size_t used;
    size_t limit; /* 0: none */
    size_t alarm; /* look again when `used` gets there */
    bool collecting;
    /*
     * Asked inside the allocator when there is more than the limit, and `large` is wanted: may it
     * grow? Again after some more.
     */
    bool (*may_grow)(struct lheap *h, bool large);
};

/*
 * Begins to count in L; `limit` in bytes, more than 0. The heap's owner keeps `h` until lheap_stop.
 */
void lheap_start(struct lheap *h, lua_State *L, size_t limit,
                 bool (*may_grow)(struct lheap *h, bool large));

/* Gives the state its own allocator back, where it was taken. */
void lheap_stop(struct lheap *h, lua_State *L);

/*
 * A full collection on the stack of L, protected: a finalizer that raises must not end the process.
 * Sets the alarm again.
 */
void lheap_collect(struct lheap *h, lua_State *L);

/* Whether so much is in use that a collection has not helped. */
static inline bool lheap_is_full(const struct lheap *h)
{
    return h->used > h->limit - h->limit / 16;
}

#endif
