// SPDX-License-Identifier: MIT
/*
 * What happens on a connection becomes a callback of its service; what a callback returns is sent
 * (lresult.c).
 *
 *      server hook ─▶ task with (self, caller, …)
 *                       ├─▶ ends ──▶ its results are sent, or its error ends the session
 *                       └─▶ waits ─▶ the hook says "not finished"; session_done follows
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
#include "bind/ws/lgroup.h"
#include "bind/ws/lresult.h"
#include "bind/ws/lservice.h"
#include "bind/ws/lstream.h"
#include "group/group.h"

#include <lauxlib.h>

struct lconns {
    int upgrade; /* registry reference: the hook of this name */
};

/* --- Callbacks -------------------------------------------------------------------------------- */

static void callback_finished(struct ltask *t, bool ok)
{
    struct session *s = session_of(t->conn);
    lresult_send(t, ok);
    if (t->waited)
        session_done(s);
}

/* A task for the callback with self and caller pushed; NULL when the service does not have it. */
static struct ltask *begin(struct session *s, enum lservice_callback what)
{
    const struct lcaller *lc = s->user;
    int callback = lc->service->callbacks[what];
    if (callback == LUA_NOREF)
        return NULL;
    struct ltask *t = ltask_get(lc->service->vm, lservice_callback_name(what));
    t->conn = &s->conn;
    t->what = (uint8_t)what;
    t->binary = false;
    t->finish = callback_finished;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, callback);
    lcaller_push_both(t->co, lc);
    return t;
}

static bool on_open(struct session *s)
{
    struct ltask *t = begin(s, LSERVICE_OPEN);
    return t && ltask_start(t, 2);
}

static bool on_message(struct session *s, const struct ws_event *ev)
{
    bool binary = ev->type == WS_BINARY;
    struct ltask *t = begin(s, binary ? LSERVICE_BINARY : LSERVICE_TEXT);
    int extra = 0;
    if (!t) {
        t = begin(s, LSERVICE_MESSAGE);
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

static bool on_event(struct session *s, const struct ws_event *ev)
{
    if (ev->type == WS_TEXT || ev->type == WS_BINARY)
        return on_message(s, ev);
    struct ltask *t = begin(s, ev->type == WS_PING ? LSERVICE_PING : LSERVICE_PONG);
    if (!t)
        return false;
    lua_pushlstring(t->co, (const char *)ev->data, ev->len);
    return ltask_start(t, 3);
}

static bool on_idle(struct session *s)
{
    struct ltask *t = begin(s, LSERVICE_IDLE);
    return t && ltask_start(t, 2);
}

static bool on_error(struct session *s)
{
    const struct lcaller *lc = s->user;
    struct ltask *t = begin(s, LSERVICE_ERROR);
    if (!t)
        return false;
    if (lc->error != LUA_NOREF)
        lua_rawgeti(t->co, LUA_REGISTRYINDEX, lc->error);
    else
        lerror_push(t->vm, t->co, lerror_kind(session_error(s)), "%s", session_why(s));
    return ltask_start(t, 3);
}

static bool on_close(struct session *s, unsigned code, const char *reason, size_t len)
{
    struct ltask *t = begin(s, LSERVICE_CLOSE);
    if (!t)
        return false;
    lua_pushinteger(t->co, (lua_Integer)code);
    lua_pushlstring(t->co, reason, len);
    return ltask_start(t, 4);
}

static void on_drain(struct session *s)
{
    struct lcaller *lc = s->user;
    lcaller_wake(lc);
    if (!session_writable(s) || s->conn.hung_up)
        lstream_stop_all(lc);
    session_await_drain(s, lcaller_is_waited_for(lc));
}

static struct groups *groups_of(const struct session *s)
{
    return lgroup_groups(lserver_vm_of_conn(&s->conn));
}

static bool begins(struct session *s)
{
    struct group_key group = lcaller_service_group(s->user);
    return group_join_service(groups_of(s), s, group.name, group.len) == 0;
}

static void ends(struct session *s)
{
    group_leave_all(groups_of(s), s);
}

static void on_free(struct http_conn *h)
{
    if (h->session.user)
        lcaller_detach(lserver_vm_of_conn(&h->session.conn), h->session.user);
}

/* --- The upgrade ------------------------------------------------------------------------------ */

/* hooks.upgrade returned service, self: 101. */
static void accept(struct ltask *t, struct lservice *service, struct lrequest *r)
{
    struct session *s = session_of(t->conn);
    lcaller_new(t->vm, t->co, s, service, 2);
    struct http_accept how = {
        .lines = r->lines,
        .line_count = r->line_count,
        .wants_pings = service->callbacks[LSERVICE_PING] != LUA_NOREF,
        .wants_idle = service->callbacks[LSERVICE_IDLE] != LUA_NOREF,
    };
    http_conn_accept(http_conn_of(s), &how);
}

/* The client whose upgrade function it is. */
static struct http_conn *client_of(const struct ltask *t)
{
    return http_conn_of(session_of(t->conn));
}

static void internal_error(struct ltask *t)
{
    static const char body[] = "internal error\n";
    struct http_reply reply = {.status = 500, .body = {body, sizeof body - 1}};
    http_conn_refuse(client_of(t), &reply);
}

static struct str str_at(lua_State *co, int index)
{
    size_t len = 0;
    const char *s = lua_tolstring(co, index, &len);
    return (struct str){s, len};
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
    http_conn_refuse(client_of(t), &reply);
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
        internal_error(t);
}

static void on_upgrade(struct http_conn *h)
{
    struct conn *c = &h->session.conn;
    struct lvm *vm = lserver_vm_of_conn(c);
    const struct lconns *state = vm->states[LCONN_SLOT];
    struct ltask *t = ltask_get(vm, "upgrade");
    t->conn = c;
    t->finish = upgrade_finished;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, state->upgrade);
    llistener_push_route(t->co, http_conn_route(h));
    lrequest_new(vm, t->co, h)->answering = true;
    lua_pushvalue(t->co, -1);
    t->pinned = luaL_ref(t->co, LUA_REGISTRYINDEX);
    ltask_start(t, 2);
}

static void module_open(struct lvm *vm, lua_State *L)
{
    static const struct session_hooks session_hooks = {
        .begins = begins,
        .ends = ends,
        .on_open = on_open,
        .on_event = on_event,
        .on_idle = on_idle,
        .on_error = on_error,
        .on_close = on_close,
        .on_drain = on_drain,
    };
    static const struct http_hooks http_hooks = {.on_upgrade = on_upgrade, .on_free = on_free};
    (void)L;
    struct lserver *server = vm->states[LSERVER_SLOT];
    server->session_hooks = &session_hooks;
    server->http_hooks = &http_hooks;
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
