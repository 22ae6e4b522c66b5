// SPDX-License-Identifier: MIT
/*
 * Heads, fed whole, byte by byte and cut at every point, from memory that ends at an unreadable
 * page: what is accepted and as what, what is refused and how, limits to the byte, memory, and
 * failing allocations. An accepted head is compared as one line of text, `GET /x 11 0 [Host=a]
 * [X=]`; frames follow it, which must stay untouched.
 */
#include "proto/http/http_head.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

static const struct http_limits usual = {4096, 8192, 100};

#define UPGRADE \
    "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n" \
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Version: 13\r\n\r\n"
static const char frames[] = "\x81\x85GET \r\n\r\n";

struct vector {
    enum http_kind kind;
    const struct http_limits *limits;
    const char *bytes;
    size_t len;
    int status;
    char *expected; /* what describe() makes of the head; empty when refused */
    size_t head_len;
};

static struct http_head *feed(const struct vector *v, const struct cut *cut, int *status,
                              size_t *used, char why[128])
{
    struct http_parser *p = http_parser_new(v->kind, v->limits);
    size_t pos = 0, n;
    *status = 0;
    *used = 0;
    while (*status == 0 && (n = cut_piece(cut, pos, v->len)) > 0) {
        size_t taken = SIZE_MAX;
        *status = http_feed(p, guard_copy(v->bytes + pos, n), n, &taken);
        if (*status == 0)
            CHECK_INT(taken, n);
        CHECK(taken <= n);
        *used += taken;
        pos += n;
    }
    guard_spoil();
    snprintf(why, 128, "%s", http_error(p));
    struct http_head *h = http_take_head(p);
    CHECK((h != NULL) == (*status == 1));
    CHECK(http_take_head(p) == NULL);
    http_parser_free(p);
    return h;
}

static void describe(const struct http_head *h, char *out, size_t room)
{
    struct str m = http_method(h), t = http_target(h), name, value;
    int n = snprintf(out, room, "%s %s %d %d", m.s, t.s, http_version(h), http_status(h));
    CHECK(strlen(m.s) == m.len && strlen(t.s) == t.len);
    for (size_t i = 0; i < http_field_count(h) && (size_t)n < room; i++) {
        http_field_at(h, i, &name, &value);
        CHECK(strlen(name.s) == name.len && strlen(value.s) == value.len);
        n += snprintf(out + n, room - (size_t)n, " [%s=%s]", name.s, value.s);
    }
}

static void one_cutting(const struct cut *cut, void *arg)
{
    const struct vector *v = arg;
    char text[4096] = "", why[128];
    int status;
    size_t used;
    struct http_head *h = feed(v, cut, &status, &used, why);
    CHECK_INT(status, v->status);
    CHECK((why[0] != '\0') == (status < 0));
    if (!h)
        return;
    describe(h, text, sizeof text);
    CHECK_TEXT(text, v->expected);
    CHECK_INT(used, v->head_len);
    http_head_unref(h);
}

/* An accepted head: in every cutting the same, and not one byte of what follows is used. */
static void accepts(enum http_kind kind, const char *head, const char *expected)
{
    char bytes[2048], want[512];
    size_t len = strlen(head);
    memcpy(bytes, head, len);
    memcpy(bytes + len, frames, sizeof frames);
    snprintf(want, sizeof want, "%s", expected);
    struct vector v = {kind, &usual, bytes, len + sizeof frames, 1, want, len};
    each_cut(v.len, one_cutting, &v);
}

static void refuses_bytes(enum http_kind kind, const char *bytes, size_t len, int status)
{
    char none[] = "";
    struct vector v = {kind, &usual, bytes, len, -status, none, 0};
    each_cut(len, one_cutting, &v);
}

static void refuses(enum http_kind kind, const char *head, int status)
{
    refuses_bytes(kind, head, strlen(head), status);
}

