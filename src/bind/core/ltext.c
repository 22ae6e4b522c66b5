// SPDX-License-Identifier: MIT
/* Text for Lua: see ltext.h. */
#include "bind/core/ltext.h"

#include "proto/ws/utf8.h"

#include <lauxlib.h>
#include <string.h>

bool ltext_is_line(const char *s, size_t len)
{
    return !memchr(s, '\r', len) && !memchr(s, '\n', len) && !memchr(s, '\0', len);
}

static int core_is_utf8(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    lua_pushboolean(L, utf8_valid((const uint8_t *)s, len));
    return 1;
}

static const struct luaL_Reg functions[] = {
    {"isUtf8", core_is_utf8},
    {NULL, NULL},
};

static void module_open(struct lvm *vm, lua_State *L)
{
    lvm_register(vm, L, functions);
}

const struct lmodule *ltext_module(void)
{
    static const struct lmodule module = {.name = "text", .open = module_open};
    return &module;
}
