// SPDX-License-Identifier: MIT
/*
 * Writing walks tables without calling metamethods, so no Lua code runs in the middle. A table that
 * contains itself is found by the depth, one that contains another many times by the bytes. Reading
 * checks every length: the file may have been damaged while it lay on a disk.
 */
#include "bind/data/lshared_pack.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define EXACT 9007199254740992.0 /* 2^53 */

enum { MOST_PREALLOCATED = 1024, VARINT = 10 };

/* --- Writing -------------------------------------------------------------------------------- */

static int pack_inner(lua_State *L, struct lshared_pack *p);

static int fail(struct lshared_pack *p, int result, const char *what)
{
    snprintf(p->error, sizeof p->error, "%s", what);
    return result;
}

static int put(struct lshared_pack *p, const void *bytes, size_t len)
{
    if (len > p->limit - buf_len(p->out))
        return fail(p, LSHARED_TOO_BIG, "more bytes than can be stored at once (1 MiB)");
    return buf_append(p->out, bytes, len) < 0 ? LSHARED_NOMEM : LSHARED_PACKED;
}

/* A kind, and a count behind it. */
static int put_count(struct lshared_pack *p, char kind, uint64_t n)
{
    uint8_t text[1 + VARINT] = {(uint8_t)kind};
    size_t len = 1;
    do {
        text[len++] = (uint8_t)((n & 0x7F) | (n > 0x7F ? 0x80 : 0));
        n >>= 7;
    } while (n);
    return put(p, text, len);
}

/* Adds a key in front of the path; what does not fit is left out. */
static void prepend(lua_State *L, struct lshared_pack *p, int key)
{
    char text[48];
    int len;
    if (lua_type(L, key) == LUA_TNUMBER)
        len = snprintf(text, sizeof text, "[%.14g]", lua_tonumber(L, key));
    else if (lua_type(L, key) == LUA_TSTRING)
        len = snprintf(text, sizeof text, ".%.40s", lua_tostring(L, key));
    else
        len = snprintf(text, sizeof text, "[%s]", luaL_typename(L, key));
    if (len <= 0 || (size_t)len > p->path_at) {
        p->path_at = sizeof p->path; /* begins again: the outer part tells more */
        return;
    }
    p->path_at -= (size_t)len;
    memcpy(p->path + p->path_at, text, (size_t)len);
}

/* The values at 1, 2, ... up to the first hole; *length tells how many there are. */
static int put_sequence(lua_State *L, struct lshared_pack *p, uint64_t *length)
{
    int n = 0, result = LSHARED_PACKED;
    for (;; n++) {
        lua_rawgeti(L, -1, n + 1);
        if (lua_isnil(L, -1))
            break;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    result = put_count(p, p->kind, (uint64_t)n);
    for (int i = 1; i <= n && result == LSHARED_PACKED; i++) {
        lua_rawgeti(L, -1, i);
        result = pack_inner(L, p);
        lua_pop(L, 1);
        if (result != LSHARED_PACKED) {
            lua_pushinteger(L, i);
            prepend(L, p, -1);
            lua_pop(L, 1);
        }
    }
    *length = (uint64_t)n;
    return result;
}

static bool in_sequence(lua_State *L, int key, uint64_t length)
{
    double n = lua_type(L, key) == LUA_TNUMBER ? lua_tonumber(L, key) : 0;
    return n >= 1 && n <= (double)length && n == floor(n);
}

/* The key under the top and the value at the top of the stack. */
static int put_pair(lua_State *L, struct lshared_pack *p)
{
    int type = lua_type(L, -2), result;
    if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN) {
        lua_pushvalue(L, -2);
        result = pack_inner(L, p);
        lua_pop(L, 1);
        if (result == LSHARED_PACKED)
            result = pack_inner(L, p);
    } else {
        result = fail(p, LSHARED_CANNOT, "a key is a string, a number or a boolean");
    }
    if (result != LSHARED_PACKED)
        prepend(L, p, lua_gettop(L) - 1);
    return result;
}

