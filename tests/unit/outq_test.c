// SPDX-License-Identifier: MIT
/* The output queue against a flat model; chunks and spans of them; the pool's bounds; failures. */
#include "base/err.h"
#include "base/outq.h"
#include "support.h"

#include <string.h>
#include <sys/uio.h>

static struct outpool pool;

static void put(struct outq *q, const void *bytes, size_t len)
{
    uint8_t *room = outq_extend(q, &pool, len);
    if (CHECK(room != NULL) && len > 0)
        memcpy(room, bytes, len);
}

/* Copies what the queue describes; returns how much. */
static size_t gather(const struct outq *q, uint8_t *out, size_t room)
{
    struct iovec iov[256];
    int n = outq_iovec(q, iov, 256);
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        if (!CHECK(len + iov[i].iov_len <= room))
            return len;
        memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    return len;
}

static int append(struct outq *q, struct chunk *c)
{
    return outq_append_span(q, &pool, c, 0, c->len);
}

/* A mixed chunk with the letters from `a` on. */
static struct chunk *letters(size_t len)
{
    struct chunk *c = chunk_new(len);
    if (!CHECK(c != NULL))
        return NULL;
    for (size_t i = 0; i < len; i++)
        c->bytes[i] = (uint8_t)('a' + i % 26);
    c->mixed = true;
    return c;
}

static void small_pieces_share_a_segment(void)
{
    struct outq q = {0};
    struct iovec iov[4];
    put(&q, "abc", 3);
    put(&q, "", 0);
    put(&q, "def", 3);
    CHECK_INT(q.len, 6);
    CHECK_INT(outq_iovec(&q, iov, 4), 1);
    CHECK_BYTES(iov[0].iov_base, iov[0].iov_len, "abcdef", 6);
    outq_consume(&q, &pool, 4);
    CHECK_INT(outq_iovec(&q, iov, 4), 1);
    CHECK_BYTES(iov[0].iov_base, iov[0].iov_len, "ef", 2);
    outq_consume(&q, &pool, 2);
    CHECK(q.head == NULL && q.tail == NULL && q.len == 0);
    outpool_deinit(&pool);
}

/* What is queued in one turn goes out in one piece as long as it fits the large size. */
static void a_small_segment_grows(void)
{
    static uint8_t model[15000];
    struct outq q = {0};
    struct iovec iov[4];
    for (size_t i = 0; i < sizeof model; i += 100) {
        memset(model + i, (int)(i / 100), 100);
        put(&q, model + i, 100);
        if (i == 300)
            outq_consume(&q, &pool, 150);
    }
    CHECK_INT(outq_iovec(&q, iov, 4), 1);
    CHECK_BYTES(iov[0].iov_base, iov[0].iov_len, model + 150, sizeof model - 150);
    CHECK(pool.small_count == 1);
    outq_clear(&q, &pool);
    put(&q, "x", 1);
    alloc_watch(1, true);
    uint8_t *room = outq_extend(&q, &pool, 20000);
    CHECK(alloc_end().failed && room == NULL);
    CHECK_INT(q.len, 1);
    outq_clear(&q, &pool);
    outpool_deinit(&pool);
}

static void the_pool_saves_allocations(void)
{
    struct outq q = {0};
    put(&q, "x", 1);
    outq_consume(&q, &pool, 1);
    alloc_watch(0, false);
    for (int i = 0; i < 100; i++) {
        uint8_t *room = outq_extend(&q, &pool, 100);
        if (room)
            memset(room, i, 100);
        outq_consume(&q, &pool, q.len);
    }
    CHECK_INT(alloc_end().calls, 0);
    outpool_deinit(&pool);
}

static void the_pool_is_bounded(void)
{
    enum { QUEUES = 600 };
    static struct outq q[QUEUES];
    for (int i = 0; i < QUEUES; i++)
        put(&q[i], "x", 1);
    for (int i = 0; i < QUEUES; i++)
        outq_clear(&q[i], &pool);
    CHECK(pool.small_count <= 256 && pool.large_count <= 8);
    outpool_deinit(&pool);
    CHECK(pool.small == NULL && pool.small_count == 0);
}

static void a_chunk_is_shared(void)
{
    struct outq a = {0}, b = {0};
    struct iovec ia, ib;
    struct chunk *c = chunk_new(5);
    if (!CHECK(c != NULL))
        return;
    memcpy(c->bytes, "hello", 5);
    CHECK_INT(append(&a, c), 0);
    CHECK_INT(append(&b, c), 0);
    CHECK_INT(c->refs, 3);
    CHECK_INT(outq_iovec(&a, &ia, 1), 1);
    CHECK_INT(outq_iovec(&b, &ib, 1), 1);
    CHECK(ia.iov_base == ib.iov_base);
    chunk_unref(c);
    outq_consume(&a, &pool, 2);
    CHECK_INT(c->refs, 2);
    CHECK_INT(outq_iovec(&a, &ia, 1), 1);
    CHECK_BYTES(ia.iov_base, ia.iov_len, "llo", 3);
    outq_consume(&a, &pool, 3);
    CHECK_INT(c->refs, 1);
    outq_clear(&b, &pool);
    outpool_deinit(&pool);
}

