// SPDX-License-Identifier: MIT
/*
 * What is sent without a window can be read by a peer that never begins a stream anew: one zlib
 * stream reads message after message, each with the four bytes that were left out (RFC 7692
 * §7.2.2). A final block, or an end that is a bit too early or too late, and it fails.
 */
#include "proto/ws/deflate.h"

#include "support.h"

#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

enum { LONGEST = 200 * 1000 };

static uint8_t message[LONGEST];
static uint8_t unpacked[LONGEST + 1];

/*
 * Symbols out of an alphabet of 1 to 256 with the smaller ones more frequent, so that codes of all
 * lengths come about; now and then an earlier passage again.
 */
static void fill(size_t len, uint64_t *seed)
{
    unsigned alphabet = 1u << random_next(seed) % 9, again = 1 + random_next(seed) % 64;
    for (size_t i = 0; i < len;) {
        uint64_t r = random_next(seed);
        if (i > 40 && r % again == 0) {
            size_t from = r / 64 % (i - 39), count = 3 + r / 4096 % 37;
            for (size_t k = 0; k < count && i < len; k++)
                message[i++] = message[from + k];
        } else {
            message[i++] = (uint8_t)((r >> 8) % (1 + (r >> 24) % alphabet));
        }
    }
}

static bool reads(z_stream *z, const struct deflate_span *packed, size_t len)
{
    static const uint8_t left_out[] = {0, 0, 0xff, 0xff};
    z->next_out = unpacked;
    z->avail_out = sizeof unpacked;
    z->next_in = packed->bytes;
    z->avail_in = (uInt)packed->len;
    if (!CHECK_INT(inflate(z, Z_SYNC_FLUSH), Z_OK) || !CHECK_INT(z->avail_in, 0))
        return false;
    z->next_in = left_out;
    z->avail_in = sizeof left_out;
    return CHECK_INT(inflate(z, Z_SYNC_FLUSH), Z_OK) && CHECK_INT(z->avail_in, 0) &&
           CHECK_BYTES(unpacked, sizeof unpacked - z->avail_out, message, len);
}

/* `count` messages of up to `longest` bytes; how many were packed. */
static int run(unsigned level, int count, size_t longest, uint64_t seed)
{
    struct deflate_config config = {.level = (uint8_t)level, .mem_level = 8, .window_bits = 15};
    struct deflate_params params = {15, 15, true, true};
    struct deflate_shared *s = deflate_shared_new();
    struct deflate *d = deflate_new(&config, &params, true);
    z_stream z = {0};
    int packed_count = 0;
    seed = seed * 7919 + 1;
    CHECK(s && d && inflateInit2(&z, -15) == Z_OK);
    for (int i = 0; i < count; i++) {
        struct deflate_span packed;
        size_t len = 2 + random_next(&seed) % (longest - 2);
        fill(len, &seed);
        test_context("level %u, message %d of %zu bytes", level, i, len);
        if (!deflate_pack(d, s, message, len, &packed))
            continue;
        packed_count++;
        if (!reads(&z, &packed, len))
            break;
        deflate_packed_used(s);
    }
    inflateEnd(&z);
    deflate_free(d);
    deflate_shared_free(s);
    return packed_count;
}

/* One block, most with codes of its own. */
static void small_messages(void)
{
    for (unsigned level = 0; level < 10; level++) {
        CHECK(run(level, 800, 60, level) > 50);
        CHECK(run(level, 800, 3000, level + 100) > 300);
    }
}

/* Several blocks of all kinds; longer than the window, too, where zlib packs. */
static void large_messages(void)
{
    for (unsigned level = 0; level < 10; level++)
        CHECK(run(level, 40, LONGEST, level) > 15);
}

int main(void)
{
    test("small messages", small_messages);
    test("large messages", large_messages);
    return test_end();
}
