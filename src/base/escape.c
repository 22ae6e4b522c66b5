// SPDX-License-Identifier: MIT
/*
 * One character at a time: decode it, decide on its form, copy that if it fits. The decoder here is
 * small and slow beside proto/ws/utf8.c, which base may not use; lines are short and log lines few.
 */
#include "base/escape.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char ellipsis[] = "\xe2\x80\xa6";

enum {
    UNIT = 16, /* no character's escaped form is longer */
    MARK = sizeof ellipsis - 1,
};

static bool continues(const unsigned char *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if ((s[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* Length of the UTF-8 character at `s` and its code point; 0 when the bytes are not UTF-8 (RFC 3629
 * §3). */
static size_t decode(const unsigned char *s, size_t len, uint32_t *code)
{
    size_t n = s[0] < 0x80   ? 1
               : s[0] < 0xc2 ? 0
               : s[0] < 0xe0 ? 2
               : s[0] < 0xf0 ? 3
               : s[0] < 0xf5 ? 4
                             : 0;
    if (n == 0 || n > len || !continues(s, 1, n))
        return 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        c = (c << 6) | (s[i] & 0x3f);
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return n;
}

/* What must not reach a terminal or a line-based reader as it is. */
static bool forbidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static size_t named(char *out, char letter)
{
    out[0] = '\\';
    out[1] = letter;
    return 2;
}

static size_t numbered(char *out, uint32_t c, enum escape_form form)
{
    if (c == '\n')
        return named(out, 'n');
    if (c == '\r')
        return named(out, 'r');
    if (c == '\t')
        return named(out, 't');
    const char *format = c < 0x80 && form != ESCAPE_JSON ? "\\x%02x" : "\\u%04x";
    return (size_t)snprintf(out, UNIT, format, (unsigned)c);
}

/* Writes the form of the first character of `in` to `out` (UNIT bytes), its length to *size;
 * returns the bytes read. */
static size_t escape_one(char *out, size_t *size, const char *in, size_t len, enum escape_form form)
{
    uint32_t c;
    const unsigned char *s = (const unsigned char *)in;
    size_t n = decode(s, len, &c);
    if (n == 0) {
        const char *format = form == ESCAPE_JSON ? "\\\\x%02x" : "\\x%02x";
        *size = (size_t)snprintf(out, UNIT, format, s[0]);
        return 1;
    }
    if (forbidden(c)) {
        *size = numbered(out, c, form);
    } else if (form != ESCAPE_PLAIN && (c == '"' || c == '\\')) {
        *size = named(out, (char)c);
    } else {
        memcpy(out, in, n);
        *size = n;
    }
    return n;
}

size_t escape_bytes(char *out, size_t room, const char *in, size_t len, enum escape_form form)
{
    size_t used = 0;
    size_t mark = 0; /* the last end of a character that leaves room for the ellipsis */
    char unit[UNIT];
    for (size_t i = 0, size; i < len;) {
        i += escape_one(unit, &size, in + i, len - i, form);
        if (used + size > room) {
            if (mark + MARK > room)
                return used;
            memcpy(out + mark, ellipsis, MARK);
            return mark + MARK;
        }
        memcpy(out + used, unit, size);
        used += size;
        if (used + MARK <= room)
            mark = used;
    }
    return used;
}

bool escape_needs_quotes(const char *in, size_t len)
{
    char unit[UNIT];
    for (size_t i = 0, size, n; i < len; i += n) {
        n = escape_one(unit, &size, in + i, len - i, ESCAPE_QUOTED);
        if (size != n || in[i] == ' ' || in[i] == '=')
            return true;
    }
    return len == 0;
}
