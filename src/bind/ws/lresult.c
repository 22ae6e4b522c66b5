// SPDX-License-Identifier: MIT
/*
 * Results of handlers become messages. A string is sent from here; everything else is asked of
 * hooks.convert (lua/neap/websocket/convert.lua), which says what it is on the wire.
 *
 *      string                     text, or binary or a pong, as the handler answers
 *      nil, err                   the session ends: 1011, err's message as reason where it has one,
 *                                 without CR, LF and NUL
 *      any other value            hooks.convert: bytes, a close frame, nothing, an error, or a
 *                                 stream (lstream.c)
 *      (raised)                   the session ends: 1011, "internal error"
 *
 * Once a close frame has been queued nothing is sent any more.
 */
#include "bind/ws/lresult.h"

#include "base/err.h"
#include "base/log.h"
#include "bind/core/lerror.h"
#include "bind/core/ltask.h"
#include "bind/core/ltext.h"
#include "bind/ws/lcaller.h"
#include "bind/ws/lgroup.h"
#include "bind/ws/lservice.h"
#include "bind/ws/lstream.h"
#include "proto/ws/utf8.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

static const struct http_str generic = {"internal error", sizeof "internal error" - 1};

bool lresult_fail(lua_State *L, struct conn *c, unsigned code, struct http_str reason)
{
    if (c->over || c->state != CONN_OPEN) {
        lua_pop(L, 1);
        return false;
    }
    if (!ltext_is_line(reason.s, reason.len))
        reason = generic;
    char text[124];
    size_t len = utf8_cut((const uint8_t *)reason.s, reason.len, sizeof text - 1);
    while (!utf8_valid((const uint8_t *)reason.s, len))
        len--;
    memcpy(text, reason.s, len);
    text[len] = '\0';
    struct lcaller *lc = c->user;
    luaL_unref(L, LUA_REGISTRYINDEX, lc->error);
    lc->error = luaL_ref(L, LUA_REGISTRYINDEX);
    conn_fail(c, ERR_HANDLER, code, text);
    return true;
}

void lresult_raised(struct ltask *t, struct http_str reason)
{
    lua_pushvalue(t->vm->L, -1);
    lerror_take_object(t);
    lresult_fail(t->vm->L, t->conn, WS_INTERNAL_ERROR, reason);
}

static void fail(struct ltask *t)
{
    lresult_raised(t, generic);
}

/* One line about the connection: "onMessage", `what`, `text`. */
static void log_line(enum log_level level, const struct ltask *t, const char *what,
                     struct http_str text)
{
    lua_State *L = t->vm->L;
    lerror_line(level, t, lua_pushfstring(L, "%s %s", t->name, what), text);
    lua_pop(L, 1);
}

/* Whether the error at the top of vm->L says that a connection is gone, or closing. */
static bool tells_gone(const struct lvm *vm)
{
    return lerror_is(vm, vm->L, -1, "ConnectionError") ||
           lerror_is(vm, vm->L, -1, "ConnectionClosureError");
}

/* The error that a handler returned is at the top of vm->L. */
static void tell_returned(struct ltask *t)
{
    struct lerror_told told;
    bool writable = conn_writable(t->conn);
    if (!writable && tells_gone(t->vm))
        return;
    lerror_tell(t, &told);
    log_line(LOG_WARN, t, "returned an error: ", told.log);
    if (writable) {
        lerror_push_told(t, &told);
        lresult_fail(t->vm->L, t->conn, WS_INTERNAL_ERROR, told.public.s ? told.public : generic);
    }
    lerror_told_end(t, &told);
}

/*
 * `return nil, err`: err's message is the reason, where it has one. When this very connection is
 * gone, that is not news; anything else is for the log, at least.
 */
static void returned_error(struct ltask *t, int index)
{
    if (lua_isnoneornil(t->co, index))
        return;
    lua_settop(t->co, index);
    lua_xmove(t->co, t->vm->L, 1);
    tell_returned(t);
    lua_pop(t->vm->L, 1);
}

/*
 * What the handler returned cannot be sent, for the reason at the top of vm->L, which is popped:
 * that is for the log only.
 */
