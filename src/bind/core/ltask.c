// SPDX-License-Identifier: MIT
/*
 * The scheduler. There is no queue of its own: a task that can go on is resumed in the first stage
 * of the turn's end, in the order in which tasks became ready.
 *
 * A coroutine that ended well is used again (lua_resume on a finished thread starts it anew); one
 * that raised is left to the collector, since LuaJIT cannot reset it.
 */
#include "bind/core/ltask_private.h"

#include "base/check.h"
#include "base/mem.h"
#include "bind/core/lcancel.h"
#include "bind/core/lerror.h"
#include "bind/core/lguard.h"

#include <lauxlib.h>

/* Values for a task that is woken: so many slots LuaJIT keeps free past the end of any stack. */
enum { WAKE_ARGS = 2 };

/* The address of this is what our yields carry. */
static char marker;

struct ltasks {
    int metatable; /* registry reference: of handles */
};

struct handle {
    struct ltask *task; /* NULL once it is over */
};

static void on_sleep_over(struct loop_timer *timer);

static struct ltask *new_task(struct lvm *vm)
{
    struct ltask *t = mem_alloc(sizeof *t);
    t->vm = vm;
    link_init(&t->link);
    link_init(&t->waiting);
    link_init(&t->kin);
    list_append(&vm->alive, &t->alive);
    loop_timer_init(&t->timer, on_sleep_over);
    t->co = lua_newthread(vm->L);
    t->anchor = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    return t;
}

struct ltask *ltask_get(struct lvm *vm, const char *name)
{
    struct ltask *t = vm->idle;
    if (t) {
        ltask_idle_check(t);
        vm->idle = t->next_idle;
        vm->idle_count--;
    } else {
        t = new_task(vm);
    }
    t->name = name;
    t->conn = NULL;
    t->handle = t->pinned = LUA_NOREF;
    t->loads = false;
    t->overdue = 0;
    t->waited = t->cancelled = t->exposed = false;
    t->shields = 0;
    t->state = LTASK_NEW;
    t->finish = NULL;
    vm->tasks++;
    ltask_check(t);
    return t;
}

static void free_task(struct ltask *t)
{
    lcancel_over(t);
    list_remove(&t->alive);
    luaL_unref(t->vm->L, LUA_REGISTRYINDEX, t->anchor);
    mem_free(t);
}

static void recycle(struct ltask *t, bool reusable)
{
    struct lvm *vm = t->vm;
    if (!reusable || vm->idle_count >= LTASK_IDLE_MAX) {
        free_task(t);
        return;
    }
    lua_settop(t->co, 0);
    t->next_idle = vm->idle;
    vm->idle = t;
    vm->idle_count++;
    ltask_idle_check(t);
}

static void drop_handle(struct ltask *t)
{
    lua_State *L = t->vm->L;
    if (t->handle != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, t->handle);
        ((struct handle *)lua_touserdata(L, -1))->task = NULL;
        lua_pop(L, 1);
        luaL_unref(L, LUA_REGISTRYINDEX, t->handle);
    }
    if (t->pinned != LUA_NOREF)
        luaL_unref(L, LUA_REGISTRYINDEX, t->pinned);
    t->handle = t->pinned = LUA_NOREF;
}

/* It goes on without having been woken: nothing may wake it later from a wait that never came. */
static void unpark(struct ltask *t)
{
    list_remove(&t->waiting);
    loop_timer_stop(t->vm->loop, &t->timer);
    t->state = LTASK_RUNNING;
    ltask_check(t);
}

static void ended(struct ltask *t, bool ok)
{
    struct lvm *vm = t->vm;
    if (t->state == LTASK_PARKED)
        unpark(t);
    t->state = LTASK_OVER;
    ltask_check(t);
    if (t->finish)
        t->finish(t, ok);
    if (t->handle != LUA_NOREF || t->pinned != LUA_NOREF)
        drop_handle(t);
    if (t->cancelled)
        lcancel_over(t);
    /* An app that got hold of the coroutine may have resumed it once more, and broken it so. */
    recycle(t, ok && lua_status(t->co) == 0);
    CHECK(vm->tasks > 0);
    if (--vm->tasks == 0 && vm->sources == 0)
        lvm_went(vm);
}

/* The error is at the top of vm->L. */
static void raised(struct ltask *t)
{
    lua_State *L = t->vm->L;
    if (!t->cancelled || !lerror_is(t->vm, L, -1, "Cancelled"))
        t->vm->log_raised(t);
    ended(t, false);
    lua_pop(L, 1);
}

/* It has yielded: with our marker it waits; anything else is a mistake of the app. */
static bool yielded(struct ltask *t)
{
    lua_State *co = t->co;
    bool ours = lua_gettop(co) == 1 && lua_touserdata(co, 1) == &marker;
    lua_settop(co, 0);
    if (ours) {
        t->waited = true;
        CHECK(t->state == LTASK_PARKED || t->state == LTASK_READY);
        ltask_check(t);
        return true;
    }
    lua_pushliteral(t->vm->L, "coroutine.yield outside of a coroutine of your own: to wait, use "
                              "neap.task.sleep or a channel");
    raised(t);
    return false;
}

