// SPDX-License-Identifier: MIT
/*
 * The opening handshake: each rule of the server and its answer, the order of the rules, the
 * example of RFC 6455 §1.3, bytes written, the client's checks, both roles against each other,
 * failing allocations.
 */
#include "base/err.h"
#include "proto/http/handshake.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static const struct http_limits limits = {4096, 8192, 100};

static struct http_head *parse(enum http_kind kind, const char *bytes, size_t len)
{
    struct http_parser *p = http_parser_new(kind, &limits);
    size_t used;
    CHECK_INT(http_feed(p, (const uint8_t *)bytes, len, &used), 1);
    struct http_head *h = http_take_head(p);
    http_parser_free(p);
    return h;
}

/* A good request with some lines replaced: NULL keeps the usual one, "" leaves it out. */
struct request {
    const char *line, *host, *upgrade, *connection, *version, *key, *more;
};

static const char *or_usual(const char *text, const char *usual)
{
    return text ? text : usual;
}

static struct http_head *request_of(const struct request *r)
{
    char bytes[2048];
    int len = snprintf(bytes, sizeof bytes, "%s\r\n%s%s%s%s%s%s\r\n",
                       or_usual(r->line, "GET /chat HTTP/1.1"), or_usual(r->host, "Host: a\r\n"),
                       or_usual(r->upgrade, "Upgrade: websocket\r\n"),
                       or_usual(r->connection, "Connection: Upgrade\r\n"),
                       or_usual(r->version, "Sec-WebSocket-Version: 13\r\n"),
                       or_usual(r->key, "Sec-WebSocket-Key: " KEY "\r\n"), or_usual(r->more, ""));
    return parse(HTTP_REQUEST, bytes, (size_t)len);
}

/*
 * Expects the status, or 0 for acceptance; a refusal says why, and has the lines that its status
 * asks for.
 */
static void judges(const struct request *r, int status)
{
    struct http_head *h = request_of(r);
    struct handshake_refusal refusal = {0};
    CHECK(handshake_check(h, &refusal) == (status == 0));
    CHECK_INT(refusal.status, status);
    CHECK((refusal.reason != NULL) == (status != 0));
    CHECK((refusal.allow != NULL) == (status == 405));
    CHECK(!refusal.version || (status == 426 && strcmp(refusal.version, "13") == 0));
    http_head_unref(h);
}

#define JUDGES(wanted, ...) judges(&(struct request){__VA_ARGS__}, wanted)

