// SPDX-License-Identifier: MIT
/*
 * A growable run of bytes that is filled at the end and consumed at the front. An empty buffer owns
 * no memory once it has been trimmed, so that idle connections cost nothing.
 *
 *      data        data+off            data+end           data+cap
 *       | consumed  | readable          | room             |
 */
#ifndef NEAP_BASE_BUF_H
#define NEAP_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t off, end, cap;
};

/* Dies when the fields contradict each other (in builds for tests). */
#ifdef NEAP_CHECKS
void buf_check(const struct buf *b);
#else
static inline void buf_check(const struct buf *b)
{
    (void)b;
}
#endif

/* First readable byte, and how many there are. Valid until the buffer is changed. */
static inline uint8_t *buf_bytes(const struct buf *b)
{
    return b->data + b->off;
}

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->off;
}

/*
 * Makes room for `room` more bytes, growing geometrically. Returns 0 or ERR_NOMEM; then the buffer
 * is as before.
 */
int buf_reserve(struct buf *b, size_t room);

/* The same without growing by more than is asked for: when it is known how much is to come. */
int buf_reserve_exactly(struct buf *b, size_t room);

/* Where the next bytes go, after buf_reserve; and a note that `len` have been put there. */
static inline uint8_t *buf_room(const struct buf *b)
{
    return b->data + b->end;
}

static inline void buf_added(struct buf *b, size_t len)
{
    b->end += len;
    buf_check(b);
}

/* Appends a copy. Returns 0 or ERR_NOMEM. */
int buf_append(struct buf *b, const void *bytes, size_t len);

/* Drops `len` readable bytes from the front; `len` <= buf_len. */
void buf_consume(struct buf *b, size_t len);

/* Frees the memory; the buffer is empty and usable afterwards. */
void buf_free(struct buf *b);

#endif
