// SPDX-License-Identifier: MIT
/*
 * What the reader and the writer of JSON share (private to ljson*.c): scanning of plain characters,
 * single UTF-8 sequences, numbers without the locale, and a buffer that cannot leak.
 *
 * The buffer is a Lua userdata. An API call may raise at any allocation, and then malloc'd memory
 * would be lost; a userdata is collected, and it counts against the memory limit of the worker. One
 * is kept between calls as the first upvalue of each function. It is taken out while in use: a
 * finalizer that runs in the middle (any allocation may collect) may use JSON itself.
 */
#ifndef NEAP_BIND_DATA_LJSON_PRIVATE_H
#define NEAP_BIND_DATA_LJSON_PRIVATE_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    LJSON_DEPTH = 128,       /* arrays and objects inside one another */
    LJSON_NUMBER_ROOM = 32,  /* bytes that the longest number takes */
    LJSON_BUFFER = 4096,     /* first size of the buffer */
    LJSON_KEEP = 256 * 1024, /* a larger buffer is not kept for the next call */
};

/* The two C functions: upvalue 1 is the idle buffer or nil, upvalue 2 the array metatable. */
int ljson_decode(lua_State *L);
int ljson_encode(lua_State *L);

/* Pushes the idle buffer, or a new one of LJSON_BUFFER bytes. May raise. */
void ljson_take_buffer(lua_State *L);

/*
 * Makes the buffer at stack index `index` the idle one again, unless it has grown out of measure.
 */
void ljson_give_buffer(lua_State *L, int index);

/*
 * Length (2 to 4) of the well-formed UTF-8 sequence at `s`, whose first byte is >= 0x80, or 0 (RFC
 * 3629 §4).
 */
size_t ljson_utf8(const unsigned char *s, const unsigned char *end);

/*
 * The number at `text`, which must be NUL-terminated and has been checked against the grammar.
 * Never follows the locale. Infinite when it is out of range; what is too small becomes 0.
 */
double ljson_to_number(const char *text);

/*
 * Writes a text that reads back as exactly `v` (finite), with no more digits than that takes (or
 * 15); integers up to 2^53 in full. `out` has LJSON_NUMBER_ROOM bytes. Returns the length; adds no
 * NUL.
 */
size_t ljson_from_number(char *out, double v);

/* True for the bytes that stand for themselves in a JSON string and need no second look. */
static inline int ljson_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/*
 * The first byte in [p, end) that is no plain character: a quote, a backslash, a control character
 * or a byte >= 0x80; else `end`. Eight bytes at a time: in each byte of `odd` the top bit says that
 * the byte is below 0x20, or one of the two, or has its top bit set. A borrow between the bytes can
 * only flag a byte too many above one that is rightly flagged, and the loop below looks again.
 */
static inline const unsigned char *ljson_skip_plain(const unsigned char *p,
                                                    const unsigned char *end)
{
    const uint64_t ones = 0x0101010101010101u;
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
        uint64_t odd = (word - ones * 0x20) | (quote - ones) | (slash - ones) | word;
        if (odd & (ones * 0x80))
            break;
        p += 8;
    }
    while (p < end && ljson_is_plain(*p))
        p++;
    return p;
}

#endif
