// SPDX-License-Identifier: MIT
/*
 * Bytes that wait to be written to one peer: a chain of segments, then at most one span. A segment
 * either holds copied bytes and takes more until it is full, or refers to a chunk: bytes with a
 * reference count, so that one encoded broadcast waits in thousands of queues and exists once.
 *
 *      head ──▶ [copied: frames of this turn] ──▶ [chunk: a broadcast] ──▶ span: part of a chunk
 *
 * The span is for broadcasts that follow each other. Their frames stand one behind the other in the
 * same chunk, so that a queue that has all of them only moves the end of its span: it allocates
 * nothing, and they are written as one piece, from memory that all members of a group share. When
 * something else follows, or when the span has to wait for a slow peer, it becomes a segment
 * (outq_settle).
 *
 * An empty queue owns no memory. Standard segments are kept in a pool that many queues share, so
 * that the common case (a reply is queued, written, forgotten) allocates nothing.
 */
#ifndef NEAP_BASE_OUTQ_H
#define NEAP_BASE_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;

/*
 * Bytes with many owners; what has been shared once never changes. The creator has the first
 * reference.
 */
struct chunk {
    uint32_t refs;
    uint32_t len;
    bool mixed; /* of many messages, so not worth keeping for one of them: see outq_settle */
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
    size_t len;          /* bytes in all */
    struct chunk *chunk; /* of the span behind the segments, or NULL */
    uint32_t from, to;
};

/*
 * Room for exactly `len` bytes at the end of the queue, to be filled at once by the caller; it
 * counts as queued. NULL when memory is short; then nothing has changed.
 */
uint8_t *outq_extend(struct outq *q, struct outpool *pool, size_t len);

/*
 * Queues the bytes of the chunk from `from` to `to`, by a reference of its own. Returns 0 or
 * ERR_NOMEM; then nothing has changed. Cannot fail when they continue the queue's span, or when it
 * has none.
 */
int outq_append_span(struct outq *q, struct outpool *pool, struct chunk *c, uint32_t from,
                     uint32_t to);

/*
 * Makes a segment of the span, if there is one. One of a mixed chunk is copied: a slow peer must
 * not keep kilobytes in memory for the few bytes that are counted for it. Returns 0 or ERR_NOMEM;
 * then it stays a span.
 */
int outq_settle(struct outq *q, struct outpool *pool);

/*
 * Describes up to `max` leading segments, or the span behind them, for writev; returns how many.
 * They stay valid until the queue changes.
 */
int outq_iovec(const struct outq *q, struct iovec *iov, int max);

/* Drops `len` bytes from the front; `len` <= q->len. */
void outq_consume(struct outq *q, struct outpool *pool, size_t len);

/* Drops everything. */
void outq_clear(struct outq *q, struct outpool *pool);

#endif
