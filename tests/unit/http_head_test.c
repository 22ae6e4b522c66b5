// SPDX-License-Identifier: MIT
/*
 * What is asked of finished heads (fields, lists), and replies to the byte: content, dates, what
 * is left out.
 */
#include "base/err.h"
#include "proto/http/http_head.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

static const struct http_limits limits = {4096, 8192, 100};

static struct http_head *head_of(const char *bytes)
{
    struct http_parser *p = http_parser_new(HTTP_REQUEST, &limits);
    size_t used;
    CHECK_INT(http_feed(p, (const uint8_t *)bytes, strlen(bytes), &used), 1);
    struct http_head *h = http_take_head(p);
    http_parser_free(p);
    return h;
}

static void fields(void)
{
    struct http_head *h = head_of("GET / HTTP/1.1\r\nA: 1\r\nab: 2\r\na: 3\r\nA: 4\r\n\r\n");
    struct str v = {"untouched", 9};
    CHECK_INT(http_field_count(h), 4);
    CHECK(http_field(h, "a", 0, &v) && v.s[0] == '1');
    CHECK(http_field(h, "A", 1, &v) && v.s[0] == '3');
    CHECK(http_field(h, "a", 2, &v) && v.s[0] == '4');
    CHECK(!http_field(h, "a", 3, &v) && !http_field(h, "a", 1000, &v) && v.s[0] == '4');
    CHECK(http_field(h, "AB", 0, &v) && v.s[0] == '2');
    CHECK(!http_field(h, "abc", 0, &v) && !http_field(h, "", 0, &v));
    http_head_unref(h);
    h = head_of("GET / HTTP/1.1\r\n\r\n");
    CHECK(!http_field(h, "a", 0, &v) && !http_has_token(h, "a", "b"));
    http_head_unref(h);
    http_head_unref(NULL);
}

/* The elements of field L, joined with "|". */
static void check_elements(const char *lines, const char *expected)
{
    char bytes[256], text[256] = "";
    snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\n%s\r\n", lines);
    struct http_head *h = head_of(bytes);
    struct http_cursor cursor = {0};
    struct str e;
    size_t n = 0;
    while (http_next_element(h, "l", &cursor, &e))
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s|", (int)e.len, e.s);
    CHECK_TEXT(text, expected);
    CHECK(!http_next_element(h, "l", &cursor, &e));
    http_head_unref(h);
}

static void lists(void)
{
    check_elements("", "");
    check_elements("L:\r\n", "");
    check_elements("L: , ,\t,,\r\n", "");
    check_elements("L: a\r\n", "a|");
    check_elements("L: a,b\r\n", "a|b|");
    check_elements("L:  a b \t,\t c,\r\nM: x\r\nl: ,d\r\nL:\r\nL: e\r\n", "a b|c|d|e|");
    check_elements("M: m\r\nL: x; q=\"a,b\", y\r\n", "x; q=\"a,b\"|y|");
    check_elements("L: x=\"a\\\",b\",y\r\n", "x=\"a\\\",b\"|y|");
    check_elements("L: x=\"a,b\r\nL: c\r\n", "x=\"a,b|c|");
    check_elements("L: \"a\\\r\nL: b\r\n", "\"a\\|b|");
    struct http_head *h = head_of("GET / HTTP/1.1\r\nC: keep-alive, Upgrade\r\nC: x\r\n\r\n");
    CHECK(http_has_token(h, "c", "upgrade") && http_has_token(h, "C", "KEEP-ALIVE"));
    CHECK(http_has_token(h, "c", "X") && !http_has_token(h, "c", "up"));
    CHECK(!http_has_token(h, "c", "upgraded") && !http_has_token(h, "d", "x"));
    CHECK(!http_has_token(h, "c", ""));
    http_head_unref(h);
}

static void check_reply(const struct http_reply *r, const char *expected)
{
    struct buf out = {0};
    CHECK_INT(buf_append(&out, "before ", 7), 0);
    CHECK_INT(http_reply_write(r, &out), 0);
    CHECK_INT(buf_append(&out, "", 1), 0);
    CHECK_TEXT((const char *)buf_bytes(&out) + 7, expected);
    buf_free(&out);
}

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static void replies(void)
{
    const struct http_line lines[] = {{{"X-A", 3}, {"1\0", 1}}, {{"x-b", 3}, {"", 0}}};
    struct http_reply r = {.status = 404, .now = 784111777};
    check_reply(&r, "HTTP/1.1 404 Not Found\r\n" DATE "Content-Length: 0\r\n\r\n");
    r.body = (struct str){"nothing here", 7};
    r.server = "neap";
    r.close = true;
    r.lines = lines;
    r.line_count = 2;
    check_reply(&r, "HTTP/1.1 404 Not Found\r\n" DATE "Server: neap\r\nX-A: 1\r\nx-b: \r\n"
                    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 7\r\n"
                    "Connection: close\r\n\r\nnothing");
    r = (struct http_reply){.status = 299, .now = 784111777, .content_type = "a/b"};
    check_reply(&r, "HTTP/1.1 299 Status\r\n" DATE "Content-Length: 0\r\n\r\n");
    r.body = (struct str){"\0\r\n", 3};
    r.body.len = 1;
    check_reply(&r,
                "HTTP/1.1 299 Status\r\n" DATE "Content-Type: a/b\r\nContent-Length: 1\r\n\r\n");
    r.status = 204;
    check_reply(&r, "HTTP/1.1 204 No Content\r\n" DATE "\r\n");
    r.status = 304;
    check_reply(&r, "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n");
}

