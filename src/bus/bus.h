// SPDX-License-Identifier: MIT
/*
 * Messages between the workers of a server, as the groups see them: others come and go, and what
 * is sent to one arrives whole, in the order sent, until it is gone. How it gets there is the
 * transport's business: mesh.c has Unix sockets between the workers of one machine; others can
 * stand behind the same five functions.
 *
 *      groups ──bus_send──▶ transport ~~~~▶ transport ──on_message──▶ groups
 *
 * A worker is a number below BUS_WORKERS. One that was started again has the same number, and is
 * another worker: on_gone comes between its two lives.
 */
#ifndef NEAP_BUS_BUS_H
#define NEAP_BUS_BUS_H

#include "base/outq.h"

#include <stdbool.h>

enum {
    BUS_WORKERS = 512,
    BUS_MESSAGE_MAX = 64 * 1024 * 1024, /* bytes in one message */
    BUS_QUEUE_MAX = 64 * 1024 * 1024,   /* bytes that wait for one worker, before it is full */
};

struct bus;

/* Calls upwards, none of them from inside a call of bus_send. */
struct bus_hooks {
    /* The worker is there: what it must know of us is to be sent now. It knows nothing yet. */
    void (*on_other)(void *arg, unsigned other);
    /*
     * A message; the bytes are valid during the call. Returns 0, or ERR_PROTOCOL when it makes no
     * sense: then the line to that worker ends, and on_gone follows.
     */
    int (*on_message)(void *arg, unsigned other, const uint8_t *bytes, size_t len);
    /* Half of its queue is free again, after bus_send had said that it was full. */
    void (*on_room)(void *arg, unsigned other);
    /* The worker is gone, and all it has told is void. */
    void (*on_gone)(void *arg, unsigned other);
};

struct bus_ops {
    /*
     * Queues a message for the worker, which takes a reference of its own to it; it is sent at the
     * turn's end. Returns 0; ERR_POLICY when its queue is full (nothing was queued; on_room will
     * tell); ERR_CLOSED when there is no such worker; ERR_TOO_BIG; ERR_NOMEM.
     */
    int (*send)(struct bus *bus, unsigned other, struct chunk *message);
};

/* The transport has this in its own struct; it sets `ops`, the user of the bus the rest. */
struct bus {
    const struct bus_ops *ops;
    const struct bus_hooks *hooks;
    void *arg;
    unsigned self;    /* our own number */
    unsigned workers; /* 0: every one is a worker; else that is worker `other % workers` */
};

/* For the log: a worker that is being replaced has two numbers. */
static inline unsigned bus_worker(const struct bus *bus, unsigned other)
{
    return bus->workers ? other % bus->workers : other;
}

static inline int bus_send(struct bus *bus, unsigned other, struct chunk *message)
{
    return bus->ops->send(bus, other, message);
}

#endif
