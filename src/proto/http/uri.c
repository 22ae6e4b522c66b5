// SPDX-License-Identifier: MIT
/*
 * Request targets in the two forms that a server of one site meets:
 *
 *      origin-form     /chat/blue?x=1
 *      absolute-form   ws://example.com:8080/chat/blue?x=1     (schemes http, https, ws, wss)
 *
 * Nothing is decoded before it has been cut at its separators, so an escaped slash, ampersand or
 * question mark never separates (RFC 3986 §2.4). A path is matched as it
 * stands, so one with dot segments, which others would remove (RFC 3986 §5.2.4), is refused.
 */
#include "proto/http/uri.h"

#include "proto/http/http_chars.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char low = (char)http_lower((uint8_t)c);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* The byte that the escape at `at` stands for, or -1 when it is malformed. */
static int escaped(struct str in, size_t at)
{
    if (in.len - at < 3)
        return -1;
    int high = hex_digit(in.s[at + 1]);
    int low = hex_digit(in.s[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

long uri_decode(struct str in, char *out, bool plus)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        int c = (unsigned char)in.s[i];
        if (c == '%') {
            c = escaped(in, i);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c <= 0)
            return -1;
        out[n++] = (char)c;
    }
    return (long)n;
}

/*
 * True when every byte may stand in a target and every escape is whole. Controls may be escaped
 * only where allowed.
 */
static bool is_sound(struct str part, bool controls)
{
    for (size_t i = 0; i < part.len; i++) {
        if (!http_is((uint8_t)part.s[i], HTTP_VISIBLE) || part.s[i] == '#')
            return false;
        if (part.s[i] != '%')
            continue;
        int c = escaped(part, i);
        if (c <= 0 || (!controls && (c < ' ' || c == 0x7f)))
            return false;
        i += 2;
    }
    return true;
}

/*
 * True when a piece between slashes, which may be escaped, is "." or "..", escaped or not: what an
 * app makes of it may be a file's name, or another server's path. The escapes are whole.
 */
static bool has_dot_segment(struct str path)
{
    size_t dots = 0, others = 0;
    for (size_t i = 0; i <= path.len; i++) {
        int c = i < path.len ? path.s[i] : '/';
        if (c == '%') {
            c = escaped(path, i);
            i += 2;
        }
        if (c == '.') {
            dots++;
        } else if (c != '/') {
            others++;
        } else if (others == 0 && (dots == 1 || dots == 2)) {
            return true;
        } else {
            dots = others = 0;
        }
    }
    return false;
}

/* Length of "scheme://authority" at the front of an absolute-form target, or 0. */
static size_t site_length(struct str target)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t from = strlen(schemes[i]);
        if (target.len <= from || !http_same(target.s, from, schemes[i], from))
            continue;
        size_t to = from;
        while (to < target.len && target.s[to] != '/' && target.s[to] != '?')
            to++;
        return to > from ? to : 0;
    }
    return 0;
}

bool uri_split(struct str target, struct str *path, struct str *query)
{
    size_t from = site_length(target);
    if (from == 0 && (target.len == 0 || target.s[0] != '/'))
        return false;
    if (!is_sound((struct str){target.s, from}, true))
        return false;
    const char *mark = memchr(target.s + from, '?', target.len - from);
    size_t to = mark ? (size_t)(mark - target.s) : target.len;
    *path = to > from ? (struct str){target.s + from, to - from} : (struct str){"/", 1};
    *query = mark ? (struct str){mark + 1, target.len - to - 1} : (struct str){"", 0};
    return is_sound(*path, false) && is_sound(*query, true) && !has_dot_segment(*path);
}

bool uri_next_segment(struct str path, size_t *cursor, struct str *segment)
{
    size_t from = *cursor;
    if (from < path.len && path.s[from] == '/')
        from++;
    if (from >= path.len)
        return false;
    const char *slash = memchr(path.s + from, '/', path.len - from);
    size_t to = slash ? (size_t)(slash - path.s) : path.len;
    *segment = (struct str){path.s + from, to - from};
    *cursor = to;
    return true;
}

bool uri_next_pair(struct str query, size_t *cursor, struct str *key, struct str *value)
{
    size_t from = *cursor;
    while (from < query.len && query.s[from] == '&')
        from++;
    if (from >= query.len)
        return false;
    const char *next = memchr(query.s + from, '&', query.len - from);
    size_t to = next ? (size_t)(next - query.s) : query.len;
    const char *equals = memchr(query.s + from, '=', to - from);
    size_t split = equals ? (size_t)(equals - query.s) : to;
    *key = (struct str){query.s + from, split - from};
    *value = equals ? (struct str){equals + 1, to - split - 1} : (struct str){query.s + to, 0};
    *cursor = to;
    return true;
}