/* --- Runs, watched by the guard; one inside another is part of it ----------------------------- */

/* Its wait was cancelled, or it waited in place of leaving. */
static __attribute__((noinline)) void rearm(struct lguard *g, struct ltask *t)
{
    lguard_arm(g, t->overdue);
    t->overdue &= (uint8_t)~LGUARD_CANCEL;
}

static inline struct ltask *enter(struct ltask *t)
{
    struct lvm *vm = t->vm;
    struct ltask *outer = vm->running;
    vm->running = t;
    if (outer)
        return outer;
    struct lguard *g = lguard_of(vm);
    lguard_enter(g);
    if (t->overdue)
        rearm(g, t);
    return NULL;
}

/* Moves the error to vm->L. What is left of the coroutine tells where it was, and nothing else. */
static void take_error(struct ltask *t)
{
    lua_xmove(t->co, t->vm->L, 1);
    lua_settop(t->co, 0);
}

static int leave(struct ltask *t, struct ltask *outer, int status)
{
    struct lguard *g = lguard_of(t->vm);
    CHECK(t->vm->running == t);
    t->vm->running = outer;
    if (status > LUA_YIELD)
        take_error(t);
    if (outer)
        lguard_inner(g, status);
    else if ((lguard_leave(g) || status == LUA_ERRMEM))
        return lguard_settle(g, t, status);
    return status;
}

int ltask_call(struct ltask *t, int args, int results)
{
    struct ltask *outer = enter(t);
    return leave(t, outer, lua_pcall(t->co, args, results, 0));
}

int ltask_ask(struct ltask *t, int args, int results)
{
    struct lvm *vm = t->vm;
    struct lguard *g = lguard_of(vm);
    struct ltask *outer = enter(t);
    int status = lua_pcall(vm->L, args, results, 0);
    vm->running = outer;
    if (outer)
        lguard_inner(g, status);
    else if (lguard_leave(g))
        lguard_forget(g);
    return status;
}

static bool resume(struct ltask *t, int args)
{
    CHECK(t->state == LTASK_NEW || t->state == LTASK_READY);
    CHECK(link_empty(&t->link));
    struct ltask *outer = enter(t);
    t->state = LTASK_RUNNING;
    int status = leave(t, outer, lua_resume(t->co, args));
    if (status == LUA_YIELD)
        return yielded(t);
    if (status == 0)
        ended(t, true);
    else
        raised(t);
    return false;
}

bool ltask_start(struct ltask *t, int args)
{
    return resume(t, args);
}

void ltask_run(struct ltask *t, int args)
{
    t->state = LTASK_RUNNING;
    if (ltask_call(t, args, 0) == 0)
        ended(t, true);
    else
        raised(t);
}

void ltask_drop(struct ltask *t)
{
    t->finish = NULL;
    ended(t, true);
}

static void make_ready(struct ltask *t, int args)
{
    CHECK(link_empty(&t->link));
    t->args = args;
    list_append(&t->vm->ready, &t->link);
    loop_defer(t->vm->loop, LOOP_RUN, &t->vm->run_ready);
    ltask_check(t);
}

void ltask_defer(struct ltask *t, int args)
{
    make_ready(t, args);
}

static void on_run_ready(struct loop_job *job)
{
    struct lvm *vm = LIST_ITEM(job, struct lvm, run_ready);
    struct link now;
    list_move(&now, &vm->ready);
    while (!link_empty(&now)) {
        struct ltask *t = LIST_ITEM(now.next, struct ltask, link);
        list_remove(&t->link);
        resume(t, t->args);
    }
}

bool ltask_can_wait(lua_State *L)
{
    struct ltask *t = lvm_of(L)->running;
    lcancel_check(L, t);
    if (!t || !lua_isyieldable(L))
        return false;
    if (t->state == LTASK_PARKED)
        unpark(t); /* the wait before could not be passed out of a C function */
    return true;
}

int ltask_wait(lua_State *L)
{
    struct ltask *t = lvm_of(L)->running;
    lcancel_check(L, t);
    if (!t || !lua_isyieldable(L))
        return luaL_error(L, "cannot wait here: this code is called by a C function that cannot be "
                             "suspended (table.sort, string.gsub, …)");
    t->raise_in = NULL;
    t->state = LTASK_PARKED;
    ltask_check(t);
    lua_pushlightuserdata(L, &marker);
    return lua_yield(L, 1);
}

