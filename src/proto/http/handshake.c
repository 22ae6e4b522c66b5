// SPDX-License-Identifier: MIT
/*
 * The opening handshake, server's side first. Requests are judged in the fixed order that
 * handshake.h names, and each rule is one line of the table `rules`. Extensions are negotiated
 * elsewhere; here their grammar is judged, their answer passed on (server), or refused when nothing
 * was offered (client).
 *
 *      client                                              server
 *      GET /chat HTTP/1.1, Upgrade, Connection,     ──▶    handshake_check
 *      Sec-WebSocket-Key: 24 characters                    │
 *      handshake_verify                             ◀──    101, Sec-WebSocket-Accept: 28 characters
 */
#include "proto/http/handshake.h"

#include "base/err.h"
#include "proto/http/extension.h"
#include "proto/http/http_chars.h"
#include "proto/http/http_out.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* True when there is exactly one line of that name; *value is what it says. */
static bool lone_field(const struct http_head *h, const char *name, struct str *value)
{
    struct str second;
    return http_field(h, name, 0, value) && !http_field(h, name, 1, &second);
}

/*
 * The characters of a host and its port (RFC 3986 §3.2.2); whether an address in brackets is one
 * is the resolver's concern.
 */
static bool is_host(struct str v)
{
    static const char others[] = "-._~!$&'()*+,;=%:[]";
    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = http_lower((uint8_t)v.s[i]);
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && !(c && strchr(others, c)))
            return false;
    }
    return v.len > 0;
}

static bool is_base64(char c)
{
    uint8_t low = http_lower((uint8_t)c);
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/*
 * Base64 of 16 bytes: 22 characters and two paddings. Surplus bits of the last character are
 * ignored (RFC 4648 §3.5).
 */
static bool is_key(struct str v)
{
    if (v.len != HANDSHAKE_KEY_SIZE || v.s[22] != '=' || v.s[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!is_base64(v.s[i]))
            return false;
    return true;
}

/* Each rule returns true when the request breaks it. */
static bool breaks_version(const struct http_head *h)
{
    return http_version(h) < 11;
}

static bool breaks_method(const struct http_head *h)
{
    return !str_is(http_method(h), "GET");
}

static bool breaks_host(const struct http_head *h)
{
    struct str host;
    return !lone_field(h, "Host", &host) || !is_host(host);
}

/*
 * A body in front of the frames would be read by some as frames, by others as a request:
 * smuggling.
 */
static bool breaks_body(const struct http_head *h)
{
    struct str v;
    if (http_field(h, "Transfer-Encoding", 0, &v))
        return true;
    if (!http_field(h, "Content-Length", 0, &v))
        return false;
    return v.len == 0 || strspn(v.s, "0") != v.len;
}

static bool breaks_upgrade(const struct http_head *h)
{
    return !http_has_token(h, "Upgrade", "websocket");
}

static bool breaks_connection(const struct http_head *h)
{
    return !http_has_token(h, "Connection", "upgrade");
}

static bool breaks_ws_version_count(const struct http_head *h)
{
    struct str v;
    return !lone_field(h, "Sec-WebSocket-Version", &v);
}

static bool breaks_ws_version(const struct http_head *h)
{
    struct str v;
    return !http_field(h, "Sec-WebSocket-Version", 0, &v) || !str_is(v, "13");
}

static bool breaks_key(const struct http_head *h)
{
    struct str v;
    return !lone_field(h, "Sec-WebSocket-Key", &v) || !is_key(v);
}

static bool breaks_origin(const struct http_head *h)
{
    struct str second;
    return http_field(h, "Origin", 1, &second);
}

/* §4.3: one token at least; empty elements are passed over, as in every list. */
static bool breaks_protocol(const struct http_head *h)
{
    static const char field[] = "Sec-WebSocket-Protocol";
    struct http_cursor cursor = {0};
    struct str v;
    bool any = !http_field(h, field, 0, &v);
    while (http_next_element(h, field, &cursor, &v)) {
        if (!http_is_token(v.s, v.len))
            return true;
        any = true;
    }
    return !any;
}

static bool breaks_extensions(const struct http_head *h)
{
    return !extension_list_valid(h);
}

/* RFC 6455 §4.2.1, in the order in which handshake.h promises the answers. */
static const struct rule {
    bool (*broken)(const struct http_head *h);
    struct handshake_refusal refusal;
} rules[] = {
    {breaks_version, {400, "WebSocket needs HTTP/1.1", NULL, NULL}},
    {breaks_method, {405, "A WebSocket upgrade is a GET request", "GET", NULL}},
    {breaks_host, {400, "Exactly one valid Host header is needed", NULL, NULL}},
    {breaks_body, {400, "An upgrade request must not have a body", NULL, NULL}},
    {breaks_upgrade,
     {426, "This is a WebSocket address: the header \"Upgrade: websocket\" is missing", NULL,
      NULL}},
    {breaks_connection, {400, "The header \"Connection: Upgrade\" is missing", NULL, NULL}},
    {breaks_ws_version_count,
     {400, "Exactly one Sec-WebSocket-Version header is needed", NULL, NULL}},
    {breaks_ws_version, {426, "Only version 13 of WebSocket is spoken here", NULL, "13"}},
    {breaks_key,
     {400, "Exactly one Sec-WebSocket-Key header is needed, with 16 bytes in base64", NULL, NULL}},
    {breaks_origin, {400, "There is more than one Origin header", NULL, NULL}},
    {breaks_protocol, {400, "Sec-WebSocket-Protocol must be a list of names", NULL, NULL}},
    {breaks_extensions, {400, "Sec-WebSocket-Extensions is malformed", NULL, NULL}},
};

bool handshake_check(const struct http_head *h, struct handshake_refusal *r)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].broken(h))
            continue;
        *r = rules[i].refusal;
        return false;
    }
    return true;
}

