// SPDX-License-Identifier: MIT
/*
 * The chain behind outq.h. A copied segment carries its bytes behind its header in one allocation,
 * of one of two standard sizes that go back to the pool, or made to measure for one big message. A
 * queue begins with a small one, as most answers are small; when that overflows, its bytes move
 * into a large one, so that what was queued in one turn still goes out as one piece.
 *
 * The span lies in the queue itself and not in a segment, since a thousand members of a group would
 * need a thousand of those for every message.
 */
#include "base/outq.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#include <string.h>
#include <sys/uio.h>

enum {
    SMALL = 1024 - 64,
    LARGE = 16 * 1024 - 64, /* with its header a little under four pages */
    SMALL_KEPT = 256,
    LARGE_KEPT = 32,
    LOOK_MAX = 8, /* segments that a check looks at: a queue may have thousands */
};

struct outseg {
    struct outseg *next;
    struct chunk *chunk; /* set: the bytes are the chunk's */
    uint32_t off, end, cap;
    uint8_t bytes[];
};

static void seg_check(const struct outseg *s)
{
    CHECK(s->off < s->end && s->end <= (s->chunk ? s->chunk->len : s->cap));
    CHECK(!s->chunk || s->chunk->refs > 0);
}

static void segments_check(const struct outq *q)
{
    size_t len = q->chunk ? q->to - q->from : 0;
    const struct outseg *s = q->head;
    for (int i = 0; s && i < LOOK_MAX; i++, s = s->next) {
        seg_check(s);
        CHECK(s->next || s == q->tail);
        len += s->end - s->off;
    }
    CHECK(s ? len < q->len : len == q->len);
}

static void outq_check(const struct outq *q)
{
    CHECK(!q->head == !q->tail);
    CHECK(!q->tail || !q->tail->next);
    CHECK(!q->len == !(q->head || q->chunk));
    CHECK(!q->chunk || (q->from < q->to && q->to <= q->chunk->len && q->chunk->refs > 0));
    if (CHECKING)
        segments_check(q);
}

static void pool_check(const struct outpool *pool)
{
    CHECK(!pool->small == !pool->small_count && pool->small_count <= SMALL_KEPT);
    CHECK(!pool->large == !pool->large_count && pool->large_count <= LARGE_KEPT);
}

struct chunk *chunk_new(size_t len)
{
    if (len > UINT32_MAX)
        return NULL;
    struct chunk *c = mem_try(sizeof *c + len);
    if (!c)
        return NULL;
    c->refs = 1;
    c->len = (uint32_t)len;
    c->mixed = false;
    return c;
}

struct chunk *chunk_ref(struct chunk *c)
{
    c->refs++;
    return c;
}

void chunk_unref(struct chunk *c)
{
    CHECK(c->refs > 0);
    if (--c->refs == 0)
        mem_free(c);
}

static struct outseg *pop(struct outseg **list, unsigned *count)
{
    struct outseg *s = *list;
    if (s) {
        *list = s->next;
        --*count;
    }
    return s;
}

static struct outseg *seg_new(struct outpool *pool, size_t cap)
{
    struct outseg *s = NULL;
    if (cap == SMALL)
        s = pop(&pool->small, &pool->small_count);
    else if (cap == LARGE)
        s = pop(&pool->large, &pool->large_count);
    if (!s)
        s = mem_try(sizeof *s + cap);
    if (!s)
        return NULL;
    s->next = NULL;
    s->chunk = NULL;
    s->off = s->end = 0;
    s->cap = (uint32_t)cap;
    return s;
}

/* True when it went onto the list, which keeps at most `max`. */
static bool push(struct outseg **list, unsigned *count, unsigned max, struct outseg *s)
{
    if (*count >= max)
        return false;
    s->next = *list;
    *list = s;
    ++*count;
    return true;
}

static void seg_free(struct outseg *s, struct outpool *pool)
{
    if (s->chunk)
        chunk_unref(s->chunk);
    pool_check(pool);
    if (s->cap == SMALL && push(&pool->small, &pool->small_count, SMALL_KEPT, s))
        return;
    if (s->cap == LARGE && push(&pool->large, &pool->large_count, LARGE_KEPT, s))
        return;
    mem_free(s);
}

