// SPDX-License-Identifier: MIT
/*
 * TLS for servers: a stream over OpenSSL that looks like any other, and the settings behind it.
 *
 *      tls_config ──▶ tls_context (certificate, key, ciphers, …) ──▶ a stream for each connection
 *                          ▲                       ▲
 *           of a listener; a new one after     tls_tickets: the keys of session tickets,
 *           certificates were read again       the same in all workers
 *
 * TLS 1.2 (RFC 5246) and 1.3 (RFC 8446), nothing older; no renegotiation, no compression, no early
 * data; ALPN (RFC 7301) knows http/1.1 alone. Only src/net/tls*.c see OpenSSL's headers.
 *
 *      tls.c           the stream            tls_context.c   settings
 *      tls_files.c     certificates, keys    tls_ciphers.c   cipher suites by name
 *      tls_peer.c      client certificates   tls_tickets.c   session tickets
 */
#ifndef NEAP_NET_TLS_H
#define NEAP_NET_TLS_H

#include "net/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLS_ERROR_SIZE = 400 };

enum tls_verify {
    TLS_VERIFY_NONE,     /* clients are not asked for a certificate */
    TLS_VERIFY_OPTIONAL, /* asked; one that does not verify ends the handshake, none is fine */
    TLS_VERIFY_REQUIRE,
};

/* Texts are borrowed during tls_context_new; NULL where there is nothing. */
struct tls_config {
    const char *cert_file, *key_file, *key_password; /* PEM: chain with the server's first; key */
    const char *p12_file, *p12_password;             /* or PKCS#12, which has both */
    enum tls_verify verify;
    const char *ca_file, *ca_password; /* who may sign clients' certificates: PEM, or PKCS#12 when
                                          there is a password */
    bool tls12, tls13;                 /* at least one */
    const char *const *ciphers;        /* names of OpenSSL or IANA; those of TLS 1.3 and of 1.2
                                          replace the default of their version */
    size_t cipher_count;
    unsigned session_timeout; /* seconds a session may be resumed for */
    bool share_session;       /* session tickets; false: every handshake is a full one */
};

/* A key that encrypts session tickets (RFC 5077 §4), and its name in them. */
struct tls_ticket_key {
    uint8_t name[16], aes[32], mac[32];
};

/* The newest encrypts; older ones only decrypt, so that a rotation costs nobody a session. */
enum { TLS_TICKET_KEYS = 3 };
struct tls_tickets {
    uint32_t count;
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
};

/* Puts a new random key in front and drops the oldest of more than TLS_TICKET_KEYS. */
void tls_tickets_rotate(struct tls_tickets *t);

struct tls_context;

/*
 * Reads all files and makes a context with one reference. `tickets` is looked at in every handshake
 * and must outlive the context. On failure NULL, and one line in `error` that names the file and
 * says what is wrong with it.
 */
struct tls_context *tls_context_new(const struct tls_config *config,
                                    const struct tls_tickets *tickets, char error[TLS_ERROR_SIZE]);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);

/*
 * Takes over a connected, non-blocking socket as the server's side of TLS; the stream keeps the
 * context alive. The handshake happens inside the first reads and writes. Returns false, with the
 * socket untouched, when memory is short.
 */
bool stream_init_tls(struct stream *s, int fd, struct tls_context *context);

/* --- The client's certificate ----------------------------------------------------------------- */

struct tls_cert;

struct tls_cert_info {
    char *subject, *issuer;        /* as RFC 4514 writes names, UTF-8: "CN=alice,O=Example" */
    char *serial;                  /* hex digits */
    char *fingerprint;             /* SHA-256 of the certificate, 64 hex digits */
    int64_t not_before, not_after; /* seconds since 1970 */
    char **names;                  /* subjectAltName: DNS names, addresses, mail, URIs */
    size_t name_count;
};

/* A new reference to the peer's certificate; NULL: plain stream, none given, or not verified. */
struct tls_cert *tls_peer_cert(const struct stream *s);
void tls_cert_unref(struct tls_cert *cert); /* NULL is allowed */

/* What it says; to be freed with tls_cert_info_free. False when memory is short. */
bool tls_cert_read(const struct tls_cert *cert, struct tls_cert_info *info);
void tls_cert_info_free(struct tls_cert_info *info);

#endif
