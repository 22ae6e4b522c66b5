// SPDX-License-Identifier: MIT
/*
 * SipHash-1-3: four words of state, one round for every eight bytes of input, three at the end. The
 * last word of input has the bytes that are left over, and the length in its highest byte.
 */
#include "base/hash.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void mix(struct state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline void take(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    mix(s);
    s->v0 ^= word;
}

/* Up to eight bytes, little endian. */
static uint64_t word_at(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)bytes[i] << 8 * i;
    return word;
}

uint64_t hash_bytes(const struct hash_seed *seed, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    struct state s = {seed->k0 ^ 0x736f6d6570736575u, seed->k1 ^ 0x646f72616e646f6du,
                      seed->k0 ^ 0x6c7967656e657261u, seed->k1 ^ 0x7465646279746573u};
    size_t left = len;
    for (; left >= 8; left -= 8, at += 8)
        take(&s, word_at(at, 8));
    take(&s, (uint64_t)len << 56 | word_at(at, left));
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        mix(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
