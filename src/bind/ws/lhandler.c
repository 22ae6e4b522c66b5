// SPDX-License-Identifier: MIT
/*
 * Handlers parallel to the callbacks: dispatching by a message's content (lua/neap/websocket) may
 * run several handlers of a connection at once.
 *
 *      start(caller, name, fn, …)   runs fn(…) as a handler; its results are sent, its error ends
 *                                   the session, on_close waits for it; begins later in the turn
 *      startNow(caller, name, fn, …)   the same, but it begins before this returns
 *      fail(caller, status, reason, err)   ends the session for an error
 *      handlers(caller)             how many were started and have not ended
 *      awaitHandler(caller)         waits until one of them ends
 *      handlerName(name)            → what nameHandler takes; kept for ever: for names in code only
 *      nameHandler(that)            what runs is called so from now on, in the log
 *
 * How many there may be is the caller's business: each is a coroutine in memory, so a counter of 32
 * bits cannot overflow.
 */
#include "bind/ws/lhandler.h"

#include "bind/core/ltask.h"
#include "bind/ws/lcaller.h"
#include "bind/ws/lfail.h"
#include "bind/ws/lresult.h"
#include "bind/ws/lservice.h"

#include <lauxlib.h>
#include <stdint.h>

static void handler_finished(struct ltask *t, bool ok)
{
    struct session *s = session_of(t->conn);
    lresult_send(t, ok);
    lcaller_handler_ended(s->user);
    session_parallel_end(s);
}

/*
 * A task for fn(…), of the arguments (caller, name, fn, …), whose number it sets; NULL when nothing
 * can be sent any more.
 */
static struct ltask *prepare(lua_State *L, int *args)
{
    struct session *s = lcaller_check(L, 1)->session;
    const char *name = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    *args = lua_gettop(L) - 3;
    if (!s || !session_writable(s))
        return NULL;
    struct ltask *t = ltask_get(lvm_of(L), name);
    if (!lua_checkstack(t->co, *args + 1)) {
        ltask_drop(t);
        luaL_error(L, "too many arguments");
    }
    lua_xmove(L, t->co, *args + 1);
    lua_settop(L, 2);
    t->pinned = luaL_ref(L, LUA_REGISTRYINDEX); /* the name */
    t->conn = &s->conn;
    t->what = LSERVICE_MESSAGE;
    t->binary = false;
    t->finish = handler_finished;
    session_parallel_begin(s);
    return t;
}

/* start(caller, name, fn, …) → true, or false when nothing can be sent any more */
static int core_start(lua_State *L)
{
    int args;
    struct ltask *t = prepare(L, &args);
    if (t)
        ltask_defer(t, args);
    lua_pushboolean(L, t != NULL);
    return 1;
}

/* startNow(caller, name, fn, …): as start, but it runs at once until it waits for the first time */
static int core_start_now(lua_State *L)
{
    int args;
    struct ltask *t = prepare(L, &args);
    bool started = t != NULL;
    if (started)
        ltask_start(t, args);
    lua_pushboolean(L, started);
    return 1;
}

/* fail(caller, status, reason, err) → false when the session was over already */
static int core_fail(lua_State *L)
{
    struct session *s = lcaller_check(L, 1)->session;
    lua_Integer status = luaL_checkinteger(L, 2);
    struct str reason;
    reason.s = luaL_checklstring(L, 3, &reason.len);
    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_argcheck(L, status > 0 && ws_code_valid((unsigned)status), 2, "no close code");
    lua_settop(L, 4);
    lua_pushboolean(L, s && lfail_session(L, s, (unsigned)status, reason));
    return 1;
}

/* handlers(caller) → number */
static int core_handlers(lua_State *L)
{
    const struct session *s = lcaller_check(L, 1)->session;
    lua_pushinteger(L, s ? (lua_Integer)session_parallel(s) : 0);
    return 1;
}

/*
 * awaitHandler(caller) → true when one of its handlers has ended; false when waiting would be of no
 * use: nothing can be sent any more, or none is left
 */
static int core_await_handler(lua_State *L)
{
    struct lcaller *lc = lcaller_check(L, 1);
    const struct session *s = lc->session;
    if (!s || !session_writable(s) || !session_parallel(s) || !ltask_can_wait(L)) {
        lua_pushboolean(L, false);
        return 1;
    }
    struct ltask *t = lvm_of(L)->running;
    t->waits_for = LCALLER_WAITS_HANDLER;
    list_append(&lc->writers, &t->waiting);
    return ltask_wait(L);
}

/* Its address is the key of the names in the registry. */
static char names;

/* handlerName(name) → a light userdata */
static int core_handler_name(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_pushlightuserdata(L, &names);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, true);
    lua_rawset(L, -3); /* so the string stays where it is */
    lua_pushlightuserdata(L, (void *)(uintptr_t)name);
    return 1;
}

/* nameHandler(name): of handlerName */
static int core_name_handler(lua_State *L)
{
    lvm_of(L)->running->name = lua_touserdata(L, 1);
    return 0;
}

static const struct luaL_Reg functions[] = {
    {"start", core_start},
    {"startNow", core_start_now},
    {"fail", core_fail},
    {"handlers", core_handlers},
    {"awaitHandler", core_await_handler},
    {"handlerName", core_handler_name},
    {"nameHandler", core_name_handler},
    {NULL, NULL},
};

static void module_open(struct lvm *vm, lua_State *L)
{
    lua_pushlightuserdata(L, &names);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lvm_register(vm, L, functions);
}

const struct lmodule *lhandler_module(void)
{
    static const struct lmodule module = {.name = "handler", .open = module_open};
    return &module;
}
