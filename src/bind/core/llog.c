// SPDX-License-Identifier: MIT
/* log(level, message, fields): lines of the app, with the connection whose callback writes them. */
#include "bind/core/llog.h"

#include "base/log.h"
#include "bind/core/ltask.h"

#include <lauxlib.h>

enum { FIELDS_MAX = 32 };

static enum log_level check_level(lua_State *L)
{
    enum log_level level = LOG_INFO;
    if (!log_parse_level(luaL_checkstring(L, 1), &level))
        luaL_argerror(L, 1, "level expected: debug, info, warn or error");
    return level;
}

/* Fields from an array of { key, value } at index 3; their strings stay alive with the array. */
static size_t read_fields(lua_State *L, struct log_field *fields, size_t max)
{
    size_t count = lua_istable(L, 3) ? lua_objlen(L, 3) : 0;
    if (count > max)
        count = max;
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 3, (int)i + 1);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        size_t len = 0;
        fields[i].key = luaL_checkstring(L, -2);
        fields[i].value = luaL_checklstring(L, -1, &len);
        fields[i].len = len;
        lua_pop(L, 3);
    }
    return count;
}

static int core_log(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    enum log_level level = check_level(L);
    size_t len;
    const char *message = luaL_checklstring(L, 2, &len);
    struct log_field fields[FIELDS_MAX + 1];
    size_t count = read_fields(L, fields, FIELDS_MAX);
    char id[LVM_CONN_ID];
    if (vm->running && vm->running->conn) {
        vm->conn_id(vm->running->conn, id);
        fields[count++] = (struct log_field){.key = "connection", .value = id};
    }
    log_bytes(level, fields, count, message, len);
    return 0;
}

static int core_log_enabled(lua_State *L)
{
    lua_pushboolean(L, log_enabled(check_level(L)));
    return 1;
}

static const struct luaL_Reg functions[] = {
    {"log", core_log}, {"logEnabled", core_log_enabled}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    lvm_register(vm, L, functions);
}

const struct lmodule *llog_module(void)
{
    static const struct lmodule module = {.name = "log", .open = module_open};
    return &module;
}
