// SPDX-License-Identifier: MIT
/*
 * With several workers each has a socket of its own on the port (SO_REUSEPORT, socket(7)): the
 * kernel spreads connections over them, and no two workers wake up for one connection. But the flag
 * also lets a second server of the same user bind the port silently, which then gets half of the
 * connections; so before the first socket of a port the port is tried without the flag. One worker
 * needs no flag at all.
 *
 * "[::]" takes IPv4 connections too (IPV6_V6ONLY off), as most servers do it, whatever the system's
 * default is.
 */
#include "master/sockets.h"

#include "base/list.h"
#include "base/mem.h"
#include "line/unixsock.h"
#include "master/bindaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

struct slot {
    int fd;    /* -1: none */
    bool held; /* the worker has asked for it in this life */
};

struct entry {
    struct link link; /* in sockets.entries, in the order of their binding */
    char *text;
    char scheme[8];
    struct bindaddr address;
    int backlog;
    struct unixsock file;
    struct slot slots[]; /* one for each worker */
};

struct sockets {
    int workers;
    struct link entries;
};

struct sockets *sockets_new(int workers)
{
    struct sockets *s = mem_alloc(sizeof *s);
    s->workers = workers;
    link_init(&s->entries);
    return s;
}

/* --- Entries -------------------------------------------------------------------------------- */

static struct entry *entry_of(struct link *l)
{
    return LIST_ITEM(l, struct entry, link);
}

static struct entry *entry_new(const struct sockets *s, const struct sockets_request *r)
{
    size_t n = (size_t)s->workers;
    struct entry *e = mem_alloc(sizeof *e + n * sizeof e->slots[0]);
    link_init(&e->link);
    e->text = mem_strdup(r->address);
    snprintf(e->scheme, sizeof e->scheme, "%s", r->scheme);
    e->backlog = r->backlog > 0 ? r->backlog : BACKLOG;
    for (size_t i = 0; i < n; i++)
        e->slots[i].fd = -1;
    return e;
}

static void slot_close(struct slot *slot)
{
    if (slot->fd >= 0)
        close(slot->fd);
    *slot = (struct slot){.fd = -1};
}

static void entry_free(const struct sockets *s, struct entry *e)
{
    list_remove(&e->link);
    for (int i = 0; i < s->workers; i++)
        slot_close(&e->slots[i]);
    unixsock_remove(&e->file);
    mem_free(e->text);
    mem_free(e);
}

/* Any socket of the entry but that of worker `but`, or -1. */
static int entry_other(const struct sockets *s, const struct entry *e, int but)
{
    for (int i = 0; i < s->workers; i++)
        if (i != but && e->slots[i].fd >= 0)
            return e->slots[i].fd;
    return -1;
}

static int entry_any(const struct sockets *s, const struct entry *e)
{
    return entry_other(s, e, -1);
}

/* Closes the worker's socket, and the entry with its last one. */
static void entry_drop(const struct sockets *s, struct entry *e, int worker)
{
    slot_close(&e->slots[worker]);
    if (entry_any(s, e) < 0)
        entry_free(s, e);
}

void sockets_free(struct sockets *s)
{
    while (!link_empty(&s->entries))
        entry_free(s, entry_of(s->entries.next));
    mem_free(s);
}

/* --- Binding -------------------------------------------------------------------------------- */

static int on(int fd, int level, int option)
{
    int yes = 1;
    return setsockopt(fd, level, option, &yes, sizeof yes);
}

static int bound_socket(const struct bindaddr *a, bool shared)
{
    int family = a->sa.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int no = 0;
    if (on(fd, SOL_SOCKET, SO_REUSEADDR) < 0 || (shared && on(fd, SOL_SOCKET, SO_REUSEPORT) < 0) ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) < 0) ||
        bind(fd, (const struct sockaddr *)&a->sa, a->len) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Fails when the port is anybody's, also that of a server of ours that shares it. */
