// SPDX-License-Identifier: MIT
/*
 * The stack of the main thread grows by itself, up to RLIMIT_STACK as it is at that time; Linux
 * keeps 128 MiB of addresses free below it, whatever the limit was at the start.
 */
#include "bind/core/lstack.h"

#include <lauxlib.h>
#include <stdint.h>
#include <sys/resource.h>

#define WANTED ((rlim_t)64 << 20)

struct lstack {
    uintptr_t base; /* near where the C stack begins */
    size_t room;    /* bytes for nested coroutines */
};

/* How much there may be: the limit, raised where that is permitted. */
static rlim_t grow(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) < 0)
        return 0;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= WANTED)
        return WANTED;
    struct rlimit more = limit;
    more.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > WANTED ? WANTED : limit.rlim_max;
    return setrlimit(RLIMIT_STACK, &more) < 0 ? limit.rlim_cur : more.rlim_cur;
}

static uintptr_t here(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}

/* deep() → true when so much is in use that no coroutine should be resumed inside others */
static int core_deep(lua_State *L)
{
    const struct lstack *s = lvm_of(L)->states[LSTACK_SLOT];
    uintptr_t at = here(); /* an app may be loaded from less deep than the state was made */
    lua_pushboolean(L, at < s->base && s->base - at > s->room);
    return 1;
}

static const struct luaL_Reg functions[] = {{"deep", core_deep}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lstack *s = vm->states[LSTACK_SLOT];
    s->base = here();
    s->room = grow() / 2;
    lvm_register(vm, L, functions);
}

const struct lmodule *lstack_module(void)
{
    static const struct lmodule module = {
        .name = "stack", .slot = LSTACK_SLOT, .size = sizeof(struct lstack), .open = module_open};
    return &module;
}