static int put_pairs(lua_State *L, struct lshared_pack *p, uint64_t length)
{
    int result = LSHARED_PACKED;
    lua_pushnil(L);
    while (result == LSHARED_PACKED && lua_next(L, -2)) {
        if (!in_sequence(L, -2, length))
            result = put_pair(L, p);
        lua_pop(L, 1);
    }
    if (result != LSHARED_PACKED)
        lua_pop(L, 1); /* the key */
    return result;
}

static bool is_array(lua_State *L, const struct lshared_pack *p)
{
    if (!lua_getmetatable(L, -1))
        return false;
    bool array = lua_topointer(L, -1) == p->array;
    lua_pop(L, 1);
    return array;
}

/* What follows the 'T' of a table. */
static int put_table(lua_State *L, struct lshared_pack *p)
{
    uint64_t length;
    if (p->depth == LSHARED_DEPTH)
        return fail(p, LSHARED_TOO_BIG, "nested deeper than 128 tables, or contains itself");
    luaL_checkstack(L, 8, "shared");
    p->depth++;
    p->kind = is_array(L, p) ? 1 : 0;
    int result = put_sequence(L, p, &length);
    if (result == LSHARED_PACKED)
        result = put_pairs(L, p, length);
    p->depth--;
    return result == LSHARED_PACKED ? put(p, "e", 1) : result;
}

static int put_number(lua_State *L, struct lshared_pack *p, bool inside)
{
    double n = lua_tonumber(L, -1);
    if (isnan(n))
        return fail(p, LSHARED_CANNOT, "nan cannot be stored");
    if (inside && n >= 0 && n <= EXACT && n == floor(n) && !signbit(n))
        return put_count(p, 'i', (uint64_t)n);
    int result = inside ? put(p, "n", 1) : LSHARED_PACKED;
    return result == LSHARED_PACKED ? put(p, &n, sizeof n) : result;
}

static int put_string(lua_State *L, struct lshared_pack *p, bool inside)
{
    size_t len;
    const char *s = lua_tolstring(L, -1, &len);
    int result = inside ? put_count(p, 's', len) : LSHARED_PACKED;
    return result == LSHARED_PACKED ? put(p, s, len) : result;
}

static int refuse(lua_State *L, struct lshared_pack *p)
{
    snprintf(p->error, sizeof p->error, "a %s cannot be stored", luaL_typename(L, -1));
    return LSHARED_CANNOT;
}

/* The kind of the value at the top; 0 when there is none for it. */
static uint8_t kind_of(lua_State *L)
{
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER: return 'n';
    case LUA_TSTRING: return 's';
    case LUA_TTABLE: return 'T';
    case LUA_TBOOLEAN: return lua_toboolean(L, -1) ? 'B' : 'b';
    case LUA_TLIGHTUSERDATA: return lua_touserdata(L, -1) ? 0 : 'N';
    default: return 0;
    }
}

static int pack_value(lua_State *L, struct lshared_pack *p, uint8_t kind, bool inside)
{
    int result = LSHARED_PACKED;
    switch (kind) {
    case 0: return refuse(L, p);
    case 'n': return put_number(L, p, inside);
    case 's': return put_string(L, p, inside);
    default: break;
    }
    if (inside)
        result = put(p, &kind, 1);
    return kind == 'T' && result == LSHARED_PACKED ? put_table(L, p) : result;
}

static int pack_inner(lua_State *L, struct lshared_pack *p)
{
    return pack_value(L, p, kind_of(L), true);
}

/* Puts the path in front of the message. */
static void tell_where(struct lshared_pack *p)
{
    char what[sizeof p->error];
    size_t len = sizeof p->path - p->path_at;
    memcpy(what, p->error, sizeof what);
    snprintf(p->error, sizeof p->error, "value%.*s: %.60s", (int)len, p->path + p->path_at, what);
}

enum lshared_packed lshared_pack(lua_State *L, struct lshared_pack *p)
{
    uint8_t kind = kind_of(L);
    p->path_at = sizeof p->path;
    p->depth = 0;
    p->error[0] = '\0';
    int result = pack_value(L, p, kind, false);
    p->kind = kind;
    if (result != LSHARED_PACKED)
        tell_where(p);
    return (enum lshared_packed)result;
}

