// SPDX-License-Identifier: MIT
/*
 * The life of a Caller: made with its connection, woken when what its tasks wait for has come, cut
 * loose when the connection is freed. Its methods are in lcaller_methods.c and lcaller_send.c.
 */
#include "bind/ws/lcaller.h"

#include "base/err.h"
#include "bind/core/lerror.h"
#include "bind/core/ltask.h"
#include "bind/http/llistener.h"
#include "bind/ws/lcaller_private.h"
#include "bind/ws/lservice.h"

#include <lauxlib.h>
#include <string.h>

struct lcaller *lcaller_new(struct lvm *vm, lua_State *L, struct session *s,
                            struct lservice *service, int self)
{
    struct lcaller *lc = lua_newuserdata(L, sizeof *lc);
    *lc = (struct lcaller){.session = s, .service = lservice_ref(service), .error = LUA_NOREF};
    link_init(&lc->writers);
    link_init(&lc->streams);
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                ((const struct lcallers *)vm->states[LCALLER_SLOT])->metatable);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, self);
    lua_setfenv(L, -2);
    lc->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    s->user = lc;
    return lc;
}

struct group_key lcaller_service_group(const struct lcaller *lc)
{
    const char *name = lc->service->name;
    struct str group = llistener_route_group(http_conn_route(http_conn_of(lc->session)));
    if (name)
        group = str_of(name);
    return (struct group_key){GROUP_SERVICE, group.s, group.len};
}

struct lcaller *lcaller_check(lua_State *L, int index)
{
    return luaL_checkudata(L, index, "neap.Caller");
}

struct lcaller *lcaller_self(lua_State *L)
{
    struct lcaller *lc = lua_touserdata(L, 1);
    if (lc && lua_getmetatable(L, 1)) {
        bool ours = lua_rawequal(L, -1, lua_upvalueindex(2));
        lua_pop(L, 1);
        if (ours)
            return lc;
    }
    luaL_argerror(L, 1,
                  lua_pushfstring(L,
                                  "Caller expected, got %s (write caller:method(…), with a colon)",
                                  luaL_typename(L, 1)));
    return NULL;
}

int lcaller_gone(lua_State *L)
{
    return lerror_return(lvm_of(L), L, ERR_CLOSED);
}

void lcaller_push_both(lua_State *L, const struct lcaller *lc)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, lc->anchor);
    lua_getfenv(L, -1);
    lua_insert(L, -2);
}

static int push_outcome(struct lvm *vm, lua_State *L, const struct lcaller *lc, unsigned waits_for)
{
    const struct session *s = lc->session;
    bool well = waits_for == LCALLER_WAITS_CLOSE ? session_closed_by_peer(s) : !session_over(s);
    if (waits_for == LCALLER_WAITS_HANDLER) {
        lua_pushboolean(L, well);
        return 1;
    }
    if (well) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, lc->anchor);
        return 1;
    }
    lua_pushnil(L);
    if (waits_for == LCALLER_WAITS_CLOSE)
        lerror_push(vm, L, "ConnectionClosureError", "the client did not answer the close frame");
    else
        lerror_push(vm, L, "ConnectionError", "connection closed");
    return 2;
}

void lcaller_wake(struct lcaller *lc)
{
    struct link waiting;
    list_move(&waiting, &lc->writers);
    while (!link_empty(&waiting)) {
        struct ltask *t = LIST_ITEM(waiting.next, struct ltask, waiting);
        list_remove(&t->waiting);
        if (t->waits_for != LCALLER_WAITS_WRITE && !session_over(lc->session))
            list_append(&lc->writers, &t->waiting);
        else
            ltask_wake(t, push_outcome(t->vm, t->vm->L, lc, t->waits_for));
    }
}

bool lcaller_is_waited_for(const struct lcaller *lc)
{
    return !link_empty(&lc->writers) || !link_empty(&lc->streams);
}

void lcaller_handler_ended(struct lcaller *lc)
{
    struct link waiting;
    list_move(&waiting, &lc->writers);
    while (!link_empty(&waiting)) {
        struct ltask *t = LIST_ITEM(waiting.next, struct ltask, waiting);
        list_remove(&t->waiting);
        if (t->waits_for != LCALLER_WAITS_HANDLER)
            list_append(&lc->writers, &t->waiting);
        else
            ltask_wake(t, push_outcome(t->vm, t->vm->L, lc, t->waits_for));
    }
}

void lcaller_detach(struct lvm *vm, struct lcaller *lc)
{
    const struct lcallers *s = vm->states[LCALLER_SLOT];
    lua_State *L = vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, lc->anchor);
    if (lc->has_attributes) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->attributes);
        lua_pushvalue(L, -2);
        lua_pushnil(L);
        lua_rawset(L, -3);
        lua_pop(L, 1);
    }
    lua_pushvalue(L, LUA_GLOBALSINDEX); /* the instance goes even when the Caller is kept */
    lua_setfenv(L, -2);
    lua_pop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, lc->error);
    luaL_unref(L, LUA_REGISTRYINDEX, lc->anchor);
    lservice_unref(lc->service);
    lc->service = NULL;
    lc->session = NULL;
}
