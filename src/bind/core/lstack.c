// SPDX-License-Identifier: MIT
/*
 * The stack of the main thread grows by itself, up to RLIMIT_STACK as it is at that time; Linux
 * keeps 128 MiB of addresses free below it, whatever the limit was at the start.
 */
#include "bind/core/lstack.h"

#include "bind/core/lvm.h"

#include <lauxlib.h>
#include <stdint.h>
#include <sys/resource.h>

#define WANTED ((rlim_t)64 << 20)

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
    const struct lvm *vm = lvm_of(L);
    lua_pushboolean(L, vm->stack_base - here() > vm->stack_room);
    return 1;
}

static const struct luaL_Reg functions[] = {{"deep", core_deep}, {NULL, NULL}};

void lstack_open(struct lvm *vm, lua_State *L)
{
    vm->stack_base = here();
    vm->stack_room = grow() / 2;
    lvm_register(vm, L, functions);
}