/* --- Reading -------------------------------------------------------------------------------- */

struct reader {
    lua_State *L;
    const uint8_t *at, *end;
    int array; /* stack index */
    int depth;
};

static bool read_inner(struct reader *r);

static bool read_count(struct reader *r, uint64_t *n)
{
    *n = 0;
    for (int shift = 0; shift < 7 * VARINT && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        *n |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool read_number(struct reader *r)
{
    double n;
    if (r->end - r->at < (ptrdiff_t)sizeof n)
        return false;
    memcpy(&n, r->at, sizeof n);
    r->at += sizeof n;
    lua_pushnumber(r->L, n);
    return true;
}

static bool read_string(struct reader *r)
{
    uint64_t len;
    if (!read_count(r, &len) || len > (uint64_t)(r->end - r->at))
        return false;
    lua_pushlstring(r->L, (const char *)r->at, (size_t)len);
    r->at += len;
    return true;
}

static bool read_whole(struct reader *r)
{
    uint64_t n;
    if (!read_count(r, &n))
        return false;
    lua_pushnumber(r->L, (double)n);
    return true;
}

/* A key that is never written shows damage. */
static bool good_key(lua_State *L)
{
    int type = lua_type(L, -1);
    return type == LUA_TSTRING || type == LUA_TBOOLEAN ||
           (type == LUA_TNUMBER && !isnan(lua_tonumber(L, -1)));
}

static bool read_pairs(struct reader *r)
{
    while (r->at < r->end && *r->at != 'e') {
        if (!read_inner(r) || !good_key(r->L) || !read_inner(r))
            return false;
        lua_rawset(r->L, -3);
    }
    return r->at++ < r->end;
}

/* What follows the 'T': the first byte says whether it is an array. */
static bool read_members(struct reader *r)
{
    lua_State *L = r->L;
    uint64_t length;
    if (r->at == r->end || *r->at > 1)
        return false;
    bool array = *r->at++ == 1;
    if (!read_count(r, &length) || length > (uint64_t)(r->end - r->at))
        return false;
    lua_createtable(L, length < MOST_PREALLOCATED ? (int)length : MOST_PREALLOCATED, 0);
    for (int i = 1; i <= (int)length; i++) {
        if (!read_inner(r))
            return false;
        lua_rawseti(L, -2, i);
    }
    if (array) {
        lua_pushvalue(L, r->array);
        lua_setmetatable(L, -2);
    }
    return read_pairs(r);
}

static bool read_table(struct reader *r)
{
    if (r->depth == LSHARED_DEPTH)
        return false;
    luaL_checkstack(r->L, 8, "shared");
    r->depth++;
    bool good = read_members(r);
    r->depth--;
    return good;
}

/* The value of a kind; a string is the whole rest unless it is `inside` a table. */
static bool read_value(struct reader *r, uint8_t kind, bool inside)
{
    switch (kind) {
    case 'n': return read_number(r);
    case 'i': return inside && read_whole(r);
    case 'T': return read_table(r);
    case 'B':
    case 'b': lua_pushboolean(r->L, kind == 'B'); return true;
    case 'N': lua_pushlightuserdata(r->L, NULL); return true;
    case 's': break;
    default: return false;
    }
    if (inside)
        return read_string(r);
    lua_pushlstring(r->L, (const char *)r->at, (size_t)(r->end - r->at));
    r->at = r->end;
    return true;
}

static bool read_inner(struct reader *r)
{
    return r->at < r->end && read_value(r, *r->at++, true);
}

bool lshared_unpack(lua_State *L, uint8_t kind, const struct buf *bytes, int array)
{
    const uint8_t *start = buf_len(bytes) ? buf_bytes(bytes) : (const uint8_t *)"";
    struct reader r = {.L = L, .at = start, .end = start + buf_len(bytes), .array = array};
    int top = lua_gettop(L);
    if (read_value(&r, kind, false) && r.at == r.end)
        return true;
    lua_settop(L, top);
    return false;
}
