// SPDX-License-Identifier: MIT
/* Settings out of a table, a certificate into one. All texts stay Lua's while they are read. */
#include "bind/http/ltls.h"

#include "bind/core/lfield.h"
#include "bind/http/lserver.h"

#include <lauxlib.h>
#include <string.h>

static enum tls_verify verify(lua_State *L, int table)
{
    const char *s = lfield_text(L, table, "verifyClient");
    if (!s)
        return TLS_VERIFY_NONE;
    return strcmp(s, "REQUIRE") == 0 ? TLS_VERIFY_REQUIRE : TLS_VERIFY_OPTIONAL;
}

/* Leaves the array of names on the stack, which keeps it. */
static void read_ciphers(lua_State *L, int table, struct tls_config *config)
{
    lua_getfield(L, table, "ciphers");
    size_t n = lua_objlen(L, -1);
    const char **names = lua_newuserdata(L, (n + 1) * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -2, (int)i + 1);
        names[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    config->ciphers = names;
    config->cipher_count = n;
}

struct tls_context *ltls_context(struct lvm *vm, lua_State *L, int table,
                                 char error[TLS_ERROR_SIZE])
{
    int top = lua_gettop(L);
    struct tls_config config = {
        .cert_file = lfield_text(L, table, "certFile"),
        .key_file = lfield_text(L, table, "keyFile"),
        .key_password = lfield_text(L, table, "keyPassword"),
        .p12_file = lfield_text(L, table, "path"),
        .p12_password = lfield_text(L, table, "password"),
        .verify = verify(L, table),
        .ca_file = lfield_text(L, table, "authorities"),
        .ca_password = lfield_text(L, table, "authoritiesPassword"),
        .tls12 = lfield_flag(L, table, "tls12"),
        .tls13 = lfield_flag(L, table, "tls13"),
        .session_timeout = lfield_count(L, table, "sessionTimeout"),
        .share_session = lfield_flag(L, table, "shareSession"),
    };
    read_ciphers(L, table, &config);
    struct tls_context *c = tls_context_new(&config, &lserver_of(vm)->tickets, error);
    lua_settop(L, top);
    return c;
}

static void set_text(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void push_info(lua_State *L, const struct tls_cert_info *info)
{
    lua_createtable(L, 0, 7);
    set_text(L, "subject", info->subject);
    set_text(L, "issuer", info->issuer);
    set_text(L, "serial", info->serial);
    set_text(L, "fingerprint", info->fingerprint);
    lua_pushnumber(L, (lua_Number)info->not_before);
    lua_setfield(L, -2, "notBefore");
    lua_pushnumber(L, (lua_Number)info->not_after);
    lua_setfield(L, -2, "notAfter");
    lua_createtable(L, (int)info->name_count, 0);
    for (size_t i = 0; i < info->name_count; i++) {
        lua_pushstring(L, info->names[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "names");
}

void ltls_push_certificate(lua_State *L, const struct tls_cert *cert)
{
    struct tls_cert_info info;
    if (!cert || !tls_cert_read(cert, &info)) {
        lua_pushnil(L);
        return;
    }
    push_info(L, &info);
    tls_cert_info_free(&info);
}
