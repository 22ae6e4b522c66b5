// SPDX-License-Identifier: MIT
/*
 * Writes Lua values as JSON (RFC 8259), without blanks, with no escape that is not needed.
 *
 *     table with core.jsonArray as metatable, or with the keys 1..n   array
 *     table with string keys, or empty                                object
 *     core.jsonNull                                                   null
 *
 * Anything else is an error that names the place ($.list[2]): mixed keys, holes, functions, inf and
 * nan, text that is not UTF-8, more than 128 levels (a table that contains itself is found by
 * this). Metamethods are not called, so that no Lua code runs in the middle.
 *
 * The depth limit alone does not bound the work: a table may contain another one twice at each
 * level. MAX_TEXT and MAX_TABLES do; while this runs nothing else in the worker does.
 */
#include "bind/data/ljson_private.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

enum { VALUE = 1, BUFFER = 2 }; /* stack indices */

#define MAX_TEXT ((size_t)64 << 20)
#define MAX_TABLES 4000000

struct writer {
    lua_State *L;
    char *data;
    size_t used, size;
    const void *array; /* the array metatable */
    const char *error; /* a constant, or a string on the Lua stack */
    int depth, tables;
    char path[160]; /* where it went wrong; written from the end while the calls return */
    size_t path_at;
    bool path_full;
};

static bool write_value(struct writer *w);

static bool fail(struct writer *w, const char *what)
{
    w->error = what;
    return false;
}

static bool grow(struct writer *w, size_t more)
{
    size_t size = w->size;
    if (more > MAX_TEXT || w->used + more > MAX_TEXT)
        return fail(w, "more than 64 MiB of JSON");
    while (size - w->used < more)
        size *= 2;
    char *data = lua_newuserdata(w->L, size);
    memcpy(data, w->data, w->used);
    lua_replace(w->L, BUFFER);
    w->data = data;
    w->size = size;
    return true;
}

/* Room for `more` bytes behind those used. */
static inline bool reserve(struct writer *w, size_t more)
{
    return w->size - w->used >= more || grow(w, more);
}

static bool write_byte(struct writer *w, char c)
{
    if (!reserve(w, 1))
        return false;
    w->data[w->used++] = c;
    return true;
}

static bool write_bytes(struct writer *w, const void *bytes, size_t len)
{
    if (!reserve(w, len))
        return false;
    memcpy(w->data + w->used, bytes, len);
    w->used += len;
    return true;
}

static bool write_escape(struct writer *w, unsigned char c)
{
    static const char codes[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    char text[8] = {'\\', 0};
    const char *found = c ? strchr(codes, c) : NULL;
    if (found) {
        text[1] = names[found - codes];
        return write_bytes(w, text, 2);
    }
    snprintf(text, sizeof text, "\\u%04x", c);
    return write_bytes(w, text, 6);
}

/*
 * The string at the top of the stack. Runs of characters that stand for themselves are copied
 * whole.
 */
static bool write_string(struct writer *w, int index)
{
    size_t len;
    const unsigned char *p = (const unsigned char *)lua_tolstring(w->L, index, &len);
    const unsigned char *end = p + len, *run = p;
    if (!reserve(w, len + 2))
        return false;
    w->data[w->used++] = '"';
    while ((p = ljson_skip_plain(p, end)) < end) {
        if (*p >= 0x80) {
            size_t sequence = ljson_utf8(p, end);
            if (!sequence)
                return fail(w, "a string is not valid UTF-8");
            p += sequence;
            continue;
        }
        if (!write_bytes(w, run, (size_t)(p - run)) || !write_escape(w, *p))
            return false;
        run = ++p;
    }
    return write_bytes(w, run, (size_t)(p - run)) && write_byte(w, '"');
}

static bool write_number(struct writer *w)
{
    double value = lua_tonumber(w->L, -1);
    if (!isfinite(value))
        return fail(w, isnan(value) ? "nan is not a JSON number" : "inf is not a JSON number");
    if (!reserve(w, LJSON_NUMBER_ROOM))
        return false;
    w->used += ljson_from_number(w->data + w->used, value);
    return true;
}

/* ---- the path of an error ---- */

static void prepend(struct writer *w, const char *text, size_t len)
{
    w->path_full = w->path_full || len > w->path_at;
    if (w->path_full)
        return; /* the outer part is left out */
    w->path_at -= len;
    memcpy(w->path + w->path_at, text, len);
}

static void prepend_index(struct writer *w, int index)
{
    char text[16];
    int len = snprintf(text, sizeof text, "[%d]", index);
    prepend(w, text, (size_t)len);
}

/* The key at `index` (a string); bytes that would look odd in a message become question marks. */
static void prepend_key(struct writer *w, int index)
{
    char text[42] = ".";
    size_t len;
    const char *key = lua_tolstring(w->L, index, &len);
    if (len > 40)
        len = 40;
    for (size_t i = 0; i < len; i++)
        text[i + 1] = key[i] > 0x20 && key[i] < 0x7F ? key[i] : '?';
    prepend(w, text, len + 1);
}

/* ---- tables ---- */

static bool is_marked(struct writer *w)
{
    if (!lua_getmetatable(w->L, -1))
        return false;
    bool marked = lua_topointer(w->L, -1) == w->array;
    lua_pop(w->L, 1);
    return marked;
}

/* The n of a table (at the top) whose keys are exactly 1..n; -1 when they are not. */
static int sequence_length(lua_State *L)
{
    int count = 0, highest = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (!(key >= 1 && key <= 0x7FFFFFFF) || key != (double)(int)key) {
            lua_pop(L, 1);
            return -1;
        }
        count++;
        if (key > highest)
            highest = (int)key;
    }
    return count == highest ? count : -1;
}

