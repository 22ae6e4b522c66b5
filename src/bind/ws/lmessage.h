// SPDX-License-Identifier: MIT
/*
 * Values as messages: what a method of the Caller writes or pushes, what a handler returns, what a
 * group gets. A string is one as it is; what any other value is on the wire is asked of the Lua
 * side (lua/neap/websocket/convert.lua), by whoever has the value, with the call that suits it:
 *
 *      lmessage_push_convert ─▶ lua_call, ltask_call ─▶ lmessage_read ─▶ lmessage_is_sendable
 */
#ifndef NEAP_BIND_WS_LMESSAGE_H
#define NEAP_BIND_WS_LMESSAGE_H

#include "bind/core/lvm.h"
#include "proto/ws/utf8.h"
#include "proto/ws/ws.h"

#include <lauxlib.h>

struct session;

enum { LMESSAGE_SLOT = LMODULE_WS };

enum lmessage_kind {
    LMESSAGE_TEXT,
    LMESSAGE_BINARY,
    LMESSAGE_CLOSE,   /* a close frame: `status`, and the reason as its bytes */
    LMESSAGE_STREAM,  /* values that come one by one: lstream.h */
    LMESSAGE_NOTHING, /* a value that sends nothing: a Caller, the result of a push */
    LMESSAGE_REFUSED, /* one that cannot be sent: the second result says why */
};

/* The bytes are a Lua string's, which stays on the stack as long as the message is used. */
struct lmessage {
    enum lmessage_kind kind;
    unsigned status;
    const char *bytes;
    size_t len;
};

enum { LMESSAGE_ARGS = 2, LMESSAGE_RESULTS = 3 }; /* of the functions that are pushed here */

/* The string at `index`; raises where there is something else than a string or a number. */
static inline struct lmessage lmessage_check(lua_State *L, int index, enum lmessage_kind kind)
{
    size_t len; /* not the message's, which can stay in registers so */
    const char *bytes = luaL_checklstring(L, index, &len);
    return (struct lmessage){.kind = kind, .bytes = bytes, .len = len};
}

/*
 * Pushes the function that converts, and as its LMESSAGE_ARGS arguments the value at `index` and
 * whether a string is binary. Takes three slots of the stack, and does not raise.
 */
void lmessage_push_convert(const struct lvm *vm, lua_State *L, int index, bool binary);

/* The same, for a value that has to be one message: never LMESSAGE_CLOSE, _STREAM or _NOTHING. */
void lmessage_push_payload(const struct lvm *vm, lua_State *L, int index);

/*
 * What the function has said: its LMESSAGE_RESULTS results begin at `first`. Does not raise.
 */
struct lmessage lmessage_read(lua_State *L, int first);

/* Whether it is binary, or text that is valid UTF-8. */
static inline bool lmessage_is_sendable(const struct lmessage *m)
{
    return m->kind == LMESSAGE_BINARY || utf8_valid((const uint8_t *)m->bytes, m->len);
}

/*
 * For text that is none: pushes nil and an error that says what to use in place of it; returns 2.
 * May raise (no memory).
 */
int lmessage_return_invalid(lua_State *L, struct lvm *vm, const char *instead);

/* The type of a message that is text or binary. */
static inline enum ws_type lmessage_type(const struct lmessage *m)
{
    return m->kind == LMESSAGE_BINARY ? WS_BINARY : WS_TEXT;
}

/* Closes the session with a LMESSAGE_CLOSE, within the route's time: 0, or a negative enum err. */
int lmessage_close(struct session *s, const struct lmessage *m);

const struct lmodule *lmessage_module(void);

#endif
