// SPDX-License-Identifier: MIT
/*
 * What happens on a connection becomes a callback of its service; what a callback returns is sent.
 *
 *      server hook ─▶ task with (self, caller, …)
 *                       ├─▶ ends ──▶ its results are sent, or its error ends the session
 *                       └─▶ waits ─▶ the hook says "not finished"; conn_done follows
 *
 * A callback that the service does not have costs a look into an array.
 */
#include "bind/lconn.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/lcaller.h"
#include "bind/lerror.h"
#include "bind/llistener.h"
#include "bind/lrequest.h"
#include "bind/lservice.h"
#include "bind/ltask.h"
#include "proto/utf8.h"

#include <lauxlib.h>
#include <string.h>

static struct lvm *vm_of(const struct conn *c)
{
    return LIST_ITEM(c->endpoint->server, struct lvm, server);
}

/*
 * --- Results of callbacks
 * -------------------------------------------------------------------------------
 */

/* Ends the session for the error value at the top of `co`, which is what onError will be told. */
static void fail(struct conn *c, lua_State *co, bool with_reason)
{
    struct lcaller *lc = c->user;
    if (c->over)
        return;
    size_t len;
    const char *text = lerror_text(co, -1, &len);
    char reason[124] = "internal error";
    if (with_reason) {
        len = utf8_cut((const uint8_t *)text, len, sizeof reason - 1);
        memcpy(reason, text, len);
        reason[utf8_valid((const uint8_t *)reason, len) ? len : 0] = '\0';
    }
    bool object = lua_istable(co, -2) && lua_getmetatable(co, -2);
    if (object)
        lua_pop(co, 1);
    if (object)
        lua_pushvalue(co, -2);
    else
        lerror_push(vm_of(c), co, "Error", "%s", text);
    luaL_unref(co, LUA_REGISTRYINDEX, lc->error);
    lc->error = luaL_ref(co, LUA_REGISTRYINDEX);
    lua_pop(co, 1);
    conn_fail(c, ERR_HANDLER, WS_INTERNAL_ERROR, reason);
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
    lua_rawgeti(co, LUA_REGISTRYINDEX, vm_of(c)->hooks[LVM_CONVERT]);
    lua_pushvalue(co, 1);
    lua_pushboolean(co, t->binary);
    if (lua_pcall(co, 2, 3, 0) != 0) {
        lerror_log(vm_of(c), co, t->name, c);
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

static void send_results(struct ltask *t)
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

/*
 * --- Callbacks
 * -------------------------------------------------------------------------------------------
 */

static void callback_finished(struct ltask *t, bool ok)
{
    struct conn *c = t->conn;
    if (!ok)
        fail(c, t->co, false);
    else if (lua_gettop(t->co) > 0)
        send_results(t);
    if (t->waited)
        conn_done(c);
}

/* A task for the callback with self and caller pushed; NULL when the service does not have it. */
static struct ltask *begin(struct conn *c, enum lservice_callback what)
{
    const struct lcaller *lc = c->user;
    int callback = lc->service->callbacks[what];
    if (callback == LUA_NOREF)
        return NULL;
    struct ltask *t = ltask_get(vm_of(c), lservice_callback_name(what));
    t->conn = c;
    t->what = (uint8_t)what;
    t->binary = false;
    t->finish = callback_finished;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, callback);
    lcaller_push_both(t->co, lc);
    return t;
}

static bool on_open(struct conn *c)
{
    struct ltask *t = begin(c, LSERVICE_OPEN);
    return t && ltask_start(t, 2);
}

static bool on_message(struct conn *c, const struct ws_event *ev)
{
    bool binary = ev->type == WS_BINARY;
    struct ltask *t = begin(c, binary ? LSERVICE_BINARY : LSERVICE_TEXT);
    int extra = 0;
    if (!t) {
        t = begin(c, LSERVICE_MESSAGE);
        extra = 1;
    }
    if (!t) {
        log_debug("a %s message was ignored: no callback takes it", binary ? "binary" : "text");
        return false;
    }
    t->binary = binary;
    lua_pushlstring(t->co, (const char *)ev->data, ev->len);
    if (extra)
        lua_pushboolean(t->co, binary);
    return ltask_start(t, 3 + extra);
}

static bool on_event(struct conn *c, const struct ws_event *ev)
{
    if (ev->type == WS_TEXT || ev->type == WS_BINARY)
        return on_message(c, ev);
    struct ltask *t = begin(c, ev->type == WS_PING ? LSERVICE_PING : LSERVICE_PONG);
    if (!t)
        return false;
    lua_pushlstring(t->co, (const char *)ev->data, ev->len);
    return ltask_start(t, 3);
}

static bool on_idle(struct conn *c)
{
    struct ltask *t = begin(c, LSERVICE_IDLE);
    return t && ltask_start(t, 2);
}

/* What ended the session, for people. */
static const char *why(const struct conn *c)
{
    return c->ws.why ? c->ws.why : err_text(c->ws.error);
}

static bool on_error(struct conn *c)
{
    const struct lcaller *lc = c->user;
    struct ltask *t = begin(c, LSERVICE_ERROR);
    if (!t)
        return false;
    if (lc->error != LUA_NOREF)
        lua_rawgeti(t->co, LUA_REGISTRYINDEX, lc->error);
    else
        lerror_push(vm_of(c), t->co, lerror_kind(c->ws.error), "%s", why(c));
    return ltask_start(t, 3);
}

static bool on_close(struct conn *c, unsigned code, const char *reason, size_t len)
{
    struct ltask *t = begin(c, LSERVICE_CLOSE);
    if (!t)
        return false;
    lua_pushinteger(t->co, (lua_Integer)code);
    lua_pushlstring(t->co, reason, len);
    return ltask_start(t, 4);
}

static void on_drain(struct conn *c)
{
    lcaller_wake(vm_of(c), c->user);
}

static void on_free(struct conn *c)
{
    if (c->user)
        lcaller_detach(vm_of(c), c->user);
}

/*
 * --- The upgrade
 * -----------------------------------------------------------------------------------------
 */

/* hooks.upgrade returned service, self: 101. */
static void accept(struct ltask *t, struct lservice *service, struct lrequest *r)
{
    struct conn_accept how = {
        .lines = r->lines,
        .line_count = r->line_count,
        .wants_pings = service->callbacks[LSERVICE_PING] != LUA_NOREF,
        .wants_idle = service->callbacks[LSERVICE_IDLE] != LUA_NOREF,
    };
    lcaller_new(t->vm, t->co, t->conn, service, 2);
    conn_accept(t->conn, &how);
}

static void internal_error(struct conn *c)
{
    static const char body[] = "internal error\n";
    struct http_reply reply = {.status = 500, .body = {body, sizeof body - 1}};
    conn_refuse(c, &reply);
}

static struct http_str str_at(lua_State *co, int index)
{
    size_t len = 0;
    const char *s = lua_tolstring(co, index, &len);
    return (struct http_str){s, len};
}

/*
 * Header lines from an array of { name, value } at `index`; the strings stay on the stack as long
 * as the array.
 */
static struct http_line *lines_at(lua_State *co, int index, size_t *count)
{
    *count = lua_istable(co, index) ? lua_objlen(co, index) : 0;
    struct http_line *lines = mem_alloc((*count + 1) * sizeof *lines);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(co, index, (int)i + 1);
        lua_rawgeti(co, -1, 1);
        lua_rawgeti(co, -2, 2);
        lines[i] = (struct http_line){str_at(co, -2), str_at(co, -1)};
        lua_pop(co, 3);
    }
    return lines;
}

