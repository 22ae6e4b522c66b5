// SPDX-License-Identifier: MIT
/* Counting costs an indirect call, an addition and a comparison for each allocation. */
#include "bind/core/lheap.h"

#include "base/log.h"

/* Between two looks at a heap that has reached its limit. */
enum { STEP = 64 * 1024 };

static bool may_grow(struct lheap *h, size_t used, size_t by)
{
    if (!h->may_grow(h, by >= h->limit / 16 && used > h->limit + h->limit / 2))
        return false;
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

void lheap_collect(struct lheap *h, lua_State *L)
{
    h->collecting = true;
    if (lua_cpcall(L, collect_all, NULL) != 0) {
        log_error("error in a finalizer: %s",
                  lua_isstring(L, -1) ? lua_tostring(L, -1) : "(no message)");
        lua_pop(L, 1);
    }
    h->collecting = false;
    h->alarm = h->used < h->limit ? h->limit : h->used + STEP;
}

void lheap_start(struct lheap *h, lua_State *L, size_t limit,
                 bool (*grow)(struct lheap *h, bool large))
{
    h->limit = h->alarm = limit;
    h->may_grow = grow;
    h->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
    h->alloc = lua_getallocf(L, &h->arg);
    lua_setallocf(L, on_alloc, h);
}

void lheap_stop(struct lheap *h, lua_State *L)
{
    if (h->limit)
        lua_setallocf(L, h->alloc, h->arg); /* lua_close frees it by its address */
}