static void order_is_kept_around_chunks(void)
{
    struct outq q = {0};
    uint8_t got[64];
    struct chunk *c = chunk_new(3);
    if (!CHECK(c != NULL))
        return;
    memcpy(c->bytes, "-C-", 3);
    put(&q, "one", 3);
    CHECK_INT(append(&q, c), 0);
    put(&q, "two", 3);
    CHECK_INT(append(&q, c), 0);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "one-C-two-C-", 12);
    chunk_unref(c);
    outq_consume(&q, &pool, 5);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "-two-C-", 7);
    outq_clear(&q, &pool);
    CHECK_INT(q.len, 0);
    outpool_deinit(&pool);
}

/* What follows in the same chunk costs neither memory nor another piece to write. */
static void spans_grow(void)
{
    struct outq q = {0};
    struct iovec iov[4];
    struct chunk *c = letters(26);
    if (!c)
        return;
    alloc_watch(0, false);
    CHECK_INT(outq_append_span(&q, &pool, c, 3, 5), 0);
    CHECK_INT(outq_append_span(&q, &pool, c, 5, 5), 0);
    CHECK_INT(outq_append_span(&q, &pool, c, 5, 9), 0);
    outq_consume(&q, &pool, 4);
    CHECK_INT(outq_append_span(&q, &pool, c, 9, 10), 0);
    CHECK_INT(alloc_end().calls, 0);
    CHECK_INT(c->refs, 2);
    CHECK_INT(q.len, 3);
    CHECK_INT(outq_iovec(&q, iov, 4), 1);
    CHECK_BYTES(iov[0].iov_base, iov[0].iov_len, "hij", 3);
    CHECK(iov[0].iov_base == c->bytes + 7);
    outq_consume(&q, &pool, 3);
    CHECK(q.chunk == NULL && q.head == NULL && q.len == 0);
    CHECK_INT(outq_append_span(&q, &pool, c, 10, 10), 0);
    CHECK_INT(c->refs, 1);
    chunk_unref(c);
}

/* Another place, another chunk, or bytes of its own behind a span: all in order. */
static void spans_end(void)
{
    struct outq q = {0};
    uint8_t got[64];
    struct chunk *c = letters(26), *d = letters(26);
    if (!c || !d)
        return;
    d->mixed = false;
    put(&q, "-", 1);
    CHECK_INT(outq_append_span(&q, &pool, c, 0, 2), 0);
    CHECK_INT(outq_append_span(&q, &pool, c, 3, 5), 0);
    CHECK_INT(outq_append_span(&q, &pool, d, 5, 7), 0);
    CHECK_INT(outq_append_span(&q, &pool, c, 7, 9), 0);
    put(&q, "-", 1);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "-abdefghi-", 10);
    CHECK_INT(c->refs, 1); /* copied */
    CHECK_INT(d->refs, 2); /* referred to */
    outq_consume(&q, &pool, 6);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "ghi-", 4);
    CHECK_INT(outq_append_span(&q, &pool, c, 9, 10), 0);
    outq_clear(&q, &pool);
    CHECK(c->refs == 1 && d->refs == 1);
    chunk_unref(c);
    chunk_unref(d);
    outpool_deinit(&pool);
}

static void settled_spans_keep_no_mixed_chunk(void)
{
    struct outq q = {0};
    uint8_t got[64];
    struct chunk *c = letters(16000);
    if (!c)
        return;
    CHECK_INT(outq_settle(&q, &pool), 0);
    CHECK_INT(outq_append_span(&q, &pool, c, 0, 8), 0);
    outq_consume(&q, &pool, 2);
    alloc_watch(1, true);
    CHECK_INT(outq_settle(&q, &pool), ERR_NOMEM);
    CHECK(alloc_end().failed);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "cdefgh", 6);
    CHECK_INT(c->refs, 2);
    alloc_watch(0, false);
    CHECK_INT(outq_settle(&q, &pool), 0);
    CHECK(alloc_end().bytes <= 1024);
    CHECK_INT(c->refs, 1);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "cdefgh", 6);
    CHECK_INT(q.len, 6);
    outq_clear(&q, &pool);
    chunk_unref(c);
    outpool_deinit(&pool);
}