/* hooks.upgrade returned nil, status, body, headers: that response. */
static void refuse(struct ltask *t)
{
    lua_State *co = t->co;
    size_t count;
    struct http_line *lines = lines_at(co, 4, &count);
    struct http_reply reply = {.status = (int)lua_tonumber(co, 2),
                               .lines = lines,
                               .line_count = count,
                               .body = str_at(co, 3)};
    conn_refuse(t->conn, &reply);
    mem_free(lines);
}

static void upgrade_finished(struct ltask *t, bool ok)
{
    lua_State *co = t->co;
    lua_rawgeti(co, LUA_REGISTRYINDEX, t->pinned);
    struct lrequest *r = lua_touserdata(co, -1);
    lua_pop(co, 1);
    r->answering = false;
    struct lservice *service = ok ? lservice_test(co, 1) : NULL;
    if (service && lua_istable(co, 2))
        accept(t, service, r);
    else if (ok && lua_isnumber(co, 2))
        refuse(t);
    else
        internal_error(t->conn);
}

static void on_upgrade(struct conn *c)
{
    struct lvm *vm = vm_of(c);
    struct ltask *t = ltask_get(vm, "upgrade");
    t->conn = c;
    t->finish = upgrade_finished;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, vm->hooks[LVM_UPGRADE]);
    llistener_push_route(t->co, c->route);
    lrequest_new(vm, t->co, c)->answering = true;
    lua_pushvalue(t->co, -1);
    t->pinned = luaL_ref(t->co, LUA_REGISTRYINDEX);
    ltask_start(t, 2);
}

const struct server_hooks *lconn_hooks(void)
{
    static const struct server_hooks hooks = {
        .on_upgrade = on_upgrade,
        .on_open = on_open,
        .on_event = on_event,
        .on_idle = on_idle,
        .on_error = on_error,
        .on_close = on_close,
        .on_drain = on_drain,
        .on_free = on_free,
    };
    return &hooks;
}
