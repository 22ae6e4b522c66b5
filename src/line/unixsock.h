// SPDX-License-Identifier: MIT
/*
 * Unix sockets that have a name in the file system: listening on one, connecting to one. The
 * trouble with them is that the file outlives the server that made it. A file that nobody listens
 * on any more is removed; one that answers, and any other kind of file, is left alone.
 */
#ifndef NEAP_LINE_UNIXSOCK_H
#define NEAP_LINE_UNIXSOCK_H

#include <sys/types.h>

/* The socket file that we made, so that it is removed only while it is still ours. */
struct unixsock {
    char path[108];
    dev_t dev;
    ino_t ino;
};

/*
 * Binds and listens; `mode` is the most that the file's permissions may be (the umask is applied
 * too). Returns a non-blocking close-on-exec descriptor, or -1 with errno: EADDRINUSE when somebody
 * listens there, EEXIST when there is a file of another kind, ENAMETOOLONG, or what bind says.
 */
int unixsock_listen(struct unixsock *s, const char *path, mode_t mode, int backlog);

/* Removes the file if it is still the one that unixsock_listen made. */
void unixsock_remove(struct unixsock *s);

/*
 * Connects without waiting. Returns a non-blocking close-on-exec descriptor, or -1 with errno
 * (ECONNREFUSED: stale).
 */
int unixsock_connect(const char *path);

/*
 * Removes the socket file if nobody listens on it. Returns 0 when the name is free then, or -1 with
 * errno.
 */
int unixsock_clear(const char *path);

#endif
