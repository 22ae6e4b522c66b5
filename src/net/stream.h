// SPDX-License-Identifier: MIT
/*
 * A byte stream to one peer: plain TCP, or TLS over it. Four operations; the user of a stream does
 * not know which it is.
 *
 * "Not now" has two forms, because TLS may need to write before it can read on, and the other way
 * round: the result says which readiness to wait for. And what has been decrypted waits in no
 * descriptor: `pending` tells that a read would bring more at once.
 */
#ifndef NEAP_NET_STREAM_H
#define NEAP_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct iovec;
struct stream;

enum stream_status {
    STREAM_ERROR = -1,      /* broken for good; stream->error is the errno */
    STREAM_WANT_READ = -2,  /* nothing now: wait until the descriptor is readable */
    STREAM_WANT_WRITE = -3, /* nothing now: wait until it is writable */
};

struct stream_ops {
    /* Up to `len` bytes into `out`: their count, 0 at the peer's end of data, or a status. */
    ssize_t (*read)(struct stream *s, void *out, size_t len);
    /* Writes from the start of the vector: bytes taken (at least 1), or a status. */
    ssize_t (*write)(struct stream *s, const struct iovec *iov, int count);
    /* Tells the peer that no more data comes (FIN; close_notify first in TLS). 0 or a status. */
    int (*finish)(struct stream *s);
    /* Frees what the stream owns and closes the descriptor; stream->fd is -1 afterwards. */
    void (*close)(struct stream *s);
};

struct stream {
    const struct stream_ops *ops;
    void *tls;       /* owned by the operations; NULL for plain TCP */
    const char *why; /* of an error, in words; NULL: errno says it all */
    int fd;
    int error;
    uint32_t sent;    /* bytes that the kernel has taken, modulo 2^32; of TLS what is encrypted */
    bool pending;     /* after a read: the next one has something whatever the descriptor says */
    bool handshaking; /* the handshake below has not been finished; false for plain TCP */
    bool cut_off;     /* after an error: the peer's data ended, without the close_notify of TLS */
    bool plain_http;  /* after an error in the handshake: the peer spoke HTTP without TLS */
};

/* Takes over a connected, non-blocking socket (TCP or Unix). */
void stream_init_plain(struct stream *s, int fd);

enum stream_peer {
    STREAM_PEER_THERE,    /* as far as is known */
    STREAM_PEER_FINISHED, /* it sends no more; there may be unread data before that */
    STREAM_PEER_GONE,     /* broken: what is written goes nowhere */
};

/* What has become of the peer, for a connection that does not read at the moment. A system call. */
enum stream_peer stream_peer(const struct stream *s);

/*
 * How many bytes of `sent` the peer's system has acknowledged (TCP), or the peer has read (Unix
 * sockets; there the kernel counts what it needs for bytes, so the number may be too small as long
 * as some wait). Modulo 2^32, to be compared with an earlier answer. A system call.
 */
uint32_t stream_acked(const struct stream *s);

/*
 * Forgets TLS and keeps the socket, as a plain stream from now on: for an answer to a peer that has
 * not spoken TLS at all (plain_http). What it said is lost.
 */
void stream_become_plain(struct stream *s);

#endif
