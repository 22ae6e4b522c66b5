// SPDX-License-Identifier: MIT
/*
 * What closing the state finalizes is what lfinal_finish could not know of: objects of
 * ffi.metatype. Their finalizers run in the collector, protected.
 */
#include "bind/core/lfinal.h"

#include "base/log.h"
#include "base/seconds.h"
#include "bind/core/ltask.h"
#include "bind/core/ltell.h"

#include <lauxlib.h>
#include <time.h>

/* A queue that grew beyond so many slots gives its memory back once it is empty. */
enum { SLOTS_KEPT = 4096 };

struct lfinal {
    struct lvm *vm;
    /* registry reference of an array: object, function, object, … */
    int queue;
    int first, last; /* what is queued: first + 1 … last */
    /*
     * registry reference of a table with weak keys: object → true, or its finalizer; false: queued
     * because the worker ends
     */
    int living;
    struct loop_job run;
    double until; /* of lfinal_finish */
};

static struct lfinal *state_of(const struct lvm *vm)
{
    return vm->states[LFINAL_SLOT];
}

static double monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return seconds_from(&now);
}

/* --- In the collector ------------------------------------------------------------------------- */

/* Calls fn(object) where nothing must be raised: fn at an upvalue, the object at 1. */
static int call_now(lua_State *L, const struct lvm *vm)
{
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 0, 0) == 0)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ltell_hook(vm));
    lua_insert(L, -2);
    const char *text = lua_pcall(L, 1, 1, 0) == 0 ? lua_tostring(L, -1) : NULL;
    log_error("error in a finalizer: %s", text ? text : "it cannot be told");
    return 0;
}

/* Whether the object at 1 is in `living`, whose table it pushes. */
static bool is_living(lua_State *L, const struct lfinal *f)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->living);
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    bool is = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return is;
}

/* A userdata is still there when its finalizer comes. */
static void forget(lua_State *L, const struct lfinal *f)
{
    if (is_living(L, f)) {
        lua_pushvalue(L, 1);
        lua_pushnil(L);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

/* While the state is closed: what was in `living` has had its turn. */
static int on_closing(lua_State *L, const struct lvm *vm)
{
    const struct lfinal *f = state_of(vm);
    if (is_living(L, f) || monotonic() >= f->until)
        return 0;
    return call_now(L, vm);
}

/* Queues the object and the function at the top of L, which are popped. */
static void queue(struct lvm *vm, lua_State *L)
{
    struct lfinal *f = state_of(vm);
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->queue);
    lua_insert(L, -3);
    lua_rawseti(L, -3, f->last + 2);
    lua_rawseti(L, -2, f->last + 1);
    lua_pop(L, 1);
    f->last += 2;
    loop_defer(vm->loop, LOOP_RUN, &f->run);
}

/* Upvalues: the vm, the app's function. */
static int on_collected(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    lua_settop(L, 1);
    if (vm->closing)
        return on_closing(L, vm);
    forget(L, state_of(vm));
    lua_pushvalue(L, lua_upvalueindex(2));
    queue(vm, L);
    return 0;
}

/* The same, for a function of C. */
static int on_collected_now(lua_State *L)
{
    lua_settop(L, 1);
    return call_now(L, lvm_of(L));
}

/* --- At the end of the turn ------------------------------------------------------------------- */

static void take(lua_State *L, int table, int index)
{
    lua_rawgeti(L, table, index);
    lua_pushnil(L);
    lua_rawseti(L, table, index);
}

static void run_next(struct lvm *vm)
{
    struct lfinal *f = state_of(vm);
    lua_State *L = vm->L;
    struct ltask *t = ltask_get(vm, "a finalizer");
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->queue);
    int table = lua_gettop(L);
    take(L, table, f->first + 2);
    take(L, table, f->first + 1);
    f->first += 2;
    lua_xmove(L, t->co, 2);
    lua_pop(L, 1);
    ltask_run(t, 1);
}

static void renew(struct lvm *vm)
{
    struct lfinal *f = state_of(vm);
    if (f->last > SLOTS_KEPT) {
        lua_newtable(vm->L);
        lua_rawseti(vm->L, LUA_REGISTRYINDEX, f->queue);
    }
    f->first = f->last = 0;
}

/* What is queued meanwhile waits for the next turn. */
static void on_run(struct loop_job *job)
{
    struct lfinal *f = LIST_ITEM(job, struct lfinal, run);
    struct lvm *vm = f->vm;
    int last = f->last;
    while (f->first < last)
        run_next(vm);
    if (f->first == f->last)
        renew(vm);
}

/* --- At the end of the worker ----------------------------------------------------------------- */

/* Pushes what the app has set for the object at -2, whose value in `living` is at -1. */
static bool push_function(lua_State *L)
{
    if (lua_isfunction(L, -1)) {
        lua_pushvalue(L, -1);
    } else if (lua_getmetatable(L, -2)) {
        lua_pushliteral(L, "__gc");
        lua_rawget(L, -2);
        lua_remove(L, -2);
    } else {
        return false;
    }
    bool ours = lua_tocfunction(L, -1) == on_collected && lua_getupvalue(L, -1, 2);
    lua_remove(L, ours ? -2 : -1);
    return ours;
}

static int queue_living(lua_State *L)
{
    struct lvm *vm = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(vm)->living);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        if (lua_toboolean(L, -1) && push_function(L)) {
            lua_pushvalue(L, -3);
            lua_insert(L, -2);
            queue(vm, L);
        }
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushboolean(L, false);
        lua_rawset(L, 2);
    }
    return 0;
}

void lfinal_finish(struct lvm *vm, double seconds)
{
    struct lfinal *f = state_of(vm);
    f->until = monotonic() + seconds;
    do {
        while (f->first < f->last && monotonic() < f->until)
            run_next(vm);
        if (lua_cpcall(vm->L, queue_living, vm) != 0)
            lua_pop(vm->L, 1); /* a finalizer of C has raised: the rest is left to the collector */
    } while (f->first < f->last && monotonic() < f->until);
    vm->closing = true;
    if (f->first < f->last)
        log_warn("there was no time left for %d finalizers", (f->last - f->first) / 2);
}

/* --- What Lua sees ---------------------------------------------------------------------------- */

/* finalizer(fn, now) → what the collector is to be given: queues the object, or calls fn at once */
static int core_finalizer(lua_State *L)
{
    luaL_checkany(L, 1);
    bool now = lua_toboolean(L, 2);
    lua_settop(L, 1);
    lua_pushlightuserdata(L, lvm_of(L));
    lua_insert(L, 1);
    lua_pushcclosure(L, now ? on_collected_now : on_collected, 2);
    return 1;
}

static const struct luaL_Reg functions[] = {{"finalizer", core_finalizer}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lfinal *f = state_of(vm);
    f->vm = vm;
    loop_job_init(&f->run, on_run);
    lvm_register(vm, L, functions);
    lua_newtable(L);
    f->queue = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    f->living = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_setfield(L, -2, "living");
}

static void module_close(struct lvm *vm)
{
    loop_undefer(&state_of(vm)->run);
}

const struct lmodule *lfinal_module(void)
{
    static const struct lmodule module = {.name = "final",
                                          .slot = LFINAL_SLOT,
                                          .size = sizeof(struct lfinal),
                                          .open = module_open,
                                          .close = module_close};
    return &module;
}
