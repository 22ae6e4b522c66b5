// SPDX-License-Identifier: MIT
/*
 * Finished heads: making one of its pieces, counting references, and looking things up. Lookups
 * walk the lines; there are at most a hundred of them, usually ten, and a head is asked a handful
 * of times in its life.
 */
#include "proto/http/http.h"

#include "base/mem.h"
#include "proto/http/http_chars.h"
#include "proto/http/http_head.h"

#include <string.h>

enum { METHOD, TARGET, FIRST_LINE };

static size_t piece_count(uint32_t lines)
{
    return FIRST_LINE + 2 * (size_t)lines;
}

static size_t offset_width(bool wide)
{
    return wide ? sizeof(uint32_t) : sizeof(uint16_t);
}

static size_t get_offset(const struct http_head *h, size_t i)
{
    if (h->wide) {
        uint32_t wide;
        memcpy(&wide, h->rest + i * sizeof wide, sizeof wide);
        return wide;
    }
    uint16_t narrow;
    memcpy(&narrow, h->rest + i * sizeof narrow, sizeof narrow);
    return narrow;
}

static void set_offset(struct http_head *h, size_t i, size_t value)
{
    uint32_t wide = (uint32_t)value;
    uint16_t narrow = (uint16_t)value;
    if (h->wide)
        memcpy(h->rest + i * sizeof wide, &wide, sizeof wide);
    else
        memcpy(h->rest + i * sizeof narrow, &narrow, sizeof narrow);
}

static const char *text_of(const struct http_head *h)
{
    return (const char *)h->rest + (piece_count(h->lines) + 1) * offset_width(h->wide);
}

static struct str piece(const struct http_head *h, size_t i)
{
    size_t from = get_offset(h, i);
    size_t to = get_offset(h, i + 1);
    return (struct str){text_of(h) + from, to - from - 1};
}

/* Finds the pieces by their NULs. Returns whether there are as many as there must be. */
static bool index_pieces(struct http_head *h, const char *text, size_t len)
{
    size_t want = piece_count(h->lines);
    size_t at = 0;
    for (size_t i = 0; i < want; i++) {
        set_offset(h, i, at);
        const char *nul = memchr(text + at, 0, len - at);
        if (!nul)
            return false;
        at = (size_t)(nul - text) + 1;
    }
    set_offset(h, want, at);
    return at == len;
}

struct http_head *http_head_new(const struct buf *text, uint32_t lines, bool *agreed)
{
    size_t len = buf_len(text);
    bool wide = len > UINT16_MAX;
    size_t index = (piece_count(lines) + 1) * offset_width(wide);
    *agreed = true;
    struct http_head *h = mem_try(sizeof *h + index + len);
    if (!h)
        return NULL;
    *h = (struct http_head){.refs = 1, .lines = lines, .wide = wide};
    char *copy = (char *)h->rest + index;
    if (len)
        memcpy(copy, buf_bytes(text), len);
    *agreed = index_pieces(h, copy, len);
    if (*agreed)
        return h;
    mem_free(h);
    return NULL;
}

size_t http_head_size(const struct http_head *h)
{
    size_t index = (piece_count(h->lines) + 1) * offset_width(h->wide);
    return sizeof *h + index + get_offset(h, piece_count(h->lines));
}

struct http_head *http_head_ref(struct http_head *h)
{
    h->refs++;
    return h;
}

void http_head_unref(struct http_head *h)
{
    if (h && --h->refs == 0)
        mem_free(h);
}

struct str http_method(const struct http_head *h)
{
    return piece(h, METHOD);
}

struct str http_target(const struct http_head *h)
{
    return piece(h, TARGET);
}

int http_status(const struct http_head *h)
{
    return h->status;
}

int http_version(const struct http_head *h)
{
    return h->version;
}

size_t http_field_count(const struct http_head *h)
{
    return h->lines;
}

void http_field_at(const struct http_head *h, size_t i, struct str *name, struct str *value)
{
    *name = piece(h, FIRST_LINE + 2 * i);
    *value = piece(h, FIRST_LINE + 2 * i + 1);
}

/*
 * Index of the first line from `line` on with that name, or the number of lines when there is
 * none.
 */
static size_t find_line(const struct http_head *h, const char *name, size_t line)
{
    size_t len = strlen(name);
    const char *text = text_of(h);
    for (; line < h->lines; line++) {
        size_t from = get_offset(h, FIRST_LINE + 2 * line);
        size_t to = get_offset(h, FIRST_LINE + 2 * line + 1);
        if (http_same(text + from, to - from - 1, name, len))
            break;
    }
    return line;
}

bool http_field(const struct http_head *h, const char *name, size_t i, struct str *value)
{
    size_t line = find_line(h, name, 0);
    while (i-- > 0 && line < h->lines)
        line = find_line(h, name, line + 1);
    if (line >= h->lines)
        return false;
    *value = piece(h, FIRST_LINE + 2 * line + 1);
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/*
 * End of the list element that begins at `pos`: the next comma outside a quoted string (RFC 9110
 * §5.6.4).
 */
static size_t element_end(struct str v, size_t pos)
{
    bool quoted = false;
    for (; pos < v.len; pos++) {
        if (v.s[pos] == '"')
            quoted = !quoted;
        else if (quoted && v.s[pos] == '\\' && pos + 1 < v.len)
            pos++;
        else if (!quoted && v.s[pos] == ',')
            break;
    }
    return pos;
}

/*
 * The next element of one value from *pos on, trimmed; false when only blanks and commas are
 * left.
 */
static bool next_in_value(struct str v, size_t *pos, struct str *element)
{
    while (*pos < v.len && (is_blank(v.s[*pos]) || v.s[*pos] == ','))
        ++*pos;
    size_t from = *pos;
    size_t to = *pos = element_end(v, from);
    while (to > from && is_blank(v.s[to - 1]))
        to--;
    *element = (struct str){v.s + from, to - from};
    return to > from;
}

bool http_next_element(const struct http_head *h, const char *name, struct http_cursor *cursor,
                       struct str *element)
{
    for (;;) {
        size_t line = find_line(h, name, cursor->line);
        if (line != cursor->line)
            *cursor = (struct http_cursor){.line = line};
        if (line >= h->lines)
            return false;
        if (next_in_value(piece(h, FIRST_LINE + 2 * line + 1), &cursor->pos, element))
            return true;
        *cursor = (struct http_cursor){.line = line + 1};
    }
}

bool http_has_token(const struct http_head *h, const char *name, const char *token)
{
    struct http_cursor cursor = {0};
    struct str element;
    size_t len = strlen(token);
    while (http_next_element(h, name, &cursor, &element))
        if (http_same(element.s, element.len, token, len))
            return true;
    return false;
}

static bool all_of(const char *s, size_t len, enum http_class class)
{
    for (size_t i = 0; i < len; i++)
        if (!http_is((uint8_t)s[i], class))
            return false;
    return true;
}

bool http_is_token(const char *s, size_t len)
{
    return len > 0 && all_of(s, len, HTTP_TOKEN);
}

bool http_is_value(const char *s, size_t len)
{
    return all_of(s, len, HTTP_VALUE);
}