static void good_requests(void)
{
    JUDGES(0, NULL);
    JUDGES(0, .line = "GET ws://a/b HTTP/1.1");
    JUDGES(0, .host = "hOST:[::1]:8080\r\n");
    JUDGES(0, .host = "Host: a_b.example-1.com:80\r\n");
    JUDGES(0, .upgrade = "upgrade: WebSocket\r\n");
    JUDGES(0, .upgrade = "Upgrade: h2c, websocket\r\n");
    JUDGES(0, .upgrade = "Upgrade: h2c\r\nUpgrade: websocket\r\n");
    JUDGES(0, .connection = "Connection: keep-alive, uPGRADE\r\n");
    JUDGES(0, .connection = "Connection: keep-alive\r\nConnection: ,upgrade,\r\n");
    JUDGES(0, .version = "sec-websocket-version:13\t\r\n");
    JUDGES(0, .key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n");
    JUDGES(0, .key = "Sec-WebSocket-Key: +/azAZ09+/azAZ09+/azAQ==\r\n");
    JUDGES(0, .key = "Sec-WebSocket-Key: //////////////////////==\r\n");
}

static void bad_requests(void)
{
    JUDGES(400, .line = "GET / HTTP/1.0");
    JUDGES(405, .line = "POST / HTTP/1.1");
    JUDGES(405, .line = "HEAD / HTTP/1.1");
    JUDGES(400, .host = "");
    JUDGES(400, .host = "Host:\r\n");
    JUDGES(400, .host = "Host: a\r\nHost: a\r\n");
    JUDGES(400, .host = "Host: a b\r\n");
    JUDGES(400, .host = "Host: a/b\r\n");
    JUDGES(400, .host = "Host: u@a\r\n");
    JUDGES(400, .host = "Host: \xc3\xa4\r\n");
    JUDGES(400, .more = "Content-Length: 40\r\n");
    JUDGES(0, .more = "Content-Length: 0\r\n");
    JUDGES(0, .more = "Content-Length: 00\r\n");
    JUDGES(400, .more = "Transfer-Encoding: chunked\r\n");
    JUDGES(426, .upgrade = "");
    JUDGES(426, .upgrade = "Upgrade:\r\n");
    JUDGES(426, .upgrade = "Upgrade: websockets\r\n");
    JUDGES(426, .upgrade = "Upgrade: web socket\r\n");
    JUDGES(426, .upgrade = "Upgrade: \"websocket\"\r\n");
    JUDGES(400, .connection = "");
    JUDGES(400, .connection = "Connection: keep-alive\r\n");
    JUDGES(400, .connection = "Connection: upgrade-insecure\r\n");
    JUDGES(400, .more = "Origin: http://a\r\nOrigin: http://a\r\n");
    JUDGES(0, .more = "Origin: null\r\n");
}

static void judges_list(const char *line, int status)
{
    char lines[256];
    test_context("%s", line);
    snprintf(lines, sizeof lines, "Sec-WebSocket-%s\r\n", line);
    JUDGES(status, .more = lines);
}

/* Grammatical and malformed lists (§4.3, §9.1); what they mean is another matter. */
static void lists(void)
{
    static const char *const good[] = {
        "Protocol: json",
        "Protocol: ,a , b,,\tc,",
        "Protocol: a\r\nSec-WebSocket-Protocol:",
        "Extensions: x",
        "Extensions: x ; a ;b = c;d=\"e\"\t,y,",
        "Extensions: ,, x",
        "Extensions: x; a=\"b, c; d=\", y",
        "Extensions: x; a=\"\\\"\\\\,\xe4\"",
        "Extensions: x; a=\"\"",
        "Extensions: x\r\nSec-WebSocket-Extensions:",
        "Extensions: permessage-deflate; client_max_window_bits=99; frob",
    };
    static const char *const bad[] = {
        "Protocol:",
        "Protocol: ,",
        "Protocol: a b",
        "Protocol: a, \"b\"",
        "Protocol: a/b",
        "Protocol: a\r\nSec-WebSocket-Protocol: b;c",
        "Extensions:",
        "Extensions: , ,",
        "Extensions: ;",
        "Extensions: x;",
        "Extensions: x;;a",
        "Extensions: x; =10",
        "Extensions: x; a=",
        "Extensions: x; a==b",
        "Extensions: x; a=b c",
        "Extensions: x; a=b=c",
        "Extensions: x y",
        "Extensions: x=1",
        "Extensions: =",
        "Extensions: \"x\"",
        "Extensions: x/y",
        "Extensions: x; a=\"",
        "Extensions: x; a=\"b",
        "Extensions: x; a=\"b\\\"",
        "Extensions: x; a=\"b\"c",
        "Extensions: x; a=b\"c\"",
        "Extensions: x; a=b, y;",
        "Extensions: x\r\nSec-WebSocket-Extensions: y; a=",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        judges_list(good[i], 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        judges_list(bad[i], 400);
    test_context(NULL);
}

static void bad_versions_and_keys(void)
{
    static const char *const versions[] = {"8",  "0",   "13, 8", "8, 13", "013",
                                           "14", "1 3", "",      "+13"};
    static const char *const keys[] = {"",
                                       "dGhlIHNhbXBsZSBub25jZQ=",
                                       "dGhlIHNhbXBsZSBub25jZQ",
                                       "dGhlIHNhbXBsZSBub25jZQA=",
                                       "dGhlIHNhbXBsZSBub25jZQAA",
                                       "dGhlIHNhbXBsZSBub25jZQ===",
                                       "dGhlIHNhbXBsZSBub25j ==",
                                       "dGhlIHNhbXBsZSBub25jZ===",
                                       "dGhl-HNhbXBsZSBub25jZQ==",
                                       "dGhl_HNhbXBsZSBub25jZQ==",
                                       "dGhl=HNhbXBsZSBub25jZQ==",
                                       "dGhl\xffHNhbXBsZSBub25jZQ==",
                                       KEY "," KEY};
    char line[128];
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        test_context("version %s", versions[i]);
        snprintf(line, sizeof line, "Sec-WebSocket-Version: %s\r\n", versions[i]);
        JUDGES(426, .version = line);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        test_context("key %s", keys[i]);
        snprintf(line, sizeof line, "Sec-WebSocket-Key: %s\r\n", keys[i]);
        JUDGES(400, .key = line);
    }
    test_context(NULL);
    JUDGES(400, .version = "");
    JUDGES(400, .version = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n");
    JUDGES(400, .key = "");
    JUDGES(400, .key = "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Key: " KEY "\r\n");
}

/* A request that breaks all rules is answered by the first; mended one by one, by the next. */
static void order_of_rules(void)
{
    struct request r = {"POST / HTTP/1.0",
                        "",
                        "",
                        "",
                        "Sec-WebSocket-Version: 8\r\n",
                        "",
                        "Content-Length: 5\r\nOrigin: a\r\nOrigin: b\r\n"};
    judges(&r, 400);
    r.line = "POST / HTTP/1.1";
    judges(&r, 405);
    r.line = NULL;
    judges(&r, 400);
    r.host = NULL;
    judges(&r, 400);
    r.more = "Origin: a\r\nOrigin: b\r\n";
    judges(&r, 426);
    r.upgrade = NULL;
    judges(&r, 400);
    r.connection = NULL;
    judges(&r, 426);
    r.version = NULL;
    judges(&r, 400);
    r.key = NULL;
    judges(&r, 400);
    r.more = "Sec-WebSocket-Protocol: /\r\nSec-WebSocket-Extensions: ;\r\n";
    judges(&r, 400);
    r.more = "Sec-WebSocket-Extensions: ;\r\n";
    judges(&r, 400);
    r.more = NULL;
    judges(&r, 0);
}

static void keys_and_accepts(void)
{
    char key[HANDSHAKE_KEY_SIZE + 1], accept[HANDSHAKE_ACCEPT_SIZE + 1];
    handshake_key((const uint8_t *)"the sample nonce", key);
    CHECK_TEXT(key, KEY);
    for (int i = 0; i < 2; i++) { /* the digest's context is used again */
        handshake_accept(KEY, accept);
        CHECK_TEXT(accept, ACCEPT);
        handshake_accept("x3JJHMbDL1EzLkh9GBhXDw==", accept);
        CHECK_TEXT(accept, "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    }
}

static void check_choice(const char *lines, const char *expected)
{
    static const char *const ours[] = {"json", "chat.v1", "chat.v2"};
    struct http_head *h = request_of(&(struct request){.more = lines});
    const char *chosen = handshake_subprotocol(h, ours, 3);
    CHECK_TEXT(chosen ? chosen : "none", expected);
    CHECK(!chosen || chosen == ours[0] || chosen == ours[1] || chosen == ours[2]);
    CHECK(handshake_subprotocol(h, NULL, 0) == NULL);
    http_head_unref(h);
}

static void subprotocols(void)
{
    check_choice("", "none");
    check_choice("Sec-WebSocket-Protocol: json\r\n", "json");
    check_choice("Sec-WebSocket-Protocol: xml, chat.v2 ,json\r\n", "chat.v2");
    check_choice("Sec-WebSocket-Protocol: xml\r\nsec-websocket-protocol: chat.v1\r\n", "chat.v1");
    check_choice("Sec-WebSocket-Protocol: JSON, jso, jsonn,, \"json\"\r\n", "none");
}

#define START_101 \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Accept: " ACCEPT "\r\n"

static void check_response(const struct handshake_response *r, const char *expected)
{
    struct http_head *h = request_of(&(struct request){0});
    struct buf out = {0};
    CHECK_INT(handshake_write_response(h, r, &out), 0);
    CHECK_BYTES(buf_bytes(&out), buf_len(&out), expected, strlen(expected));
    buf_free(&out);
    http_head_unref(h);
}

static void responses(void)
{
    const struct http_line lines[] = {
        {{"X-A", 3}, {"1", 1}},
        {{"upgrade", 7}, {"h2c", 3}},
        {{"CONNECTION", 10}, {"close", 5}},
        {{"Sec-WebSocket-Accept", 20}, {"x", 1}},
        {{"Set-Cookie", 10}, {"a=b", 3}},
        {{"Content-Length", 14}, {"5", 1}},
        {{"Sec-WebSocket-Protocol", 22}, {"x", 1}},
        {{"Server", 6}, {"mine", 4}},
    };
    struct handshake_response r = {0};
    check_response(&r, START_101 "\r\n");
    r = (struct handshake_response){"json", "permessage-deflate", "neap", NULL, 0};
    check_response(&r, START_101 "Sec-WebSocket-Protocol: json\r\n"
                                 "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                                 "Server: neap\r\n\r\n");
    r = (struct handshake_response){.server = "neap", .lines = lines, .line_count = 8};
    check_response(&r, START_101 "X-A: 1\r\nSet-Cookie: a=b\r\nServer: mine\r\n\r\n");
    struct http_head *h = request_of(&(struct request){.key = ""});
    struct buf out = {0};
    CHECK_INT(handshake_write_response(h, &r, &out), ERR_ARGUMENT);
    CHECK_INT(buf_len(&out), 0);
    http_head_unref(h);
}

static const struct handshake_request plain = {.host = "a:9090", .target = "/chat?x=1", .key = KEY};

static void client_requests(void)
{
    const struct http_line lines[] = {{{"Cookie", 6}, {"a=b", 3}}, {{"host", 4}, {"evil", 4}}};
    struct handshake_request r = plain;
    struct buf out = {0};
    r.subprotocols = "json, xml";
    r.extensions = "x-one";
    r.lines = lines;
    r.line_count = 2;
    CHECK_INT(handshake_write_request(&r, &out), 0);
    CHECK_INT(buf_append(&out, "", 1), 0);
    CHECK_TEXT((const char *)buf_bytes(&out),
               "GET /chat?x=1 HTTP/1.1\r\nHost: a:9090\r\nUpgrade: websocket\r\n"
               "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: json, xml\r\n"
               "Sec-WebSocket-Extensions: x-one\r\nCookie: a=b\r\n\r\n");
    buf_free(&out);
}

/*
 * Expects that a response of these lines is accepted (with that sub-protocol) or, for NULL,
 * refused.
 */
static void verifies(const struct handshake_request *sent, const char *lines, const char *expected)
{
    char bytes[1024];
    struct str chosen = {"unset", 5};
    int len = snprintf(bytes, sizeof bytes, "HTTP/1.1 %s\r\n\r\n", lines);
    struct http_head *h = parse(HTTP_RESPONSE, bytes, (size_t)len);
    test_context("%.100s", lines);
    const char *wrong = handshake_verify(h, sent, &chosen);
    CHECK((wrong != NULL) == (expected == NULL));
    if (expected)
        CHECK_BYTES(chosen.s, chosen.len, expected, strlen(expected));
    test_context(NULL);
    http_head_unref(h);
}

#define SWITCH "101 x\r\nUpgrade: websocket\r\nConnection: Upgrade"
#define GOOD SWITCH "\r\nSec-WebSocket-Accept: " ACCEPT

static void client_checks(void)
{
    struct handshake_request offer = plain;
    offer.subprotocols = "json, chat.v1";
    offer.extensions = "permessage-deflate; client_max_window_bits, x-one";
    verifies(&plain, GOOD, "");
    verifies(&plain,
             "101 x\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n"
             "sec-websocket-accept: \t" ACCEPT " ",
             "");
    verifies(&plain, "200 OK", NULL);
    verifies(&plain,
             "102 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: " ACCEPT,
             NULL);
    verifies(&plain, "101 x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT, NULL);
    verifies(&plain, "101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT, NULL);
    verifies(&plain, SWITCH, NULL);
    verifies(&plain, SWITCH "\r\nSec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", NULL);
    verifies(&plain, SWITCH "\r\nSec-WebSocket-Accept: " ACCEPT "=", NULL);
    verifies(&plain, GOOD "\r\nSec-WebSocket-Accept: " ACCEPT, NULL);
    verifies(&plain, GOOD "\r\nSec-WebSocket-Protocol: json", NULL);
    verifies(&plain, GOOD "\r\nSec-WebSocket-Extensions: permessage-deflate", NULL);
    verifies(&plain, GOOD "\r\nSec-WebSocket-Extensions: ,", "");
    verifies(&offer, GOOD, "");
    verifies(&offer, GOOD "\r\nSec-WebSocket-Protocol: chat.v1", "chat.v1");
    verifies(&offer, GOOD "\r\nSec-WebSocket-Protocol: json", "json");
    verifies(&offer, GOOD "\r\nSec-WebSocket-Protocol: JSON", NULL);
    verifies(&offer, GOOD "\r\nSec-WebSocket-Protocol:", NULL);
    verifies(&offer, GOOD "\r\nSec-WebSocket-Protocol: json, chat.v1", NULL);
    verifies(&offer, GOOD "\r\nSec-WebSocket-Protocol: json\r\nSec-WebSocket-Protocol: json", NULL);
    verifies(&offer, GOOD "\r\nSec-WebSocket-Extensions: x-one, permessage-deflate;a=b", "");
    verifies(&offer, GOOD "\r\nSec-WebSocket-Extensions: client_max_window_bits", NULL);
    verifies(&offer, GOOD "\r\nSec-WebSocket-Extensions: x-one\r\nSec-WebSocket-Extensions: y",
             NULL);
    verifies(&offer, GOOD "\r\nSec-WebSocket-Extensions: ;x-one", NULL);
}

/* What the client writes the server accepts, and what the server answers the client accepts. */
static void both_roles(void)
{
    static const char *const ours[] = {"b"};
    uint64_t seed = 42;
    for (int i = 0; i < 50; i++) {
        uint64_t nonce[2] = {random_next(&seed), random_next(&seed)};
        char key[HANDSHAKE_KEY_SIZE + 1];
        struct handshake_request sent = {
            .host = "h", .target = "/", .key = key, .subprotocols = "a,b"};
        struct handshake_refusal refusal;
        struct buf out = {0};
        struct str chosen;
        handshake_key((const uint8_t *)nonce, key);
        CHECK_INT(handshake_write_request(&sent, &out), 0);
        struct http_head *request = parse(HTTP_REQUEST, (char *)buf_bytes(&out), buf_len(&out));
        CHECK(handshake_check(request, &refusal));
        buf_consume(&out, buf_len(&out));
        struct handshake_response r = {.subprotocol = handshake_subprotocol(request, ours, 1)};
        CHECK_INT(handshake_write_response(request, &r, &out), 0);
        struct http_head *response = parse(HTTP_RESPONSE, (char *)buf_bytes(&out), buf_len(&out));
        CHECK(handshake_verify(response, &sent, &chosen) == NULL);
        CHECK_BYTES(chosen.s, chosen.len, "b", 1);
        http_head_unref(request);
        http_head_unref(response);
        buf_free(&out);
    }
}

static void failing_writes(void *arg)
{
    static char long_text[3000];
    struct http_head *h = arg;
    struct buf out = {0};
    memset(long_text, 'x', sizeof long_text - 1);
    struct handshake_request q = {.host = "h", .target = "/", .key = KEY, .extensions = long_text};
    struct handshake_response r = {.extensions = long_text};
    if (buf_append(&out, "before", 6) == 0) {
        int result = handshake_write_response(h, &r, &out);
        CHECK(result == 0 ? buf_len(&out) > 3000 : result == ERR_NOMEM && buf_len(&out) == 6);
        size_t before = buf_len(&out);
        result = handshake_write_request(&q, &out);
        CHECK(result == 0 ? buf_len(&out) > 3000 : result == ERR_NOMEM && buf_len(&out) == before);
        CHECK_BYTES(buf_bytes(&out), 6, "before", 6);
    }
    buf_free(&out);
}

static void failing_allocations(void)
{
    struct http_head *h = request_of(&(struct request){0});
    each_alloc_failure(failing_writes, h);
    http_head_unref(h);
}

int main(void)
{
    test("good requests", good_requests);
    test("bad requests", bad_requests);
    test("bad versions and keys", bad_versions_and_keys);
    test("order of rules", order_of_rules);
    test("keys and accepts", keys_and_accepts);
    test("lists", lists);
    test("sub-protocols", subprotocols);
    test("responses", responses);
    test("client requests", client_requests);
    test("client checks", client_checks);
    test("both roles", both_roles);
    test("failing allocations", failing_allocations);
    return test_end();
}
