// SPDX-License-Identifier: MIT
/*
 * The opening handshake of RFC 6455 §4, both roles, as checks on parsed heads and bytes to send. No
 * input or output, no negotiation of extensions; the digest and base64 are OpenSSL's.
 */
#ifndef NEAP_PROTO_HTTP_HANDSHAKE_H
#define NEAP_PROTO_HTTP_HANDSHAKE_H

#include "base/buf.h"
#include "proto/http/http.h"

enum {
    HANDSHAKE_KEY_SIZE = 24,    /* base64 of 16 bytes */
    HANDSHAKE_ACCEPT_SIZE = 28, /* base64 of a SHA-1 */
};

/* Answer to an upgrade request that is not acceptable. */
struct handshake_refusal {
    int status;          /* 400, 405, 426 or 505 */
    const char *reason;  /* sentence for the body: says what is wrong */
    const char *allow;   /* value of an Allow header, or NULL */
    const char *version; /* value of a Sec-WebSocket-Version header, or NULL */
};

/*
 * Judges a request head as an upgrade to WebSocket (§4.2.1). Returns true when it is one and all is
 * well; else *r says how to refuse it. Checked in this order:
 *
 *      HTTP/1.0                                                 400
 *      method other than GET                                    405, Allow: GET
 *      Host missing, twice, empty or with characters of none    400
 *      a body announced: Content-Length not 0, any
 *      Transfer-Encoding                                        400
 *      no `Upgrade: websocket`                                  426, Upgrade: websocket
 *      no `Connection: upgrade`                                 400
 *      Sec-WebSocket-Version missing or twice                   400
 *      … not 13                                                 426, Sec-WebSocket-Version: 13
 *      Sec-WebSocket-Key missing, twice, not base64 of 16 bytes 400
 *      Origin twice                                             400
 *      Sec-WebSocket-Protocol that is not a list of tokens      400
 *      Sec-WebSocket-Extensions malformed (§9.1)                400
 *
 * The Upgrade and Connection lines of a 426 (RFC 9110 §15.5.22) are for the caller to write.
 */
bool handshake_check(const struct http_head *h, struct handshake_refusal *r);

/*
 * Writes the 28 characters of Sec-WebSocket-Accept for the key (HANDSHAKE_KEY_SIZE characters)
 * and a NUL (§4.2.2 step 5.4). Dies when OpenSSL has no SHA-1.
 */
void handshake_accept(const char *key, char out[HANDSHAKE_ACCEPT_SIZE + 1]);

/*
 * The first sub-protocol of the client's list that is among ours (§4.2.2 step 5.5; case-sensitive),
 * or NULL. The result is one of `ours`.
 */
const char *handshake_subprotocol(const struct http_head *h, const char *const *ours, size_t count);

/*
 * Appends the 101 response to a request that handshake_check has accepted. `subprotocol`,
 * `extensions` and `server` may be NULL; the lines are checked already. A line named Server takes
 * the place of ours; lines whose names the handshake itself uses (Upgrade, Connection,
 * Sec-WebSocket-…, Host, Content-Length, Transfer-Encoding) are left out. Returns 0, ERR_NOMEM
 * with the buffer as it was, or ERR_ARGUMENT when the request has no key.
 */
struct handshake_response {
    const char *subprotocol, *extensions, *server;
    const struct http_line *lines;
    size_t line_count;
};
int handshake_write_response(const struct http_head *request, const struct handshake_response *r,
                             struct buf *out);

/* Client: makes a key from 16 random bytes (§4.1 step 7). */
void handshake_key(const uint8_t nonce[16], char out[HANDSHAKE_KEY_SIZE + 1]);

/*
 * Client: appends the request (§4.1). `subprotocols` (a comma-separated value) and `extensions`
 * may be NULL; everything is checked already; lines as in the response. Returns 0, or ERR_NOMEM
 * with the buffer as it was.
 */
struct handshake_request {
    const char *host;   /* value of the Host header, port included where it is not the default */
    const char *target; /* path and query */
    const char *key;
    const char *subprotocols, *extensions;
    const struct http_line *lines;
    size_t line_count;
};
int handshake_write_request(const struct handshake_request *r, struct buf *out);

/*
 * Client: judges the server's answer (§4.1, end): status 101, Upgrade, Connection, the right accept
 * value, no extension that was not offered, no sub-protocol that was not offered (*subprotocol is
 * the one chosen, a view into the head; empty when none). Returns NULL when all is well, else a
 * sentence that says what is wrong.
 */
const char *handshake_verify(const struct http_head *response, const struct handshake_request *sent,
                             struct str *subprotocol);

#endif
