// SPDX-License-Identifier: MIT
/*
 * JSON between text and Lua values. The input is a JSON text; its last byte also says which
 * allocation of a second reading fails. Beyond crashes:
 *
 *      - it is read if and only if a slow reference takes it, and what is refused tells where;
 *      - what was read is written, and reads back as the same values: decode(encode(x)) = x;
 *      - memory stays within a hundred times the bytes of the text;
 *      - without memory it raises and nothing is lost.
 *
 * Lua's memory comes from malloc here, each object by itself, so that reading past a string is
 * seen. This target alone links Lua.
 */
#include "bind/data/ljson.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 128, PER_BYTE = 100, BESIDE = 16384 };

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static struct {
    size_t used, most;
    long left; /* allocations until one fails; negative: none does */
} memory;

static void *allocate(void *ud, void *old, size_t old_size, size_t size)
{
    (void)ud;
    if (size == 0) {
        free(old);
        memory.used -= old ? old_size : 0;
        return NULL;
    }
    if (size > old_size && memory.left >= 0 && memory.left-- == 0)
        return NULL;
    void *p = realloc(old, size);
    MUST(p);
    memory.used += size - (old ? old_size : 0);
    if (memory.used > memory.most)
        memory.most = memory.used;
    return p;
}

/* ---- the reference: a recogniser of RFC 8259, one function a rule, no state but the place ---- */

struct text {
    const uint8_t *at, *end;
    int depth;
};

static bool is_value(struct text *t);

static int next(struct text *t)
{
    while (t->at < t->end && strchr(" \t\r\n", *t->at) && *t->at)
        t->at++;
    return t->at < t->end ? *t->at : -1;
}

static bool take(struct text *t, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(t->end - t->at) < len || memcmp(t->at, word, len) != 0)
        return false;
    t->at += len;
    return true;
}

static unsigned hex(struct text *t)
{
    char digits[5] = "";
    if (t->end - t->at < 4 || strspn(memcpy(digits, t->at, 4), "0123456789abcdefABCDEF") != 4)
        return 0x110000;
    t->at += 4;
    return (unsigned)strtoul(digits, NULL, 16);
}

static bool is_escape(struct text *t)
{
    if (!take(t, "u"))
        return t->at < t->end && *t->at && strchr("\"\\/bfnrt", *t->at++);
    unsigned code = hex(t);
    if (code < 0xD800 || code > 0xDBFF)
        return code < 0xD800 || (code > 0xDFFF && code < 0x10000);
    unsigned low = take(t, "\\u") ? hex(t) : 0;
    return low >= 0xDC00 && low <= 0xDFFF;
}

/* A character beyond ASCII: the code point of its bits must need that many bytes (RFC 3629). */
static bool is_wide(struct text *t, unsigned lead)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned len = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : 1;
    unsigned code = lead & (0xFFu >> (len + 1));
    for (unsigned i = 1; i < len; i++) {
        if (t->at == t->end || (*t->at & 0xC0) != 0x80)
            return false;
        code = code << 6 | (*t->at++ & 0x3F);
    }
    return len > 1 && code >= least[len] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

static bool is_string(struct text *t)
{
    if (!take(t, "\""))
        return false;
    while (t->at < t->end) {
        unsigned c = *t->at++;
        if (c == '"')
            return true;
        if (c < 0x20 || (c == '\\' && !is_escape(t)) || (c >= 0x80 && !is_wide(t, c)))
            return false;
    }
    return false;
}

static bool digits(struct text *t)
{
    const uint8_t *from = t->at;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9')
        t->at++;
    return t->at > from;
}

static bool is_number(struct text *t)
{
    const uint8_t *from = t->at;
    (void)take(t, "-");
    if (!take(t, "0") && !digits(t))
        return false;
    if (take(t, ".") && !digits(t))
        return false;
    if (take(t, "e") || take(t, "E")) {
        (void)(take(t, "+") || take(t, "-"));
        if (!digits(t))
            return false;
    }
    char *copy = strndup((const char *)from, (size_t)(t->at - from));
    MUST(copy);
    bool finite = isfinite(strtod(copy, NULL));
    free(copy);
    return finite;
}

static bool is_member(struct text *t, bool object)
{
    if (!object)
        return is_value(t);
    (void)next(t);
    return is_string(t) && next(t) == ':' && take(t, ":") && is_value(t);
}

