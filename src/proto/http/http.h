// SPDX-License-Identifier: MIT
/*
 * Heads of HTTP/1.1 messages (RFC 9112), requests and responses, parsed by llhttp under our limits
 * and with our strictness: what llhttp would forgive (bare CR or LF, folded lines, white space
 * before a colon, control characters) is refused here. No input or output: bytes in, one head out.
 *
 * A finished head is one allocation, immutable and counted, so that it can live as long as the
 * connection whose request it was, for some two hundred bytes.
 */
#ifndef NEAP_PROTO_HTTP_HTTP_H
#define NEAP_PROTO_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum http_kind { HTTP_REQUEST, HTTP_RESPONSE };

struct http_limits {
    uint32_t max_uri;    /* bytes of the request target: 414 */
    uint32_t max_header; /* bytes of all header lines together, names, values, separators: 431 */
    uint32_t max_lines;  /* header lines, duplicates counted: 431 */
};

struct http_head;

struct http_head *http_head_ref(struct http_head *h);
void http_head_unref(struct http_head *h);

/* Upper-case method as it came ("GET"); empty for responses. */
struct str http_method(const struct http_head *h);
/* Request target as it came, undecoded ("/chat/blue?x=1"). */
struct str http_target(const struct http_head *h);
/* Response status (100 to 599), or 0 for requests; and version: 10, or 11 for 1.1 and later. */
int http_status(const struct http_head *h);
int http_version(const struct http_head *h);

/* Header lines in the order of arrival; name as it came, value without surrounding white space. */
size_t http_field_count(const struct http_head *h);
void http_field_at(const struct http_head *h, size_t i, struct str *name, struct str *value);

/*
 * The i-th (from 0) value of the field `name` (case-insensitive, RFC 9110 §5.1); false when there
 * is none.
 */
bool http_field(const struct http_head *h, const char *name, size_t i, struct str *value);

/*
 * True when the comma-separated list field holds the token, case-insensitively, over all its lines
 * (RFC 9110 §5.6.1).
 */
bool http_has_token(const struct http_head *h, const char *name, const char *token);

/*
 * Walks the non-empty elements of the comma-separated list field `name` over all its lines: start
 * with a zeroed cursor; false at the end. Elements are trimmed; commas inside quoted strings do not
 * separate.
 */
struct http_cursor {
    size_t line, pos;
};
bool http_next_element(const struct http_head *h, const char *name, struct http_cursor *cursor,
                       struct str *element);

struct http_parser;

/* A parser for one message head; `limits` is borrowed. NULL when memory is short. */
struct http_parser *http_parser_new(enum http_kind kind, const struct http_limits *limits);
void http_parser_free(struct http_parser *p);

/*
 * Feeds bytes, in pieces of any size. Returns 1 when the head is complete (*used is how many of
 * these bytes belong to it; the rest is the next protocol's or the body's), 0 when more is needed
 * (all consumed), or the negative HTTP status that answers what is wrong:
 *
 *      -400  malformed, or lengths of the body that are unsound (RFC 9112 §6.3)
 *      -414  the target is over max_uri
 *      -431  the header is over max_header or max_lines; the reason phrase of a response counts
 *      -500  memory is short
 *      -501  a method that nobody knows (which known ones fit is for the caller to judge: 405), or
 *            a transfer coding other than chunked
 *      -505  a major version other than 1 (later minor ones are read as 1.1, RFC 9110 §2.5)
 *
 * The outcome does not depend on how the input was cut, the work is linear in the bytes fed, and
 * no more memory is held than twice what the limits allow. Up to four empty lines before a
 * request are skipped (RFC 9112 §2.2). An error is repeated for whatever is fed after it.
 */
int http_feed(struct http_parser *p, const uint8_t *bytes, size_t len, size_t *used);

/* Why http_feed failed: one short sentence that is safe to show to the peer; else empty. */
const char *http_error(const struct http_parser *p);

/*
 * True once any byte of a request has been fed that is not a leading empty line (for 408 against
 * a silent close).
 */
bool http_begun(const struct http_parser *p);

/*
 * The complete head; the reference passes to the caller. NULL when it is taken already, or not
 * there.
 */
struct http_head *http_take_head(struct http_parser *p);

/* Standard reason phrase of a status ("Not Found"), or "Status" for unknown ones. */
const char *http_reason(int status);

/* True when `s` is a token (RFC 9110 §5.6.2). */
bool http_is_token(const char *s, size_t len);

/* True when `s` may stand as a field value: no CR, LF, NUL or other control but tab (§5.5). */
bool http_is_value(const char *s, size_t len);

/* One header line to be sent. */
struct http_line {
    struct str name, value;
};

/*
 * Appends a whole response with Date, Server, the given lines (already checked by http_is_token and
 * http_is_value), Content-Type, Content-Length, and `Connection: close` when `close` is set. A
 * line named Date, Server or Content-Type takes the place of ours; lines named Content-Length or
 * Transfer-Encoding are left out, and so is Connection when `close` is set: the length is what the
 * body has, and a reply that contradicts itself splits. Statuses that have no body get none.
 * Returns 0, or ERR_NOMEM with the buffer as it was.
 */
struct http_reply {
    int status; /* 200 to 599 */
    const struct http_line *lines;
    size_t line_count;
    struct str body;          /* may be empty */
    const char *content_type; /* NULL: text/plain; charset=utf-8, when there is a body */
    const char *server;       /* or NULL */
    bool close;
    bool to_head; /* answers a HEAD: the body is described, not sent (RFC 9110 §9.3.2) */
    int64_t now;  /* seconds since 1970 */
};
int http_reply_write(const struct http_reply *r, struct buf *out);

#endif
