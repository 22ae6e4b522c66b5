// SPDX-License-Identifier: MIT
/*
 * Listeners: listen(address, config) binds at once (through the master), accepts when the app has
 * loaded. A listener that is open is anchored in the registry: the app need not keep it.
 */
#include "bind/http/llistener.h"

#include "base/log.h"
#include "base/mem.h"
#include "bind/core/lcancel.h"
#include "bind/core/lerror.h"
#include "bind/core/lfield.h"
#include "bind/core/ltask.h"
#include "bind/http/lconfig.h"
#include "bind/http/lserver.h"
#include "bind/http/ltls.h"
#include "group/group_key.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char class_name[] = "neap.Listener";

struct llisteners {
    struct lvm *vm;
    struct link open;
    struct loop_job start; /* those that were made after the app has loaded */
    struct llistener_binder binder;
};

struct llistener {
    struct link link; /* in llisteners.open */
    struct lvm *vm;
    struct listener *listener; /* NULL once it is stopped */
    struct loop_timer limit;   /* of gracefulStop */
    struct link stoppers;      /* tasks that wait for it to be empty */
    char *address;
    int port;
    int anchor;
    int secure; /* registry reference of the secureSocket settings, or LUA_NOREF */
    bool stopping;
};

static struct llisteners *state_of(const struct lvm *vm)
{
    return vm->states[LLISTENER_SLOT];
}

void llistener_bind_with(struct lvm *vm, const struct llistener_binder *binder)
{
    state_of(vm)->binder = *binder;
}

bool llistener_any(const struct lvm *vm)
{
    return !link_empty(&state_of(vm)->open);
}

struct lroute {
    struct lvm *vm;
    int table;   /* registry reference of the table given to attach */
    char *group; /* of clients whose service has no name */
    size_t group_len;
};

/* --- Routes ----------------------------------------------------------------------------------- */

static void on_route_free(struct route *route)
{
    struct lroute *lr = route->user;
    luaL_unref(lr->vm->L, LUA_REGISTRYINDEX, lr->table);
    mem_free(lr->group);
    mem_free(lr);
}

void llistener_push_route(lua_State *L, const struct route *route)
{
    const struct lroute *lr = route->user;
    lua_rawgeti(L, LUA_REGISTRYINDEX, lr->table);
}

struct str llistener_route_group(const struct route *route)
{
    const struct lroute *lr = route->user;
    return (struct str){lr->group, lr->group_len};
}

/* FNV-1a. What hash.h has is seeded anew in each worker. */
static uint64_t fingerprint(const char *s)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 0x100000001b3;
    return h;
}

/*
 * A name for the clients of a route that is the same in all workers, and that no service can have:
 * a NUL, the listener's address and the port that it got, the path; a hash of them where that is
 * too long.
 */
static void name_group(struct lroute *lr, const struct llistener *ll, const char *path)
{
    size_t size = strlen(ll->address) + strlen(path) + 32;
    lr->group = mem_alloc(size);
    int len = snprintf(lr->group + 1, size - 1, "%s %d%s", ll->address, ll->port, path);
    if (len >= GROUP_NAME_MAX)
        len = snprintf(lr->group + 1, size - 1, "%016" PRIx64, fingerprint(lr->group + 1));
    lr->group_len = (size_t)len + 1;
}

static struct llistener *check(lua_State *L)
{
    return luaL_checkudata(L, 1, class_name);
}

/* The open listener at argument 1; raises when it is stopped. */
static struct llistener *check_open(lua_State *L)
{
    struct llistener *ll = check(L);
    if (!ll->listener)
        luaL_error(L, "the listener on %s has been stopped; make another with websocket.listener",
                   ll->address);
    return ll;
}

