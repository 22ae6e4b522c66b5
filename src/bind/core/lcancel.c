// SPDX-License-Identifier: MIT
/*
 *      cancel(handle)      → true when it takes effect at once, as lcancel_task
 *      isCancelled()       → whether the running task was cancelled
 *      checkCancelled()    raises where waiting raises
 *      shield()            until unshield waiting does not raise in the running task
 *      unshield()
 */
#include "bind/core/lcancel.h"

#include "base/mem.h"
#include "bind/core/lerror.h"
#include "bind/core/lguard.h"

#include <lauxlib.h>

/* So long a cancelled task may wait in shields, all of them together. */
#define SHIELD_SECONDS 5.0

/* Runs from when the task is both cancelled and in a shield for the first time. */
struct ltask_shield {
    struct loop_timer limit;
    struct ltask *task;
};

static bool is_shielded(const struct ltask *t)
{
    return t->shields > 0 && !t->exposed;
}

static void push_cancelled(struct lvm *vm, lua_State *L)
{
    lerror_push(vm, L, "Cancelled", "the task was cancelled");
}

static bool interrupt(struct ltask *t)
{
    lua_State *L = t->vm->L;
    if (t->state != LTASK_PARKED)
        return false;
    lua_pushnil(L);
    push_cancelled(t->vm, L);
    if (!ltask_wake(t, 2))
        return false;
    if (t->raise_in)
        t->overdue |= LGUARD_CANCEL;
    return true;
}

/* --- Shields ---------------------------------------------------------------------------------- */

static void on_limit(struct loop_timer *timer)
{
    struct ltask *t = LIST_ITEM(timer, struct ltask_shield, limit)->task;
    t->exposed = true;
    interrupt(t);
}

static void start_limit(struct ltask *t)
{
    if (t->shield)
        return;
    t->shield = mem_alloc(sizeof *t->shield);
    t->shield->task = t;
    loop_timer_init(&t->shield->limit, on_limit);
    loop_timer_start(t->vm->loop, &t->shield->limit, SHIELD_SECONDS);
}

void lcancel_over(struct ltask *t)
{
    if (!t->shield)
        return;
    loop_timer_stop(t->vm->loop, &t->shield->limit);
    mem_free(t->shield);
    t->shield = NULL;
}

/* --- Cancelling ------------------------------------------------------------------------------- */

bool lcancel_task(struct ltask *t)
{
    if (t->state == LTASK_NEW && !link_empty(&t->link)) {
        list_remove(&t->link);
        ltask_drop(t);
        return true;
    }
    t->cancelled = true;
    if (!is_shielded(t))
        return interrupt(t);
    start_limit(t);
    return false;
}

void lcancel_raise(lua_State *L, const struct ltask *t)
{
    if (is_shielded(t))
        return;
    push_cancelled(t->vm, L);
    lua_error(L);
}

int lcancel_wait(lua_State *L)
{
    struct ltask *t = lvm_of(L)->running;
    lua_Debug ar;
    bool by_lua = lua_getstack(L, 1, &ar) && lua_getinfo(L, "S", &ar) && *ar.what != 'C';
    int r = ltask_wait(L);
    t->raise_in = by_lua ? L : NULL;
    return r;
}

void lcancel_inject(lua_State *L, struct ltask *t)
{
    t->raise_in = NULL;
    push_cancelled(t->vm, L);
    lua_error(L);
}

/* --- What Lua sees ---------------------------------------------------------------------------- */

static int core_cancel(lua_State *L)
{
    struct ltask *t = ltask_of_handle(L, 1);
    lua_pushboolean(L, t && lcancel_task(t));
    return 1;
}

static int core_is_cancelled(lua_State *L)
{
    const struct ltask *t = lvm_of(L)->running;
    lua_pushboolean(L, t && t->cancelled);
    return 1;
}

static int core_check_cancelled(lua_State *L)
{
    lcancel_check(L, lvm_of(L)->running);
    return 0;
}

static int core_shield(lua_State *L)
{
    struct ltask *t = lvm_of(L)->running;
    if (!t)
        return 0;
    t->shields++;
    if (t->cancelled)
        start_limit(t);
    return 0;
}

static int core_unshield(lua_State *L)
{
    struct ltask *t = lvm_of(L)->running;
    if (t && t->shields)
        t->shields--;
    return 0;
}

static const struct luaL_Reg functions[] = {{"cancel", core_cancel},
                                            {"isCancelled", core_is_cancelled},
                                            {"checkCancelled", core_check_cancelled},
                                            {"shield", core_shield},
                                            {"unshield", core_unshield},
                                            {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    lvm_register(vm, L, functions);
}

const struct lmodule *lcancel_module(void)
{
    static const struct lmodule module = {.name = "cancel", .open = module_open};
    return &module;
}