static int probe(const struct bindaddr *a)
{
    int fd = bound_socket(a, false);
    if (fd < 0)
        return -1;
    int result = listen(fd, 1);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

/* A listening socket for one more worker; learns the port if any would do. */
static int tcp_socket(const struct sockets *s, struct entry *e)
{
    bool shared = s->workers > 1;
    bool first = entry_any(s, e) < 0;
    if (shared && first && e->address.port != 0 && probe(&e->address) < 0)
        return -1;
    int fd = bound_socket(&e->address, shared);
    if (fd < 0)
        return -1;
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (listen(fd, e->backlog) < 0 || getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    bindaddr_set_port(&e->address, bindaddr_port(&sa));
    return fd;
}

static int unix_socket(const struct sockets *s, struct entry *e)
{
    int fd = entry_any(s, e);
    if (fd >= 0)
        return fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return unixsock_listen(&e->file, e->address.host, 0777, e->backlog);
}

static int say(char error[256], const char *address, const char *why)
{
    snprintf(error, 256, "cannot listen on %.150s: %.80s", address, why);
    return -1;
}

static int slot_open(const struct sockets *s, struct entry *e, struct slot *slot, char error[256])
{
    slot->fd = e->address.local ? unix_socket(s, e) : tcp_socket(s, e);
    if (slot->fd >= 0)
        return 0;
    if (errno == EEXIST && e->address.local)
        return say(error, e->text, "a file that is no socket has this name");
    return say(error, e->text, bindaddr_why(errno));
}

/*
 * The first entry of that text which the worker does not have yet in this life; NULL: a new one is
 * due.
 */
static struct entry *find_free(const struct sockets *s, const struct sockets_request *r)
{
    for (struct link *l = s->entries.next; l != &s->entries; l = l->next) {
        struct entry *e = entry_of(l);
        if (!e->slots[r->worker].held && strcmp(e->text, r->address) == 0)
            return e;
    }
    return NULL;
}

static int entry_add(struct sockets *s, const struct sockets_request *r, struct entry **out,
                     char error[256])
{
    struct entry *e = entry_new(s, r);
    const char *why = bindaddr_parse(&e->address, r->address);
    int result = why ? say(error, r->address, why) : slot_open(s, e, &e->slots[r->worker], error);
    if (result < 0) {
        entry_free(s, e);
        return -1;
    }
    list_append(&s->entries, &e->link);
    *out = e;
    return 0;
}

int sockets_bind(struct sockets *s, const struct sockets_request *r, int *port, char error[256])
{
    struct entry *e = find_free(s, r);
    if (!e && entry_add(s, r, &e, error) < 0)
        return -1;
    struct slot *slot = &e->slots[r->worker];
    if (slot->fd < 0 && slot_open(s, e, slot, error) < 0)
        return -1;
    slot->held = true;
    *port = e->address.port;
    return slot->fd;
}

/* --- The workers' lives --------------------------------------------------------------------- */

void sockets_unbind(struct sockets *s, int worker, const char *address, int port)
{
    for (struct link *l = s->entries.next; l != &s->entries; l = l->next) {
        struct entry *e = entry_of(l);
        if (e->slots[worker].held && e->address.port == port && strcmp(e->text, address) == 0) {
            entry_drop(s, e, worker);
            return;
        }
    }
}

void sockets_worker_started(struct sockets *s, int worker)
{
    for (struct link *l = s->entries.next; l != &s->entries; l = l->next)
        entry_of(l)->slots[worker].held = false;
}

static void drop_unless_held(struct sockets *s, int worker)
{
    struct link *next;
    for (struct link *l = s->entries.next; l != &s->entries; l = next) {
        struct entry *e = entry_of(l);
        next = l->next;
        if (e->slots[worker].fd >= 0 && !e->slots[worker].held)
            entry_drop(s, e, worker);
    }
}

void sockets_worker_ready(struct sockets *s, int worker)
{
    drop_unless_held(s, worker);
}

void sockets_worker_gone(struct sockets *s, int worker)
{
    sockets_worker_started(s, worker);
    drop_unless_held(s, worker);
}

bool sockets_worker_absent(struct sockets *s, int worker)
{
    bool had = false;
    for (struct link *l = s->entries.next; l != &s->entries; l = l->next) {
        struct entry *e = entry_of(l);
        if (e->slots[worker].fd >= 0 && entry_other(s, e, worker) >= 0) {
            slot_close(&e->slots[worker]);
            had = true;
        }
    }
    return had;
}

bool sockets_worker_listens(const struct sockets *s, int worker)
{
    for (struct link *l = s->entries.next; l != &s->entries; l = l->next)
        if (entry_of(l)->slots[worker].held)
            return true;
    return false;
}

bool sockets_text(const struct sockets *s, int i, char *out, size_t size)
{
    for (struct link *l = s->entries.next; l != &s->entries; l = l->next) {
        const struct entry *e = entry_of(l);
        if (i-- > 0)
            continue;
        if (e->address.local)
            snprintf(out, size, "%s+unix:%s", e->scheme, e->address.host);
        else
            snprintf(out, size, "%s://%s:%d", e->scheme, e->address.host, e->address.port);
        return true;
    }
    return false;
}
