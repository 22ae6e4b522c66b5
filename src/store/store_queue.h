// SPDX-License-Identifier: MIT
/*
 * Changes of a store on disk, made by a thread of their own: each of them waits until the disk has
 * it, which takes milliseconds, and the loop must not. Changes that queue up meanwhile share the
 * next transaction, so that many of them wait no longer than one.
 *
 *      loop        store_queue_add ──▶ pending ──┐                        job->done, in the loop
 *                                                ▼                              ▲
 *      thread                          store_write_all ── results ──▶ finished ─┘ (eventfd)
 *
 * The thread runs nothing else: no Lua, no log, no other object. It starts with the first change.
 */
#ifndef NEAP_STORE_STORE_QUEUE_H
#define NEAP_STORE_STORE_QUEUE_H

#include "base/list.h"
#include "store/store.h"

struct loop;
struct store_queue;

/* One change. It, its key and its value stay where they are until `done` has been called. */
struct store_job {
    struct link link;
    struct store_write write;
    int result; /* as store_write returns it */
    void (*done)(struct store_job *job);
};

/*
 * The queue of a store, whose end it must not see; `loop` is where `done` is called. NULL when
 * there is no descriptor left.
 */
struct store_queue *store_queue_new(struct store *s, struct loop *loop);

/* Makes the change later; all of one thread in their order. */
void store_queue_add(struct store_queue *q, struct store_job *job);

/* Waits until all changes are made, tells `done` of those that have not been told, and ends. */
void store_queue_free(struct store_queue *q);

#endif
