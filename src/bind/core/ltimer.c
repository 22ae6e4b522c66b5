// SPDX-License-Identifier: MIT
/*
 * Timers: timer(seconds, every, fn) runs fn in a task of its own. A repeating timer is due every so
 * many seconds counted from when it was due before; a run that is due while the one before has not
 * ended is left out.
 */
#include "bind/core/ltimer.h"

#include "bind/core/ltask.h"

#include <lauxlib.h>

struct ltimers {
    struct link active;
};

static const char class_name[] = "neap.Timer";

struct ltimer {
    struct link link; /* in ltimers.active while it is so */
    struct lvm *vm;
    struct loop_timer timer;
    double every;
    int function; /* registry references while it is active */
    int anchor;
    bool running;
};

static void stop(struct ltimer *lt)
{
    struct lvm *vm = lt->vm;
    if (lt->anchor == LUA_NOREF)
        return;
    loop_timer_stop(vm->loop, &lt->timer);
    list_remove(&lt->link);
    luaL_unref(vm->L, LUA_REGISTRYINDEX, lt->function);
    luaL_unref(vm->L, LUA_REGISTRYINDEX, lt->anchor);
    lt->function = lt->anchor = LUA_NOREF;
    vm->sources--;
    lvm_went(vm);
}

static void run_ended(struct ltask *t, bool ok)
{
    (void)ok;
    lua_rawgeti(t->vm->L, LUA_REGISTRYINDEX, t->pinned);
    struct ltimer *lt = lua_touserdata(t->vm->L, -1);
    lua_pop(t->vm->L, 1);
    lt->running = false;
}

static void on_time(struct loop_timer *timer)
{
    struct ltimer *lt = LIST_ITEM(timer, struct ltimer, timer);
    struct lvm *vm = lt->vm;
    if (lt->every > 0)
        loop_timer_start(vm->loop, &lt->timer, lt->every);
    if (lt->running)
        return;
    struct ltask *t = ltask_get(vm, "timer");
    t->finish = run_ended;
    lt->running = true;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, lt->function);
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, lt->anchor);
    t->pinned = luaL_ref(t->co, LUA_REGISTRYINDEX);
    if (lt->every <= 0)
        stop(lt);
    ltask_start(t, 0);
}

static int core_timer(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    struct ltimers *s = vm->states[LTIMER_SLOT];
    double seconds = luaL_checknumber(L, 1);
    double every = luaL_optnumber(L, 2, 0);
    luaL_argcheck(L, seconds >= 0, 1, "seconds must not be negative");
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lvm_check_open(vm, L);
    struct ltimer *lt = lua_newuserdata(L, sizeof *lt);
    *lt = (struct ltimer){.vm = vm, .every = every};
    loop_timer_init(&lt->timer, on_time);
    luaL_getmetatable(L, class_name);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 3);
    lt->function = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -1);
    lt->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->sources++;
    list_append(&s->active, &lt->link);
    loop_timer_start(vm->loop, &lt->timer, seconds);
    return 1;
}

static int core_timer_stop(lua_State *L)
{
    struct ltimer *lt = luaL_checkudata(L, 1, class_name);
    lua_pushboolean(L, lt->anchor != LUA_NOREF);
    stop(lt);
    return 1;
}

static int core_now(lua_State *L)
{
    lua_pushnumber(L, loop_now(lvm_of(L)->loop));
    return 1;
}

static int core_time(lua_State *L)
{
    lua_pushnumber(L, loop_wall());
    return 1;
}

static const struct luaL_Reg functions[] = {{"timer", core_timer},
                                            {"timerStop", core_timer_stop},
                                            {"now", core_now},
                                            {"time", core_time},
                                            {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct ltimers *s = vm->states[LTIMER_SLOT];
    link_init(&s->active);
    lvm_register(vm, L, functions);
    luaL_newmetatable(L, class_name);
    lua_pop(L, 1);
}

/* Their memory is the Lua state's, and the loop must not find them afterwards. */
static void module_stop(struct lvm *vm)
{
    struct ltimers *s = vm->states[LTIMER_SLOT];
    while (!link_empty(&s->active)) {
        struct ltimer *lt = LIST_ITEM(s->active.next, struct ltimer, link);
        loop_timer_stop(vm->loop, &lt->timer);
        list_remove(&lt->link);
    }
}

const struct lmodule *ltimer_module(void)
{
    static const struct lmodule module = {.name = "timer",
                                          .slot = LTIMER_SLOT,
                                          .size = sizeof(struct ltimers),
                                          .open = module_open,
                                          .stop = module_stop};
    return &module;
}