/* Wakes a parked task with values at the top of L. LuaJIT has room for a few on any coroutine. */
static void wake_from(lua_State *L, struct ltask *t, int args)
{
    lua_xmove(L, t->co, args);
    list_remove(&t->waiting);
    loop_timer_stop(t->vm->loop, &t->timer);
    t->state = LTASK_READY;
    make_ready(t, args);
}

bool ltask_wake(struct ltask *t, int args)
{
    lua_State *L = t->vm->L;
    bool parked = t->state == LTASK_PARKED;
    if (parked)
        wake_from(L, t, args);
    else
        lua_pop(L, args);
    return parked;
}

static void on_sleep_over(struct loop_timer *timer)
{
    struct ltask *t = LIST_ITEM(timer, struct ltask, timer);
    lua_pushboolean(t->vm->L, true);
    ltask_wake(t, 1);
}

/* --- What Lua sees ---------------------------------------------------------------------------- */

static void push_handle(struct lvm *vm, lua_State *L, struct ltask *t)
{
    if (t->handle != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, t->handle);
        return;
    }
    const struct ltasks *s = vm->states[LTASK_SLOT];
    struct handle *h = lua_newuserdata(L, sizeof *h);
    h->task = t;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->metatable);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    t->handle = luaL_ref(L, LUA_REGISTRYINDEX);
}

static struct handle *check_handle(lua_State *L, int index)
{
    return luaL_checkudata(L, index, "neap.Task");
}

struct ltask *ltask_of_handle(lua_State *L, int index)
{
    return check_handle(L, index)->task;
}

static int core_spawn(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lvm_check_open(vm, L);
    int args = lua_gettop(L) - 1;
    struct ltask *t = ltask_get(vm, "task");
    if (!lua_checkstack(t->co, args + 1)) {
        ltask_drop(t);
        return luaL_error(L, "too many arguments");
    }
    push_handle(vm, L, t);
    lua_insert(L, 1);
    lua_xmove(L, t->co, args + 1);
    ltask_defer(t, args);
    return 1;
}

/* nil in a finalizer that runs between tasks. */
static int core_current(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    if (vm->running)
        push_handle(vm, L, vm->running);
    else
        lua_pushnil(L);
    return 1;
}

static int core_park(lua_State *L)
{
    return ltask_wait(L);
}

/* For a coroutine of the app whose wait cannot be passed on: see lua/neap/runtime/coroutine.lua. */
static int core_unpark(lua_State *L)
{
    struct ltask *t = lvm_of(L)->running;
    if (t && t->state == LTASK_PARKED)
        unpark(t);
    return 0;
}

static int core_wake(lua_State *L)
{
    struct handle *h = check_handle(L, 1);
    int args = lua_gettop(L) - 1;
    bool parked = h->task && h->task->state == LTASK_PARKED;
    luaL_argcheck(L, args <= WAKE_ARGS, 2 + WAKE_ARGS, "too many values");
    if (parked)
        wake_from(L, h->task, args);
    lua_pushboolean(L, parked);
    return 1;
}

static int core_finished(lua_State *L)
{
    lua_pushboolean(L, !check_handle(L, 1)->task);
    return 1;
}

static int core_sleep(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    double seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0, 1, "seconds must not be negative");
    struct ltask *t = vm->running;
    if (ltask_can_wait(L))
        loop_timer_start(vm->loop, &t->timer, seconds);
    return ltask_wait(L);
}

static const struct luaL_Reg functions[] = {
    {"spawn", core_spawn},       {"current", core_current},
    {"park", core_park},         {"wake", core_wake},
    {"finished", core_finished}, {"sleep", core_sleep},
    {"unpark", core_unpark},     {NULL, NULL},
};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct ltasks *s = vm->states[LTASK_SLOT];
    link_init(&vm->ready);
    link_init(&vm->alive);
    loop_job_init(&vm->run_ready, on_run_ready);
    lvm_register(vm, L, functions);
    lua_pushlightuserdata(L, &marker);
    lua_setfield(L, -2, "marker");
    luaL_newmetatable(L, "neap.Task");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "taskMethods");
    lua_setfield(L, -2, "__index");
    s->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void module_stop(struct lvm *vm)
{
    vm->idle = NULL;
    while (!link_empty(&vm->alive)) {
        struct ltask *t = LIST_ITEM(vm->alive.next, struct ltask, alive);
        loop_timer_stop(vm->loop, &t->timer);
        list_remove(&t->link);
        list_remove(&t->waiting);
        list_remove(&t->kin);
        drop_handle(t); /* a finalizer may still ask it */
        free_task(t);
    }
}

static void module_close(struct lvm *vm)
{
    loop_undefer(&vm->run_ready);
}

const struct lmodule *ltask_module(void)
{
    static const struct lmodule module = {.name = "task",
                                          .slot = LTASK_SLOT,
                                          .size = sizeof(struct ltasks),
                                          .open = module_open,
                                          .stop = module_stop,
                                          .close = module_close};
    return &module;
}
