// SPDX-License-Identifier: MIT
//
// A read takes all records that have come, so that data inside OpenSSL is never forgotten by
// somebody who waits for the socket: the room must be larger than what a peer sends in one go.

#include "transport.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static SSL_CTX *context;
static bool serving;

static void need(bool held, const char *what)
{
    if (held)
        return;
    fprintf(stderr, "TLS: %s\n", what);
    exit(1);
}

static void make_context(const SSL_METHOD *method)
{
    context = SSL_CTX_new(method);
    need(context != NULL, "no context");
    SSL_CTX_set_read_ahead(context, 1); // one recv for a record, not two
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void transport_serve_tls(const char *cert, const char *key)
{
    make_context(TLS_server_method());
    serving = true;
    need(SSL_CTX_use_certificate_chain_file(context, cert) == 1, "the certificate");
    need(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1, "the key");
}

void transport_use_tls(void)
{
    make_context(TLS_client_method());
    need(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1, "the cipher suite");
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
}

void transport_open(struct transport *t, int fd)
{
    *t = (struct transport){.fd = fd};
    if (context == NULL)
        return;
    SSL *ssl = SSL_new(context);
    need(ssl != NULL && SSL_set_fd(ssl, fd) == 1, "no connection");
    if (serving)
        SSL_set_accept_state(ssl);
    else
        need(SSL_connect(ssl) == 1, "the handshake");
    t->tls = ssl;
}

void transport_close(struct transport *t)
{
    SSL_free(t->tls);
    close(t->fd);
}

// What a call that returned `r` <= 0 means, as recv and send would say it.
static ssize_t outcome(SSL *ssl, int r)
{
    int why = SSL_get_error(ssl, r);
    ERR_clear_error();
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return -1;
}

ssize_t transport_recv(struct transport *t, void *to, size_t room)
{
    size_t total = 0;
    if (t->tls == NULL)
        return recv(t->fd, to, room, MSG_DONTWAIT);
    while (total < room) {
        size_t n;
        int r = SSL_read_ex(t->tls, (char *)to + total, room - total, &n);
        if (r <= 0)
            return total > 0 ? (ssize_t)total : outcome(t->tls, r);
        total += n;
        if (!SSL_has_pending(t->tls))
            break; // the rest, if there is any, makes the socket readable
    }
    return (ssize_t)total;
}

ssize_t transport_send(struct transport *t, const void *from, size_t size)
{
    size_t total = 0;
    if (t->tls == NULL)
        return send(t->fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (total < size) {
        size_t n;
        int r = SSL_write_ex(t->tls, (const char *)from + total, size - total, &n);
        if (r <= 0)
            return total > 0 ? (ssize_t)total : outcome(t->tls, r);
        total += n;
    }
    return (ssize_t)total;
}
