// SPDX-License-Identifier: MIT
/*
 * Finding the server and talking to it: see master/control.h for the folder and the protocol. A
 * server that was started with `--control PATH` is found by that path alone.
 *
 * Folders and sockets lie where other users may make some, too. What is not this user's or root's
 * (master/trust.h) is told and left alone; and what is printed can drive no terminal.
 */
#include "cli/control.h"

#include "base/escape.h"
#include "line/trust.h"
#include "line/unixsock.h"
#include "master/control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH = 640,
    LINE = 4096,
    ANSWER_MS = 10000, /* a master answers at once; one that does not is stopped or stuck */
};

/* The servers that were found. */
struct found {
    int count;
    char path[PATH]; /* of the last */
};

/* Prints one line, in which `text` is somebody else's. */
static void print(FILE *out, const char *before, const char *text, const char *after)
{
    char safe[2 * LINE];
    size_t len = escape_bytes(safe, sizeof safe, text, strlen(text), ESCAPE_PLAIN);
    fprintf(out, "%s%.*s%s\n", before, (int)len, safe, after);
    fflush(out);
}

static void distrust(const char *path, const char *why)
{
    char after[TRUST_WHY + 24];
    snprintf(after, sizeof after, " is not trusted: %s", why);
    print(stderr, "neap: ", path, after);
}

/*
 * Connects to a server of this user or root. Returns -1 when there is none; with errno, or with 0
 * there when that has been told.
 */
static int connect_to(const char *path)
{
    struct stat st;
    char why[TRUST_WHY] = "it is not a socket";
    if (lstat(path, &st) < 0)
        return -1;
    bool trusted = S_ISSOCK(st.st_mode) && trust_file(&st, why);
    int fd = trusted ? unixsock_connect(path) : -1;
    if (fd < 0 && trusted)
        return -1;
    if (fd >= 0 && trust_peer(fd, why))
        return fd;
    if (fd >= 0)
        close(fd);
    distrust(path, why);
    errno = 0;
    return -1;
}

/* A socket that somebody listens on: counts it. A second one makes a list of it, on stderr. */
static void try_socket(struct found *f, const char *path)
{
    int fd = connect_to(path);
    if (fd < 0)
        return;
    close(fd);
    if (f->count == 1) {
        fprintf(stderr, "neap: several servers are running; choose one with --control:\n");
        print(stderr, "  ", f->path, "");
    }
    if (f->count > 0)
        print(stderr, "  ", path, "");
    f->count++;
    snprintf(f->path, sizeof f->path, "%s", path);
}

static void search(struct found *f, const char *folder)
{
    char why[TRUST_WHY];
    int fd = trust_open_folder(folder, why);
    if (fd < 0 && why[0])
        distrust(folder, why);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *d;
    while (dir && (d = readdir(dir))) {
        int pid, end = 0;
        char path[PATH];
        if (sscanf(d->d_name, "%d.sock%n", &pid, &end) != 1 || end == 0 || d->d_name[end])
            continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, d->d_name) < (int)sizeof path)
            try_socket(f, path);
    }
    if (dir)
        closedir(dir);
}

/* Finds the only server. Returns 0, or the exit status after saying why not. */
static int find(struct found *f)
{
    char folder[512];
    *f = (struct found){0};
    for (int i = 0; control_folder(i, folder, sizeof folder); i++)
        search(f, folder);
    if (f->count == 0)
        fprintf(stderr, "neap: no server of this user is running (use --control PATH for one that "
                        "was started with it)\n");
    return f->count == 1 ? 0 : f->count == 0 ? 1 : 2;
}

/* Prints one line of the answer. Returns -1, or the exit status when it was the last. */
static int answer_line(const char *line)
{
    if (strcmp(line, "ok") == 0)
        return 0;
    if (strncmp(line, "error: ", 7) == 0) {
        print(stderr, "neap: ", line + 7, "");
        return 1;
    }
    print(stdout, "", line, "");
    return -1;
}

static int broken(const char *why)
{
    fprintf(stderr, "neap: %s\n", why);
    return 1;
}

/* Reads and prints the answer. Only its begin has a time limit: `stop` ends when the server has. */
static int answer(int fd)
{
    char line[LINE];
    size_t len = 0;
    int patience = ANSWER_MS;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        int n = poll(&p, 1, patience);
        if (n == 0)
            return broken("the server does not answer");
        char c;
        ssize_t got = n < 0 ? -1 : recv(fd, &c, 1, 0); /* lines are few and short */
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0 || len == sizeof line)
            return broken("the server went away before it had answered");
        patience = -1;
        line[len++] = c;
        if (c != '\n')
            continue;
        line[len - 1] = '\0';
        len = 0;
        int status = answer_line(line);
        if (status >= 0)
            return status;
    }
}

static int talk(const char *command, const char *path)
{
    char line[64], why[128] = "";
    int fd = connect_to(path);
    if (fd < 0 && errno) {
        snprintf(why, sizeof why, ": %s", strerror(errno));
        print(stderr, "neap: no server answers at ", path, why);
    }
    if (fd < 0)
        return 1;
    int len = snprintf(line, sizeof line, "%s\n", command);
    int status = send(fd, line, (size_t)len, MSG_NOSIGNAL) == len
                     ? answer(fd)
                     : broken("the server does not take the command");
    close(fd);
    return status;
}

int control_command(const char *command, const char *path)
{
    struct found f;
    int status = path ? 0 : find(&f);
    return status ? status : talk(command, path ? path : f.path);
}
