// SPDX-License-Identifier: MIT
/*
 * The opening handshake, both roles. The first byte of an input chooses the role and where the
 * head comes from: the rest is the head itself, or a list of numbers that pick lines from a table
 * of good and bad ones. Beyond crashes:
 *
 *      - the server accepts, or refuses with the status, as a slow reference does that reads the
 *        raw lines;
 *      - an accepted request is answered with the accept value of an independent SHA-1 and
 *        base64, and the client takes that answer;
 *      - without any one of the lines that make it an upgrade it is refused, and so with one of
 *        the single ones twice;
 *      - the client takes an answer if and only if the reference does.
 */
#include "head_fuzz.h"
#include "proto/http/handshake.h"

#include <stdint.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define PROTOCOLS "json, chat.v1"
#define EXTENSIONS "permessage-deflate; client_max_window_bits, x-one"

static const struct http_limits limits = {4096, 8192, 100};

static const char *const request_lines[] = {
    "Host: a\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Key: " KEY "\r\n",
    "host: [::1]:80\r\n",
    "Host:\r\n",
    "Host: a b\r\n",
    "UPGRADE: h2c, WebSocket\r\n",
    "Upgrade: websockets\r\n",
    "Upgrade: x\r\n",
    "connection: keep-alive , upgrade,\r\n",
    "Connection: keep-alive\r\n",
    "Sec-WebSocket-Version: 8\r\n",
    "Sec-WebSocket-Version: 13, 8\r\n",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "Sec-WebSocket-Key: +/+/+/+/+/+/+/+/+/+/+/==\r\n",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA===\r\n",
    "Sec-WebSocket-Key: short\r\n",
    "Origin: http://a\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 7\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Sec-WebSocket-Protocol: xml, json\r\n",
    "Sec-WebSocket-Protocol: a b\r\n",
    "Sec-WebSocket-Protocol: ,\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: x; a=b, y;c\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; =10\r\n",
    "Sec-WebSocket-Extensions:\r\n",
    "X: y\r\n",
};

static const char *const response_lines[] = {
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Accept: " ACCEPT "\r\n",
    "upgrade: WEBSOCKET\r\n",
    "connection: x, upgrade\r\n",
    "Sec-WebSocket-Accept:\t" ACCEPT " \r\n",
    "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    "Upgrade: h2c\r\n",
    "Connection: close\r\n",
    "Sec-WebSocket-Protocol: json\r\n",
    "Sec-WebSocket-Protocol: chat.v1\r\n",
    "Sec-WebSocket-Protocol: json, chat.v1\r\n",
    "Sec-WebSocket-Protocol: xml\r\n",
    "Sec-WebSocket-Protocol:\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n",
    "Sec-WebSocket-Extensions: x-one, permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: x-two\r\n",
    "Sec-WebSocket-Extensions: ,\r\n",
};

static const char *const request_starts[] = {"GET / HTTP/1.1\r\n", "GET / HTTP/1.0\r\n",
                                             "POST / HTTP/1.1\r\n", "GET /chat?x HTTP/1.1\r\n"};
static const char *const response_starts[] = {"HTTP/1.1 101 x\r\n", "HTTP/1.1 101\r\n",
                                              "HTTP/1.1 200 OK\r\n", "HTTP/1.0 101 x\r\n"};

/* --- The reference: naive searches in a lower-case copy of the canonical head ----------------- */

struct lines {
    char text[32768]; /* the head as put_head writes it */
    char lower[32768];
};

static bool read_lines(struct lines *l, const struct http_head *h)
{
    struct buf out = {0};
    put_head(&out, h);
    size_t len = buf_len(&out);
    bool fits = len < sizeof l->text;
    if (fits) {
        memcpy(l->text, buf_bytes(&out), len);
        l->text[len] = '\0';
        for (size_t i = 0; i <= len; i++)
            l->lower[i] = l->text[i] >= 'A' && l->text[i] <= 'Z' ? l->text[i] + 32 : l->text[i];
    }
    buf_free(&out);
    return fits;
}

/* How many lines have the (lower-case) name; the value of the last one, in both spellings. */
static int find(const struct lines *l, const char *name, char *value, char *lower)
{
    char key[64];
    int count = 0;
    snprintf(key, sizeof key, "\r\n%s: ", name);
    for (const char *at = l->lower; (at = strstr(at, key)); at += 2) {
        const char *from = at + strlen(key), *to = strstr(from, "\r\n");
        size_t len = (size_t)(to - from);
        count++;
        if (value)
            snprintf(value, 8300, "%.*s", (int)len, l->text + (from - l->lower));
        if (lower)
            snprintf(lower, 8300, "%.*s", (int)len, from);
    }
    return count;
}

/*
 * All lines of the name have, between them, the element among their commas; no quoted strings in
 * sight.
 */
