// SPDX-License-Identifier: MIT
/* Reading tables: see lfield.h. */
#include "bind/core/lfield.h"

#include <string.h>

double lfield_number(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    double v = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return v;
}

uint32_t lfield_count(lua_State *L, int table, const char *key)
{
    double v = lfield_number(L, table, key);
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

bool lfield_flag(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

const char *lfield_text(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    const char *s = lua_tostring(L, -1);
    lua_pop(L, 1);
    return s;
}

bool lfield_is(lua_State *L, int table, const char *key, const char *value)
{
    const char *s = lfield_text(L, table, key);
    return s && strcmp(s, value) == 0;
}
