// SPDX-License-Identifier: MIT
/*
 * What happens on a connection becomes a callback of its service; what a callback returns is sent
 * (lresult.c).
 *
 *      server hook ─▶ task with (self, caller, …)
 *                       ├─▶ ends ──▶ its results are sent, or its error ends the session
 *                       └─▶ waits ─▶ the hook says "not finished"; conn_done follows
 *
 * A callback that the service does not have costs a look into an array.
 */
#include "bind/ws/lconn.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/core/lerror.h"
#include "bind/core/ltask.h"
#include "bind/http/llistener.h"
#include "bind/http/lrequest.h"
#include "bind/http/lserver.h"
#include "bind/ws/lcaller.h"
#include "bind/ws/lresult.h"
#include "bind/ws/lservice.h"
#include "bind/ws/lstream.h"

#include <lauxlib.h>

struct lconns {
    int upgrade; /* registry reference: the hook of this name */
};

/* --- Callbacks -------------------------------------------------------------------------------- */

static void callback_finished(struct ltask *t, bool ok)
{
    struct conn *c = t->conn;
    lresult_send(t, ok);
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
    struct ltask *t = ltask_get(lc->service->vm, lservice_callback_name(what));
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
        lerror_push(t->vm, t->co, lerror_kind(c->ws.error), "%s", why(c));
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
    struct lcaller *lc = c->user;
    lcaller_wake(lc);
    if (!conn_writable(c) || c->hung_up)
        lstream_stop_all(lc);
    c->writers_wait = lcaller_is_waited_for(lc);
}

static void on_free(struct conn *c)
{
    if (c->user)
        lcaller_detach(lserver_vm_of_conn(c), c->user);
}

/* --- The upgrade ------------------------------------------------------------------------------ */

/* hooks.upgrade returned service, self: 101. */
static void accept(struct ltask *t, struct lservice *service, struct lrequest *r)
{
    const struct lcaller *lc = lcaller_new(t->vm, t->co, t->conn, service, 2);
    struct group_key group = lcaller_service_group(lc);
    struct conn_accept how = {
        .lines = r->lines,
        .line_count = r->line_count,
        .service = group.name,
        .service_len = group.len,
        .wants_pings = service->callbacks[LSERVICE_PING] != LUA_NOREF,
        .wants_idle = service->callbacks[LSERVICE_IDLE] != LUA_NOREF,
    };
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
    lua_State *L = t->vm->L, *co = t->co;
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->pinned);
    struct lrequest *r = lua_touserdata(L, -1);
    lua_pop(L, 1);
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
    struct lvm *vm = lserver_vm_of_conn(c);
    const struct lconns *s = vm->states[LCONN_SLOT];
    struct ltask *t = ltask_get(vm, "upgrade");
    t->conn = c;
    t->finish = upgrade_finished;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, s->upgrade);
    llistener_push_route(t->co, c->route);
    lrequest_new(vm, t->co, c)->answering = true;
    lua_pushvalue(t->co, -1);
    t->pinned = luaL_ref(t->co, LUA_REGISTRYINDEX);
    ltask_start(t, 2);
}

static void module_open(struct lvm *vm, lua_State *L)
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
    (void)L;
    lserver_of(vm)->hooks = &hooks;
}

static void module_take(struct lvm *vm, lua_State *L)
{
    struct lconns *s = vm->states[LCONN_SLOT];
    s->upgrade = lvm_take_hook(L, "upgrade");
}

const struct lmodule *lconn_module(void)
{
    static const struct lmodule module = {.name = "conn",
                                          .slot = LCONN_SLOT,
                                          .size = sizeof(struct lconns),
                                          .open = module_open,
                                          .take = module_take};
    return &module;
}