static bool lists(const struct lines *l, const char *name, const char *wanted)
{
    char key[64];
    snprintf(key, sizeof key, "\r\n%s: ", name);
    for (const char *at = l->lower; (at = strstr(at, key)); at += 2) {
        char copy[8300], *rest = copy, *part;
        const char *from = at + strlen(key), *to = strstr(from, "\r\n");
        snprintf(copy, sizeof copy, "%.*s", (int)(to - from), from);
        while ((part = strsep(&rest, ","))) {
            part += strspn(part, " \t");
            while (*part && strchr(" \t", part[strlen(part) - 1]))
                part[strlen(part) - 1] = '\0';
            if (strcmp(part, wanted) == 0)
                return true;
        }
    }
    return false;
}

/* All lines of the name, joined, are a list; or there is none. */
static bool well_formed(const struct lines *l, const char *name, bool extensions)
{
    char key[64];
    struct buf all = {0};
    snprintf(key, sizeof key, "\r\n%s: ", name);
    for (const char *at = l->lower; (at = strstr(at, key)); at += 2) {
        const char *from = at + strlen(key);
        put_text(&all, ",");
        MUST(buf_append(&all, from, (size_t)(strstr(from, "\r\n") - from)) == 0);
    }
    MUST(buf_append(&all, "", 1) == 0);
    bool none = buf_len(&all) == 1;
    bool good = none || reference_list((const char *)buf_bytes(&all), extensions);
    buf_free(&all);
    return good;
}

#define ALNUM "abcdefghijklmnopqrstuvwxyz0123456789"

static int reference_judges(const struct lines *l)
{
    char value[8300], lower[8300];
    if (strncmp(strstr(l->text, "\r\n") - 4, "/1.0", 4) == 0)
        return 400;
    if (strncmp(l->text, "GET ", 4) != 0)
        return 405;
    if (find(l, "host", NULL, lower) != 1 || !lower[0] ||
        lower[strspn(lower, ALNUM "-._~!$&'()*+,;=%:[]")])
        return 400;
    if (find(l, "transfer-encoding", NULL, NULL))
        return 400;
    if (find(l, "content-length", value, NULL) && value[strspn(value, "0")])
        return 400;
    if (!lists(l, "upgrade", "websocket"))
        return 426;
    if (!lists(l, "connection", "upgrade"))
        return 400;
    if (find(l, "sec-websocket-version", value, NULL) != 1)
        return 400;
    if (strcmp(value, "13") != 0)
        return 426;
    if (find(l, "sec-websocket-key", value, lower) != 1 || strlen(value) != 24 ||
        strspn(lower, ALNUM "+/") != 22 || strcmp(value + 22, "==") != 0)
        return 400;
    if (find(l, "origin", NULL, NULL) > 1 || !well_formed(l, "sec-websocket-protocol", false))
        return 400;
    return well_formed(l, "sec-websocket-extensions", true) ? 0 : 400;
}

/* --- SHA-1 (FIPS 180-4) and base64 (RFC 4648), from the definitions --------------------------- */

