// SPDX-License-Identifier: MIT
/*
 * Reads JSON (RFC 8259) into Lua values, in one pass over the text. The grammar is followed to the
 * letter: no comments, no trailing commas, no leading zeros, no byte order mark, nothing behind the
 * value. What the RFC leaves open is decided for a server that reads strangers' text:
 *
 *     invalid UTF-8, lone surrogates        an error
 *     numbers beyond a double's range       an error
 *     the same key twice                    the last one counts
 *     depth                                 128
 *
 * Members wait on the Lua stack, up to BATCH of them, so that most tables are made with their final
 * size at once. Stack of a container that is being read:
 *
 *     ... [table, nil until the first batch is moved] [member] [member] ...
 *
 * The text is a Lua string and so ends with a NUL, which no rule of the grammar accepts; that is
 * why the reader may look at the byte under `at` without comparing with the end first.
 */
#include "bind/data/ljson_private.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>

/*
 * Members on the stack before they are moved; 128 levels of 2 x 16 stay below LuaJIT's 8000 slots.
 */
enum { BATCH = 16 };

enum { TEXT = 1, SCRATCH = 2 }; /* stack indices */

struct reader {
    lua_State *L;
    const unsigned char *start, *at, *end;
    const char *error; /* a constant; `at` is where it happened */
    int depth;
};

static bool read_value(struct reader *r);

static bool fail(struct reader *r, const unsigned char *at, const char *what)
{
    r->at = at;
    r->error = at >= r->end ? "unexpected end of the text" : what;
    return false;
}

/* Skips blanks and returns the byte behind them (NUL at the end). */
static unsigned char peek(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')
        r->at++;
    return *r->at;
}

/* ---- strings ---- */

/* Finds the closing quote of the string whose first byte is at r->at; NULL on failure. */
static const unsigned char *scan_string(struct reader *r, bool *escaped)
{
    const unsigned char *p = r->at;
    for (;;) {
        p = ljson_skip_plain(p, r->end);
        if (*p == '"')
            return p;
        if (p < r->end && *p >= 0x80) {
            size_t len = ljson_utf8(p, r->end);
            if (!len)
                return fail(r, p, "invalid UTF-8"), NULL;
            p += len;
        } else if (*p == '\\') {
            *escaped = true;
            if (p[1] < 0x20 || p[1] >= 0x80) /* the end of the text included */
                return fail(r, p + 1, "invalid escape"), NULL;
            p += 2;
        } else {
            return fail(r, p, "control character in a string"), NULL;
        }
    }
}

/* The four hexadecimal digits at `p`, or -1. Stops by itself at the closing quote. */
static int hex4(const unsigned char *p)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i];
        int lower = c | 0x20;
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static char *put_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3F));
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    }
    return out;
}

/* \uXXXX, or a pair of them (RFC 8259 §7); `at` is after the backslash. NULL on failure. */
static char *unescape_unicode(struct reader *r, const unsigned char **at, char *out)
{
    const unsigned char *p = *at;
    int code = hex4(p + 1);
    if (code < 0)
        return fail(r, p, "\\u needs four hexadecimal digits"), NULL;
    *at = p + 5;
    if (code < 0xD800 || code > 0xDFFF)
        return put_utf8(out, (unsigned)code);
    int low = p[5] == '\\' && p[6] == 'u' ? hex4(p + 7) : -1;
    if (code > 0xDBFF || low < 0xDC00 || low > 0xDFFF)
        return fail(r, p, "lone surrogate"), NULL;
    *at = p + 11;
    return put_utf8(out, 0x10000 + ((unsigned)(code - 0xD800) << 10) + (unsigned)(low - 0xDC00));
}

/* One escape; `at` is after the backslash and moves behind the escape. NULL on failure. */
static char *unescape_one(struct reader *r, const unsigned char **at, char *out)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    unsigned char c = **at;
    if (c == 'u')
        return unescape_unicode(r, at, out);
    const char *found = strchr(names, c);
    if (!found)
        return fail(r, *at, "invalid escape"), NULL;
    *at += 1;
    *out = means[found - names];
    return out + 1;
}

/* The buffer with room for `size` bytes. */
static char *scratch(lua_State *L, size_t size)
{
    if (lua_isnil(L, SCRATCH)) {
        ljson_take_buffer(L);
        lua_replace(L, SCRATCH);
    }
    if (lua_objlen(L, SCRATCH) < size) {
        lua_newuserdata(L, size);
        lua_replace(L, SCRATCH);
    }
    return lua_touserdata(L, SCRATCH);
}

