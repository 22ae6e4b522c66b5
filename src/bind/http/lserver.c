// SPDX-License-Identifier: MIT
/* The server's beginning and end, and what concerns no listener of its own. */
#include "bind/http/lserver.h"

#include "conn/refusal.h"

#include <lauxlib.h>

static void conn_id(const struct conn *c, char out[LVM_CONN_ID])
{
    _Static_assert((int)LVM_CONN_ID > (int)CONN_ID_SIZE, "an id has room");
    conn_id_text(c, out);
}

/* mayLogRefusal(reason) → whether a line about that may be written: refusal.h */
static int core_may_log_refusal(lua_State *L)
{
    const char *reason = luaL_checkstring(L, 1);
    lua_pushboolean(L, refusal_may_log(&lserver_of(lvm_of(L))->conns.refusals, reason));
    return 1;
}

static const struct luaL_Reg functions[] = {{"mayLogRefusal", core_may_log_refusal}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lserver *s = vm->states[LSERVER_SLOT];
    s->vm = vm;
    server_init(&s->server, vm->loop);
    vm->conn_id = conn_id;
    lvm_register(vm, L, functions);
}

static void module_close(struct lvm *vm)
{
    server_deinit(lserver_of(vm));
}

const struct lmodule *lserver_module(void)
{
    static const struct lmodule module = {.name = "server",
                                          .slot = LSERVER_SLOT,
                                          .size = sizeof(struct lserver),
                                          .open = module_open,
                                          .close = module_close};
    return &module;
}
