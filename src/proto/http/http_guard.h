// SPDX-License-Identifier: MIT
/*
 * The judge of raw bytes beside llhttp, private to the HTTP files. llhttp 8 is a tolerant parser:
 * it takes bare LF after the request line, folded lines, white space before a colon, empty names,
 * spaces inside names, any number of blanks in the request line, HTTP/0.9 and 2.0, and status
 * 999, and it has no limits. The guard reads every byte before llhttp does and lets through the
 * grammar of RFC 9112 alone, within the limits. It finds the end of the head, so that nothing
 * behind it is ever touched.
 *
 *      request:   START > METHOD > TARGET > VERSION > LINE_LF > LINE …
 *      response:                            VERSION > CODE > REASON > LINE_LF > LINE …
 *      each line: LINE > NAME > VALUE > VALUE_LF > LINE        the empty one: LINE > END_LF
 *
 * It is a state machine over runs of bytes; each byte is looked at once, whatever pieces they
 * come in, and the verdict never depends on the pieces.
 */
#ifndef NEAP_PROTO_HTTP_HTTP_GUARD_H
#define NEAP_PROTO_HTTP_HTTP_GUARD_H

#include "proto/http/http.h"

enum {
    HTTP_MAX_METHOD = 32,     /* bytes; the longest registered method has 17 */
    HTTP_MAX_EMPTY_LINES = 4, /* before a request (RFC 9112 §2.2) */
};

struct http_guard {
    const struct http_limits *limits;
    const char *why;      /* the sentence for a refusal */
    int verdict;          /* 0 going on, 1 the head is complete, or a negative status */
    uint32_t count;       /* bytes in the current piece: method, target, version, code */
    uint32_t header_left; /* bytes that header lines may still have */
    uint32_t lines;       /* header lines begun */
    uint8_t state;
    uint8_t major, minor; /* version, once it has been read; a later minor one is 1 */
    const uint8_t *later; /* in the bytes fed last: the digit of a minor version above 1, or NULL */
    bool response;
    bool begun; /* something else than an empty line has come */
};

void http_guard_init(struct http_guard *g, enum http_kind kind, const struct http_limits *limits);

/*
 * Judges bytes. Returns how many were good: all of them, or those before an offence, or those up
 * to the head's end, which g->verdict tells. Must not be called again once the verdict is not 0.
 */
size_t http_guard_feed(struct http_guard *g, const uint8_t *bytes, size_t len);

/* True when the request line has been read to its end. */
bool http_guard_past_line(const struct http_guard *g);

#endif