static void requests(void)
{
    accepts(HTTP_REQUEST, UPGRADE,
            "GET /chat 11 0 [Host=server.example.com] [Upgrade=websocket] [Connection=Upgrade] "
            "[Sec-WebSocket-Key=dGhlIHNhbXBsZSBub25jZQ==] [Sec-WebSocket-Version=13]");
    accepts(HTTP_REQUEST, "GET / HTTP/1.1\r\n\r\n", "GET / 11 0");
    accepts(HTTP_REQUEST, "GET / HTTP/1.0\r\n\r\n", "GET / 10 0");
    accepts(HTTP_REQUEST, "GET / HTTP/1.2\r\n\r\n", "GET / 11 0");
    accepts(HTTP_REQUEST, "GET / HTTP/1.9\r\nA:b\r\n\r\n", "GET / 11 0 [A=b]");
    accepts(HTTP_REQUEST, "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nA:b\r\n\r\n", "GET / 11 0 [A=b]");
    accepts(HTTP_REQUEST, "POST /a?b=c HTTP/1.1\r\ncontent-length: 0042\r\n\r\n",
            "POST /a?b=c 11 0 [content-length=0042]");
    accepts(HTTP_REQUEST, "PUT / HTTP/1.1\r\nContent-Length: 9007199254740992\r\n\r\n",
            "PUT / 11 0 [Content-Length=9007199254740992]");
    accepts(HTTP_REQUEST, "PATCH / HTTP/1.1\r\nTransfer-Encoding: Chunked \r\n\r\n",
            "PATCH / 11 0 [Transfer-Encoding=Chunked]");
    accepts(HTTP_REQUEST, "OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * 11 0");
    accepts(HTTP_REQUEST, "M-SEARCH / HTTP/1.1\r\n\r\n", "M-SEARCH / 11 0");
    accepts(HTTP_REQUEST, "CONNECT a:80 HTTP/1.1\r\n\r\n", "CONNECT a:80 11 0");
    accepts(HTTP_REQUEST, "GET ws://a:1/b HTTP/1.1\r\n\r\n", "GET ws://a:1/b 11 0");
    accepts(HTTP_REQUEST, "GET /%00\\..\\\"|^#? HTTP/1.1\r\n\r\n", "GET /%00\\..\\\"|^#? 11 0");
}

/* White space around values, empty values, bytes that only look dangerous, the same name again. */
static void values(void)
{
    accepts(HTTP_REQUEST, "GET / HTTP/1.1\r\nA:\r\nB: \t \r\nC: \t d\te  f \t\r\nC:d:e:\r\n\r\n",
            "GET / 11 0 [A=] [B=] [C=d\te  f] [C=d:e:]");
    accepts(HTTP_REQUEST, "GET / HTTP/1.1\r\nX: \x80\xff\xc3\xa4 \"\\\"\r\n\r\n",
            "GET / 11 0 [X=\x80\xff\xc3\xa4 \"\\\"]");
    accepts(HTTP_REQUEST, "GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~09aZ: 1\r\n\r\n",
            "GET / 11 0 [!#$%&'*+-.^_`|~09aZ=1]");
    accepts(HTTP_REQUEST, "GET / HTTP/1.1\r\nConnection:\r\nUpgrade: \r\nKeep-Alive:\r\n\r\n",
            "GET / 11 0 [Connection=] [Upgrade=] [Keep-Alive=]");
}

