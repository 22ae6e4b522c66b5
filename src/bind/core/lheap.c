// SPDX-License-Identifier: MIT
/*
 * Counting costs an indirect call, an addition and a comparison for each allocation. A finalizer
 * that raises must not end the process: so collections run protected.
 */
#include "bind/core/lheap.h"

#include "base/log.h"
#include "bind/core/lvm.h"

/* Between two looks at a heap that has reached its limit. */
enum { STEP = 64 * 1024 };
/* A second breach within so many seconds is one too many. */
#define AGAIN 60.0

/* At the limit: may it grow by so much? */
static bool may_grow(struct lheap *h, size_t used, size_t by)
{
    struct lvm *vm = h->vm;
    if (!vm->guard.inside) {
        loop_defer(vm->loop, LOOP_FREE, &h->collect);
    } else if (!h->collecting) {
        if (by >= h->limit / 16 && used > h->limit + h->limit / 2)
            return false;
        lguard_arm(&vm->guard, LGUARD_MEMORY);
    }
    h->alarm = used + STEP;
    return true;
}

static void *on_alloc(void *arg, void *p, size_t before, size_t after)
{
    struct lheap *h = arg;
    size_t used = h->used - before + after;
    if (__builtin_expect(used > h->alarm, 0) && after > before &&
        !may_grow(h, used, after - before))
        return NULL;
    void *got = h->alloc(h->arg, p, before, after);
    if (got || !after)
        h->used = used;
    return got;
}

static int collect_all(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

static void collect(struct lvm *vm, lua_State *L)
{
    struct lheap *h = &vm->guard.heap;
    struct pulse *pulse = vm->guard.pulse;
    bool slow = pulse->slow;
    double before = lguard_now();
    h->collecting = pulse->slow = true;
    if (lua_cpcall(L, collect_all, NULL) != 0) {
        log_error("error in a finalizer: %s",
                  lua_isstring(L, -1) ? lua_tostring(L, -1) : "(no message)");
        lua_pop(L, 1);
    }
    lguard_excuse(&vm->guard, lguard_now() - before);
    h->collecting = false;
    pulse->slow = slow;
    h->alarm = h->used < h->limit ? h->limit : h->used + STEP;
}

static void on_collect(struct loop_job *job)
{
    struct lheap *h = LIST_ITEM(job, struct lheap, collect);
    collect(h->vm, h->vm->L);
    if (h->again && h->vm->on_breach)
        h->vm->on_breach(h->vm);
    h->again = false;
}

bool lheap_exceeded(struct lvm *vm, lua_State *L)
{
    struct lheap *h = &vm->guard.heap;
    collect(vm, L);
    return h->used > h->limit - h->limit / 16;
}

void lheap_breached(struct lvm *vm)
{
    struct lheap *h = &vm->guard.heap;
    double before = h->breached;
    h->breached = loop_now(vm->loop);
    loop_defer(vm->loop, LOOP_FREE, &h->collect);
    if (before > 0 && h->breached - before < AGAIN)
        h->again = true;
}

void lheap_start(struct lvm *vm, size_t limit)
{
    struct lheap *h = &vm->guard.heap;
    lua_State *L = vm->L;
    h->vm = vm;
    h->limit = h->alarm = limit;
    h->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
    h->alloc = lua_getallocf(L, &h->arg);
    loop_job_init(&h->collect, on_collect);
    lua_setallocf(L, on_alloc, h);
}

void lheap_stop(struct lvm *vm)
{
    struct lheap *h = &vm->guard.heap;
    if (!h->limit)
        return;
    loop_undefer(&h->collect);
    lua_setallocf(vm->L, h->alloc, h->arg); /* lua_close frees it by its address */
}