/* Appends a whole chunk, or bytes behind those of before in a mixed one that many spans share. */
static void put_shared(struct outq *q, const uint8_t *bytes, size_t n, bool mixed)
{
    static struct chunk *reel;
    static uint32_t used;
    struct chunk *c = mixed ? reel : chunk_new(n);
    if (mixed && (!reel || 50000 - used < n)) {
        if (reel)
            chunk_unref(reel);
        used = 0;
        c = reel = letters(50000);
    }
    uint32_t from = mixed ? used : 0, to = from + (uint32_t)n;
    if (!CHECK(c != NULL))
        return;
    if (n > 0)
        memcpy(c->bytes + from, bytes, n);
    CHECK_INT(outq_append_span(q, &pool, c, from, to), 0);
    if (mixed)
        used = to + (n % 3 == 0); /* sometimes with a gap */
    else
        chunk_unref(c);
    if (n == 0 && mixed) { /* the model's last call */
        chunk_unref(reel);
        reel = NULL;
    }
}

static void agrees_with_a_flat_model(void)
{
    static uint8_t model[4 << 20], got[4 << 20];
    uint64_t seed = 5;
    struct outq q = {0};
    size_t from = 0, to = 0;
    for (int i = 0; i < 2000; i++) {
        uint64_t r = random_next(&seed);
        size_t n = r % (r & 64 ? 40000 : 300);
        if (to + n > sizeof model)
            break;
        memset(model + to, (int)(r >> 32), n);
        if (r & 128)
            put_shared(&q, model + to, n, n > 0 && r & 256);
        else
            put(&q, model + to, n);
        to += n;
        CHECK_INT(q.len, to - from);
        if (r % 5 == 0)
            CHECK_INT(outq_settle(&q, &pool), 0);
        n = r & 1024 ? random_next(&seed) % (q.len + 1) : 0;
        outq_consume(&q, &pool, n);
        from += n;
        n = gather(&q, got, sizeof got);
        CHECK_BYTES(got, n, model + from, to - from);
    }
    outq_clear(&q, &pool);
    put_shared(&q, NULL, 0, true);
    CHECK(q.head == NULL && q.chunk == NULL);
    outpool_deinit(&pool);
}

/* Each allocation fails once: what was refused is not there, all else is, in order. */
static void starved(void *arg)
{
    (void)arg;
    struct outq q = {0};
    uint8_t got[64], model[64];
    size_t len = 0;
    struct chunk *c = chunk_new(8), *d = chunk_new(8);
    for (uint32_t i = 0; c && d && i < 8; i++) {
        struct chunk *from = i % 3 ? c : d;
        c->mixed = true;
        c->bytes[i] = d->bytes[i] = (uint8_t)('0' + i);
        if (outq_append_span(&q, &pool, from, i, i + 1) == 0)
            model[len++] = (uint8_t)('0' + i);
        uint8_t *room = i % 4 ? NULL : outq_extend(&q, &pool, 1);
        if (room)
            *room = model[len++] = '-';
    }
    (void)outq_settle(&q, &pool);
    CHECK_BYTES(got, gather(&q, got, sizeof got), model, len);
    CHECK_INT(q.len, len);
    outq_clear(&q, &pool);
    CHECK(!c || c->refs == 1);
    CHECK(!d || d->refs == 1);
    if (c)
        chunk_unref(c);
    if (d)
        chunk_unref(d);
    outpool_deinit(&pool);
}

static void every_allocation_may_fail(void)
{
    each_alloc_failure(starved, NULL);
}

static void fails_without_a_trace(void)
{
    struct outq q = {0};
    put(&q, "abc", 3);
    alloc_watch(1, true);
    uint8_t *big = outq_extend(&q, &pool, 1 << 20);
    struct chunk *none = chunk_new(10);
    CHECK(alloc_end().failed);
    CHECK(big == NULL && none == NULL);
    CHECK_INT(q.len, 3);
    CHECK(outq_extend(&q, &pool, SIZE_MAX - 100) == NULL);
    CHECK(chunk_new((size_t)UINT32_MAX + 1) == NULL);
    outq_clear(&q, &pool);
    outpool_deinit(&pool);
}

int main(void)
{
    test("small pieces share a segment", small_pieces_share_a_segment);
    test("a small segment grows", a_small_segment_grows);
    test("the pool saves allocations", the_pool_saves_allocations);
    test("the pool is bounded", the_pool_is_bounded);
    test("a chunk is shared", a_chunk_is_shared);
    test("order is kept around chunks", order_is_kept_around_chunks);
    test("spans grow", spans_grow);
    test("spans end", spans_end);
    test("settled spans keep no mixed chunk", settled_spans_keep_no_mixed_chunk);
    test("agrees with a flat model", agrees_with_a_flat_model);
    test("fails without a trace", fails_without_a_trace);
    test("every allocation may fail", every_allocation_may_fail);
    return test_end();
}