static void fail_saying(struct ltask *t, const char *what)
{
    struct lerror_told told;
    lerror_tell(t, &told);
    log_line(LOG_ERROR, t, what, told.message);
    lerror_told_end(t, &told);
    fail(t);
    lua_pop(t->vm->L, 1);
}

static void send_string(struct ltask *t, int index, bool binary)
{
    size_t len;
    const char *bytes = lua_tolstring(t->co, index, &len);
    struct conn *c = t->conn;
    if (!binary && !utf8_valid((const uint8_t *)bytes, len)) {
        lua_pushliteral(t->vm->L, "returned text that is not valid UTF-8: return "
                                  "websocket.bytes(…) for bytes");
        fail_saying(t, "");
    } else if (conn_send(c, binary ? WS_BINARY : WS_TEXT, bytes, len) == ERR_NOMEM) {
        lua_pushstring(t->vm->L, err_text(ERR_NOMEM));
        fail_saying(t, "cannot send what it returned: ");
    }
}

/* What hooks.convert has refused. Its reason names the app's fields: not for the client. */
static void refused(struct ltask *t)
{
    if (lua_isnil(t->co, 3))
        return; /* a value that sends nothing */
    if (lerror_is(t->vm, t->co, 1, NULL)) {
        returned_error(t, 3);
        return;
    }
    lua_settop(t->co, 3);
    lua_xmove(t->co, t->vm->L, 1);
    fail_saying(t, "returned what cannot be sent: ");
}

/*
 * Any value but a string goes through hooks.convert: bytes and their kind, a close frame, nothing,
 * or an error.
 */
static void send_converted(struct ltask *t)
{
    lua_State *co = t->co;
    struct conn *c = t->conn;
    lua_settop(co, 1);
    lua_rawgeti(co, LUA_REGISTRYINDEX, lvm_of_conn(c)->hooks[LVM_CONVERT]);
    lua_pushvalue(co, 1);
    lua_pushboolean(co, t->binary);
    if (ltask_call(t, 2, 3) != 0) {
        lerror_log(t);
        fail(t);
        lua_pop(t->vm->L, 1);
        return;
    }
    const char *kind = lua_isnil(co, 2) ? NULL : lua_tostring(co, 3);
    size_t len = 0;
    const char *bytes = lua_tolstring(co, 2, &len);
    if (!kind)
        refused(t);
    else if (strcmp(kind, "stream") == 0)
        lstream_start(t, 2);
    else if (strcmp(kind, "close") == 0)
        conn_close(c, (unsigned)lua_tonumber(co, 4), bytes ? bytes : "", len,
                   c->route->config.close_timeout);
    else
        send_string(t, 2, strcmp(kind, "binary") == 0);
}

/* A string that onPing returns is the pong's data, as much as a pong can carry (RFC 6455 §5.5). */
static void send_pong(struct ltask *t)
{
    size_t len;
    const char *bytes = lua_tolstring(t->co, 1, &len);
    if (len > 125) {
        char why[80];
        int n = snprintf(why, sizeof why,
                         "a pong carries at most 125 bytes, what it returned has %zu", len);
        log_line(LOG_WARN, t, "cut its answer: ", (struct http_str){why, (size_t)n});
        len = 125;
    }
    conn_pong(t->conn, bytes, len);
}

static void send_values(struct ltask *t)
{
    lua_State *co = t->co;
    switch (lua_type(co, 1)) {
    case LUA_TNONE: return;
    case LUA_TNIL: returned_error(t, 2); return;
    case LUA_TSTRING:
        if (t->what == LSERVICE_PING)
            send_pong(t);
        else if (conn_writable(t->conn))
            send_string(t, 1, t->binary);
        return;
    default: /* `return websocket.pushTextToGroup(…)` is harmless, and frequent */
        if (conn_writable(t->conn) && !lgroup_is_result(t->vm, co, 1))
            send_converted(t);
    }
}

void lresult_send(struct ltask *t, bool ok)
{
    if (!ok)
        fail(t);
    else if (lua_gettop(t->co) > 0)
        send_values(t);
}
