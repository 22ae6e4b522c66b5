// SPDX-License-Identifier: MIT
/*
 * The parser of one head: the guard judges each piece of input first, then llhttp parses what the
 * guard let through, and its callbacks collect the pieces of the head as NUL-terminated text.
 *
 *      bytes ──▶ guard (grammar, limits, the head's end) ──▶ llhttp ──▶ "GET␀/␀Host␀a␀…" ──▶ head
 *
 * Both are state machines over single bytes, and llhttp gets exactly the bytes before an offence,
 * so the outcome never depends on how the input was cut. llhttp is paused when the header is
 * complete: bodies and what it thinks of upgrades are not its business here. Whether the length
 * of a body is announced soundly is judged at the end (RFC 9112 §6), because disagreement about
 * it is what request smuggling lives on.
 */
#include "proto/http/http.h"

#include "base/mem.h"
#include "proto/http/http_chars.h"
#include "proto/http/http_guard.h"
#include "proto/http/http_head.h"

#include <string.h>

/* llhttp has enumerators of its own under these two names of ours. */
#define HTTP_REQUEST LLHTTP_TYPE_REQUEST
#define HTTP_RESPONSE LLHTTP_TYPE_RESPONSE
#include <llhttp.h>
#undef HTTP_REQUEST
#undef HTTP_RESPONSE

enum { MOST_LENGTH_DIGITS = 16 }; /* 2^53 has as many */

struct http_parser {
    llhttp_t llhttp;
    struct http_guard guard;
    struct buf text;
    struct http_head *head; /* once it is complete */
    const char *why;
    int status;          /* 0 going on, 1 complete, or what the first error was */
    bool unknown_method; /* llhttp has given up; the guard reads the request line to its end */
    bool header_done;    /* llhttp has seen the end of the header */
};

static struct http_parser *parser_of(llhttp_t *l)
{
    return l->data;
}

/* The callbacks that add text never lack room: parse() has reserved what the input can grow to. */
static int on_bytes(llhttp_t *l, const char *at, size_t len)
{
    return buf_append(&parser_of(l)->text, at, len);
}

static int on_piece_end(llhttp_t *l)
{
    return buf_append(&parser_of(l)->text, "", 1);
}

/*
 * White space behind a value is not part of it (RFC 9112 §5.1); llhttp skips only what stands
 * before.
 */
static int on_value_end(llhttp_t *l)
{
    struct buf *text = &parser_of(l)->text;
    while (text->data[text->end - 1] == ' ' || text->data[text->end - 1] == '\t')
        text->end--;
    return on_piece_end(l);
}

static int on_header_end(llhttp_t *l)
{
    parser_of(l)->header_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t callbacks = {
    .on_method = on_bytes,
    .on_method_complete = on_piece_end,
    .on_url = on_bytes,
    .on_url_complete = on_piece_end,
    .on_header_field = on_bytes,
    .on_header_field_complete = on_piece_end,
    .on_header_value = on_bytes,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_header_end,
};

struct http_parser *http_parser_new(enum http_kind kind, const struct http_limits *limits)
{
    struct http_parser *p = mem_try(sizeof *p);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    http_guard_init(&p->guard, kind, limits);
    llhttp_init(&p->llhttp, kind == HTTP_REQUEST ? LLHTTP_TYPE_REQUEST : LLHTTP_TYPE_RESPONSE,
                &callbacks);
    p->llhttp.data = p;
    return p;
}

void http_parser_free(struct http_parser *p)
{
    if (!p)
        return;
    buf_free(&p->text);
    http_head_unref(p->head);
    mem_free(p);
}

static int fail(struct http_parser *p, int status, const char *why)
{
    p->status = -status;
    p->why = why;
    return p->status;
}

/*
 * Reserves room: each piece's NUL takes the place of a separator, so text never grows past the
 * input. A response has neither method nor target: two empty pieces stand for them.
 */
static int begin_text(struct http_parser *p, size_t room)
{
    bool response = p->guard.response;
    if (buf_reserve(&p->text, room + 2) < 0)
        return -1;
    return p->text.end == 0 && response ? buf_append(&p->text, "\0", 2) : 0;
}

/*
 * Lets llhttp parse bytes that the guard has passed. A method that llhttp does not know, or knows
 * only from RTSP, stops it; the guard goes on, so that a line that is no request at all is
 * answered with 400.
 */
static int parse(struct http_parser *p, const uint8_t *bytes, size_t len)
{
    if (p->unknown_method || len == 0)
        return 0;
    if (begin_text(p, len) < 0)
        return fail(p, 500, "There is not enough memory");
    switch (llhttp_execute(&p->llhttp, (const char *)bytes, len)) {
    case HPE_OK:
    case HPE_PAUSED: return 0;
    case HPE_INVALID_METHOD:
    case HPE_INVALID_CONSTANT:
        p->unknown_method = !p->guard.response;
        return p->unknown_method ? 0 : fail(p, 400, "The status line is malformed");
    case HPE_INVALID_URL: return fail(p, 400, "The request target is malformed");
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return fail(p, 400, "Content-Length is malformed, repeated or contradicted");
    case HPE_INVALID_TRANSFER_ENCODING: return fail(p, 400, "Transfer-Encoding is malformed");
    default: return fail(p, 400, "The message head is malformed");
    }
}

/* llhttp need not know minor versions above 1: it gets a 1 in the place of that digit. */
static int parse_as_known(struct http_parser *p, const uint8_t *bytes, size_t len)
{
    const uint8_t *digit = p->guard.later;
    if (!digit)
        return parse(p, bytes, len);
    p->guard.later = NULL;
    size_t before = (size_t)(digit - bytes);
    int err = parse(p, bytes, before);
    if (err == 0)
        err = parse(p, (const uint8_t *)"1", 1);
    return err ? err : parse(p, digit + 1, len - before - 1);
}

/*
 * A Content-Length is digits alone, and one that fits 2^53 (RFC 9112 §6.3; 2^53 because scripts
 * count in doubles).
 */
static bool is_length(struct str v)
{
    while (v.len > 1 && v.s[0] == '0') {
        v.s++;
        v.len--;
    }
    uint64_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.s[i] < '0' || v.s[i] > '9' || i == MOST_LENGTH_DIGITS)
            return false;
        n = n * 10 + (uint64_t)(v.s[i] - '0');
    }
    return v.len > 0 && n <= UINT64_C(1) << 53;
}

