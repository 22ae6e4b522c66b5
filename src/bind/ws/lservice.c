// SPDX-License-Identifier: MIT
/*
 * Services: see lservice.h. The table of callbacks has been checked in
 * lua/neap/websocket/service.lua.
 */
#include "bind/ws/lservice.h"

#include "base/mem.h"

#include <lauxlib.h>

struct lservices {
    struct link all;
};

static const char *const names[LSERVICE_CALLBACKS] = {
    "onOpen", "onMessage",     "onTextMessage", "onBinaryMessage", "onPing",
    "onPong", "onIdleTimeout", "onClose",       "onError",
};

const char *lservice_callback_name(enum lservice_callback callback)
{
    return names[callback];
}

static void service_free(struct lservice *s)
{
    list_remove(&s->link);
    mem_free(s->name);
    mem_free(s);
}

struct lservice *lservice_ref(struct lservice *s)
{
    s->refs++;
    return s;
}

void lservice_unref(struct lservice *s)
{
    if (--s->refs)
        return;
    for (int i = 0; i < LSERVICE_CALLBACKS; i++)
        luaL_unref(s->vm->L, LUA_REGISTRYINDEX, s->callbacks[i]);
    service_free(s);
}

struct lservice *lservice_test(lua_State *L, int index)
{
    struct lservice **slot = luaL_testudata(L, index, "neap.Service");
    return slot ? *slot : NULL;
}

static int service_gc(lua_State *L)
{
    struct lservice **slot = luaL_checkudata(L, 1, "neap.Service");
    if (*slot)
        lservice_unref(*slot);
    *slot = NULL;
    return 0;
}

/* service(name | nil, callbacks) */
static int core_service(lua_State *L)
{
    struct lservices *all = lvm_of(L)->states[LSERVICE_SLOT];
    const char *name = luaL_optstring(L, 1, NULL);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct lservice **slot = lua_newuserdata(L, sizeof *slot);
    *slot = NULL;
    luaL_getmetatable(L, "neap.Service");
    lua_setmetatable(L, -2);
    struct lservice *s = *slot = mem_alloc(sizeof *s);
    s->refs = 1;
    s->vm = lvm_of(L);
    list_append(&all->all, &s->link);
    s->name = name ? mem_strdup(name) : NULL;
    for (int i = 0; i < LSERVICE_CALLBACKS; i++)
        s->callbacks[i] = LUA_NOREF;
    for (int i = 0; i < LSERVICE_CALLBACKS; i++) {
        lua_getfield(L, 2, names[i]);
        if (lua_isfunction(L, -1))
            s->callbacks[i] = luaL_ref(L, LUA_REGISTRYINDEX);
        else
            lua_pop(L, 1);
    }
    return 1;
}

static int core_is_service(lua_State *L)
{
    lua_pushboolean(L, lservice_test(L, 1) != NULL);
    return 1;
}

static const struct luaL_Reg functions[] = {
    {"service", core_service},
    {"isService", core_is_service},
    {NULL, NULL},
};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lservices *s = vm->states[LSERVICE_SLOT];
    link_init(&s->all);
    lvm_register(vm, L, functions);
    luaL_newmetatable(L, "neap.Service");
    lua_pushcfunction(L, service_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

/* Those that are left: LuaJIT does not call a finalizer that found no room on the stack. */
static void module_close(struct lvm *vm)
{
    struct lservices *s = vm->states[LSERVICE_SLOT];
    while (!link_empty(&s->all))
        service_free(LIST_ITEM(s->all.next, struct lservice, link));
}

const struct lmodule *lservice_module(void)
{
    static const struct lmodule module = {.name = "service",
                                          .slot = LSERVICE_SLOT,
                                          .size = sizeof(struct lservices),
                                          .open = module_open,
                                          .close = module_close};
    return &module;
}
