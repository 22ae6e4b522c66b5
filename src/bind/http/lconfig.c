// SPDX-License-Identifier: MIT
/* Settings of listeners and routes out of the tables that lua/neap/config/ has checked. */
#include "bind/http/lconfig.h"

#include "base/mem.h"
#include "bind/core/lfield.h"

/* What cannot be set. */
enum {
    HEADER_LINES = 100, /* of one request, duplicates counted */
    OUT_FRAME = 65536,  /* most payload of a frame of ours without maxFrameSize (0) */
};

static double smaller_timeout(double a, double b)
{
    return a > 0 && (b <= 0 || a < b) ? a : b;
}

/* compression = { level =, ... } */
static struct deflate_config read_deflate(lua_State *L, int table)
{
    lua_getfield(L, table, "compression");
    int at = lua_gettop(L);
    struct deflate_config config = {
        .level = (uint8_t)lfield_count(L, at, "level"),
        .mem_level = (uint8_t)lfield_count(L, at, "memLevel"),
        .window_bits = (uint8_t)lfield_count(L, at, "windowBits"),
        .server_no_takeover = lfield_flag(L, at, "serverNoContextTakeover"),
        .client_no_takeover = lfield_flag(L, at, "clientNoContextTakeover"),
        .threshold = lfield_count(L, at, "threshold"),
    };
    lua_pop(L, 1);
    return config;
}

struct http_settings lconfig_listener(lua_State *L, int table)
{
    struct http_settings config = {
        .head_timeout = smaller_timeout(lfield_number(L, table, "timeout"),
                                        lfield_number(L, table, "headerTimeout")),
        .compress = lfield_flag(L, table, "webSocketCompressionEnabled"),
        .deflate = read_deflate(L, table),
    };
    lua_getfield(L, table, "requestLimits");
    int limits = lua_gettop(L);
    config.limits = (struct http_limits){.max_uri = lfield_count(L, limits, "maxUriLength"),
                                         .max_header = lfield_count(L, limits, "maxHeaderSize"),
                                         .max_lines = HEADER_LINES};
    lua_pop(L, 1);
    lua_getfield(L, table, "secureSocket");
    if (lua_istable(L, -1))
        config.handshake_timeout = lfield_number(L, lua_gettop(L), "handshakeTimeout");
    lua_pop(L, 1);
    lua_getfield(L, table, "server");
    if (lua_objlen(L, -1) > 0)
        config.server = mem_strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
    return config;
}

struct listener_limits lconfig_limits(lua_State *L, int table)
{
    return (struct listener_limits){
        .max_connections = lfield_count(L, table, "maxConnections"),
        .max_per_address = lfield_count(L, table, "maxConnectionsPerAddress"),
    };
}

static void read_subprotocols(lua_State *L, int table, struct route_config *config)
{
    lua_getfield(L, table, "subProtocols");
    size_t n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    config->subprotocols = mem_alloc((n + 1) * sizeof(char *));
    config->subprotocol_count = n;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        config->subprotocols[i] = mem_strdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

struct route_config lconfig_route(lua_State *L, int table)
{
    uint32_t frame = lfield_count(L, table, "maxFrameSize");
    struct route_config config = {
        .session = {
            .ws = {.max_frame = frame,
                   .max_message = (uint64_t)lfield_number(L, table, "maxMessageSize"),
                   .max_fragments = lfield_count(L, table, "maxFragments"),
                   .out_frame = frame ? frame : OUT_FRAME},
            .idle_timeout = lfield_number(L, table, "idleTimeout"),
            .message_timeout = lfield_number(L, table, "messageTimeout"),
            .close_timeout = lfield_number(L, table, "connectionClosureTimeout"),
            .ping_interval = lfield_number(L, table, "pingInterval"),
            .pong_timeout = lfield_number(L, table, "pongTimeout"),
            .write_timeout = lfield_number(L, table, "writeTimeout"),
            .max_buffered = (size_t)lfield_number(L, table, "maxBufferedBytes"),
            .drop_slow = lfield_is(L, table, "slowConsumer", "drop"),
        }};
    read_subprotocols(L, table, &config);
    return config;
}