static int failed(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int listener_attach(lua_State *L)
{
    struct llistener *ll = check_open(L);
    const char *path = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    const char *wrong = router_check(path);
    if (wrong)
        return failed(L, wrong);
    struct route_config config = lconfig_route(L, 3);
    config.session.hooks = ((const struct lserver *)ll->vm->states[LSERVER_SLOT])->session_hooks;
    struct route *route = route_new(path, &config);
    struct lroute *lr = mem_alloc(sizeof *lr);
    lr->vm = ll->vm;
    lua_pushvalue(L, 3);
    lr->table = luaL_ref(L, LUA_REGISTRYINDEX);
    name_group(lr, ll, path);
    route->user = lr;
    route->on_free = on_route_free;
    bool added = router_add(&ll->listener->site.router, route);
    route_unref(route);
    if (!added)
        return failed(L, "already attached (\"/x\" and \"/x/\" are one path); detach it before");
    lua_pushboolean(L, true);
    return 1;
}

static int listener_detach(lua_State *L)
{
    struct llistener *ll = check_open(L);
    if (!router_remove(&ll->listener->site.router, luaL_checkstring(L, 2)))
        return failed(L, "not attached; write the path as attach was given it");
    lua_pushboolean(L, true);
    return 1;
}

/* --- Starting and stopping -------------------------------------------------------------------- */

static int listener_start_method(lua_State *L)
{
    listener_start(check_open(L)->listener);
    return 0;
}

/* Begins to accept on all listeners that have not begun yet. */
static void start_all(struct lvm *vm)
{
    struct link *open = &state_of(vm)->open;
    for (struct link *l = open->next; l != open; l = l->next) {
        struct llistener *ll = LIST_ITEM(l, struct llistener, link);
        listener_start(ll->listener);
    }
}

static void on_start_all(struct loop_job *job)
{
    struct lvm *vm = LIST_ITEM(job, struct llisteners, start)->vm;
    if (vm->loaded)
        start_all(vm);
}

/* The last connection has gone: forget the listener, wake who waits. */
static void release(struct llistener *ll)
{
    struct lvm *vm = ll->vm;
    loop_timer_stop(vm->loop, &ll->limit);
    while (!link_empty(&ll->stoppers)) {
        struct ltask *t = LIST_ITEM(ll->stoppers.next, struct ltask, waiting);
        lua_pushboolean(vm->L, true);
        ltask_wake(t, 1);
    }
    if (!ll->listener)
        return;
    list_remove(&ll->link);
    listener_unref(ll->listener);
    ll->listener = NULL;
    luaL_unref(vm->L, LUA_REGISTRYINDEX, ll->secure);
    luaL_unref(vm->L, LUA_REGISTRYINDEX, ll->anchor);
    vm->sources--;
    lvm_went(vm);
}

static void on_drained(struct listener *listener, void *arg)
{
    (void)listener;
    release(arg);
}

static void on_limit(struct loop_timer *timer)
{
    listener_cut_off(LIST_ITEM(timer, struct llistener, limit)->listener);
}

static void begin_stop(struct llistener *ll)
{
    const struct llistener_binder *binder = &state_of(ll->vm)->binder;
    if (binder->unbind && !ll->listener->draining)
        binder->unbind(ll->vm, ll->address, ll->port);
    if (!ll->stopping)
        listener_drain(ll->listener, &(struct listener_drain){.on_drained = on_drained, .arg = ll});
    ll->stopping = true;
}

/*
 * gracefulStop(seconds): waits until all connections have gone; after `seconds` they are cut off.
 */
static int listener_graceful_stop(lua_State *L)
{
    struct llistener *ll = check(L);
    double seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0, 2, "seconds must not be negative");
    lcancel_check(L, ll->vm->running);
    if (!ll->listener)
        return 0;
    begin_stop(ll);
    loop_timer_start(ll->vm->loop, &ll->limit, seconds);
    if (!ltask_can_wait(L))
        return 0;
    struct conn *c = ll->vm->running->conn;
    if (c && http_conn_of(session_of(c))->site == &ll->listener->site)
        http_conn_excuse(http_conn_of(session_of(c)));
    list_append(&ll->stoppers, &ll->vm->running->waiting);
    return ltask_wait(L);
}

static int listener_immediate_stop(lua_State *L)
{
    struct llistener *ll = check(L);
    if (!ll->listener)
        return 0;
    begin_stop(ll);
    listener_abort(ll->listener);
    return 0;
}

static int listener_port(lua_State *L)
{
    lua_pushinteger(L, check(L)->port);
    return 1;
}

static int listener_address(lua_State *L)
{
    lua_pushstring(L, check(L)->address);
    return 1;
}

static int listener_gc(lua_State *L)
{
    struct llistener *ll = check(L);
    mem_free(ll->address);
    ll->address = NULL;
    return 0;
}

/* --- TLS -------------------------------------------------------------------------------------- */

static void renew(struct llistener *ll)
{
    lua_State *L = ll->vm->L;
    char error[TLS_ERROR_SIZE];
    struct log_field field = {.key = "listener", .value = ll->address};
    lua_rawgeti(L, LUA_REGISTRYINDEX, ll->secure);
    struct tls_context *tls = ltls_context(ll->vm, L, lua_gettop(L), error);
    lua_pop(L, 1);
    if (tls) {
        listener_use_tls(ll->listener, tls);
        log_event(LOG_INFO, &field, 1, "certificates have been read again");
    } else {
        log_event(LOG_ERROR, &field, 1, "the old certificate stays in use: %s", error);
    }
}