static bool write_array(struct writer *w)
{
    lua_State *L = w->L;
    int length = sequence_length(L);
    if (length < 0)
        return fail(w, "an array has the keys 1 to n, without holes or others");
    if (!write_byte(w, '['))
        return false;
    for (int i = 1; i <= length; i++) {
        if (i > 1 && !write_byte(w, ','))
            return false;
        lua_rawgeti(L, -1, i);
        if (!write_value(w)) {
            prepend_index(w, i);
            return false;
        }
        lua_pop(L, 1);
    }
    return write_byte(w, ']');
}

/* The key under the top and the value at the top of the stack. */
static bool write_pair(struct writer *w)
{
    int key = lua_gettop(w->L) - 1;
    if (lua_type(w->L, key) != LUA_TSTRING)
        return fail(w, "an object has strings as keys only");
    if (!write_string(w, key))
        return false;
    if (write_byte(w, ':') && write_value(w))
        return true;
    prepend_key(w, key);
    return false;
}

/* The table is under the top, its first pair above it: lua_next has been called once. */
static bool write_object(struct writer *w)
{
    lua_State *L = w->L;
    char before = '{';
    do {
        if (!write_byte(w, before) || !write_pair(w))
            return false;
        before = ',';
        lua_pop(L, 1);
    } while (lua_next(L, -2));
    return write_byte(w, '}');
}

static bool write_members(struct writer *w)
{
    lua_State *L = w->L;
    if (is_marked(w))
        return write_array(w);
    lua_pushnil(L);
    if (!lua_next(L, -2))
        return write_bytes(w, "{}", 2);
    if (lua_type(L, -2) != LUA_TNUMBER)
        return write_object(w);
    lua_pop(L, 2);
    return write_array(w);
}

static bool write_table(struct writer *w)
{
    if (w->depth == LJSON_DEPTH)
        return fail(w, "nested deeper than 128, or a table that contains itself");
    if (++w->tables > MAX_TABLES)
        return fail(w, "more than 4 million arrays and objects");
    if (!lua_checkstack(w->L, 8))
        return fail(w, "no stack left");
    w->depth++;
    bool good = write_members(w);
    w->depth--;
    return good;
}

static bool refuse(struct writer *w)
{
    if (lua_isnil(w->L, -1))
        return fail(w, "nil has no JSON form (json.null has)");
    lua_pushfstring(w->L, "a %s has no JSON form", lua_typename(w->L, lua_type(w->L, -1)));
    lua_replace(w->L, VALUE);
    return fail(w, lua_tostring(w->L, VALUE));
}

/* The value at the top of the stack, which stays there; a failure may leave more above it. */
static bool write_value(struct writer *w)
{
    switch (lua_type(w->L, -1)) {
    case LUA_TSTRING: return write_string(w, -1);
    case LUA_TNUMBER: return write_number(w);
    case LUA_TTABLE: return write_table(w);
    case LUA_TBOOLEAN:
        return lua_toboolean(w->L, -1) ? write_bytes(w, "true", 4) : write_bytes(w, "false", 5);
    case LUA_TLIGHTUSERDATA:
        return lua_touserdata(w->L, -1) ? refuse(w) : write_bytes(w, "null", 4);
    default: return refuse(w);
    }
}

static int push_error(struct writer *w)
{
    const char *path = w->path + w->path_at;
    size_t len = sizeof w->path - w->path_at;
    lua_State *L = w->L;
    lua_settop(L, BUFFER);
    lua_pushnil(L);
    lua_pushstring(L, w->path_full ? "$..." : "$");
    lua_pushlstring(L, path, len);
    lua_pushfstring(L, ": %s", w->error);
    lua_concat(L, 3);
    return 2;
}

int ljson_encode(lua_State *L)
{
    struct writer writer = {.L = L, .path_at = sizeof writer.path};
    lua_settop(L, VALUE);
    ljson_take_buffer(L);
    writer.data = lua_touserdata(L, BUFFER);
    writer.size = lua_objlen(L, BUFFER);
    writer.array = lua_topointer(L, lua_upvalueindex(2));
    lua_pushvalue(L, VALUE);
    int results = 1;
    if (write_value(&writer))
        lua_pushlstring(L, writer.data, writer.used);
    else
        results = push_error(&writer);
    ljson_give_buffer(L, BUFFER);
    return results;
}