/*
 * Judges Transfer-Encoding: exactly "chunked" is understood (RFC 9112 §6.1); others may be legal,
 * but are not known.
 */
static int judge_coding(struct http_parser *p, struct str coding)
{
    struct str other;
    if (http_field(p->head, "Transfer-Encoding", 1, &other))
        return fail(p, 400, "Transfer-Encoding is repeated");
    if (http_field(p->head, "Content-Length", 0, &other))
        return fail(p, 400, "Content-Length and Transfer-Encoding contradict each other");
    if (p->head->version < 11)
        return fail(p, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (!http_same(coding.s, coding.len, "chunked", strlen("chunked")))
        return fail(p, 501, "The transfer coding is not known");
    return 1;
}

/*
 * One way at most to tell the length of the body. llhttp refuses much of this before, and what it
 * refuses differs from version to version.
 */
static int judge_body(struct http_parser *p)
{
    struct str v;
    if (http_field(p->head, "Transfer-Encoding", 0, &v))
        return judge_coding(p, v);
    if (!http_field(p->head, "Content-Length", 0, &v))
        return 1;
    if (!is_length(v))
        return fail(p, 400, "Content-Length is malformed");
    if (http_field(p->head, "Content-Length", 1, &v))
        return fail(p, 400, "Content-Length is repeated");
    return 1;
}

/* Guard and llhttp must have seen the same head: if they disagree, neither is believed. */
static int finish(struct http_parser *p)
{
    bool agreed = p->header_done;
    if (agreed)
        p->head = http_head_new(&p->text, p->guard.lines, &agreed);
    if (!agreed)
        return fail(p, 400, "The message head is malformed");
    if (!p->head)
        return fail(p, 500, "There is not enough memory");
    p->head->version = (uint8_t)(p->guard.major * 10 + p->guard.minor);
    p->head->status = p->guard.response ? (uint16_t)p->llhttp.status_code : 0;
    p->status = judge_body(p);
    return p->status;
}

int http_feed(struct http_parser *p, const uint8_t *bytes, size_t len, size_t *used)
{
    *used = 0;
    if (p->status || len == 0)
        return p->status;
    size_t good = http_guard_feed(&p->guard, bytes, len);
    *used = good;
    if (parse_as_known(p, bytes, good) < 0)
        return p->status;
    if (p->unknown_method && http_guard_past_line(&p->guard))
        return fail(p, 501, "The request method is not known");
    if (p->guard.verdict < 0)
        return fail(p, -p->guard.verdict, p->guard.why);
    return p->guard.verdict ? finish(p) : 0;
}

const char *http_error(const struct http_parser *p)
{
    return p->why ? p->why : "";
}

bool http_begun(const struct http_parser *p)
{
    return p->guard.begun;
}

/* A head whose body was judged unsound is there as well, but nobody gets it. */
struct http_head *http_take_head(struct http_parser *p)
{
    struct http_head *h = p->status == 1 ? p->head : NULL;
    if (h)
        p->head = NULL;
    return h;
}
