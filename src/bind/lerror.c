// SPDX-License-Identifier: MIT
/*
 * Error objects made by C look exactly like those of lua/neap/error.lua: a table with kind and
 * message, and its metatable.
 */
#include "bind/lerror.h"

#include "base/err.h"
#include "base/log.h"
#include "server/conn.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>

void lerror_push(struct lvm *vm, lua_State *L, const char *kind, const char *format, ...)
{
    va_list args;
    lua_createtable(L, 0, 2);
    lua_pushstring(L, kind);
    lua_setfield(L, -2, "kind");
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    lua_setfield(L, -2, "message");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->error_meta);
    lua_setmetatable(L, -2);
}

const char *lerror_kind(int err)
{
    switch (err) {
    case ERR_PROTOCOL:
    case ERR_UTF8: return "CorruptedFrameError";
    case ERR_CONTINUATION: return "InvalidContinuationFrameError";
    case ERR_TOO_BIG: return "PayloadTooLargeError";
    case ERR_POLICY:
    case ERR_CLOSED: return "ConnectionError";
    default: return "Error";
    }
}

int lerror_return(struct lvm *vm, lua_State *L, int err)
{
    lua_pushnil(L);
    lerror_push(vm, L, lerror_kind(err), "%s", err_text(err));
    return 2;
}

bool lerror_is(const struct lvm *vm, lua_State *L, int index, const char *kind)
{
    lua_pushvalue(L, index);
    if (!lua_istable(L, -1) || !lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->error_meta);
    lua_pushliteral(L, "kind");
    lua_rawget(L, -4);
    bool ours = lua_rawequal(L, -2, -3);
    bool same = !kind || (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), kind) == 0);
    lua_pop(L, 4);
    return ours && same;
}

const char *lerror_text(lua_State *L, int index, size_t *len)
{
    lua_pushvalue(L, index);
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "message");
        lua_rawget(L, -2);
        lua_remove(L, -2);
    }
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER) {
        lua_pop(L, 1);
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
    }
    return lua_tolstring(L, -1, len);
}

void lerror_log(struct lvm *vm, lua_State *co, const char *name, const struct conn *c)
{
    lua_State *L = vm->L;
    char id[CONN_ID_SIZE + 1];
    struct log_field field = {.key = "connection"};
    if (c) {
        conn_id_text(c, id);
        field.value = id;
    }
    size_t len;
    const char *text = lerror_text(co, -1, &len);
    luaL_traceback(L, co, text, 0);
    log_event(LOG_ERROR, &field, 1, "error in %s: %s", name, lua_tostring(L, -1));
    lua_pop(L, 1);
    lua_pop(co, 1);
}
