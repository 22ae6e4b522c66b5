// SPDX-License-Identifier: MIT
/*
 * UTF-8 as a table of transitions, after the syntax of RFC 3629 §4. One 64-bit word for each byte
 * value holds the next state of every state, six bits each, and a state is the position of its six
 * bits: so a step is a load that does not depend on the state, and a shift. There is no branch to
 * mispredict, whatever the script; failure is a state that is never left, asked for once a block.
 *
 *      row[byte]   … | F4 | F0 | ED | E0 | C3 | C2 | C1 | START |      next = row >> state & 63
 *
 * ASCII, most of what travels, is skipped 32 bytes at a time without looking at the table.
 */
#include "proto/ws/utf8.h"

#include "base/err.h"

#include <string.h>

/*
 * Continuation bytes that are due: C1 to C3 any, after E0, ED, F0 and F4 the next has a narrower
 * range.
 */
enum { START = UTF8_START, C1 = 6, C2 = 12, C3 = 18, E0 = 24, ED = 30, F0 = 36, F4 = 42 };
enum { FAIL = 48 };

enum { BLOCK = 32 };

#define NEXT(from, to) ((uint64_t)(to) << (from))
#define ROW(start, c1, c2, c3, e0, ed, f0, f4) \
    (NEXT(START, start) | NEXT(C1, c1) | NEXT(C2, c2) | NEXT(C3, c3) | NEXT(E0, e0) | \
     NEXT(ED, ed) | NEXT(F0, f0) | NEXT(F4, f4) | NEXT(FAIL, FAIL))
#define LEAD(to) ROW(to, FAIL, FAIL, FAIL, FAIL, FAIL, FAIL, FAIL)

static const uint64_t table[256] = {
    [0x00 ... 0x7F] = LEAD(START),
    /*                    START  C1     C2  C3  E0    ED    F0    F4 */
    [0x80 ... 0x8F] = ROW(FAIL, START, C1, C2, FAIL, C1, FAIL, C2),
    [0x90 ... 0x9F] = ROW(FAIL, START, C1, C2, FAIL, C1, C2, FAIL),
    [0xA0 ... 0xBF] = ROW(FAIL, START, C1, C2, C1, FAIL, C2, FAIL),
    [0xC0 ... 0xC1] = LEAD(FAIL), /* would be overlong */
    [0xC2 ... 0xDF] = LEAD(C1),
    [0xE0] = LEAD(E0), /* A0…BF must follow, else overlong */
    [0xE1 ... 0xEC] = LEAD(C2),
    [0xED] = LEAD(ED), /* 80…9F must follow, else a surrogate */
    [0xEE ... 0xEF] = LEAD(C2),
    [0xF0] = LEAD(F0), /* 90…BF must follow, else overlong */
    [0xF1 ... 0xF3] = LEAD(C3),
    [0xF4] = LEAD(F4), /* 80…8F must follow, else above U+10FFFF */
    [0xF5 ... 0xFF] = LEAD(FAIL),
};

static uint64_t run(uint64_t state, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        state = table[bytes[i]] >> state & 63;
    return state;
}

static bool block_is_ascii(const uint8_t *bytes)
{
    uint64_t w[BLOCK / 8];
    memcpy(w, bytes, sizeof w);
    return ((w[0] | w[1] | w[2] | w[3]) & 0x8080808080808080u) == 0;
}

/* The last few bytes, in words that may overlap: short messages are the common ones. */
static bool tail_is_ascii(const uint8_t *bytes, size_t len)
{
    uint64_t a = 0, b = 0;
    if (len >= 8) {
        for (; len > 16; bytes += 8, len -= 8) {
            memcpy(&b, bytes, 8);
            a |= b;
        }
        uint64_t first;
        memcpy(&first, bytes, 8);
        memcpy(&b, bytes + len - 8, 8);
        a |= first;
    } else {
        for (size_t i = 0; i < len; i++)
            a |= (uint64_t)bytes[i];
    }
    return ((a | b) & 0x8080808080808080u) == 0;
}

int utf8_feed(int state, const uint8_t *bytes, size_t len)
{
    uint64_t s = (uint64_t)state;
    for (; len >= BLOCK; bytes += BLOCK, len -= BLOCK) {
        if (s == START && block_is_ascii(bytes))
            continue;
        s = run(s, bytes, BLOCK);
        if (s == FAIL)
            return ERR_UTF8;
    }
    if (s != START || !tail_is_ascii(bytes, len))
        s = run(s, bytes, len);
    return s == FAIL ? ERR_UTF8 : (int)s;
}

bool utf8_valid(const uint8_t *bytes, size_t len)
{
    return utf8_feed(UTF8_START, bytes, len) == UTF8_START;
}

size_t utf8_cut(const uint8_t *bytes, size_t len, size_t max)
{
    if (len <= max)
        return len;
    while (max > 0 && (bytes[max] & 0xC0) == 0x80)
        max--;
    return max;
}
