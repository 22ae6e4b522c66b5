// SPDX-License-Identifier: MIT
/* What the kernel says of files and peers, judged. */
#include "line/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool believed(uid_t user)
{
    return user == 0 || user == geteuid();
}

static bool no(char why[TRUST_WHY], const char *text)
{
    snprintf(why, TRUST_WHY, "%s", text);
    return false;
}

bool trust_file(const struct stat *st, char why[TRUST_WHY])
{
    if (!believed(st->st_uid)) {
        snprintf(why, TRUST_WHY, "it belongs to user %u", (unsigned)st->st_uid);
        return false;
    }
    return !(st->st_mode & (S_IWGRP | S_IWOTH)) || no(why, "others may write to it");
}

int trust_open_folder(const char *path, char why[TRUST_WHY])
{
    struct stat st;
    why[0] = '\0';
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT)
            no(why, errno == ENOTDIR || errno == ELOOP ? "it is not a folder" : strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) == 0 && trust_file(&st, why))
        return fd;
    close(fd);
    return -1;
}

bool trust_peer(int fd, char why[TRUST_WHY])
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return no(why, strerror(errno));
    if (believed(peer.uid))
        return true;
    snprintf(why, TRUST_WHY, "its process is of user %u", (unsigned)peer.uid);
    return false;
}
