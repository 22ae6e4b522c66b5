// SPDX-License-Identifier: MIT
/*
 * Request targets. The input is a target as it came. Beyond crashes:
 *
 *      - it is split if and only if a slow reference takes it;
 *      - segments and pairs, joined, are the path and the query; each decodes, within its length;
 *      - splitting the parts again changes nothing;
 *      - any bytes at all, escaped, decode to themselves.
 */
#include "head_fuzz.h"
#include "proto/http/uri.h"

#include <ctype.h>
#include <stdint.h>

/* A copy in memory of its own, so that reading past it is seen. The caller frees it. */
static char *copy_of(struct str s)
{
    char *copy = malloc(s.len ? s.len : 1);
    MUST(copy);
    if (s.len)
        memcpy(copy, s.s, s.len);
    return copy;
}

/*
 * Every byte of a target is visible ASCII and no "#", every escape is whole and none of a control
 * character.
 */
static bool reference_sound(const char *s, size_t len, bool controls)
{
    for (size_t i = 0; i < len; i++) {
        char digits[3] = "";
        if (s[i] < '!' || s[i] > '~' || s[i] == '#')
            return false;
        if (s[i] != '%')
            continue;
        if (len - i < 3 || !isxdigit((unsigned char)s[i + 1]) || !isxdigit((unsigned char)s[i + 2]))
            return false;
        memcpy(digits, s + i + 1, 2);
        long byte = strtol(digits, NULL, 16);
        if (byte == 0 || (!controls && (byte < 32 || byte == 127)))
            return false;
    }
    return true;
}

/* The path, unescaped, cut at its slashes, has a piece that is "." or "..". */
static bool reference_dots(const char *path, size_t len)
{
    char *text = malloc(len + 1), *rest = text, *part;
    bool found = false;
    MUST(text);
    long n = uri_decode((struct str){path, len}, text, false);
    MUST(n >= 0);
    text[n] = '\0';
    while ((part = strsep(&rest, "/")))
        found |= strcmp(part, ".") == 0 || strcmp(part, "..") == 0;
    free(text);
    return found;
}

static bool reference_splits(const char *text, size_t len)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    size_t site = 0;
    for (size_t i = 0; i < 4; i++)
        if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
            site = strlen(schemes[i]);
    if (site == 0 && text[0] != '/')
        return false;
    if (site && strcspn(text + site, "/?") == 0)
        return false;
    size_t path = site ? site + strcspn(text + site, "/?") : 0;
    size_t query = path + strcspn(text + path, "?");
    return strlen(text) == len && reference_sound(text, path, true) &&
           reference_sound(text + path, query - path, false) &&
           reference_sound(text + query, len - query, true) &&
           !reference_dots(text + path, query - path);
}

/* Decodes a part into a place that is just large enough. */
static void check_decodes(struct str part, bool plus)
{
    char *in = copy_of(part);
    char *out = malloc(part.len ? part.len : 1);
    MUST(out);
    long n = uri_decode((struct str){in, part.len}, out, plus);
    MUST(n >= 0 && (size_t)n <= part.len);
    MUST((n == 0) == (part.len == 0) && (n == 0 || !memchr(out, 0, (size_t)n)));
    free(in);
    free(out);
}

static void check_segments(struct str path)
{
    struct buf joined = {0};
    struct str part;
    size_t cursor = 0;
    while (uri_next_segment(path, &cursor, &part)) {
        MUST(!part.len || !memchr(part.s, '/', part.len));
        MUST(buf_append(&joined, "/", 1) == 0 && buf_append(&joined, part.s, part.len) == 0);
        check_decodes(part, false);
    }
    MUST(buf_len(&joined) == path.len || buf_len(&joined) + 1 == path.len);
    MUST(buf_len(&joined) == 0 || memcmp(buf_bytes(&joined), path.s, buf_len(&joined)) == 0);
    MUST(buf_len(&joined) == path.len || path.s[path.len - 1] == '/');
    buf_free(&joined);
}

static void check_pairs(struct str query)
{
    struct str key, value;
    size_t cursor = 0, seen = 0, others = 0;
    while (uri_next_pair(query, &cursor, &key, &value)) {
        MUST(!key.len || (!memchr(key.s, '&', key.len) && !memchr(key.s, '=', key.len)));
        MUST(!value.len || !memchr(value.s, '&', value.len));
        MUST(key.s >= query.s && value.s + value.len <= query.s + query.len);
        bool equals = value.s > key.s + key.len;
        seen += key.len + value.len + (equals ? 1 : 0);
        check_decodes(key, true);
        check_decodes(value, true);
    }
    for (size_t i = 0; i < query.len; i++)
        others += query.s[i] == '&';
    MUST(seen + others == query.len);
}

static void check_parts(struct str target)
{
    struct str path, query, path2, query2;
    struct buf text = {0};
    if (!uri_split(target, &path, &query))
        return;
    MUST(path.len > 0 && path.s[0] == '/' && !memchr(path.s, '?', path.len));
    MUST(buf_append(&text, path.s, path.len) == 0 && buf_append(&text, "?", 1) == 0);
    MUST(buf_append(&text, query.s, query.len) == 0);
    if (path.s != target.s && path.s >= target.s && path.s < target.s + target.len)
        MUST(path.s + path.len <= target.s + target.len);
    MUST(uri_split(as_str(&text), &path2, &query2));
    MUST(path2.len == path.len && memcmp(path2.s, path.s, path.len) == 0);
    MUST(query2.len == query.len && memcmp(query2.s, query.s, query.len) == 0);
    check_segments(path);
    check_pairs(query);
    check_decodes(path, false);
    check_decodes(query, true);
    buf_free(&text);
}

/* The bytes, each escaped, decode to themselves; a NUL among them is refused. */
static void check_there_and_back(struct str bytes)
{
    char *escaped = malloc(3 * bytes.len + 1), *out = malloc(3 * bytes.len + 1);
    MUST(escaped && out);
    for (size_t i = 0; i < bytes.len; i++)
        snprintf(escaped + 3 * i, 4, i & 1 ? "%%%02x" : "%%%02X", (unsigned)(uint8_t)bytes.s[i]);
    long n = uri_decode((struct str){escaped, 3 * bytes.len}, out, false);
    if (memchr(bytes.s, 0, bytes.len))
        MUST(n == -1);
    else
        MUST((size_t)n == bytes.len && memcmp(out, bytes.s, bytes.len) == 0);
    free(escaped);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str target = {(const char *)data, size}, path, query;
    if (size == 0)
        return 0;
    char *copy = copy_of(target), *text = malloc(size + 1);
    MUST(text);
    memcpy(text, data, size);
    text[size] = '\0';
    target.s = copy;
    MUST(uri_split(target, &path, &query) == reference_splits(text, size));
    check_parts(target);
    check_there_and_back(target);
    free(copy);
    free(text);
    return 0;
}
