// SPDX-License-Identifier: MIT
/*
 * Error objects made by C look exactly like those of lua/neap/message/error.lua: a table with kind
 * and message, and its metatable.
 */
#include "bind/core/lerror.h"

#include "base/err.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>

struct lerrors {
    int metatable; /* registry reference */
};

static int metatable_of(const struct lvm *vm)
{
    return ((const struct lerrors *)vm->states[LERROR_SLOT])->metatable;
}

void lerror_make(const struct lvm *vm, lua_State *L, const char *kind)
{
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, kind);
    lua_setfield(L, -2, "kind");
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_of(vm));
    lua_setmetatable(L, -2);
}

void lerror_push(struct lvm *vm, lua_State *L, const char *kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    lerror_make(vm, L, kind);
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
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_of(vm));
    lua_pushliteral(L, "kind");
    lua_rawget(L, -4);
    bool ours = lua_rawequal(L, -2, -3);
    bool same = !kind || (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), kind) == 0);
    lua_pop(L, 4);
    return ours && same;
}

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lerrors *s = vm->states[LERROR_SLOT];
    luaL_newmetatable(L, "neap.Error");
    lua_pushvalue(L, -1);
    s->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_setfield(L, -2, "errorMetatable");
}

const struct lmodule *lerror_module(void)
{
    static const struct lmodule module = {
        .name = "error", .slot = LERROR_SLOT, .size = sizeof(struct lerrors), .open = module_open};
    return &module;
}
