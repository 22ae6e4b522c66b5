// SPDX-License-Identifier: MIT
/*
 * The listening sockets, which the master keeps so that they outlive the workers:
 *
 *      entry "0.0.0.0:9090"          worker 0   worker 1   worker 2
 *      ws, port 9090         fds:      [7]        [8]        [9]      one SO_REUSEPORT socket each
 *      entry "0.0.0.0:0"
 *      ws, port 41233        fds:      [10]       [11]       -        worker 2 has not asked yet
 *      entry "unix:/run/a"
 *      http                  fds:      [12]       [12']      [12'']   duplicates of one socket
 *
 * A worker gets a copy of its own. When it dies, the master's copy keeps the queue of connections
 * that wait to be accepted, and the worker that replaces it is given the same socket again: asking
 * for an address finds the first entry of that text which the worker, in this life, does not have
 * already.
 */
#ifndef NEAP_MASTER_SOCKETS_H
#define NEAP_MASTER_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

struct sockets;

struct sockets_request {
    int worker;
    const char *address; /* as in line.h */
    const char *scheme;
    int backlog;
};

struct sockets *sockets_new(int workers);

/* Closes everything and removes the files of Unix sockets. */
void sockets_free(struct sockets *s);

/*
 * The worker's socket for that address, bound now if need be. Returns the master's descriptor,
 * which stays the master's, and *port; or -1 and one line in `error`.
 */
int sockets_bind(struct sockets *s, const struct sockets_request *r, int *port, char error[256]);

/* The worker has closed its listener of that address and bound port: closes the master's copy. */
void sockets_unbind(struct sockets *s, int worker, const char *address, int port);

/* A new life of the worker begins: it has asked for nothing yet; what is kept for it stays. */
void sockets_worker_started(struct sockets *s, int worker);

/*
 * The worker has loaded: closes what was kept for it from an earlier life and not asked for again.
 */
void sockets_worker_ready(struct sockets *s, int worker);

/* The worker will not come back: closes what is kept for it. */
void sockets_worker_gone(struct sockets *s, int worker);

/*
 * The worker does not come back for now: where others have a socket, too, its own is closed. What
 * waits there to be accepted is reset, later connections go to the others. Returns whether there
 * was one. In a later life it gets a new socket.
 */
bool sockets_worker_absent(struct sockets *s, int worker);

/* True when the worker listens on something. */
bool sockets_worker_listens(const struct sockets *s, int worker);

/*
 * Writes the i-th listener as "ws://127.0.0.1:9090" or "ws+unix:/path". Returns false past the
 * last.
 */
bool sockets_text(const struct sockets *s, int i, char *out, size_t size);

#endif
