// SPDX-License-Identifier: MIT
/* The output queue against a flat model; shared chunks; the pool's bounds; failures. */
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
    CHECK_INT(outq_append_chunk(&a, &pool, c), 0);
    CHECK_INT(outq_append_chunk(&b, &pool, c), 0);
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
    CHECK_INT(outq_append_chunk(&q, &pool, c), 0);
    put(&q, "two", 3);
    CHECK_INT(outq_append_chunk(&q, &pool, c), 0);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "one-C-two-C-", 12);
    chunk_unref(c);
    outq_consume(&q, &pool, 5);
    CHECK_BYTES(got, gather(&q, got, sizeof got), "-two-C-", 7);
    outq_clear(&q, &pool);
    CHECK_INT(q.len, 0);
    outpool_deinit(&pool);
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
        struct chunk *c = r & 128 ? chunk_new(n) : NULL;
        if (c) {
            if (n > 0)
                memcpy(c->bytes, model + to, n);
            CHECK_INT(outq_append_chunk(&q, &pool, c), 0);
            chunk_unref(c);
        } else {
            put(&q, model + to, n);
        }
        to += n;
        CHECK_INT(q.len, to - from);
        n = random_next(&seed) % (q.len + 1);
        outq_consume(&q, &pool, n);
        from += n;
        n = gather(&q, got, sizeof got);
        CHECK_BYTES(got, n, model + from, to - from);
    }
    outq_clear(&q, &pool);
    CHECK(q.head == NULL);
    outpool_deinit(&pool);
}

static void fails_without_a_trace(void)
{
    struct outq q = {0};
    put(&q, "abc", 3);
    struct chunk *c = chunk_new(1);
    if (!CHECK(c != NULL))
        return;
    alloc_watch(1, true);
    uint8_t *big = outq_extend(&q, &pool, 1 << 20);
    int err = outq_append_chunk(&q, &pool, c);
    struct chunk *none = chunk_new(10);
    CHECK(alloc_end().failed);
    CHECK(big == NULL && none == NULL);
    CHECK_INT(err, ERR_NOMEM);
    CHECK_INT(c->refs, 1);
    CHECK_INT(q.len, 3);
    CHECK(outq_extend(&q, &pool, SIZE_MAX - 100) == NULL);
    CHECK(chunk_new((size_t)UINT32_MAX + 1) == NULL);
    chunk_unref(c);
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
    test("agrees with a flat model", agrees_with_a_flat_model);
    test("fails without a trace", fails_without_a_trace);
    return test_end();
}
