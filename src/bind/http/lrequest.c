// SPDX-License-Identifier: MIT
/* Request objects: what C knows of a request, in functions for lua/neap/http/request.lua. */
#include "bind/http/lrequest.h"

#include "base/mem.h"
#include "bind/http/ltls.h"
#include "proto/http/uri.h"

#include <lauxlib.h>
#include <string.h>

static const char class_name[] = "neap.Request";

/* Registry references. */
struct lrequests {
    int metatable;
    int index; /* the hook `requestIndex` */
};

static struct lrequests *state_of(const struct lvm *vm)
{
    return vm->states[LREQUEST_SLOT];
}

/* The request at argument 1; raises in a finalizer that comes after the request's own. */
static struct lrequest *check(lua_State *L)
{
    struct lrequest *r = luaL_checkudata(L, 1, class_name);
    if (!r->head)
        luaL_error(L, "the request has been collected already");
    return r;
}

struct lrequest *lrequest_new(struct lvm *vm, lua_State *L, struct http_conn *h)
{
    struct lrequest *r = lua_newuserdata(L, sizeof *r);
    *r = (struct lrequest){
        .head = http_head_ref(h->head),
        .route = route_ref(http_conn_route(h)),
        .peer = h->session.conn.peer,
        .secure = h->session.conn.stream.tls != NULL,
        .cert = tls_peer_cert(&h->session.conn.stream),
    };
    lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(vm)->metatable);
    lua_setmetatable(L, -2);
    return r;
}

static void free_lines(struct lrequest *r)
{
    for (size_t i = 0; i < r->line_count; i++) {
        mem_free((char *)(size_t)r->lines[i].name.s);
        mem_free((char *)(size_t)r->lines[i].value.s);
    }
    mem_free(r->lines);
    r->lines = NULL;
    r->line_count = 0;
}

static int request_gc(lua_State *L)
{
    struct lrequest *r = luaL_checkudata(L, 1, class_name);
    if (!r->head)
        return 0;
    free_lines(r);
    tls_cert_unref(r->cert);
    http_head_unref(r->head);
    route_unref(r->route);
    r->head = NULL;
    return 0;
}

static int request_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(lvm_of(L))->index);
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

static int push_str(lua_State *L, struct str s)
{
    lua_pushlstring(L, s.s ? s.s : "", s.len);
    return 1;
}

static int core_method(lua_State *L)
{
    return push_str(L, http_method(check(L)->head));
}

static int core_target(lua_State *L)
{
    return push_str(L, http_target(check(L)->head));
}

static int core_path(lua_State *L)
{
    struct str path = {0}, query = {0};
    uri_split(http_target(check(L)->head), &path, &query);
    return push_str(L, path);
}

static int core_query(lua_State *L)
{
    struct str path = {0}, query = {0};
    uri_split(http_target(check(L)->head), &path, &query);
    return push_str(L, query);
}

static int core_field(lua_State *L)
{
    struct lrequest *r = check(L);
    const char *name = luaL_checkstring(L, 2);
    struct str value;
    lua_newtable(L);
    for (size_t i = 0; http_field(r->head, name, i, &value); i++) {
        push_str(L, value);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int core_fields(lua_State *L)
{
    struct lrequest *r = check(L);
    size_t count = http_field_count(r->head);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        struct str name, value;
        http_field_at(r->head, i, &name, &value);
        lua_createtable(L, 2, 0);
        push_str(L, name);
        lua_rawseti(L, -2, 1);
        push_str(L, value);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int core_params(lua_State *L)
{
    struct lrequest *r = check(L);
    struct str path = {0}, query = {0};
    uri_split(http_target(r->head), &path, &query);
    char *value = lua_newuserdata(L, path.len + 1);
    lua_newtable(L);
    struct route_capture capture;
    for (size_t i = 0; route_capture(r->route, path, i, &capture, value); i++) {
        push_str(L, capture.name);
        lua_pushlstring(L, value, capture.len);
        lua_rawset(L, -3);
    }
    return 1;
}

static int core_address(lua_State *L)
{
    struct lrequest *r = check(L);
    char text[ADDRESS_TEXT];
    address_text(&r->peer, text);
    lua_pushstring(L, text);
    lua_pushinteger(L, r->peer.port);
    return 2;
}

static int core_secure(lua_State *L)
{
    lua_pushboolean(L, check(L)->secure);
    return 1;
}

static int core_certificate(lua_State *L)
{
    ltls_push_certificate(L, check(L)->cert);
    return 1;
}

/* A table that is private to this request: its environment, made when it is first asked for. */
static int core_cache(lua_State *L)
{
    check(L);
    lua_getfenv(L, 1);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    bool none = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    if (!none)
        return 1;
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfenv(L, 1);
    return 1;
}

static struct str copy_of(lua_State *L, int index)
{
    size_t len;
    const char *s = luaL_checklstring(L, index, &len);
    char *copy = mem_alloc(len + 1);
    memcpy(copy, s, len);
    return (struct str){copy, len};
}

static int core_set_header(lua_State *L)
{
    struct lrequest *r = check(L);
    luaL_checkstring(L, 2);
    luaL_checkstring(L, 3);
    if (!r->answering) {
        lua_pushnil(L);
        lua_pushliteral(L, "the response has been sent already");
        return 2;
    }
    struct http_line *lines = mem_alloc((r->line_count + 1) * sizeof *lines);
    if (r->line_count)
        memcpy(lines, r->lines, r->line_count * sizeof *lines);
    lines[r->line_count++] = (struct http_line){copy_of(L, 2), copy_of(L, 3)};
    mem_free(r->lines);
    r->lines = lines;
    lua_pushboolean(L, true);
    return 1;
}

static int core_is_request(lua_State *L)
{
    lua_pushboolean(L, luaL_testudata(L, 1, class_name) != NULL);
    return 1;
}

static int core_percent_decode(lua_State *L)
{
    struct str in;
    in.s = luaL_checklstring(L, 1, &in.len);
    char *out = lua_newuserdata(L, in.len + 1);
    long len = uri_decode(in, out, lua_toboolean(L, 2));
    if (len < 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, out, (size_t)len);
    return 1;
}

static const struct luaL_Reg functions[] = {
    {"requestMethod", core_method},
    {"requestTarget", core_target},
    {"requestPath", core_path},
    {"requestQuery", core_query},
    {"requestField", core_field},
    {"requestFields", core_fields},
    {"requestParams", core_params},
    {"requestAddress", core_address},
    {"requestSecure", core_secure},
    {"requestCertificate", core_certificate},
    {"requestCache", core_cache},
    {"setResponseHeader", core_set_header},
    {"isRequest", core_is_request},
    {"percentDecode", core_percent_decode},
    {NULL, NULL},
};

static const struct luaL_Reg metamethods[] = {
    {"__index", request_index}, {"__gc", request_gc}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    lvm_register(vm, L, functions);
    luaL_newmetatable(L, class_name);
    lvm_register(vm, L, metamethods);
    state_of(vm)->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void module_take(struct lvm *vm, lua_State *L)
{
    state_of(vm)->index = lvm_take_hook(L, "requestIndex");
}

const struct lmodule *lrequest_module(void)
{
    static const struct lmodule module = {.name = "request",
                                          .slot = LREQUEST_SLOT,
                                          .size = sizeof(struct lrequests),
                                          .open = module_open,
                                          .take = module_take};
    return &module;
}
