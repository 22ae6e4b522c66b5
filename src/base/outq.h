// SPDX-License-Identifier: MIT
/*
 * Bytes that wait to be written to one peer: a chain of segments. A segment either holds copied
 * bytes and takes more until it is full, or refers to a chunk: immutable bytes with a reference
 * count, so that one encoded broadcast waits in thousands of queues and exists once.
 *
 *      head ──▶ [copied: frames of this turn] ──▶ [chunk: a broadcast] ──▶ [copied: open at end]
 *
 * An empty queue owns no memory. Standard segments are kept in a pool that many queues share, so
 * that the common case (a reply is queued, written, forgotten) allocates nothing.
 */
#ifndef NEAP_BASE_OUTQ_H
#define NEAP_BASE_OUTQ_H

#include <stddef.h>
#include <stdint.h>

struct iovec;

/* Immutable bytes with many owners. The creator has the first reference. */
struct chunk {
    uint32_t refs;
    uint32_t len;
    uint8_t bytes[];
};

/*
 * A chunk for `len` bytes (to be filled by the caller before it is shared), or NULL when memory is
 * short.
 */
struct chunk *chunk_new(size_t len);
struct chunk *chunk_ref(struct chunk *c);
void chunk_unref(struct chunk *c);

struct outseg;

/* Free standard segments, shared by the queues of one worker. Zero-initialised is empty. */
struct outpool {
    struct outseg *small, *large;
    unsigned small_count, large_count;
};

/* Frees what the pool keeps. */
void outpool_deinit(struct outpool *pool);

struct outq {
    struct outseg *head, *tail;
    size_t len; /* bytes in all */
};

/*
 * Room for exactly `len` bytes at the end of the queue, to be filled at once by the caller; it
 * counts as queued. NULL when memory is short; then nothing has changed.
 */
uint8_t *outq_extend(struct outq *q, struct outpool *pool, size_t len);

/* Takes back the last `len` bytes, which the last outq_extend has added. */
void outq_take_back(struct outq *q, struct outpool *pool, size_t len);

/* Queues a reference to the chunk (takes one of its own). Returns 0 or ERR_NOMEM. */
int outq_append_chunk(struct outq *q, struct outpool *pool, struct chunk *c);

/*
 * Describes up to `max` leading segments for writev; returns how many. They stay valid until the
 * queue changes.
 */
int outq_iovec(const struct outq *q, struct iovec *iov, int max);

/* Drops `len` bytes from the front; `len` <= q->len. */
void outq_consume(struct outq *q, struct outpool *pool, size_t len);

/* Drops everything. */
void outq_clear(struct outq *q, struct outpool *pool);

#endif