static void responses(void)
{
    accepts(HTTP_RESPONSE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            "  11 101 [Upgrade=websocket]");
    accepts(HTTP_RESPONSE, "HTTP/1.1 200\r\n\r\n", "  11 200");
    accepts(HTTP_RESPONSE, "HTTP/1.0 599 \r\nA: b\r\n\r\n", "  10 599 [A=b]");
    accepts(HTTP_RESPONSE, "HTTP/1.1 404 \xff \t(x)\r\n\r\n", "  11 404");
    accepts(HTTP_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "  11 200 [Content-Length=5]");
    accepts(HTTP_RESPONSE, "HTTP/1.2 200 OK\r\n\r\n", "  11 200");
    refuses(HTTP_RESPONSE, "HTTP/1.1 099 x\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/1.1 600 x\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/1.1 20 x\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/1.1 2000 x\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/1.1  200 x\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/1.1\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/1.1 200 x\ny\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/1.1 200 OK\n\n", 400);
    refuses(HTTP_RESPONSE, "\r\nHTTP/1.1 200 OK\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "ICY 200 OK\r\n\r\n", 400);
    refuses(HTTP_RESPONSE, "HTTP/2.0 200 OK\r\n\r\n", 505);
    refuses(HTTP_RESPONSE, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
    refuses(HTTP_RESPONSE,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

static void bad_request_lines(void)
{
    static const struct {
        const char *line;
        int status;
    } lines[] = {
        {"GET  / HTTP/1.1\r\n", 400},
        {"GET /  HTTP/1.1\r\n", 400},
        {" GET / HTTP/1.1\r\n", 400},
        {"GET /a b HTTP/1.1\r\n", 400},
        {"GET /\r\n", 400},
        {"GET / \r\n", 400},
        {"GET\r\n", 400},
        {"GET / HTTP/1.1 \r\n", 400},
        {"GET\t/\tHTTP/1.1\r\n", 400},
        {"GET /\tHTTP/1.1\r\n", 400},
        {"GET / http/1.1\r\n", 400},
        {"GET / HTTP/1.10\r\n", 400},
        {"GET / HTTP/1.20\r\n", 400},
        {"GET / HTTP/1.2 \r\n", 400},
        {"GET / HTTP/1\r\n", 400},
        {"GET / HTTP/11\r\n", 400},
        {"GET / HTTP/1,1\r\n", 400},
        {"GET / HTTP/x.1\r\n", 400},
        {"GET / HTTP/1.x\r\n", 400},
        {"GET / HTTP/1.1\n", 400},
        {"GET / HTTP/1.1\r\r\n", 400},
        {"GET / HTTP/1.1\rX", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\n", 400},
        {"GET /\x01 HTTP/1.1\r\n", 400},
        {"GET a HTTP/1.1\r\n", 400},
        {"GET ?a HTTP/1.1\r\n", 400},
        {"GET #a HTTP/1.1\r\n", 400},
        {"\nGET / HTTP/1.1\r\n", 400},
        {"\r\rGET / HTTP/1.1\r\n", 400},
        {"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", 400},
        {"\x16\x03\x01\x02\x01\x01", 400},
        {"\x80\x2e\x01", 400},
        {"garbage\r\n", 400},
        {"BREW\x01", 400},
        {"PRI / HTTP/1.1\r\n\r\n", 400},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"GET / HTTP/2.0\r\n", 505},
        {"GET / HTTP/0.9\r\n", 505},
        {"GET / HTTP/3.0\r\n", 505},
        {"BREW / HTTP/2.0\r\n", 505},
        {"BREW / HTTP/1.1\r\n", 501},
        {"get / HTTP/1.1\r\n", 501},
        {"GETS / HTTP/1.1\r\n", 501},
        {"GE / HTTP/1.1\r\n", 501},
        {"DESCRIBE / HTTP/1.1\r\n", 501},
        {"BREW / HTTP/1.1\r\nA : b\r\n", 501},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 501},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        refuses(HTTP_REQUEST, lines[i].line, lines[i].status);
    refuses_bytes(HTTP_REQUEST, "GET /\0 HTTP/1.1\r\n\r\n", 19, 400);
}

static void bad_header_lines(void)
{
    static const char *const lines[] = {
        "A : b\r\n\r\n",       "A\t: b\r\n\r\n",      " A: b\r\n\r\n",       "\tA: b\r\n\r\n",
        ": b\r\n\r\n",         "A\r\n\r\n",           "A b: c\r\n\r\n",      "A: b\r\n c\r\n\r\n",
        "A: b\r\n\tc\r\n\r\n", "A: b\nC: d\r\n\r\n",  "A: b\rC: d\r\n\r\n",  "A: b\n\n",
        "A: b\r\n\n",          "A: b\r\n\rX",         "A: b\r\r\n\r\n",      "A: \x07\r\n\r\n",
        "A: \x7f\r\n\r\n",     "A: \x1b[31m\r\n\r\n", "A\xe9: b\r\n\r\n",    "A(b): c\r\n\r\n",
        "A: b\r\n \r\n\r\n",   "A: b\x0b\r\n\r\n",    "A: b\r\n: c\r\n\r\n",
    };
    char head[256];
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s", lines[i]);
        refuses(HTTP_REQUEST, head, 400);
        snprintf(head, sizeof head, "HTTP/1.1 101 x\r\n%s", lines[i]);
        refuses(HTTP_RESPONSE, head, 400);
    }
    refuses_bytes(HTTP_REQUEST, "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 27, 400);
    refuses_bytes(HTTP_REQUEST, "GET / HTTP/1.1\r\nA\0: b\r\n\r\n", 26, 400);
}

/* What request smuggling is made of (RFC 9112 §6.1, §6.3). */
static void bad_lengths(void)
{
    static const struct {
        const char *lines;
        int status;
    } cases[] = {
        {"Content-Length:\r\n", 400},
        {"Content-Length: +5\r\n", 400},
        {"Content-Length: -1\r\n", 400},
        {"Content-Length: 5,5\r\n", 400},
        {"Content-Length: 5 6\r\n", 400},
        {"Content-Length: 0x10\r\n", 400},
        {"Content-Length: 5a\r\n", 400},
        {"Content-Length: \xef\xbc\x91\r\n", 400},
        {"Content-Length: 9007199254740993\r\n", 400},
        {"Content-Length: 10000000000000000\r\n", 400},
        {"Content-Length: 9223372036854775808\r\n", 400},
        {"Content-Length: 18446744073709551621\r\n", 400},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
        {"Content-Length: 5\r\ncontent-length: 6\r\n", 400},
        {"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400},
        {"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400},
        {"Transfer-Encoding: chunked, chunked\r\n", 400},
        {"Transfer-Encoding: chunked, gzip\r\n", 400},
        {"Transfer-Encoding:\x0b"
         "chunked\r\n",
         400},
        {"Transfer-Encoding: gzip, chunked\r\n", 501},
        {"Transfer-Encoding: xchunked\r\n", 501},
        {"Transfer-Encoding: \"chunked\"\r\n", 501},
        {"Transfer-Encoding: identity\r\n", 501},
        {"Transfer-Encoding:\r\n", 501},
    };
    char head[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(head, sizeof head, "POST / HTTP/1.1\r\n%s\r\n", cases[i].lines);
        refuses(HTTP_REQUEST, head, cases[i].status);
    }
    refuses(HTTP_REQUEST, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

/* Feeds one head whole and returns the outcome. */
static int outcome(const struct http_limits *limits, const char *bytes, size_t len)
{
    struct http_parser *p = http_parser_new(HTTP_REQUEST, limits);
    size_t used;
    int status = http_feed(p, guard_copy(bytes, len), len, &used);
    http_parser_free(p);
    return status;
}

static bool is_one_of(int c, const char *set)
{
    return c && strchr(set, c);
}

/* All 256 bytes in method, target, name and value, against the RFC's lists. */
static void every_byte(void)
{
    char head[64];
    for (int c = 0; c < 256; c++) {
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool token = alnum || is_one_of(c, "!#$%&'*+-.^_`|~");
        bool value = c == '\t' || (c >= ' ' && c != 0x7f);
        bool target = c > ' ' && c < 0x7f;
        test_context("byte %02x", (unsigned)c);
        int n = snprintf(head, sizeof head, "GET /a%cb HTTP/1.1\r\n\r\n", c);
        CHECK_INT(outcome(&usual, head, (size_t)n), target ? 1 : -400);
        n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\na%cb: c\r\n\r\n", c);
        CHECK_INT(outcome(&usual, head, (size_t)n), token || c == ':' ? 1 : -400);
        n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\na: b%cc\r\n\r\n", c);
        CHECK_INT(outcome(&usual, head, (size_t)n), value ? 1 : -400);
        n = snprintf(head, sizeof head, "G%cET / HTTP/1.1\r\n\r\n", c);
        CHECK_INT(outcome(&usual, head, (size_t)n), token ? -501 : -400);
        CHECK(http_is_token((char[]){(char)c}, 1) == token);
        CHECK(http_is_value((char[]){(char)c}, 1) == value);
    }
    test_context(NULL);
    CHECK(!http_is_token("", 0) && http_is_value("", 0));
    CHECK(!http_is_token("a b", 3) && !http_is_value("a\r\nb", 4));
}

/* The limits hold to the byte, and without them the same head passes. */
static void limits_to_the_byte(void)
{
    const char *head = "GET /1234567 HTTP/1.1\r\nAb: cd\r\nE:\r\n\r\n";
    size_t len = strlen(head);
    CHECK_INT(outcome(&(struct http_limits){8, 12, 2}, head, len), 1);
    CHECK_INT(outcome(&(struct http_limits){7, 12, 2}, head, len), -414);
    CHECK_INT(outcome(&(struct http_limits){8, 11, 2}, head, len), -431);
    CHECK_INT(outcome(&(struct http_limits){8, 12, 1}, head, len), -431);
    CHECK_INT(outcome(&(struct http_limits){8, 0, 0}, head, len), -431);
    CHECK_INT(outcome(&(struct http_limits){0, 12, 2}, head, len), -414);
    for (uint32_t i = 0; i < 12; i++) {
        test_context("max_header %u", i);
        CHECK_INT(outcome(&(struct http_limits){8, i, 2}, head, len), -431);
    }
    for (size_t i = 0; i < len; i++) {
        test_context("%zu bytes", i);
        CHECK_INT(outcome(&(struct http_limits){8, 12, 2}, head, i), 0);
    }
    test_context(NULL);
    CHECK_INT(outcome(&(struct http_limits){1, 0, 0}, "GET / HTTP/1.1\r\n\r\n", 18), 1);
}

/*
 * Feeds `unit` over and over in pieces, at most `total` bytes; returns the status, and how much
 * was fed by then.
 */
static int flood(const char *start, const char *unit, size_t total, size_t *fed)
{
    static uint8_t piece[4096];
    struct http_parser *p = http_parser_new(HTTP_REQUEST, &usual);
    size_t used, len = strlen(unit);
    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = (uint8_t)unit[i % len];
    size_t whole = sizeof piece - sizeof piece % len;
    int status = http_feed(p, (const uint8_t *)start, strlen(start), &used);
    for (*fed = 0; status == 0 && *fed < total; *fed += used)
        status = http_feed(p, piece, whole, &used);
    if (status < 0)
        CHECK_INT(http_feed(p, piece, whole, &used), status);
    http_parser_free(p);
    return status;
}

/* Endless heads end at their limit, and no more memory is taken than the limits call for. */
static void floods(void)
{
    size_t fed;
    alloc_watch(0, false);
    CHECK_INT(flood("GET / HTTP/1.1\r\nA: ", "x", 20 << 20, &fed), -431);
    struct alloc_stats stats = alloc_end();
    CHECK_INT(fed, 8192 - 3);
    CHECK(stats.bytes < 48 << 10 && stats.largest <= 16 << 10);
    CHECK_INT(flood("GET / HTTP/1.1\r\n", "x", 20 << 20, &fed), -431);
    CHECK_INT(flood("GET / HTTP/1.1\r\n", "X: y\r\n", 20 << 20, &fed), -431);
    CHECK_INT(fed, 100 * 6);
    CHECK_INT(flood("GET /", "x", 20 << 20, &fed), -414);
    CHECK_INT(fed, 4095);
    CHECK_INT(flood("", "x", 20 << 20, &fed), -501);
    CHECK_INT(flood("", "\r\n", 20 << 20, &fed), -400);
}

static void begun(void)
{
    struct http_parser *p = http_parser_new(HTTP_REQUEST, &usual);
    size_t used;
    CHECK_INT(http_feed(p, (const uint8_t *)"", 0, &used), 0);
    CHECK(!http_begun(p));
    CHECK_INT(http_feed(p, (const uint8_t *)"\r\n\r", 3, &used), 0);
    CHECK(!http_begun(p));
    CHECK_TEXT(http_error(p), "");
    CHECK_INT(http_feed(p, (const uint8_t *)"\nG", 2, &used), 0);
    CHECK(http_begun(p));
    http_parser_free(p);
    http_parser_free(NULL);
}

static void failing_run(void *arg)
{
    size_t step = *(size_t *)arg;
    struct http_parser *p = http_parser_new(HTTP_REQUEST, &usual);
    struct http_head *h = NULL;
    size_t used, pos = 0, len = sizeof UPGRADE - 1;
    int status = 0;
    if (!p)
        return;
    for (; pos < len && status == 0; pos += step)
        status = http_feed(p, (const uint8_t *)UPGRADE + pos, step < len - pos ? step : len - pos,
                           &used);
    CHECK(status == 1 || status == -500);
    h = http_take_head(p);
    CHECK((h != NULL) == (status == 1));
    http_parser_free(p);
    http_head_unref(h);
}

static void failing_allocations(void)
{
    for (size_t step = 1; step < 400; step += 57)
        each_alloc_failure(failing_run, &step);
}

/* The figure that an idle connection pays for its request, and offsets of both widths. */
static void sizes(void)
{
    static char big[200 << 10];
    const struct http_limits roomy = {1 << 20, 1 << 20, 1000};
    const struct cut whole = {sizeof big, sizeof big};
    char why[128];
    int status;
    size_t used;
    struct vector v = {HTTP_REQUEST, &roomy, UPGRADE, sizeof UPGRADE - 1, 1, NULL, 0};
    struct http_head *h = feed(&v, &whole, &status, &used, why);
    CHECK(http_head_size(h) <= sizeof UPGRADE - 1 + 24);
    CHECK(http_head_ref(h) == h);
    http_head_unref(h);
    http_head_unref(h);
    for (size_t n = 65400; n < 65700; n += 20) {
        struct str value;
        test_context("a value of %zu bytes", n);
        int len = snprintf(big, sizeof big, "GET /x HTTP/1.1\r\nA: 1\r\nB: %0*d\r\nC: 3\r\n\r\n",
                           (int)n, 2);
        v = (struct vector){HTTP_REQUEST, &roomy, big, (size_t)len, 1, NULL, 0};
        h = feed(&v, &whole, &status, &used, why);
        CHECK(http_field(h, "c", 0, &value) && value.len == 1 && value.s[0] == '3');
        CHECK(http_field(h, "b", 0, &value) && value.len == n && value.s[n - 1] == '2');
        CHECK_TEXT(http_target(h).s, "/x");
        http_head_unref(h);
    }
}

int main(void)
{
    test("requests", requests);
    test("values", values);
    test("responses", responses);
    test("bad request lines", bad_request_lines);
    test("bad header lines", bad_header_lines);
    test("bad lengths", bad_lengths);
    test("every byte", every_byte);
    test("limits to the byte", limits_to_the_byte);
    test("floods", floods);
    test("begun", begun);
    test("failing allocations", failing_allocations);
    test("sizes", sizes);
    return test_end();
}
