// SPDX-License-Identifier: MIT
/*
 * Several meshes in this process, on one loop, each with a user of its bus that notes what it is
 * told; and lines whose other end is the test's.
 */
#ifndef NEAP_TESTS_UNIT_MESHRUN_H
#define NEAP_TESTS_UNIT_MESHRUN_H

#include "base/err.h"
#include "bus/mesh.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 10.0
#define MIB (1024 * 1024)

enum { NODES = 4 };

/* A worker that notes what it is told, as text: "+1" "-1" "1:hello" "!1" (room). */
struct node {
    struct mesh *mesh;
    struct bus *bus;
    char notes[8192];
    size_t len;
    unsigned others, gone, rooms, messages, lost;
    size_t bytes;
    uint64_t expected[NODES]; /* of numbered messages */
    int (*react)(struct node *n, unsigned other, const uint8_t *bytes, size_t len);
    void (*on_room)(struct node *n, unsigned other);
    void (*on_gone)(struct node *n, unsigned other);
};

static struct loop loop;
static uint8_t *read_buffer;
static struct node nodes[NODES];

/* --- The loop ------------------------------------------------------------------------------- */

static inline double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline void on_stop(struct loop_timer *timer)
{
    (void)timer;
    loop_stop(&loop);
}

/* Runs turns for so many seconds. */
static inline void run_for(double seconds)
{
    struct loop_timer timer;
    loop_timer_init(&timer, on_stop);
    loop.stopped = false;
    loop_timer_start(&loop, &timer, seconds);
    loop_run(&loop);
}

/* Runs until the counter has that value. */
static inline bool run_until(const unsigned *counter, unsigned value)
{
    for (double end = now() + SECONDS; *counter < value;) {
        if (now() > end)
            return false;
        run_for(0.001);
    }
    return true;
}

/* --- Nodes ---------------------------------------------------------------------------------- */

static inline void note(struct node *n, const char *kind, unsigned other, const struct str *bytes)
{
    int len =
        snprintf(n->notes + n->len, sizeof n->notes - n->len, "%s%s%u%s%.*s", n->len ? " " : "",
                 kind, other, bytes ? ":" : "", bytes ? (int)bytes->len : 0, bytes ? bytes->s : "");
    if (len > 0 && (size_t)len < sizeof n->notes - n->len)
        n->len += (size_t)len;
}

static inline void on_other(void *arg, unsigned other)
{
    struct node *n = arg;
    n->others++;
    note(n, "+", other, NULL);
}

static inline int on_message(void *arg, unsigned other, const uint8_t *bytes, size_t len)
{
    struct node *n = arg;
    n->messages++;
    n->bytes += len;
    if (len <= 32)
        note(n, "", other, &(struct str){(const void *)bytes, len});
    return n->react ? n->react(n, other, bytes, len) : 0;
}

static inline void on_room(void *arg, unsigned other)
{
    struct node *n = arg;
    n->rooms++;
    note(n, "!", other, NULL);
    if (n->on_room)
        n->on_room(n, other);
}

static inline void on_gone(void *arg, unsigned other)
{
    struct node *n = arg;
    n->gone++;
    note(n, "-", other, NULL);
    if (n->on_gone)
        n->on_gone(n, other);
}

static inline void on_lost(void *arg, unsigned other)
{
    struct node *n = arg;
    (void)other;
    n->lost++;
}

static const struct bus_hooks hooks = {on_other, on_message, on_room, on_gone};

static inline void node_start(unsigned number)
{
    struct node *n = &nodes[number];
    memset(n, 0, sizeof *n);
    n->mesh = mesh_new(&loop, read_buffer, number);
    n->bus = mesh_bus(n->mesh);
    n->bus->hooks = &hooks;
    n->bus->arg = n;
    mesh_on_lost(n->mesh, on_lost, n);
}

static inline void node_end(unsigned number)
{
    mesh_free(nodes[number].mesh);
    nodes[number].mesh = NULL;
}

static inline void begin(unsigned count)
{
    loop_init(&loop);
    read_buffer = malloc(MESH_READ_SIZE);
    for (unsigned i = 0; i < count; i++)
        node_start(i);
}

static inline void finish(void)
{
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].mesh)
            node_end(i);
    free(read_buffer);
    loop_deinit(&loop);
}

static inline void make_pair(int fds[2])
{
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void join(unsigned a, unsigned b)
{
    int fds[2];
    make_pair(fds);
    mesh_add(nodes[a].mesh, b, fds[0]);
    mesh_add(nodes[b].mesh, a, fds[1]);
}

/* A line from node 0 to nobody: the other end is the test's. */
static inline int by_hand(unsigned other)
{
    int fds[2];
    make_pair(fds);
    mesh_add(nodes[0].mesh, other, fds[0]);
    return fds[1];
}

static inline int say(unsigned from, unsigned to, const void *bytes, size_t len)
{
    struct chunk *c = chunk_new(len);
    if (len)
        memcpy(c->bytes, bytes, len);
    int r = bus_send(nodes[from].bus, to, c);
    chunk_unref(c);
    return r;
}

static inline int say_text(unsigned from, unsigned to, const char *text)
{
    return say(from, to, text, strlen(text));
}

#endif
