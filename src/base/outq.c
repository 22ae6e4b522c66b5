// SPDX-License-Identifier: MIT
/*
 * The chain behind outq.h. A copied segment carries its bytes behind its header in one allocation;
 * standard ones have SEG_SIZE bytes of room and go back to the pool, larger ones are made to measure
 * for one big message and freed. Small appends fill the last copied segment first.
 */
#include "base/outq.h"

#include "base/err.h"
#include "base/mem.h"

#include <string.h>
#include <sys/uio.h>

enum {
    SEG_SIZE = 16 * 1024 - 64, /* with its header a little under four pages */
    POOL_MAX = 32,             /* half a megabyte a worker at the most */
};

struct outseg {
    struct outseg *next;
    struct chunk *chunk; /* set: the bytes are the chunk's */
    uint32_t off, end, cap;
    uint8_t bytes[];
};

struct chunk *chunk_new(size_t len)
{
    if (len > UINT32_MAX)
        return NULL;
    struct chunk *c = mem_try(sizeof *c + len);
    if (!c)
        return NULL;
    c->refs = 1;
    c->len = (uint32_t)len;
    return c;
}

struct chunk *chunk_ref(struct chunk *c)
{
    c->refs++;
    return c;
}

void chunk_unref(struct chunk *c)
{
    if (--c->refs == 0)
        mem_free(c);
}

static struct outseg *seg_new(struct outpool *pool, size_t cap)
{
    struct outseg *s;
    if (cap == SEG_SIZE && pool->free) {
        s = pool->free;
        pool->free = s->next;
        pool->count--;
    } else {
        s = mem_try(sizeof *s + cap);
        if (!s)
            return NULL;
    }
    s->next = NULL;
    s->chunk = NULL;
    s->off = s->end = 0;
    s->cap = (uint32_t)cap;
    return s;
}

static void seg_free(struct outseg *s, struct outpool *pool)
{
    if (s->chunk)
        chunk_unref(s->chunk);
    if (s->cap != SEG_SIZE || pool->count >= POOL_MAX) {
        mem_free(s);
        return;
    }
    s->next = pool->free;
    pool->free = s;
    pool->count++;
}

static void append(struct outq *q, struct outseg *s)
{
    if (q->tail)
        q->tail->next = s;
    else
        q->head = s;
    q->tail = s;
}

void outpool_deinit(struct outpool *pool)
{
    while (pool->free) {
        struct outseg *s = pool->free;
        pool->free = s->next;
        mem_free(s);
    }
    pool->count = 0;
}

uint8_t *outq_extend(struct outq *q, struct outpool *pool, size_t len)
{
    struct outseg *s = q->tail;
    if (!s || s->chunk || s->cap - s->end < len) {
        if (len > UINT32_MAX - SEG_SIZE)
            return NULL;
        s = seg_new(pool, len > SEG_SIZE ? len : SEG_SIZE);
        if (!s)
            return NULL;
        append(q, s);
    }
    uint8_t *room = s->bytes + s->end;
    s->end += (uint32_t)len;
    q->len += len;
    return room;
}

int outq_append_chunk(struct outq *q, struct outpool *pool, struct chunk *c)
{
    struct outseg *s = seg_new(pool, 0);
    if (!s)
        return ERR_NOMEM;
    s->chunk = chunk_ref(c);
    s->end = c->len;
    append(q, s);
    q->len += c->len;
    return 0;
}

int outq_iovec(const struct outq *q, struct iovec *iov, int max)
{
    int n = 0;
    for (struct outseg *s = q->head; s && n < max; s = s->next, n++) {
        iov[n].iov_base = (s->chunk ? s->chunk->bytes : s->bytes) + s->off;
        iov[n].iov_len = s->end - s->off;
    }
    return n;
}

void outq_consume(struct outq *q, struct outpool *pool, size_t len)
{
    q->len -= len;
    while (q->head) {
        struct outseg *s = q->head;
        size_t n = s->end - s->off;
        if (len < n) {
            s->off += (uint32_t)len;
            return;
        }
        len -= n;
        q->head = s->next;
        if (!q->head)
            q->tail = NULL;
        seg_free(s, pool);
    }
}

void outq_clear(struct outq *q, struct outpool *pool)
{
    outq_consume(q, pool, q->len);
}