static bool is_container(struct text *t, bool object)
{
    const char *close = object ? "}" : "]";
    t->at++;
    if (++t->depth > DEPTH)
        return false;
    if (next(t) != *close) {
        do {
            if (!is_member(t, object))
                return false;
            (void)next(t);
        } while (take(t, ","));
    }
    t->depth--;
    return take(t, close);
}

static bool is_value(struct text *t)
{
    switch (next(t)) {
    case '{': return is_container(t, true);
    case '[': return is_container(t, false);
    case '"': return is_string(t);
    case 't': return take(t, "true");
    case 'f': return take(t, "false");
    case 'n': return take(t, "null");
    default: return is_number(t);
    }
}

static bool is_json(const uint8_t *data, size_t size)
{
    struct text t = {data, data + size, 0};
    return is_value(&t) && next(&t) == -1;
}

/* ---- Lua ---- */

enum { CORE = 1, FIRST = 2, WRITTEN = 3, SECOND = 4 }; /* stack indices */

static bool same(lua_State *L, int a, int b);

static bool same_tables(lua_State *L, int a, int b)
{
    int count = 0;
    bool marked = lua_getmetatable(L, a), other = lua_getmetatable(L, b);
    lua_pop(L, marked + other);
    if (marked != other)
        return false;
    luaL_checkstack(L, 8, "comparing");
    for (lua_pushnil(L); lua_next(L, a); lua_pop(L, 2), count++) {
        lua_pushvalue(L, -2);
        lua_rawget(L, b);
        if (!same(L, lua_gettop(L) - 1, lua_gettop(L)))
            return false;
    }
    for (lua_pushnil(L); lua_next(L, b); lua_pop(L, 1))
        count--;
    return count == 0;
}

static bool same(lua_State *L, int a, int b)
{
    if (lua_type(L, a) != LUA_TTABLE)
        return lua_rawequal(L, a, b);
    return lua_type(L, b) == LUA_TTABLE && same_tables(L, a, b);
}

/* core.NAME(the top of the stack): replaces it with the result. Whether there is one. */
static bool call(lua_State *L, const char *name)
{
    lua_getfield(L, CORE, name);
    lua_insert(L, -2);
    lua_call(L, 1, 2);
    bool good = !lua_isnil(L, -2);
    if (good)
        MUST(lua_isnil(L, -1));
    else
        lua_replace(L, -2); /* the message */
    lua_settop(L, lua_gettop(L) - good);
    return good;
}

static void check_message(const char *message)
{
    int line = 0, column = 0, used = 0;
    MUST(message && sscanf(message, "line %d, column %d: %n", &line, &column, &used) == 2);
    MUST(line > 0 && column > 0 && used > 0 && message[used] != '\0');
}

/* Called with the text and what the reference says of it. */
static int read_and_write(lua_State *L)
{
    bool good = lua_toboolean(L, 2);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_insert(L, CORE);
    ljson_open(L, CORE);
    MUST(call(L, "jsonDecode") == good);
    if (!good) {
        check_message(lua_tostring(L, FIRST));
        return 0;
    }
    lua_pushvalue(L, FIRST);
    MUST(call(L, "jsonEncode") && lua_type(L, WRITTEN) == LUA_TSTRING);
    size_t len;
    const char *written = lua_tolstring(L, WRITTEN, &len);
    MUST(is_json((const uint8_t *)written, len));
    lua_pushvalue(L, WRITTEN);
    MUST(call(L, "jsonDecode") && same(L, FIRST, SECOND));
    return 0;
}

/* Returns the result of a protected run; `left` allocations succeed, or all when it is negative. */
static int run(const uint8_t *data, size_t size, bool good, long left)
{
    memory.left = -1;
    lua_State *L = lua_newstate(allocate, NULL);
    MUST(L);
    lua_pushcfunction(L, read_and_write);
    lua_pushlstring(L, (const char *)data, size);
    lua_pushboolean(L, good);
    memory.most = memory.used;
    size_t before = memory.used;
    memory.left = left;
    int status = lua_pcall(L, 2, 0, 0);
    memory.left = -1;
    MUST(memory.most - before <= PER_BYTE * size + BESIDE);
    if (status && status != LUA_ERRMEM)
        fprintf(stderr, "raised: %s\n", lua_tostring(L, -1));
    lua_close(L);
    MUST(memory.used == 0);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool good = is_json(data, size);
    MUST(run(data, size, good, -1) == 0);
    int status = run(data, size, good, size ? data[size - 1] % 64 : 0);
    MUST(status == 0 || status == LUA_ERRMEM);
    return 0;
}
