// SPDX-License-Identifier: MIT
/*
 * What the fuzzers of HTTP heads share: a check that ends the run, feeding bytes from pieces that
 * have memory of their own (so that reading past one is seen), and a head as text.
 */
#ifndef NEAP_TESTS_FUZZ_HEAD_FUZZ_H
#define NEAP_TESTS_FUZZ_HEAD_FUZZ_H

#include "proto/http/http.h"

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
                                     struct str bytes, uint32_t seed)
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

static inline void put_str(struct buf *out, struct str s)
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
        struct str name, value;
        http_field_at(h, i, &name, &value);
        put_str(out, name);
        put_text(out, ": ");
        put_str(out, value);
        put_text(out, "\r\n");
    }
    put_text(out, "\r\n");
}

/*
 * The slow reference of lists of tokens and of extensions (RFC 6455 §4.3, §9.1): the text becomes
 * a string of T (token), Q (quoted string), the marks , ; = and ! for anything else; each part
 * between commas, empty ones aside, must then be T, or an element of extensions.
 */
static inline char next_lexeme(const char **at)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t len = strspn(*at, token);
    if (len) {
        *at += len;
        return 'T';
    }
    char c = *(*at)++;
    if (c != '"')
        return strchr(",;=", c) ? c : '!';
    while (**at && **at != '"')
        *at += **at == '\\' && (*at)[1] ? 2 : 1;
    return *(*at)++ ? 'Q' : '!';
}

/* Lexemes of the text up to the next comma; *at is set behind it, or to NULL at the end. */
static inline void next_lexemes(const char **at, char *out, size_t room)
{
    size_t n = 0;
    for (;;) {
        *at += strspn(*at, " \t");
        char lexeme = **at ? next_lexeme(at) : '\0';
        if (lexeme == '!' || n + 1 == room) { /* lost: it is malformed whatever follows */
            snprintf(out, room, "!");
            *at = NULL;
            return;
        }
        out[n] = lexeme == ',' ? '\0' : lexeme;
        if (out[n++])
            continue;
        if (!lexeme)
            *at = NULL;
        return;
    }
}

static inline bool reference_element(const char *lexemes)
{
    if (*lexemes++ != 'T')
        return false;
    while (*lexemes) {
        if (strncmp(lexemes, ";T", 2) != 0)
            return false;
        lexemes += 2;
        if (*lexemes == '=' && strchr("TQ", lexemes[1]) && lexemes[1])
            lexemes += 2;
    }
    return true;
}

static inline bool reference_list(const char *text, bool extensions)
{
    char lexemes[8300];
    bool any = false;
    while (text) {
        next_lexemes(&text, lexemes, sizeof lexemes);
        if (!lexemes[0])
            continue;
        if (!(extensions ? reference_element(lexemes) : strcmp(lexemes, "T") == 0))
            return false;
        any = true;
    }
    return any;
}

static inline struct str as_str(const struct buf *b)
{
    return (struct str){(const char *)buf_bytes(b), buf_len(b)};
}

#endif
