// SPDX-License-Identifier: MIT
/* struct buf against a flat model, its failures, and its promise to move few bytes. */
#include "base/buf.h"
#include "base/err.h"
#include "support.h"

#include <string.h>

static void fills_and_empties(void)
{
    struct buf b = {0};
    CHECK_INT(buf_append(&b, "", 0), 0);
    CHECK(b.data == NULL);
    CHECK_INT(buf_append(&b, "hello", 5), 0);
    CHECK_BYTES(buf_bytes(&b), buf_len(&b), "hello", 5);
    buf_consume(&b, 2);
    CHECK_BYTES(buf_bytes(&b), buf_len(&b), "llo", 3);
    buf_consume(&b, 3);
    CHECK_INT(buf_len(&b), 0);
    CHECK_INT(b.off, 0);
    buf_free(&b);
    CHECK(b.data == NULL && b.cap == 0);
    CHECK_INT(buf_append(&b, "again", 5), 0);
    CHECK_INT(buf_len(&b), 5);
    buf_free(&b);
}

static void reserved_room_is_there(void)
{
    struct buf b = {0};
    CHECK_INT(buf_reserve(&b, 1000), 0);
    CHECK(b.cap - b.end >= 1000);
    memset(buf_room(&b), 'x', 1000);
    buf_added(&b, 1000);
    CHECK_INT(buf_len(&b), 1000);
    CHECK_INT(buf_bytes(&b)[999], 'x');
    buf_free(&b);
}

static void exact_room_is_exact(void)
{
    struct buf b = {0};
    CHECK_INT(buf_append(&b, "abcdef", 6), 0);
    buf_consume(&b, 2);
    CHECK_INT(buf_reserve_exactly(&b, 1000), 0);
    CHECK_INT(b.cap, 1004);
    CHECK_BYTES(buf_bytes(&b), buf_len(&b), "cdef", 4);
    CHECK_INT(buf_reserve_exactly(&b, 1000), 0);
    CHECK_INT(b.cap, 1004);
    CHECK_INT(buf_reserve_exactly(&b, SIZE_MAX - 10), ERR_NOMEM);
    CHECK_INT(buf_len(&b), 4);
    buf_free(&b);
}

static void agrees_with_a_flat_model(void)
{
    static uint8_t all[1 << 20];
    uint64_t seed = 88172645463325252u;
    struct buf b = {0};
    size_t in = 0, out = 0;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)random_next(&seed);
    while (in < sizeof all) {
        size_t n = random_next(&seed) % 700;
        if (n > sizeof all - in)
            n = sizeof all - in;
        CHECK_INT(buf_append(&b, all + in, n), 0);
        in += n;
        n = random_next(&seed) % (buf_len(&b) + 1);
        CHECK_BYTES(buf_bytes(&b), n, all + out, n);
        buf_consume(&b, n);
        out += n;
    }
    CHECK_BYTES(buf_bytes(&b), buf_len(&b), all + out, in - out);
    CHECK(b.cap <= 16 * 1024); /* never more than some 700 bytes waited for long */
    buf_free(&b);
}

/* A full buffer that is consumed and filled byte by byte must not move everything each time. */
static void stays_linear(void)
{
    enum { FULL = 64 * 1024 };
    static uint8_t block[FULL];
    struct buf b = {0};
    CHECK_INT(buf_append(&b, block, FULL), 0);
    size_t moves = 0;
    for (int i = 0; i < FULL; i++) {
        const uint8_t *before = b.data;
        size_t off = b.off;
        buf_consume(&b, 1);
        CHECK_INT(buf_append(&b, "x", 1), 0);
        moves += b.data != before || b.off < off;
    }
    CHECK(moves <= 4);
    CHECK_INT(buf_len(&b), FULL);
    CHECK(b.cap <= 4 * FULL);
    buf_free(&b);
}

static void a_failed_append_changes_nothing(void)
{
    struct buf b = {0};
    alloc_watch(1, false);
    int err = buf_append(&b, "hello", 5);
    CHECK(alloc_end().failed);
    CHECK_INT(err, ERR_NOMEM);
    CHECK(b.data == NULL);
    CHECK_INT(buf_append(&b, "hello", 5), 0);
    for (int consumed = 0; consumed <= 1; consumed++) {
        buf_consume(&b, (size_t)consumed);
        size_t len = buf_len(&b);
        alloc_watch(1, false);
        err = buf_reserve(&b, 4096);
        CHECK(alloc_end().failed);
        CHECK_INT(err, ERR_NOMEM);
        CHECK_BYTES(buf_bytes(&b), buf_len(&b), &"hello"[5 - len], len);
    }
    CHECK_INT(buf_reserve(&b, SIZE_MAX - 10), ERR_NOMEM);
    CHECK_INT(buf_len(&b), 4);
    buf_free(&b);
}

int main(void)
{
    test("fills and empties", fills_and_empties);
    test("reserved room is there", reserved_room_is_there);
    test("exact room is exact", exact_room_is_exact);
    test("agrees with a flat model", agrees_with_a_flat_model);
    test("stays linear", stays_linear);
    test("a failed append changes nothing", a_failed_append_changes_nothing);
    return test_end();
}
