// SPDX-License-Identifier: MIT
/*
 * The control socket's server. It must not become a way to hurt the master: at most 16 clients,
 * lines of at most 4 KiB, ten seconds for a line, replies that are written at once or not at all,
 * and the kernel's word (SO_PEERCRED) on who is asking, since the permissions of a socket file are
 * not heeded everywhere.
 */
#include "master/control.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "line/trust.h"
#include "line/unixsock.h"
#include "net/accept.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLIENTS = 16, LINE = 4096, PATH = 512 };

#define LINE_SECONDS 10.0

struct control {
    struct loop *loop;
    struct accept accept;
    struct unixsock file;
    control_handler *handler;
    void *arg;
    struct link clients;
    int client_count;
};

struct client {
    struct link link;
    struct control *control;
    struct loop_io io;
    struct loop_timer patience;
    bool waits; /* its command goes on; control_finish answers */
    size_t len;
    char line[LINE];
};

/* --- Clients -------------------------------------------------------------------------------- */

static void client_close(struct client *c)
{
    struct control *control = c->control;
    loop_io_watch(control->loop, &c->io, 0);
    loop_timer_stop(control->loop, &c->patience);
    close(c->io.ev.fd);
    list_remove(&c->link);
    control->client_count--;
    mem_free(c);
}

/* Sends all of it or fails. */
static bool reply(struct client *c, const void *bytes, size_t len)
{
    ssize_t n = send(c->io.ev.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n >= 0 && (size_t)n == len;
}

static bool say(struct client *c, const char *text)
{
    return reply(c, text, strlen(text));
}

/* Runs one command. Returns false when the client is to be dropped. */
static bool command(struct client *c, const char *line)
{
    struct control *control = c->control;
    struct buf out = {0};
    enum control_result result = control->handler(control->arg, line, &out);
    c->waits = result == CONTROL_LATER;
    bool sent = buf_len(&out) == 0 || reply(c, buf_bytes(&out), buf_len(&out));
    buf_free(&out);
    if (sent && result == CONTROL_OK)
        return say(c, "ok\n");
    if (sent && result == CONTROL_UNKNOWN)
        return say(c, "error: no such command\n");
    return sent;
}

/* Runs the commands whose lines are complete. Returns false when the client is to be dropped. */
static bool commands(struct client *c)
{
    char *end;
    while (!c->waits && (end = memchr(c->line, '\n', c->len))) {
        *end = '\0';
        size_t used = (size_t)(end - c->line) + 1;
        if (!command(c, c->line))
            return false;
        memmove(c->line, c->line + used, c->len - used);
        c->len -= used;
    }
    if (c->waits)
        c->len = 0; /* whatever follows a command that goes on is not asked for */
    if (c->len < sizeof c->line)
        return true;
    say(c, "error: the line is too long\n");
    return false;
}

static void on_client(struct loop_io *io, int events)
{
    (void)events;
    struct client *c = LIST_ITEM(io, struct client, io);
    ssize_t n = recv(io->ev.fd, c->line + c->len, sizeof c->line - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(c);
        return;
    }
    c->len += (size_t)n;
    if (!commands(c))
        client_close(c);
    else if (c->waits)
        loop_timer_stop(c->control->loop, &c->patience);
    else
        loop_timer_start(c->control->loop, &c->patience, LINE_SECONDS);
}

static void on_impatient(struct loop_timer *timer)
{
    client_close(LIST_ITEM(timer, struct client, patience));
}

static void on_accept(struct accept *a, int fd, const struct address *peer)
{
    (void)peer;
    char why[TRUST_WHY];
    struct control *control = LIST_ITEM(a, struct control, accept);
    if (control->client_count >= CLIENTS || !trust_peer(fd, why)) {
        close(fd);
        return;
    }
    struct client *c = mem_alloc(sizeof *c);
    c->control = control;
    loop_io_init(&c->io, fd, on_client);
    loop_timer_init(&c->patience, on_impatient);
    list_append(&control->clients, &c->link);
    control->client_count++;
    loop_io_watch(control->loop, &c->io, LOOP_READ);
    loop_timer_start(control->loop, &c->patience, LINE_SECONDS);
}

/* --- Where the socket is -------------------------------------------------------------------- */

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder && folder[0] == '/' ? folder : "/tmp";
}

bool control_folder(int i, char *out, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    bool has_runtime = runtime && runtime[0] == '/';
    int n = -1;
    if (i == 0 && has_runtime)
        n = snprintf(out, size, "%s/neap", runtime);
    else if (i == has_runtime)
        n = snprintf(out, size, "%s/neap-%u", temporary_folder(), (unsigned)geteuid());
    return n >= 0 && (size_t)n < size;
}

/*
 * Makes the folder, or finds it to be ours alone: /tmp is everybody's, and anybody may have been
 * there first.
 */
static bool private_folder(const char *path)
{
    char why[TRUST_WHY] = "";
    struct stat st;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return false;
    int fd = trust_open_folder(path, why);
    bool ours = fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & 077);
    if (fd >= 0)
        close(fd);
    if (!ours)
        log_warn("no control socket in %s: %s", path, why[0] ? why : "it is not ours alone");
    return ours;
}

/* Removes the sockets of servers that did not get to it themselves. */
static void sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *d;
    while (dir && (d = readdir(dir))) {
        int pid, end = 0;
        char path[PATH];
        if (sscanf(d->d_name, "%d.sock%n", &pid, &end) != 1 || d->d_name[end] || pid <= 0)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        if (n < (int)sizeof path && kill(pid, 0) < 0 && errno == ESRCH)
            unixsock_clear(path);
    }
    if (dir)
        closedir(dir);
}

static int listen_by_default(struct unixsock *file)
{
    char folder[PATH], path[PATH + 32];
    int fd = -1;
    for (int i = 0; fd < 0 && control_folder(i, folder, sizeof folder); i++) {
        if (!private_folder(folder))
            continue;
        sweep(folder);
        snprintf(path, sizeof path, "%s/%d.sock", folder, (int)getpid());
        fd = unixsock_listen(file, path, 0600, CLIENTS);
    }
    if (fd < 0)
        log_warn("no control socket: neither $XDG_RUNTIME_DIR/neap nor %s/neap-%u serves",
                 temporary_folder(), (unsigned)geteuid());
    return fd;
}

static int listen_at(struct unixsock *file, const char *path)
{
    int fd = unixsock_listen(file, path, 0600, CLIENTS);
    if (fd < 0)
        log_error("cannot make the control socket %s: %s", path, strerror(errno));
    return fd;
}

/* --- The socket ----------------------------------------------------------------------------- */

struct control *control_open(struct loop *loop, const char *path, control_handler *handler,
                             void *arg)
{
    struct control *c = mem_alloc(sizeof *c);
    int fd = path ? listen_at(&c->file, path) : listen_by_default(&c->file);
    if (fd < 0) {
        mem_free(c);
        return NULL;
    }
    c->loop = loop;
    c->handler = handler;
    c->arg = arg;
    link_init(&c->clients);
    accept_init(&c->accept, loop, fd, on_accept);
    accept_start(&c->accept);
    return c;
}

void control_finish(struct control *c)
{
    for (struct link *l = c->clients.next; l != &c->clients; l = l->next) {
        struct client *client = LIST_ITEM(l, struct client, link);
        if (client->waits)
            say(client, "ok\n");
    }
}

void control_close(struct control *c)
{
    if (!c)
        return;
    unixsock_remove(&c->file);
    while (!link_empty(&c->clients))
        client_close(LIST_ITEM(c->clients.next, struct client, link));
    accept_close(&c->accept);
    mem_free(c);
}
