// SPDX-License-Identifier: MIT
/*
 * HTTP heads. The first byte of an input chooses request or response and the limits, the second
 * how it is cut, the rest is what the peer sends. Beyond crashes:
 *
 *      - cut in any way, the outcome is that of the whole: status, reason, head, bytes used;
 *      - the head ends at the first empty line, and nothing behind it is used;
 *      - an accepted head is inside the limits and the grammar, and written down again it is
 *        parsed to an equal one;
 *      - what a slow reference of RFC 9112 accepts is accepted, and nothing else.
 */
#include "head_fuzz.h"

#include <stdint.h>

static const struct http_limits all_limits[] = {
    {4096, 8192, 100},
    {16, 64, 3},
    {1 << 20, 1 << 20, 1 << 20},
    {8, 8192, 1},
};

static bool all_in(const char *s, size_t len, const char *set)
{
    for (size_t i = 0; i < len; i++)
        if (!s[i] || !strchr(set, s[i]))
            return false;
    return true;
}

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_token(const char *s, size_t len)
{
    return len > 0 && all_in(s, len, DIGITS LETTERS "!#$%&'*+-.^_`|~");
}

static bool is_value(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return true;
}

/* The reference's memory of one head. */
struct reference {
    struct str target;
    size_t lines, header;
    size_t lengths, codings;
    bool bad_length, bad_coding;
};

static bool names(struct str name, const char *wanted)
{
    return name.len == strlen(wanted) && strncasecmp(name.s, wanted, name.len) == 0;
}

static bool is_length(const char *s, size_t len)
{
    while (len > 1 && *s == '0') {
        s++;
        len--;
    }
    return len > 0 && all_in(s, len, DIGITS) &&
           (len < 16 || (len == 16 && strncmp(s, "9007199254740992", 16) <= 0));
}

/* One header line without its CR LF. */
static bool reads_line(struct reference *r, const char *s, size_t len)
{
    const char *colon = memchr(s, ':', len);
    if (!colon || !is_token(s, (size_t)(colon - s)) || !is_value(s, len))
        return false;
    struct str name = {s, (size_t)(colon - s)};
    const char *value = colon + 1, *end = s + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    struct str v = {value, (size_t)(end - value)};
    r->lines++;
    r->header += len + 2;
    if (names(name, "Content-Length")) {
        r->lengths++;
        bool tab = memchr(end, '\t', (size_t)(s + len - end)); /* llhttp skips only spaces there */
        r->bad_length |= tab || !is_length(v.s, v.len);
    } else if (names(name, "Transfer-Encoding")) {
        r->codings++;
        r->bad_coding |= !names(v, "chunked");
    }
    return true;
}

static bool reads_request_line(struct reference *r, const char *s, size_t len, char *minor)
{
    static const char *const methods[] = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"};
    const char *first = memchr(s, ' ', len);
    const char *last = first ? memchr(first + 1, ' ', len - (size_t)(first + 1 - s)) : NULL;
    bool known = false;
    if (!last || (size_t)(s + len - last) != 9 || memcmp(last, " HTTP/1.", 8) != 0)
        return false;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        known |=
            (size_t)(first - s) == strlen(methods[i]) && !memcmp(s, methods[i], strlen(methods[i]));
    r->target = (struct str){first + 1, (size_t)(last - first - 1)};
    *minor = last[8];
    for (size_t i = 0; i < r->target.len; i++)
        if (r->target.s[i] < '!' || r->target.s[i] > '~')
            return false;
    return known && r->target.len > 0 && all_in(minor, 1, DIGITS);
}

static bool reads_status_line(struct reference *r, const char *s, size_t len, char *minor)
{
    if (len < 12 || memcmp(s, "HTTP/1.", 7) != 0 || s[8] != ' ')
        return false;
    *minor = s[7];
    if (len > 12) /* the reason and its CR count as header */
        r->header += len - 13 + 1;
    return all_in(minor, 1, DIGITS) && s[9] >= '1' && s[9] <= '5' && all_in(s + 10, 2, DIGITS) &&
           (len == 12 || s[12] == ' ') && is_value(s + 12, len - 12);
}

/*
 * Whether the bytes begin with a whole, sound head within the limits. Requests that llhttp is
 * choosier about (targets that begin with neither a slash nor a star, and the reference's short
 * list of methods) are left out by the caller.
 */
