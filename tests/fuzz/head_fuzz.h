// SPDX-License-Identifier: MIT
/*
 * What the fuzzers of HTTP heads share: a check that ends the run, feeding bytes from pieces that
 * have memory of their own (so that reading past one is seen), and a head as text.
 */
#ifndef NEAP_TESTS_FUZZ_HEAD_FUZZ_H
#define NEAP_TESTS_FUZZ_HEAD_FUZZ_H

#include "proto/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* What came of feeding bytes; `head` is the caller's. */
struct fed {
    int status;
    size_t used;
    char why[128];
    struct http_head *head;
};

/* Feeds in pieces whose sizes follow from the seed: 0 is whole, 1 byte by byte, others vary. */
static inline struct fed feed_pieces(enum http_kind kind, const struct http_limits *limits,
                                     struct http_str bytes, uint32_t seed)
{
    struct http_parser *p = http_parser_new(kind, limits);
    struct fed fed = {0};
    uint32_t state = seed;
    MUST(p);
    for (size_t pos = 0, n; pos < bytes.len && fed.status == 0; pos += n) {
        state = state * 1664525 + 1013904223;
        n = seed == 0 ? bytes.len : seed == 1 ? 1 : 1 + (state >> 16) % (seed % 61 + 1);
        if (n > bytes.len - pos)
            n = bytes.len - pos;
        uint8_t *piece = malloc(n);
        size_t taken = SIZE_MAX;
        MUST(piece);
        memcpy(piece, bytes.s + pos, n);
        fed.status = http_feed(p, piece, n, &taken);
        MUST(fed.status == 0 ? taken == n : taken <= n);
        fed.used += taken;
        free(piece);
    }
    snprintf(fed.why, sizeof fed.why, "%s", http_error(p));
    fed.head = http_take_head(p);
    MUST((fed.head != NULL) == (fed.status == 1));
    MUST((fed.why[0] != '\0') == (fed.status < 0));
    http_parser_free(p);
    return fed;
}

static inline void put_str(struct buf *out, struct http_str s)
{
    MUST(strlen(s.s) == s.len);
    MUST(buf_append(out, s.s, s.len) == 0);
}

static inline void put_text(struct buf *out, const char *text)
{
    MUST(buf_append(out, text, strlen(text)) == 0);
}

/* Appends the head as it could have been sent, in one canonical form. */
static inline void put_head(struct buf *out, const struct http_head *h)
{
    char number[32];
    int version = http_version(h);
    snprintf(number, sizeof number, "HTTP/%d.%d", version / 10, version % 10);
    if (http_status(h)) {
        put_text(out, number);
        snprintf(number, sizeof number, " %d x", http_status(h));
    } else {
        put_str(out, http_method(h));
        put_text(out, " ");
        put_str(out, http_target(h));
        put_text(out, " ");
    }
    put_text(out, number);
    put_text(out, "\r\n");
    for (size_t i = 0; i < http_field_count(h); i++) {
        struct http_str name, value;
        http_field_at(h, i, &name, &value);
        put_str(out, name);
        put_text(out, ": ");
        put_str(out, value);
        put_text(out, "\r\n");
    }
    put_text(out, "\r\n");
}

static inline struct http_str as_str(const struct buf *b)
{
    return (struct http_str){(const char *)buf_bytes(b), buf_len(b)};
}

#endif
