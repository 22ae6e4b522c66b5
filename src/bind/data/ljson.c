// SPDX-License-Identifier: MIT
/*
 * JSON for Lua: registration, and what reader (ljson_decode.c) and writer (ljson_encode.c) share.
 * docs/decisions/0002-json.md says why this is not lua-cjson.
 *
 * Numbers take a fast and a slow path. Fast: a decimal with at most 15 digits and a few places is a
 * quotient of two doubles that are both exact (an integer below 2^53 and a power of ten up to
 * 10^22), and IEEE division rounds correctly, so that the quotient *is* the nearest double. Slow:
 * libc, told to use the "C" locale, because an app may call os.setlocale.
 */
#include "bind/data/ljson.h"

#include "bind/data/ljson_private.h"

#include <lauxlib.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define EXACT 9007199254740992.0 /* 2^53: every integer up to here is a double */

/* The "C" locale, made once and kept for the life of the process. */
static locale_t plain_locale(void)
{
    static locale_t made;
    if (!made)
        made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return made;
}

double ljson_to_number(const char *text)
{
    return strtod_l(text, NULL, plain_locale());
}

static size_t put_digits(char *out, uint64_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

/* A number of at most six places, by the argument at the top of the file; 0 when it is not one. */
static size_t put_places(char *out, double v)
{
    double scale = 1;
    for (int places = 1; places <= 6; places++) {
        scale *= 10;
        double scaled = rint(v * scale);
        if (scaled >= 1e15)
            return 0;
        if (scaled / scale != v)
            continue;
        uint64_t n = (uint64_t)scaled, unit = (uint64_t)scale;
        size_t used = put_digits(out, n / unit);
        out[used] = '.';
        put_digits(out + used + 1, n % unit + unit); /* `unit` in front keeps the zeros */
        memmove(out + used + 1, out + used + 2, (size_t)places);
        return used + 1 + (size_t)places;
    }
    return 0;
}

static size_t put_shortest(char *out, double v)
{
    int used = 0;
    locale_t before = uselocale(plain_locale());
    for (int digits = 15; digits <= 17; digits++) {
        used = snprintf(out, LJSON_NUMBER_ROOM - 1, "%.*g", digits, v);
        if (digits == 17 || ljson_to_number(out) == v)
            break;
    }
    uselocale(before);
    return (size_t)used;
}

size_t ljson_from_number(char *out, double v)
{
    size_t sign = 0;
    if (signbit(v)) {
        out[sign++] = '-';
        v = -v;
    }
    if (v <= EXACT && v == (double)(uint64_t)v)
        return sign + put_digits(out + sign, (uint64_t)v);
    size_t used = put_places(out + sign, v);
    return sign + (used ? used : put_shortest(out + sign, v));
}

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

size_t ljson_utf8(const unsigned char *s, const unsigned char *end)
{
    unsigned char lead = s[0];
    size_t len = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (!len || (size_t)(end - s) < len)
        return 0;
    /* Overlong forms, surrogates and what is above U+10FFFF show in the second byte. */
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (!is_tail(s[i]))
            return 0;
    }
    return len;
}

void ljson_take_buffer(lua_State *L)
{
    if (!lua_isuserdata(L, lua_upvalueindex(1))) {
        lua_newuserdata(L, LJSON_BUFFER);
        return;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushnil(L);
    lua_replace(L, lua_upvalueindex(1));
}

void ljson_give_buffer(lua_State *L, int index)
{
    if (lua_objlen(L, index) > LJSON_KEEP)
        return;
    lua_pushvalue(L, index);
    lua_replace(L, lua_upvalueindex(1));
}

static void add_function(lua_State *L, const char *name, lua_CFunction function)
{
    /* core, metatable */
    lua_pushnil(L);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, function, 2);
    lua_setfield(L, -3, name);
}

void ljson_open(lua_State *L, int core_index)
{
    luaL_checkstack(L, 6, "json");
    lua_pushvalue(L, core_index);
    lua_newtable(L); /* core, metatable */
    add_function(L, "jsonDecode", ljson_decode);
    add_function(L, "jsonEncode", ljson_encode);
    lua_setfield(L, -2, "jsonArray");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "jsonNull");
    lua_pop(L, 1);
}

static void module_open(struct lvm *vm, lua_State *L)
{
    (void)vm;
    ljson_open(L, lua_gettop(L));
}

const struct lmodule *ljson_module(void)
{
    static const struct lmodule module = {.name = "json", .open = module_open};
    return &module;
}
