// SPDX-License-Identifier: MIT
/*
 * The messages between master and worker, and how they are sent: one datagram of a SOCK_SEQPACKET
 * pair each, so that a message comes whole or not at all, and end of file is seen. Both ends are
 * one program (a fork), so a message is the struct as it lies in memory; without its larger part
 * where a kind needs only the number, so that a worker that is busy loading its app can be sent the
 * lines to all others. What comes in is checked all the same, because a worker runs other people's
 * code: its kind, its size, and that its texts end.
 */
#ifndef NEAP_LINE_WIRE_H
#define NEAP_LINE_WIRE_H

#include "net/tls.h"

enum {
    WIRE_ADDRESS =
        272, /* a host name (RFC 1035: 255) or path (107) with port or "unix:", and its NUL */
    WIRE_ERROR = 256,
};

enum wire_kind {
    WIRE_BIND,    /* worker: address, scheme, number = backlog */
    WIRE_BOUND,   /* master: number = port and a descriptor, or error */
    WIRE_UNBIND,  /* worker: address, number = port */
    WIRE_READY,   /* worker */
    WIRE_REFUSED, /* worker: its app does not load */
    WIRE_RETIRE,  /* worker: goes on, but wants to be replaced */
    WIRE_STOP,    /* master: seconds; number = 1: its successor serves */
    WIRE_CERTS,   /* master: read certificates again */
    WIRE_TICKETS, /* master: tickets, at the start and when they change */
    WIRE_PEER,    /* master: number = another worker, and a descriptor: a line to it */
    WIRE_LOST,    /* worker: number = another worker, the line to which is of no use */
    WIRE_KINDS
};

struct wire {
    enum wire_kind kind;
    int number;
    double seconds;
    char scheme[8];
    char address[WIRE_ADDRESS];
    char error[WIRE_ERROR];
    struct tls_tickets tickets;
};

/* A connected pair, close-on-exec, blocking. Returns 0, or -1 with errno. */
int wire_pair(int fds[2]);

/*
 * Sends without waiting; `fd` goes along unless it is -1 and stays the caller's. Returns 0, or -1
 * with errno.
 */
int wire_send(int sock, const struct wire *message, int fd);

/*
 * Receives the next message; `wait` says whether to wait for it. A descriptor that came along is
 * the caller's in *fd, else -1. Returns 1, 0 at end of file, or -1 with errno: EAGAIN, or EBADMSG
 * for a malformed message, which has been dropped.
 */
int wire_receive(int sock, struct wire *message, int *fd, int wait);

#endif
