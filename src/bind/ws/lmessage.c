// SPDX-License-Identifier: MIT
/* Messages of values: see lmessage.h. */
#include "bind/ws/lmessage.h"

#include "bind/core/lerror.h"
#include "session/session.h"

/* Registry references: the hooks of these names. */
struct lmessages {
    int convert, payload;
};

static const struct lmessages *state_of(const struct lvm *vm)
{
    return vm->states[LMESSAGE_SLOT];
}

static void push(lua_State *L, int hook, int index, bool binary)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, hook);
    lua_pushvalue(L, index);
    lua_pushboolean(L, binary);
}

void lmessage_push_convert(const struct lvm *vm, lua_State *L, int index, bool binary)
{
    push(L, state_of(vm)->convert, index, binary);
}

void lmessage_push_payload(const struct lvm *vm, lua_State *L, int index)
{
    push(L, state_of(vm)->payload, index, false);
}

static enum lmessage_kind kind_of(const char *name)
{
    switch (*name) {
    case 't': return LMESSAGE_TEXT;
    case 'b': return LMESSAGE_BINARY;
    case 'c': return LMESSAGE_CLOSE;
    default: return LMESSAGE_STREAM;
    }
}

struct lmessage lmessage_read(lua_State *L, int first)
{
    struct lmessage m = {.kind = LMESSAGE_REFUSED};
    if (lua_isnil(L, first)) {
        if (lua_isnil(L, first + 1))
            m.kind = LMESSAGE_NOTHING;
        return m;
    }
    m.kind = kind_of(lua_tostring(L, first + 1));
    m.bytes = lua_tolstring(L, first, &m.len);
    m.status = (unsigned)lua_tonumber(L, first + 2);
    return m;
}

int lmessage_return_invalid(lua_State *L, struct lvm *vm, const char *instead)
{
    lua_pushnil(L);
    lerror_push(vm, L, "Error", "text is not valid UTF-8: %s", instead);
    return 2;
}

int lmessage_close(struct session *s, const struct lmessage *m)
{
    return session_close(s, m->status, m->bytes ? m->bytes : "", m->len,
                         session_settings_of(s)->close_timeout);
}

static void module_take(struct lvm *vm, lua_State *L)
{
    struct lmessages *s = vm->states[LMESSAGE_SLOT];
    s->convert = lvm_take_hook(L, "convert");
    s->payload = lvm_take_hook(L, "payload");
}

const struct lmodule *lmessage_module(void)
{
    static const struct lmodule module = {.name = "message",
                                          .slot = LMESSAGE_SLOT,
                                          .size = sizeof(struct lmessages),
                                          .take = module_take};
    return &module;
}