/*
 * Pushes the string from r->at to the quote at `quote`. An escape is never shorter than its
 * meaning.
 */
static bool push_escaped(struct reader *r, const unsigned char *quote)
{
    char *begin = scratch(r->L, (size_t)(quote - r->at)), *out = begin;
    const unsigned char *p = r->at;
    while (p < quote) {
        const unsigned char *slash = memchr(p, '\\', (size_t)(quote - p));
        const unsigned char *until = slash ? slash : quote;
        memcpy(out, p, (size_t)(until - p));
        out += until - p;
        p = until;
        if (slash) {
            p++;
            out = unescape_one(r, &p, out);
            if (!out)
                return false;
        }
    }
    lua_pushlstring(r->L, begin, (size_t)(out - begin));
    return true;
}

static bool read_string(struct reader *r)
{
    bool escaped = false;
    r->at++;
    const unsigned char *quote = scan_string(r, &escaped);
    if (!quote)
        return false;
    if (!escaped)
        lua_pushlstring(r->L, (const char *)r->at, (size_t)(quote - r->at));
    else if (!push_escaped(r, quote))
        return false;
    r->at = quote + 1;
    return true;
}

/* ---- numbers ---- */

static const unsigned char *skip_digits(const unsigned char *p)
{
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

/* The value of [from, to) without the point, when it has at most 15 digits: exact in a double. */
static double exact_digits(const unsigned char *from, const unsigned char *to)
{
    uint64_t value = 0;
    for (; from < to; from++) {
        if (*from != '.')
            value = value * 10 + (uint64_t)(*from - '0');
    }
    return (double)value;
}

static double number_value(const unsigned char *from, const unsigned char *to, ptrdiff_t places)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    bool negative = *from == '-';
    if (places < 0 || to - from > 15)
        return ljson_to_number((const char *)from);
    double value = exact_digits(from + negative, to) / powers[places];
    return negative ? -value : value;
}

static bool read_number(struct reader *r)
{
    const unsigned char *from = r->at, *p = from + (*from == '-'), *whole = p;
    ptrdiff_t places = 0;
    p = skip_digits(p);
    if (p == whole)
        return fail(r, p, from == whole ? "expected a value" : "expected a digit");
    if (*whole == '0' && p - whole > 1)
        return fail(r, whole, "a number does not begin with 0");
    if (*p == '.') {
        const unsigned char *fraction = p + 1;
        p = skip_digits(fraction);
        places = p - fraction;
        if (!places)
            return fail(r, p, "expected a digit");
    }
    if (*p == 'e' || *p == 'E') {
        const unsigned char *power = p + 1 + (p[1] == '+' || p[1] == '-');
        p = skip_digits(power);
        places = -1;
        if (p == power)
            return fail(r, p, "expected a digit");
    }
    double value = number_value(from, p, places);
    if (isinf(value))
        return fail(r, from, "number out of range");
    r->at = p;
    lua_pushnumber(r->L, value);
    return true;
}

/* ---- containers ---- */

/* Makes the table of the container at `slot`, unless it is there; `more`: it will grow further. */
static void make_table(lua_State *L, int slot, int array, int hash)
{
    if (!lua_isnil(L, slot))
        return;
    lua_createtable(L, array, hash);
    lua_replace(L, slot);
}

static void move_pairs(lua_State *L, int slot, int more)
{
    int top = lua_gettop(L);
    make_table(L, slot, 0, (top - slot) / 2 + more);
    for (int key = slot + 1; key < top; key += 2) {
        lua_pushvalue(L, key);
        lua_pushvalue(L, key + 1);
        lua_rawset(L, slot);
    }
    lua_settop(L, slot);
}

static void move_elements(lua_State *L, int slot, int count, int more)
{
    int top = lua_gettop(L);
    make_table(L, slot, top - slot + more, 0);
    for (int i = slot + 1; i <= top; i++) {
        lua_pushvalue(L, i);
        lua_rawseti(L, slot, ++count);
    }
    lua_settop(L, slot);
}