static uint32_t rotate(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static void sha1_block(uint32_t h[5], const uint8_t *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 80; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (int t = 0; t < 80; t++) {
        uint32_t f = t < 20   ? (b & c) | (~b & d)
                     : t < 40 ? b ^ c ^ d
                     : t < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        static const uint32_t k[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
        uint32_t next = rotate(a, 5) + f + e + k[t / 20] + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static void reference_accept(const char *key, char out[29])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t message[128] = {0}, digest[21] = {0};
    memcpy(message, key, 24);
    memcpy(message + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    message[60] = 0x80;
    message[126] = 60 * 8 >> 8;
    message[127] = 60 * 8 & 255;
    sha1_block(h, message);
    sha1_block(h, message + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 7; i++) {
        uint32_t three =
            (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[28] = '\0';
}

/* --- The server's side ------------------------------------------------------------------------ */

static int judge_text(const char *text)
{
    struct fed fed = feed_pieces(HTTP_REQUEST, &limits, (struct str){text, strlen(text)}, 0);
    struct handshake_refusal r = {0};
    int status = -fed.status;
    if (fed.status == 1)
        status = handshake_check(fed.head, &r) ? 0 : r.status;
    http_head_unref(fed.head);
    return status;
}

/* The accepted request without its i-th line, or with that line twice. */
static void check_without_or_twice(const struct lines *l)
{
    static const char *const single[] = {"host", "sec-websocket-version", "sec-websocket-key"};
    static const char *const needed[] = {"upgrade", "connection"};
    char text[20000], key[64];
    for (size_t i = 0; i < 5; i++) {
        const char *name = i < 3 ? single[i] : needed[i - 3];
        if (find(l, name, NULL, NULL) != 1)
            continue;
        snprintf(key, sizeof key, "\r\n%s: ", name);
        size_t from = (size_t)(strstr(l->lower, key) - l->lower) + 2;
        size_t to = (size_t)(strstr(l->lower + from, "\r\n") - l->lower) + 2;
        snprintf(text, sizeof text, "%.*s%s", (int)from, l->text, l->text + to);
        MUST(judge_text(text) >= 400);
        snprintf(text, sizeof text, "%.*s%s", (int)to, l->text, l->text + from);
        MUST(i < 3 ? judge_text(text) >= 400 : judge_text(text) == 0 || judge_text(text) == 431);
    }
}

static void check_accepted(const struct http_head *h, const struct lines *l)
{
    static const char *const ours[] = {"chat.v1", "json"};
    char key[8300], accept[HANDSHAKE_ACCEPT_SIZE + 1], wanted[29];
    MUST(find(l, "sec-websocket-key", key, NULL) == 1);
    handshake_accept(key, accept);
    reference_accept(key, wanted);
    MUST(strcmp(accept, wanted) == 0);
    struct handshake_response r = {.subprotocol = handshake_subprotocol(h, ours, 2),
                                   .server = "neap"};
    struct handshake_request sent = {
        .host = "a", .target = "/", .key = key, .subprotocols = r.subprotocol};
    struct buf out = {0};
    struct str chosen;
    MUST(handshake_write_response(h, &r, &out) == 0);
    struct fed fed = feed_pieces(HTTP_RESPONSE, &limits, as_str(&out), 0);
    MUST(fed.status == 1 && fed.used == buf_len(&out));
    MUST(handshake_verify(fed.head, &sent, &chosen) == NULL);
    MUST(chosen.len == (r.subprotocol ? strlen(r.subprotocol) : 0));
    MUST(!strpbrk(key, "-_ ") && strlen(key) == HANDSHAKE_KEY_SIZE);
    http_head_unref(fed.head);
    buf_free(&out);
    check_without_or_twice(l);
}

static void check_server(const struct http_head *h, const struct lines *l)
{
    struct handshake_refusal r = {0};
    bool accepted = handshake_check(h, &r);
    if (!strchr(l->text, '"')) /* the reference knows no quoted strings */
        MUST((accepted ? 0 : r.status) == reference_judges(l));
    if (accepted) {
        check_accepted(h, l);
        return;
    }
    MUST(r.reason && (r.status == 400 || r.status == 405 || r.status == 426));
    MUST((r.allow != NULL) == (r.status == 405));
}

/* --- The client's side ------------------------------------------------------------------------ */

static bool reference_verifies(const struct lines *l)
{
    char value[8300];
    if (strncmp(l->text + 8, " 101 ", 5) != 0 || !lists(l, "upgrade", "websocket") ||
        !lists(l, "connection", "upgrade"))
        return false;
    if (find(l, "sec-websocket-accept", value, NULL) != 1 || strcmp(value, ACCEPT) != 0)
        return false;
    int protocols = find(l, "sec-websocket-protocol", value, NULL);
    if (protocols > 1 || (protocols && strcmp(value, "json") != 0 && strcmp(value, "chat.v1") != 0))
        return false;
    for (const char *at = l->lower; (at = strstr(at, "\r\nsec-websocket-extensions: ")); at += 2) {
        char copy[8300], *rest = copy, *part;
        const char *from = strchr(at, ':') + 2;
        snprintf(copy, sizeof copy, "%.*s", (int)(strstr(from, "\r\n") - from),
                 l->text + (from - l->lower));
        while ((part = strsep(&rest, ","))) {
            part += strspn(part, " \t");
            if (!*part)
                continue;
            part[strcspn(part, "; \t")] = '\0';
            if (strcmp(part, "permessage-deflate") != 0 && strcmp(part, "x-one") != 0)
                return false;
        }
    }
    return true;
}

static void check_client(const struct http_head *h, const struct lines *l)
{
    const struct handshake_request sent = {.host = "a",
                                           .target = "/",
                                           .key = KEY,
                                           .subprotocols = PROTOCOLS,
                                           .extensions = EXTENSIONS};
    struct str chosen = {0};
    const char *wrong = handshake_verify(h, &sent, &chosen);
    if (!strchr(l->text, '"'))
        MUST((wrong == NULL) == reference_verifies(l));
    MUST(wrong || chosen.s);
}

/* --- The input --------------------------------------------------------------------------- */

/* A head of numbered lines: the first number picks its start. */
static void pick_lines(struct buf *out, bool response, const uint8_t *numbers, size_t count)
{
    const char *const *table = response ? response_lines : request_lines;
    size_t rows = response ? sizeof response_lines / sizeof *response_lines
                           : sizeof request_lines / sizeof *request_lines;
    put_text(out, (response ? response_starts : request_starts)[count ? numbers[0] & 3 : 0]);
    for (size_t i = 1; i < count && i < 40; i++)
        put_text(out, table[numbers[i] % rows]);
    put_text(out, "\r\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lines lines;
    if (size < 2)
        return 0;
    bool response = data[0] & 1;
    struct buf head = {0};
    if (data[0] & 2)
        pick_lines(&head, response, data + 1, size - 1);
    else
        MUST(buf_append(&head, data + 1, size - 1) == 0);
    struct fed fed =
        feed_pieces(response ? HTTP_RESPONSE : HTTP_REQUEST, &limits, as_str(&head), 0);
    if (fed.status == 1 && read_lines(&lines, fed.head))
        (response ? check_client : check_server)(fed.head, &lines);
    http_head_unref(fed.head);
    buf_free(&head);
    return 0;
}
