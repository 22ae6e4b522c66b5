// SPDX-License-Identifier: MIT
/*
 * Results of handlers become messages. A string is sent from here; everything else is asked of
 * hooks.convert (lua/neap/websocket/convert.lua), which says what it is on the wire.
 *
 *      string                     text, or binary or a pong, as the handler answers
 *      nil, err                   the session ends: 1011, err's message as reason
 *      any other value            hooks.convert: bytes, a close frame, nothing, an error
 *      (raised)                   the session ends: 1011, "internal error"
 *
 * Once a close frame has been queued nothing is sent any more.
 */
#include "bind/lresult.h"

#include "base/err.h"
#include "base/log.h"
#include "bind/lcaller.h"
#include "bind/lerror.h"
#include "bind/lservice.h"
#include "bind/ltask.h"
#include "proto/utf8.h"

#include <lauxlib.h>
#include <string.h>

bool lresult_fail(lua_State *L, struct conn *c, unsigned code, struct http_str reason)
{
    if (c->over || c->state != CONN_OPEN) {
        lua_pop(L, 1);
        return false;
    }
    char text[124];
    size_t len = utf8_cut((const uint8_t *)reason.s, reason.len, sizeof text - 1);
    if (!utf8_valid((const uint8_t *)reason.s, len))
        len = 0;
    memcpy(text, reason.s, len);
    text[len] = '\0';
    struct lcaller *lc = c->user;
    luaL_unref(L, LUA_REGISTRYINDEX, lc->error);
    lc->error = luaL_ref(L, LUA_REGISTRYINDEX);
    conn_fail(c, ERR_HANDLER, code, text);
    return true;
}

/* Ends the session for the error value at the top of `co`, which is what onError will be told. */
static void fail(struct conn *c, lua_State *co, bool with_reason)
{
    struct http_str reason = {"internal error", sizeof "internal error" - 1}, text;
    text.s = lerror_text(co, -1, &text.len);
    bool object = lua_istable(co, -2) && lua_getmetatable(co, -2);
    if (object)
        lua_pop(co, 1);
    if (object)
        lua_pushvalue(co, -2);
    else
        lerror_push(lvm_of_conn(c), co, "Error", "%s", text.s);
    lresult_fail(co, c, WS_INTERNAL_ERROR, with_reason ? text : reason);
    lua_pop(co, 1);
}

/* One line about a connection: `what`, then the text of the value at the top. */
static void log_text(enum log_level level, struct conn *c, lua_State *co, const char *what)
{
    char id[CONN_ID_SIZE + 1];
    conn_id_text(c, id);
    struct log_field field = {"connection", id, CONN_ID_SIZE};
    size_t len;
    log_event(level, &field, 1, "%s%s", what, lerror_text(co, -1, &len));
    lua_pop(co, 1);
}

/* `return nil, err`: err's message is the reason. That this very connection is gone is no news. */
static void returned_error(struct conn *c, lua_State *co, int index)
{
    if (lua_isnoneornil(co, index) || !conn_writable(c))
        return;
    lua_settop(co, index);
    log_text(LOG_WARN, c, co, "handler returned an error: ");
    fail(c, co, true);
}

static void send_string(struct ltask *t, int index, bool binary)
{
    size_t len;
    const char *bytes = lua_tolstring(t->co, index, &len);
    struct conn *c = t->conn;
    if (t->what == LSERVICE_PING) {
        conn_pong(c, bytes, len > 125 ? 125 : len);
    } else if (binary) {
        conn_send(c, WS_BINARY, bytes, len);
    } else if (utf8_valid((const uint8_t *)bytes, len)) {
        conn_send(c, WS_TEXT, bytes, len);
    } else {
        lua_pushfstring(
            t->co, "%s returned text that is not valid UTF-8: return websocket.bytes(…) for bytes",
            t->name);
        log_text(LOG_ERROR, c, t->co, "");
        fail(c, t->co, false);
    }
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
    if (lua_pcall(co, 2, 3, 0) != 0) {
        lerror_log(lvm_of_conn(c), co, t->name, c);
        fail(c, co, false);
        return;
    }
    const char *kind = lua_isnil(co, 2) ? NULL : lua_tostring(co, 3);
    size_t len = 0;
    const char *bytes = lua_tolstring(co, 2, &len);
    if (!kind)
        returned_error(c, co, 3);
    else if (strcmp(kind, "close") == 0)
        conn_close(c, (unsigned)lua_tonumber(co, 4), bytes ? bytes : "", len,
                   c->route->config.close_timeout);
    else
        send_string(t, 2, strcmp(kind, "binary") == 0);
}

static void send_values(struct ltask *t)
{
    lua_State *co = t->co;
    switch (lua_type(co, 1)) {
    case LUA_TNONE: return;
    case LUA_TNIL: returned_error(t->conn, co, 2); return;
    case LUA_TSTRING:
        if (conn_writable(t->conn))
            send_string(t, 1, t->binary);
        return;
    default:
        if (conn_writable(t->conn))
            send_converted(t);
    }
}

void lresult_send(struct ltask *t, bool ok)
{
    if (!ok)
        fail(t->conn, t->co, false);
    else if (lua_gettop(t->co) > 0)
        send_values(t);
}
