// SPDX-License-Identifier: MIT
/*
 * See unixsock.h. Two servers that start at one moment on one stale name may race; the later bind
 * fails then.
 */
#include "line/unixsock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int name(struct sockaddr_un *un, const char *path)
{
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof un->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
    return 0;
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Closes and keeps errno: for the way out of a failure. */
static int give_up(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int unixsock_connect(const char *path)
{
    struct sockaddr_un un;
    if (name(&un, path) < 0)
        return -1;
    int fd = new_socket();
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) < 0)
        return give_up(fd);
    return fd;
}

int unixsock_clear(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : -1;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return -1;
    }
    int fd = unixsock_connect(path);
    if (fd < 0 && errno == ECONNREFUSED)
        return unlink(path);
    if (fd >= 0)
        close(fd);
    errno = EADDRINUSE; /* it answers, or its queue is full, or it is not ours to judge */
    return -1;
}

/* The permissions are right from the first moment, which chmod after bind could not promise. */
static int bind_with_mode(int fd, const struct sockaddr_un *un, mode_t mode)
{
    mode_t mask = umask(0777);
    umask(mask | (0777 & ~mode));
    int result = bind(fd, (const struct sockaddr *)un, sizeof *un);
    int error = errno;
    umask(mask);
    errno = error;
    return result;
}

int unixsock_listen(struct unixsock *s, const char *path, mode_t mode, int backlog)
{
    struct sockaddr_un un;
    struct stat st;
    if (name(&un, path) < 0 || unixsock_clear(path) < 0)
        return -1;
    int fd = new_socket();
    if (fd < 0)
        return -1;
    if (bind_with_mode(fd, &un, mode) < 0)
        return give_up(fd);
    if (lstat(path, &st) < 0 || listen(fd, backlog) < 0) {
        give_up(fd);
        int error = errno;
        unlink(path);
        errno = error;
        return -1;
    }
    snprintf(s->path, sizeof s->path, "%s", path);
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    return fd;
}

void unixsock_remove(struct unixsock *s)
{
    struct stat st;
    if (s->path[0] && lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
        unlink(s->path);
    s->path[0] = '\0';
}
