// SPDX-License-Identifier: MIT
/* What the files of TLS share. Nobody but src/net/tls*.c includes this. */
#ifndef NEAP_NET_TLS_PRIVATE_H
#define NEAP_NET_TLS_PRIVATE_H

#include "net/tls.h"

#include <openssl/ssl.h>

enum { TLS_RECORD = 16 * 1024 }; /* bytes of data in one record at most (RFC 8446 §5.1) */

struct tls_context {
    SSL_CTX *ctx;
    const struct tls_tickets *tickets;
    unsigned refs;
    uint8_t record[TLS_RECORD]; /* where small pieces of output are put together */
};

/* What a stream owns: stream->tls. */
struct tls {
    SSL *ssl;
    struct tls_context *context;
    int fd;
    int error;     /* errno of the socket */
    uint32_t sent; /* bytes that the socket has taken */
    int end;       /* 0 or STREAM_ERROR: */
    bool ended;    /* what every further read returns */
    bool drained;  /* the last recv got less than it asked for */
    bool tried;    /* there was a recv in this call of OpenSSL */
    bool eof;      /* the socket has ended */
    bool broken;   /* after a fatal error nothing may be written, not even close_notify */
};

/* tls_context.c: writes one line into `error`; returns false, for the caller to return. */
bool tls_fail(char error[TLS_ERROR_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Why OpenSSL refused, in its words, and an empty error queue afterwards. Never NULL. */
const char *tls_reason(void);

/* tls_files.c: the server's certificate and key; certificates that clients' are checked with. */
bool tls_use_identity(SSL_CTX *ctx, const struct tls_config *config, char error[TLS_ERROR_SIZE]);
bool tls_use_authorities(SSL_CTX *ctx, const struct tls_config *config, char error[TLS_ERROR_SIZE]);

/* tls_ciphers.c */
bool tls_use_ciphers(SSL_CTX *ctx, const struct tls_config *config, char error[TLS_ERROR_SIZE]);

/* tls_tickets.c: has the context of `c` encrypt tickets with c->tickets. */
void tls_use_tickets(struct tls_context *c);

#endif
