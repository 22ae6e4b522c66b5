// SPDX-License-Identifier: MIT
/*
 * The pid file is written beside its place and renamed into it, so that a reader never finds half a
 * number. One that names a running process of our own program's name means that this server runs
 * already; a number that now belongs to something else, or to nobody, is left over and replaced.
 *
 * Where it lies, others may have been before: only regular files are read or replaced, so that no
 * FIFO holds up the start, and no link leads elsewhere.
 */
#include "base/log.h"
#include "master/master_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME = 32 };

/* Nothing is there, or a regular file. */
static bool usable(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0 || S_ISREG(st.st_mode))
        return true;
    log_error("the pid file %s is not a regular file", path);
    return false;
}

/* The number in the file, or 0. */
static int read_pid(const char *path)
{
    int pid = 0;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    if (f && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fscanf(f, "%d", &pid) != 1))
        pid = 0;
    if (f)
        fclose(f);
    return pid > 0 ? pid : 0;
}

/* The name of a process's program as the kernel keeps it; empty when there is no such process. */
static void program_name(int pid, char name[NAME])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    name[0] = '\0';
    FILE *f = fopen(path, "re");
    if (f && !fgets(name, NAME, f))
        name[0] = '\0';
    if (f)
        fclose(f);
}

static bool names_running_server(int pid)
{
    char its[NAME], ours[NAME];
    program_name(pid, its);
    program_name((int)getpid(), ours);
    return pid != (int)getpid() && its[0] && strcmp(its, ours) == 0;
}

/* Whether the file names a server that runs; it is told then. */
static bool taken(const char *path)
{
    int pid = read_pid(path);
    if (!pid || !names_running_server(pid))
        return false;
    log_error("the pid file %s names a running server, process %d", path, pid);
    return true;
}

/* What a server that was killed has left behind is removed. */
static int create(const char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags, 0644);
    if (fd >= 0 || errno != EEXIST || unlink(path) < 0)
        return fd;
    return open(path, flags, 0644);
}

static int write_new(const char *path)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int fd = create(path);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, (size_t)len);
    int error = n < 0 ? errno : ENOSPC;
    if (close(fd) == 0 && n == len)
        return 0;
    unlink(path);
    errno = error;
    return -1;
}

int pidfile_write(const char *path)
{
    char beside[4096];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        errno = ENAMETOOLONG;
    else if (!usable(path) || !usable(beside) || taken(path) || taken(beside))
        return -1;
    else if (write_new(beside) == 0 && rename(beside, path) == 0)
        return 0;
    log_error("cannot write the pid file %s: %s", path, strerror(errno));
    return -1;
}

void pidfile_remove(const char *path)
{
    if (read_pid(path) == (int)getpid())
        unlink(path);
}
