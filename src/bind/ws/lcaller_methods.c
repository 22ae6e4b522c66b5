// SPDX-License-Identifier: MIT
/*
 * The Caller's methods that tell about its connection or keep something with it, and the metatable
 * in which all methods are. Those that send and close are in lcaller_send.c.
 */
#include "bind/ws/lcaller_methods.h"

#include "bind/http/lrequest.h"
#include "bind/ws/lcaller_private.h"

#include <lauxlib.h>

/* The connection behind argument 1, or NULL when it is gone: then `return lcaller_gone(L)`. */
static struct session *check_session(lua_State *L)
{
    return lcaller_self(L)->session;
}

/*
 * Pushes the table of attributes of the Caller at index 1, made when there is none; nil without
 * `make`.
 */
static void push_attributes(lua_State *L, bool make)
{
    lua_pushvalue(L, 1);
    lua_rawget(L, lua_upvalueindex(3));
    if (!lua_isnil(L, -1) || !make)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, lua_upvalueindex(3));
    ((struct lcaller *)lua_touserdata(L, 1))->has_attributes = true;
}

static int caller_set_attribute(lua_State *L)
{
    struct session *s = check_session(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2, "attribute name expected, got nil");
    luaL_checkany(L, 3);
    if (!s)
        return lcaller_gone(L);
    push_attributes(L, true);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    lua_settop(L, 1);
    return 1;
}

static int caller_get_attribute(lua_State *L)
{
    struct session *s = check_session(L);
    luaL_checkany(L, 2);
    if (!s)
        return lcaller_gone(L);
    push_attributes(L, false);
    if (lua_istable(L, -1)) {
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
    }
    return 1;
}

/* removeAttribute(name) → what it was */
static int caller_remove_attribute(lua_State *L)
{
    struct session *s = check_session(L);
    luaL_checkany(L, 2);
    if (!s)
        return lcaller_gone(L);
    push_attributes(L, false);
    if (!lua_istable(L, -1))
        return 1;
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    lua_pushvalue(L, 2);
    lua_pushnil(L);
    lua_rawset(L, -4);
    return 1;
}

static int caller_id(lua_State *L)
{
    struct session *s = check_session(L);
    if (!s)
        return lcaller_gone(L);
    char id[CONN_ID_SIZE + 1];
    conn_id_text(&s->conn, id);
    lua_pushlstring(L, id, CONN_ID_SIZE);
    return 1;
}

static int caller_subprotocol(lua_State *L)
{
    struct session *s = check_session(L);
    if (!s)
        return lcaller_gone(L);
    lua_pushstring(L, http_conn_subprotocol(http_conn_of(s))); /* nil when there is none */
    return 1;
}

static int caller_is_secure(lua_State *L)
{
    struct session *s = check_session(L);
    if (!s)
        return lcaller_gone(L);
    lua_pushboolean(L, s->conn.stream.tls != NULL);
    return 1;
}

static int caller_is_open(lua_State *L)
{
    struct session *s = check_session(L);
    lua_pushboolean(L, s && session_writable(s));
    return 1;
}

static int caller_remote_address(lua_State *L)
{
    struct session *s = check_session(L);
    if (!s)
        return lcaller_gone(L);
    char text[ADDRESS_TEXT];
    address_text(&s->conn.peer, text);
    lua_pushstring(L, text);
    lua_pushinteger(L, s->conn.peer.port);
    return 2;
}

static int caller_request(lua_State *L)
{
    struct session *s = check_session(L);
    if (!s)
        return lcaller_gone(L);
    lrequest_new(lvm_of(L), L, http_conn_of(s));
    return 1;
}

static int caller_buffered(lua_State *L)
{
    struct session *s = check_session(L);
    if (!s)
        return lcaller_gone(L);
    lua_pushinteger(L, (lua_Integer)conn_buffered(&s->conn));
    return 1;
}

static int caller_tostring(lua_State *L)
{
    struct session *s = check_session(L);
    char id[CONN_ID_SIZE + 1] = "gone";
    if (s)
        conn_id_text(&s->conn, id);
    lua_pushfstring(L, "Caller (%s)", id);
    return 1;
}

static int core_is_caller(lua_State *L)
{
    bool is =
        lua_touserdata(L, 1) && lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(2));
    lua_pushboolean(L, is);
    return 1;
}

static const struct luaL_Reg methods[] = {
    {"setAttribute", caller_set_attribute},
    {"getAttribute", caller_get_attribute},
    {"removeAttribute", caller_remove_attribute},
    {"getConnectionId", caller_id},
    {"getNegotiatedSubProtocol", caller_subprotocol},
    {"isSecure", caller_is_secure},
    {"isOpen", caller_is_open},
    {"remoteAddress", caller_remote_address},
    {"request", caller_request},
    {"bufferedAmount", caller_buffered},
    {NULL, NULL},
};

static const struct luaL_Reg metamethods[] = {{"__tostring", caller_tostring}, {NULL, NULL}};

static const struct luaL_Reg functions[] = {{"isCaller", core_is_caller}, {NULL, NULL}};

/*
 * Registers with three upvalues: vm, metatable (at `metatable`), attributes of all callers (at
 * `attributes`).
 */
static void add(struct lvm *vm, lua_State *L, const struct luaL_Reg *list, int metatable,
                int attributes)
{
    lua_pushlightuserdata(L, vm);
    lua_pushvalue(L, metatable);
    lua_pushvalue(L, attributes);
    luaL_setfuncs(L, list, 3);
}

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lcallers *s = vm->states[LCALLER_SLOT];
    int core = lua_gettop(L);
    luaL_newmetatable(L, "neap.Caller");
    int metatable = lua_gettop(L);
    lua_newtable(L);
    int attributes = lua_gettop(L);
    lua_pushvalue(L, metatable);
    add(vm, L, metamethods, metatable, attributes);
    lua_newtable(L);
    add(vm, L, methods, metatable, attributes);
    add(vm, L, lcaller_sending(), metatable, attributes);
    lua_setfield(L, metatable, "__index");
    lua_pushvalue(L, core);
    add(vm, L, functions, metatable, attributes);
    lua_settop(L, attributes);
    s->attributes = luaL_ref(L, LUA_REGISTRYINDEX);
    s->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}

const struct lmodule *lcaller_methods_module(void)
{
    static const struct lmodule module = {.name = "caller",
                                          .slot = LCALLER_SLOT,
                                          .size = sizeof(struct lcallers),
                                          .open = module_open};
    return &module;
}