/* Begins a container: its slot on the stack, or 0 on failure. */
static int enter(struct reader *r)
{
    if (r->depth == LJSON_DEPTH)
        return fail(r, r->at, "nested deeper than 128");
    if (!lua_checkstack(r->L, 2 * BATCH + 8))
        return fail(r, r->at, "no stack left");
    r->depth++;
    r->at++;
    lua_pushnil(r->L);
    return lua_gettop(r->L);
}

/* Behind a member: 1 another one follows, 0 that was the last, -1 failure. */
static int go_on(struct reader *r, unsigned char closing)
{
    unsigned char c = peek(r);
    if (c != ',' && c != closing) {
        fail(r, r->at, closing == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
        return -1;
    }
    r->at++;
    return c == ',';
}

static bool read_pair(struct reader *r)
{
    if (peek(r) != '"')
        return fail(r, r->at, "expected a key in double quotes");
    if (!read_string(r))
        return false;
    if (peek(r) != ':')
        return fail(r, r->at, "expected ':'");
    r->at++;
    return read_value(r);
}

static bool read_object(struct reader *r)
{
    int slot = enter(r), more = 1;
    if (!slot)
        return false;
    if (peek(r) == '}') {
        r->at++;
        more = 0;
    }
    while (more) {
        if (!read_pair(r))
            return false;
        more = go_on(r, '}');
        if (more < 0)
            return false;
        if (lua_gettop(r->L) - slot == 2 * BATCH)
            move_pairs(r->L, slot, more * BATCH);
    }
    move_pairs(r->L, slot, 0);
    r->depth--;
    return true;
}

static bool read_array(struct reader *r)
{
    int slot = enter(r), more = 1, count = 0;
    if (!slot)
        return false;
    if (peek(r) == ']') {
        r->at++;
        more = 0;
    }
    while (more) {
        if (!read_value(r))
            return false;
        more = go_on(r, ']');
        if (more < 0)
            return false;
        if (lua_gettop(r->L) - slot == 2 * BATCH) {
            move_elements(r->L, slot, count, more * 2 * BATCH);
            count += 2 * BATCH;
        }
    }
    move_elements(r->L, slot, count, 0);
    lua_pushvalue(r->L, lua_upvalueindex(2));
    lua_setmetatable(r->L, slot);
    r->depth--;
    return true;
}

static bool read_word(struct reader *r, const char *word, size_t len)
{
    if (strncmp((const char *)r->at, word, len) != 0)
        return fail(r, r->at, "expected a value");
    r->at += len;
    if (*word == 'n')
        lua_pushlightuserdata(r->L, NULL);
    else
        lua_pushboolean(r->L, *word == 't');
    return true;
}

static bool read_value(struct reader *r)
{
    switch (peek(r)) {
    case '"': return read_string(r);
    case '{': return read_object(r);
    case '[': return read_array(r);
    case 't': return read_word(r, "true", 4);
    case 'f': return read_word(r, "false", 5);
    case 'n': return read_word(r, "null", 4);
    default: return read_number(r);
    }
}

static bool read_text(struct reader *r)
{
    if (r->end - r->at >= 3 && memcmp(r->at, "\xEF\xBB\xBF", 3) == 0)
        return fail(r, r->at, "byte order mark (RFC 8259 §8.1 has none)");
    if (!read_value(r))
        return false;
    peek(r);
    return r->at == r->end || fail(r, r->at, "something follows the value");
}

/* Everything before r->at is valid, so that a column is a character; both count from 1. */
static void push_error(struct reader *r)
{
    int line = 1, column = 1;
    for (const unsigned char *p = r->start; p < r->at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if ((*p & 0xC0) != 0x80) {
            column++;
        }
    }
    lua_pushfstring(r->L, "line %d, column %d: %s", line, column, r->error);
}

int ljson_decode(lua_State *L)
{
    size_t len;
    luaL_checktype(L, TEXT, LUA_TSTRING);
    const unsigned char *text = (const unsigned char *)lua_tolstring(L, TEXT, &len);
    struct reader reader = {.L = L, .start = text, .at = text, .end = text + len};
    lua_settop(L, SCRATCH);
    lua_pushnil(L);
    lua_replace(L, SCRATCH);
    bool good = read_text(&reader);
    if (!good) {
        lua_settop(L, SCRATCH);
        lua_pushnil(L);
        push_error(&reader);
    }
    if (!lua_isnil(L, SCRATCH))
        ljson_give_buffer(L, SCRATCH);
    return good ? 1 : 2;
}