/*
 * SHA-1 of the bytes. The algorithm is looked up once in the process's life and its context is
 * kept: a look-up for each handshake costs more than the digest.
 */
static void sha1(const void *bytes, size_t len, uint8_t digest[20])
{
    static EVP_MD_CTX *context;
    static EVP_MD *algorithm;
    if (!context) {
        algorithm = EVP_MD_fetch(NULL, "SHA1", NULL);
        context = EVP_MD_CTX_new();
    }
    if (context && algorithm && EVP_DigestInit_ex(context, algorithm, NULL) &&
        EVP_DigestUpdate(context, bytes, len) && EVP_DigestFinal_ex(context, digest, NULL))
        return;
    fputs("neap: OpenSSL gives no SHA-1, without which there are no WebSocket handshakes\n",
          stderr);
    abort();
}

void handshake_accept(const char *key, char out[HANDSHAKE_ACCEPT_SIZE + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[HANDSHAKE_KEY_SIZE + sizeof guid];
    uint8_t digest[20];
    memcpy(text, key, HANDSHAKE_KEY_SIZE);
    memcpy(text + HANDSHAKE_KEY_SIZE, guid, sizeof guid);
    sha1(text, sizeof text - 1, digest);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest);
}

void handshake_key(const uint8_t nonce[16], char out[HANDSHAKE_KEY_SIZE + 1])
{
    EVP_EncodeBlock((unsigned char *)out, nonce, 16);
}

const char *handshake_subprotocol(const struct http_head *h, const char *const *ours, size_t count)
{
    struct http_cursor cursor = {0};
    struct str offered;
    while (http_next_element(h, "Sec-WebSocket-Protocol", &cursor, &offered))
        for (size_t i = 0; i < count; i++)
            if (str_is(offered, ours[i]))
                return ours[i];
    return NULL;
}

/*
 * Lines that the handshake itself writes or forbids; those that an application hands over under
 * these names are dropped.
 */
static const char *const reserved[] = {"Host",
                                       "Upgrade",
                                       "Connection",
                                       "Sec-WebSocket-Accept",
                                       "Sec-WebSocket-Key",
                                       "Sec-WebSocket-Version",
                                       "Sec-WebSocket-Protocol",
                                       "Sec-WebSocket-Extensions",
                                       "Content-Length",
                                       "Transfer-Encoding",
                                       NULL};