static bool reference_accepts(enum http_kind kind, const struct http_limits *l, struct str b)
{
    struct reference r = {0};
    char minor;
    for (int i = 0; i < 4 && kind == HTTP_REQUEST && b.len >= 2 && !memcmp(b.s, "\r\n", 2); i++) {
        b.s += 2;
        b.len -= 2;
    }
    for (size_t line = 0;; line++) {
        const char *end = memmem(b.s, b.len, "\r\n", 2);
        if (!end)
            return false;
        size_t len = (size_t)(end - b.s);
        if (line > 0 && len == 0)
            break;
        if (line > 0 ? !reads_line(&r, b.s, len)
                     : !(kind == HTTP_REQUEST ? reads_request_line
                                              : reads_status_line)(&r, b.s, len, &minor))
            return false;
        b.s += len + 2;
        b.len -= len + 2;
    }
    return r.target.len <= l->max_uri && r.lines <= l->max_lines && r.header <= l->max_header &&
           r.lengths + r.codings <= 1 && !r.bad_length && !r.bad_coding &&
           (r.codings == 0 || minor != '0');
}

/* What was accepted the reference accepts; of what was refused it judges only what it knows. */
static void check_reference(enum http_kind kind, const struct http_limits *l, struct str bytes,
                            const struct fed *fed)
{
    bool accepts = reference_accepts(kind, l, bytes);
    if (fed->status != 1) {
        const char *slash = memmem(bytes.s, bytes.len, " /", 2),
                   *space = memchr(bytes.s, ' ', bytes.len);
        MUST(!accepts || (kind == HTTP_REQUEST && slash != space));
        return;
    }
    struct str method = http_method(fed->head);
    if (kind == HTTP_RESPONSE || names(method, "GET") || names(method, "POST"))
        MUST(accepts);
}

static void check_head(const struct http_limits *l, struct str bytes, const struct fed *fed)
{
    size_t lead = 0, header = 0;
    while (lead + 2 <= bytes.len && memcmp(bytes.s + lead, "\r\n", 2) == 0)
        lead += 2;
    const char *end = memmem(bytes.s + lead, bytes.len - lead, "\r\n\r\n", 4);
    MUST(end && fed->used == (size_t)(end - bytes.s) + 4);
    MUST(http_target(fed->head).len <= l->max_uri);
    MUST(http_field_count(fed->head) <= l->max_lines);
    for (size_t i = 0; i < http_field_count(fed->head); i++) {
        struct str name, value;
        http_field_at(fed->head, i, &name, &value);
        MUST(is_token(name.s, name.len) && is_value(value.s, value.len));
        MUST(value.len == 0 ||
             (!strchr(" \t", value.s[0]) && !strchr(" \t", value.s[value.len - 1])));
        header += name.len + value.len + 3;
    }
    MUST(header <= l->max_header);
}

/* The head written down is parsed to the same head. */
static void check_again(enum http_kind kind, const struct buf *text)
{
    static const struct http_limits roomy = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    struct buf again = {0};
    struct fed fed = feed_pieces(kind, &roomy, as_str(text), 0);
    MUST(fed.status == 1 && fed.used == buf_len(text));
    put_head(&again, fed.head);
    MUST(buf_len(&again) == buf_len(text));
    MUST(memcmp(buf_bytes(&again), buf_bytes(text), buf_len(text)) == 0);
    buf_free(&again);
    http_head_unref(fed.head);
}

static void check_same(const struct fed *a, const struct fed *b, const struct buf *text)
{
    struct buf other = {0};
    MUST(a->status == b->status && strcmp(a->why, b->why) == 0);
    if (a->status == 1) {
        MUST(a->used == b->used);
        put_head(&other, b->head);
        MUST(buf_len(&other) == buf_len(text));
        MUST(memcmp(buf_bytes(&other), buf_bytes(text), buf_len(text)) == 0);
    }
    buf_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum http_kind kind = data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST;
    const struct http_limits *limits = &all_limits[data[0] >> 1 & 3];
    struct str bytes = {(const char *)data + 2, size - 2};
    struct buf text = {0};
    struct fed whole = feed_pieces(kind, limits, bytes, 0);
    if (whole.status == 1) {
        put_head(&text, whole.head);
        check_head(limits, bytes, &whole);
        check_again(kind, &text);
    }
    check_reference(kind, limits, bytes, &whole);
    for (int i = 0; i < 2; i++) {
        struct fed cut = feed_pieces(kind, limits, bytes, i ? data[1] + 2u : 1);
        check_same(&whole, &cut, &text);
        http_head_unref(cut.head);
    }
    http_head_unref(whole.head);
    buf_free(&text);
    return 0;
}