static void append(struct outq *q, struct outseg *s)
{
    if (q->tail)
        q->tail->next = s;
    else
        q->head = s;
    q->tail = s;
}

static void free_list(struct outseg **list, unsigned *count)
{
    struct outseg *s;
    while ((s = pop(list, count)))
        mem_free(s);
}

void outpool_deinit(struct outpool *pool)
{
    free_list(&pool->small, &pool->small_count);
    free_list(&pool->large, &pool->large_count);
}

/* Replaces the queue's only segment, a small one, by a large one with the same bytes. */
static struct outseg *enlarge(struct outq *q, struct outpool *pool)
{
    struct outseg *small = q->head;
    struct outseg *s = seg_new(pool, LARGE);
    if (!s)
        return NULL;
    s->end = small->end - small->off;
    memcpy(s->bytes, small->bytes + small->off, s->end);
    q->head = q->tail = s;
    seg_free(small, pool);
    return s;
}

/* What is queued between chunks is small, as a rule. */
static size_t size_for(const struct outq *q, size_t len)
{
    if (len > LARGE)
        return len;
    return len > SMALL || (q->tail && !q->tail->chunk) ? LARGE : SMALL;
}

/* A segment with room for `len` bytes at the end of the queue. */
static struct outseg *with_room(struct outq *q, struct outpool *pool, size_t len)
{
    struct outseg *s = q->tail;
    if (s && !s->chunk && s->cap - s->end >= len)
        return s;
    if (s && s == q->head && s->cap == SMALL && len <= LARGE - (s->end - s->off))
        return enlarge(q, pool);
    if (len > UINT32_MAX - LARGE)
        return NULL;
    s = seg_new(pool, size_for(q, len));
    if (s)
        append(q, s);
    return s;
}

uint8_t *outq_extend(struct outq *q, struct outpool *pool, size_t len)
{
    struct outseg *s = outq_settle(q, pool) == 0 ? with_room(q, pool, len) : NULL;
    if (!s)
        return NULL;
    uint8_t *room = s->bytes + s->end;
    s->end += (uint32_t)len;
    q->len += len;
    outq_check(q);
    return room;
}

int outq_append_span(struct outq *q, struct outpool *pool, struct chunk *c, uint32_t from,
                     uint32_t to)
{
    if (from == to)
        return 0;
    if (q->chunk != c || q->to != from) {
        if (outq_settle(q, pool) < 0)
            return ERR_NOMEM;
        q->chunk = chunk_ref(c);
        q->from = from;
    }
    q->to = to;
    q->len += to - from;
    outq_check(q);
    return 0;
}

int outq_settle(struct outq *q, struct outpool *pool)
{
    if (!q->chunk)
        return 0;
    uint32_t len = q->to - q->from;
    struct outseg *s = q->chunk->mixed ? with_room(q, pool, len) : seg_new(pool, 0);
    if (!s)
        return ERR_NOMEM;
    if (q->chunk->mixed) {
        memcpy(s->bytes + s->end, q->chunk->bytes + q->from, len);
        s->end += len;
        chunk_unref(q->chunk);
    } else {
        s->chunk = q->chunk;
        s->off = q->from;
        s->end = q->to;
        append(q, s);
    }
    q->chunk = NULL;
    outq_check(q);
    return 0;
}

int outq_iovec(const struct outq *q, struct iovec *iov, int max)
{
    int n = 0;
    for (struct outseg *s = q->head; s && n < max; s = s->next, n++) {
        iov[n].iov_base = (s->chunk ? s->chunk->bytes : s->bytes) + s->off;
        iov[n].iov_len = s->end - s->off;
    }
    if (q->chunk && n < max) {
        iov[n].iov_base = q->chunk->bytes + q->from;
        iov[n++].iov_len = q->to - q->from;
    }
    return n;
}

static void consume(struct outq *q, struct outpool *pool, size_t len)
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
    if (!q->chunk)
        return;
    q->from += (uint32_t)len;
    if (q->from < q->to)
        return;
    chunk_unref(q->chunk);
    q->chunk = NULL;
}

void outq_consume(struct outq *q, struct outpool *pool, size_t len)
{
    CHECK(len <= q->len);
    consume(q, pool, len);
    outq_check(q);
}

void outq_clear(struct outq *q, struct outpool *pool)
{
    outq_consume(q, pool, q->len);
}