int handshake_write_response(const struct http_head *request, const struct handshake_response *r,
                             struct buf *out)
{
    static const char start[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    char accept[HANDSHAKE_ACCEPT_SIZE + 1];
    struct str key;
    if (!http_field(request, "Sec-WebSocket-Key", 0, &key) || key.len != HANDSHAKE_KEY_SIZE)
        return ERR_ARGUMENT;
    handshake_accept(key.s, accept);
    struct http_out o = http_out_begin(out, 256);
    http_out_bytes(&o, start, sizeof start - 1);
    http_out_line(&o, "Sec-WebSocket-Accept", accept);
    http_out_line(&o, "Sec-WebSocket-Protocol", r->subprotocol);
    http_out_line(&o, "Sec-WebSocket-Extensions", r->extensions);
    if (!http_out_has(r->lines, r->line_count, "Server"))
        http_out_line(&o, "Server", r->server);
    http_out_lines(&o, r->lines, r->line_count, reserved);
    http_out_text(&o, "\r\n");
    return http_out_end(&o);
}

int handshake_write_request(const struct handshake_request *r, struct buf *out)
{
    struct http_out o = http_out_begin(out, 256);
    http_out_text(&o, "GET ");
    http_out_text(&o, r->target);
    http_out_text(&o, " HTTP/1.1\r\n");
    http_out_line(&o, "Host", r->host);
    http_out_text(&o, "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    http_out_line(&o, "Sec-WebSocket-Key", r->key);
    http_out_text(&o, "Sec-WebSocket-Version: 13\r\n");
    http_out_line(&o, "Sec-WebSocket-Protocol", r->subprotocols);
    http_out_line(&o, "Sec-WebSocket-Extensions", r->extensions);
    http_out_lines(&o, r->lines, r->line_count, reserved);
    http_out_text(&o, "\r\n");
    return http_out_end(&o);
}

/*
 * True when the comma-separated list has an element that is `name`, parameters behind a semicolon
 * aside.
 */
static bool was_offered(const char *list, struct str name)
{
    while (list && *list) {
        list += strspn(list, ", \t");
        size_t len = strcspn(list, ",; \t");
        if (len > 0 && len == name.len && memcmp(list, name.s, len) == 0)
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

static const char *verify_accept(const struct http_head *response, const char *key)
{
    char accept[HANDSHAKE_ACCEPT_SIZE + 1];
    struct str have;
    handshake_accept(key, accept);
    if (!lone_field(response, "Sec-WebSocket-Accept", &have) || !str_is(have, accept))
        return "The server's Sec-WebSocket-Accept does not answer our key";
    return NULL;
}

/*
 * Extension names are tokens, compared as they come; what their parameters mean is for those who
 * negotiate them.
 */
static const char *verify_extensions(const struct http_head *response, const char *offered)
{
    struct http_cursor cursor = {0};
    struct str element;
    while (http_next_element(response, "Sec-WebSocket-Extensions", &cursor, &element)) {
        struct str name = {element.s, 0};
        while (name.len < element.len && !strchr("; \t", element.s[name.len]))
            name.len++;
        if (!was_offered(offered, name))
            return "The server chose an extension that was not offered";
    }
    return NULL;
}

static const char *verify_subprotocol(const struct http_head *response, const char *offered,
                                      struct str *chosen)
{
    *chosen = (struct str){"", 0};
    if (!http_field(response, "Sec-WebSocket-Protocol", 0, chosen))
        return NULL;
    if (!lone_field(response, "Sec-WebSocket-Protocol", chosen) ||
        !http_is_token(chosen->s, chosen->len) || !was_offered(offered, *chosen))
        return "The server chose a sub-protocol that was not offered";
    return NULL;
}

const char *handshake_verify(const struct http_head *response, const struct handshake_request *sent,
                             struct str *subprotocol)
{
    if (http_status(response) != 101)
        return "The server did not switch protocols";
    if (!http_has_token(response, "Upgrade", "websocket"))
        return "The server's answer lacks the header \"Upgrade: websocket\"";
    if (!http_has_token(response, "Connection", "upgrade"))
        return "The server's answer lacks the header \"Connection: Upgrade\"";
    const char *wrong = verify_accept(response, sent->key);
    if (!wrong)
        wrong = verify_extensions(response, sent->extensions);
    return wrong ? wrong : verify_subprotocol(response, sent->subprotocols, subprotocol);
}