void llistener_renew_certificates(struct lvm *vm)
{
    struct link *open = &state_of(vm)->open;
    for (struct link *l = open->next; l != open; l = l->next) {
        struct llistener *ll = LIST_ITEM(l, struct llistener, link);
        if (ll->secure != LUA_NOREF && !ll->listener->draining)
            renew(ll);
    }
}

/* --- Creating --------------------------------------------------------------------------------- */

static int bind_failed(struct lvm *vm, lua_State *L, const char *why)
{
    lua_pushnil(L);
    lerror_push(vm, L, "Error", "%s", why);
    return 2;
}

static int port_asked(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon ? atoi(colon + 1) : 0;
}

/* A new listener that is not open yet, at the top of the stack. */
static struct llistener *push_new(struct lvm *vm, lua_State *L, const char *address, int port)
{
    struct llistener *ll = lua_newuserdata(L, sizeof *ll);
    *ll = (struct llistener){
        .vm = vm, .port = port, .address = mem_strdup(address), .secure = LUA_NOREF};
    link_init(&ll->link);
    link_init(&ll->stoppers);
    loop_timer_init(&ll->limit, on_limit);
    luaL_getmetatable(L, class_name);
    lua_setmetatable(L, -2);
    return ll;
}

/*
 * listen(address, config): certificates are read before a socket is asked for, so that with wrong
 * ones no port is ever opened.
 */
static int core_listen(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    struct llisteners *s = state_of(vm);
    const char *address = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lvm_check_open(vm, L);
    lua_settop(L, 2);
    lua_getfield(L, 2, "secureSocket");
    struct llistener_socket socket = {
        .secure = lua_istable(L, 3), .fd = -1, .port = port_asked(address)};
    char error[TLS_ERROR_SIZE];
    struct tls_context *tls = socket.secure ? ltls_context(vm, L, 3, error) : NULL;
    if (socket.secure && !tls)
        return bind_failed(vm, L, error);
    if (s->binder.bind &&
        s->binder.bind(vm, address, (int)lfield_number(L, 2, "backlog"), &socket) < 0) {
        tls_context_unref(tls);
        return bind_failed(vm, L, socket.error);
    }
    struct llistener *ll = push_new(vm, L, address, socket.port);
    struct lserver *server = vm->states[LSERVER_SLOT];
    struct http_settings settings = lconfig_listener(L, 2);
    struct listener_limits limits = lconfig_limits(L, 2);
    settings.hooks = server->http_hooks;
    settings.tls = tls;
    if (tls) {
        lua_pushvalue(L, 3);
        ll->secure = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    ll->listener = listener_new(&server->server, socket.fd, &settings, &limits);
    list_append(&s->open, &ll->link);
    vm->sources++;
    lua_pushvalue(L, -1);
    ll->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    loop_defer(vm->loop, LOOP_RUN, &s->start);
    return 1;
}

static int core_check_path(lua_State *L)
{
    const char *wrong = router_check(luaL_checkstring(L, 1));
    if (wrong)
        return failed(L, wrong);
    lua_pushboolean(L, true);
    return 1;
}

static const struct luaL_Reg functions[] = {
    {"listen", core_listen}, {"checkPath", core_check_path}, {NULL, NULL}};

static const struct luaL_Reg methods[] = {
    {"attach", listener_attach},
    {"detach", listener_detach},
    {"start", listener_start_method},
    {"gracefulStop", listener_graceful_stop},
    {"immediateStop", listener_immediate_stop},
    {"port", listener_port},
    {"address", listener_address},
    {NULL, NULL},
};

static const struct luaL_Reg metamethods[] = {{"__gc", listener_gc}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct llisteners *s = state_of(vm);
    s->vm = vm;
    link_init(&s->open);
    loop_job_init(&s->start, on_start_all);
    lvm_register(vm, L, functions);
    luaL_newmetatable(L, class_name);
    lvm_register(vm, L, metamethods);
    lua_newtable(L);
    lvm_register(vm, L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

static void module_stop(struct lvm *vm)
{
    struct link *open = &state_of(vm)->open;
    while (!link_empty(open)) {
        struct llistener *ll = LIST_ITEM(open->next, struct llistener, link);
        list_remove(&ll->link);
        listener_unref(ll->listener);
        ll->listener = NULL;
    }
}

static void module_close(struct lvm *vm)
{
    loop_undefer(&state_of(vm)->start);
}

const struct lmodule *llistener_module(void)
{
    static const struct lmodule module = {.name = "listener",
                                          .slot = LLISTENER_SLOT,
                                          .size = sizeof(struct llisteners),
                                          .open = module_open,
                                          .loaded = start_all,
                                          .stop = module_stop,
                                          .close = module_close};
    return &module;
}