/* Lines of the caller's that would contradict ours. */
static void reply_lines(void)
{
    const struct http_line lines[] = {
        {{"content-length", 14}, {"999", 3}},
        {{"Transfer-Encoding", 17}, {"chunked", 7}},
        {{"DATE", 4}, {"never", 5}},
        {{"server", 6}, {"mine", 4}},
        {{"Content-type", 12}, {"text/html", 9}},
        {{"Connection", 10}, {"keep-alive", 10}},
    };
    struct http_reply r = {.status = 400, .lines = lines, .line_count = 6, .server = "neap"};
    r.body = (struct str){"no", 2};
    check_reply(&r, "HTTP/1.1 400 Bad Request\r\nDATE: never\r\nserver: mine\r\n"
                    "Content-type: text/html\r\nConnection: keep-alive\r\n"
                    "Content-Length: 2\r\n\r\nno");
    r.close = true;
    check_reply(&r, "HTTP/1.1 400 Bad Request\r\nDATE: never\r\nserver: mine\r\n"
                    "Content-type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    const struct http_line upgrade = {{"Upgrade", 7}, {"websocket", 9}};
    r = (struct http_reply){.status = 426, .lines = &upgrade, .line_count = 1, .now = 784111777};
    r.close = true;
    check_reply(&r, "HTTP/1.1 426 Upgrade Required\r\n" DATE "Upgrade: websocket\r\n"
                    "Content-Length: 0\r\nConnection: close, upgrade\r\n\r\n");
}

static void dates(void)
{
    static const struct {
        int64_t now;
        const char *date;
    } cases[] = {
        {0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"},
        {-1, "Date: Wed, 31 Dec 1969 23:59:59 GMT\r\n"},
        {951782400, "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n"},
        {2147483648, "Date: Tue, 19 Jan 2038 03:14:08 GMT\r\n"},
        {4107542399, "Date: Sun, 28 Feb 2100 23:59:59 GMT\r\n"},
        {253402300799, "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"},
        {253402300800, ""},
        {INT64_MAX, ""},
        {INT64_MIN, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[128];
        struct http_reply r = {.status = 204, .now = cases[i].now};
        snprintf(expected, sizeof expected, "HTTP/1.1 204 No Content\r\n%s\r\n", cases[i].date);
        check_reply(&r, expected);
    }
}

static void reasons(void)
{
    static const int known[] = {101, 200, 400, 403, 404, 405, 408, 413,
                                414, 426, 429, 431, 500, 501, 503, 505};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        CHECK(strcmp(http_reason(known[i]), "Status") != 0);
    CHECK_TEXT(http_reason(426), "Upgrade Required");
    CHECK_TEXT(http_reason(431), "Request Header Fields Too Large");
    CHECK_TEXT(http_reason(0), "Status");
    CHECK_TEXT(http_reason(999), "Status");
    for (int status = 100; status < 600; status++)
        CHECK(http_is_value(http_reason(status), strlen(http_reason(status))));
}

static void failing_reply(void *arg)
{
    static const char body[5000];
    struct buf out = {0};
    struct http_reply r = {.status = 400, .server = "neap", .body = {body, sizeof body}};
    (void)arg;
    if (buf_append(&out, "before", 6) == 0) {
        int result = http_reply_write(&r, &out);
        CHECK(result == 0 || result == ERR_NOMEM);
        CHECK(result == 0 ? buf_len(&out) > 5100 : buf_len(&out) == 6);
        CHECK_BYTES(buf_bytes(&out), 6, "before", 6);
    }
    buf_free(&out);
}

static void failing_allocations(void)
{
    each_alloc_failure(failing_reply, NULL);
}

/*
 * The cross-check between guard and llhttp: a head is made of exactly as many pieces as there are
 * lines.
 */
static void pieces(void)
{
    struct buf text = {0};
    bool agreed = false;
    CHECK_INT(buf_append(&text, "GET\0/\0A\0b", 10), 0);
    struct http_head *h = http_head_new(&text, 1, &agreed);
    CHECK(h && agreed && http_field_count(h) == 1);
    CHECK(http_head_size(h) == sizeof *h + 5 * 2 + 10);
    http_head_unref(h);
    for (uint32_t lines = 0; lines < 4; lines += 2) {
        CHECK(http_head_new(&text, lines, &agreed) == NULL && !agreed);
    }
    buf_free(&text);
    CHECK(http_head_new(&text, 0, &agreed) == NULL && !agreed);
}

int main(void)
{
    test("pieces", pieces);
    test("fields", fields);
    test("lists", lists);
    test("replies", replies);
    test("reply lines", reply_lines);
    test("dates", dates);
    test("reasons", reasons);
    test("failing allocations", failing_allocations);
    return test_end();
}
