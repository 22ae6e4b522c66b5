// SPDX-License-Identifier: MIT
/*
 * src/bind/data/ljson*.c as a module that plain LuaJIT can load: `require "nativejson"` is a table
 * with the fields that they add to neap.core. support/nativejson.lua builds it.
 */
#include "bind/data/ljson.h"

int luaopen_nativejson(lua_State *L);

int luaopen_nativejson(lua_State *L)
{
    lua_newtable(L);
    ljson_open(L, -1);
    return 1;
}
