// SPDX-License-Identifier: MIT
//
// What the bare loop and the load generator send and receive with: a TCP socket, or TLS over it
// by OpenSSL, with no more system calls than plain TCP takes. A call behaves as recv and send do:
// the bytes, 0 at
// the end, or -1 with errno, EAGAIN for "not now".

#ifndef BENCH_TRANSPORT_H
#define BENCH_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct transport {
    int fd;
    void *tls; // NULL over plain TCP
};

// From now on transports are TLS: a server with a certificate and key in PEM files; or a client,
// which verifies nothing and offers TLS_AES_128_GCM_SHA256 alone, lest the servers' preferences
// be compared. Ends the program when that cannot be.
void transport_serve_tls(const char *cert, const char *key);
void transport_use_tls(void);

// Takes over a connected socket. A client's TLS handshake blocks, if the socket does.
void transport_open(struct transport *t, int fd);
void transport_close(struct transport *t);

ssize_t transport_recv(struct transport *t, void *to, size_t room);
ssize_t transport_send(struct transport *t, const void *from, size_t size);

#endif
