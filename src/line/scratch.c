// SPDX-License-Identifier: MIT
/*
 * The lock is flock's: it belongs to the open file, of which each worker is sent a descriptor, so
 * it is there until the last of them has ended, also when the master was killed before. Descriptors
 * are closed in programs that an app runs, so these do not hold it.
 *
 * Two servers may start at the same time, and one looks at the other's folder before it is locked.
 * So a folder without `owner` counts as left over only when it is a minute old, and who locks its
 * `owner` looks whether it is still there.
 */
#include "line/scratch.h"

#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OWNER "owner"
#define PATH_ROOM 1024
#define ATTEMPTS 5
#define YOUNG_SECONDS 60

struct scratch {
    char path[PATH_ROOM];
    int lock;
};

static const char *root(void)
{
    static const char memory[] = "/dev/shm";
    const char *other = getenv("TMPDIR");
    if (access(memory, W_OK | X_OK) == 0)
        return memory;
    return other && other[0] == '/' ? other : "/tmp";
}

/* --- Removing ------------------------------------------------------------------------------- */

/* Removes a folder, in which there are files only, `owner` last. Takes the descriptor. */
static void remove_folder(int dir, const char *path)
{
    DIR *d = fdopendir(dir);
    struct dirent *e;
    if (!d) {
        close(dir);
        return;
    }
    while ((e = readdir(d)))
        if (strcmp(e->d_name, OWNER) != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    unlinkat(dirfd(d), OWNER, 0);
    closedir(d);
    if (rmdir(path) < 0 && errno != ENOENT)
        log_warn("cannot remove %s: %s", path, strerror(errno));
}

/* True when a folder's server lives, or is about to. */
static bool in_use(int dir, const struct stat *st)
{
    int lock = openat(dir, OWNER, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (lock < 0)
        return errno != ENOENT || time(NULL) - st->st_mtime < YOUNG_SECONDS;
    bool locked = flock(lock, LOCK_EX | LOCK_NB) < 0;
    close(lock);
    return locked;
}

/* Only folders that are this user's, as such (not by a link), and open to nobody else. */
static void remove_if_dead(const char *path)
{
    struct stat st;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return;
    if (fstat(dir, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077) || in_use(dir, &st))
        close(dir);
    else
        remove_folder(dir, path);
}

static void remove_dead(const char *where, const char *prefix)
{
    char path[PATH_ROOM];
    DIR *d = opendir(where);
    struct dirent *e;
    if (!d)
        return;
    while ((e = readdir(d)))
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 &&
            snprintf(path, sizeof path, "%s/%s", where, e->d_name) < (int)sizeof path)
            remove_if_dead(path);
    closedir(d);
}

/* --- Making --------------------------------------------------------------------------------- */

/* The locked `owner` of a new folder; -1 and errno; EAGAIN when somebody took it for a dead one. */
static int take(const char *path)
{
    char owner[PATH_ROOM + sizeof OWNER];
    struct stat st;
    snprintf(owner, sizeof owner, "%s/%s", path, OWNER);
    int lock = open(owner, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) {
        errno = errno == ENOENT ? EAGAIN : errno;
        return -1;
    }
    if (flock(lock, LOCK_EX | LOCK_NB) == 0 && fstat(lock, &st) == 0 && st.st_nlink > 0)
        return lock;
    close(lock);
    errno = EAGAIN;
    return -1;
}

static int make(struct scratch *s, const char *where, const char *prefix)
{
    if (snprintf(s->path, sizeof s->path, "%s/%sXXXXXX", where, prefix) >= (int)sizeof s->path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!mkdtemp(s->path))
        return -1;
    s->lock = take(s->path);
    if (s->lock < 0 && errno != EAGAIN)
        rmdir(s->path);
    return s->lock;
}

struct scratch *scratch_open(void)
{
    char prefix[32];
    const char *where = root();
    struct scratch *s = mem_alloc(sizeof *s);
    snprintf(prefix, sizeof prefix, "neap-%u-", (unsigned)geteuid());
    remove_dead(where, prefix);
    for (int i = 0; i < ATTEMPTS; i++) {
        if (make(s, where, prefix) >= 0)
            return s;
        if (errno != EAGAIN)
            break;
    }
    int error = errno;
    mem_free(s);
    errno = error;
    return NULL;
}

const char *scratch_path(const struct scratch *s)
{
    return s->path;
}

void scratch_close(struct scratch *s)
{
    if (!s)
        return;
    int dir = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir >= 0)
        remove_folder(dir, s->path);
    close(s->lock);
    mem_free(s);
}

int scratch_lock(const struct scratch *s)
{
    return s->lock;
}
