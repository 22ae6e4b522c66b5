// SPDX-License-Identifier: MIT
/*
 * Reads the address of a listener as people write it, and finds the socket address to bind.
 *
 *      127.0.0.1:9090    localhost:9090    [::1]:9090    0.0.0.0:0    unix:/run/app.sock
 */
#ifndef NEAP_MASTER_BINDADDR_H
#define NEAP_MASTER_BINDADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct bindaddr {
    struct sockaddr_storage sa;
    socklen_t len;
    char host[256]; /* as written, brackets included; the path for a Unix socket */
    int port;       /* 0 for a Unix socket, and where any free port is wanted */
    bool local;     /* a Unix socket */
};

/*
 * Parses and resolves. A host name is looked up, which may take a while; of its addresses the first
 * IPv4 one is taken, else the first. Returns NULL, or why it cannot be, as words that follow a
 * colon; they are constant or live until the next call.
 */
const char *bindaddr_parse(struct bindaddr *a, const char *text);

/* The port in the socket address, host byte order; and setting it. Not for Unix sockets. */
int bindaddr_port(const struct sockaddr_storage *sa);
void bindaddr_set_port(struct bindaddr *a, int port);

/*
 * A system error as lower-case words ("address already in use"), to stand after a colon. Lives
 * until the next call.
 */
const char *bindaddr_why(int error);

#endif
