// SPDX-License-Identifier: MIT
/*
 * The messages between master and worker, and how they are sent: one datagram of a SOCK_SEQPACKET
 * pair each, so that a message comes whole or not at all, and end of file is seen. Both ends are
 * one program, so a message is the struct as it lies in memory; without its larger parts where a
 * kind needs only the number, so that a worker that is busy loading its app can be sent the lines
 * to all others. Should they be two programs after all, because the file was replaced while the
 * server ran, the version that each message begins with says so. What comes in is checked in any
 * case, because a worker runs other people's code: its kind, its size, and that its texts end.
 */
#ifndef NEAP_LINE_WIRE_H
#define NEAP_LINE_WIRE_H

#include "net/tls.h"

#include <stdint.h>

/* Goes up with every change of struct wire and of what its kinds mean; wire.c holds it to that. */
enum { WIRE_VERSION = 1 };

enum {
    WIRE_ADDRESS =
        272, /* a host name (RFC 1035: 255) or path (107) with port or "unix:", and its NUL */
    WIRE_ERROR = 256,
    WIRE_PROGRAM = 128, /* a version, as `neap --version` prints it */
    WIRE_PATH = 1024,   /* of the folder that scratch.h makes */
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
    WIRE_OTHER,   /* master: number = another worker, and a descriptor: a line to it */
    WIRE_LOST,    /* worker: number = another worker, the line to which is of no use */
    WIRE_BEGIN,   /* master: the first; program, number = seat, count = workers, path (perhaps
                     empty), and a descriptor: the page of watchdog.h */
    WIRE_LOCK,    /* master: the next when there is a path; a descriptor: its lock */
    WIRE_UNFIT,   /* worker: error; it cannot be one and ends */
    WIRE_KINDS
};

struct wire {
    uint32_t version; /* wire_send fills it in */
    enum wire_kind kind;
    int number, count;
    double seconds;
    char scheme[8];
    char address[WIRE_ADDRESS];
    char error[WIRE_ERROR];
    struct tls_tickets tickets;
    char program[WIRE_PROGRAM];
    char path[WIRE_PATH];
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
 * the caller's in *fd, else -1. Returns 1, 0 at end of file, or -1 with errno: EAGAIN, or, when the
 * message has been dropped, EBADMSG for a malformed one, EPROTO for another version's, which is in
 * message->version then.
 */
int wire_receive(int sock, struct wire *message, int *fd, int wait);

#endif
