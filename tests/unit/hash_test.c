// SPDX-License-Identifier: MIT
/* SipHash-1-3 against the reference implementation's outputs, and what tables need of hashes. */
#include "base/hash.h"
#include "support.h"

#include <string.h>

/* The key is 00 01 … 0F, the n-th input has n bytes 00 01 02 … */
static const uint64_t vectors[64] = {
    0xabac0158050fc4dcu, 0xc9f49bf37d57ca93u, 0x82cb9b024dc7d44du, 0x8bf80ab8e7ddf7fbu,
    0xcf75576088d38328u, 0xdef9d52f49533b67u, 0xc50d2b50c59f22a7u, 0xd3927d989bb11140u,
    0x369095118d299a8eu, 0x25a48eb36c063de4u, 0x79de85ee92ff097fu, 0x70c118c1f94dc352u,
    0x78a384b157b4d9a2u, 0x306f760c1229ffa7u, 0x605aa111c0f95d34u, 0xd320d86d2a519956u,
    0xcc4fdd1a7d908b66u, 0x9cf2689063dbd80cu, 0x8ffc389cb473e63eu, 0xf21f9de58d297d1cu,
    0xc0dc2f46a6cce040u, 0xb992abfe2b45f844u, 0x7ffe7b9ba320872eu, 0x525a0e7fdae6c123u,
    0xf464aeb267349c8cu, 0x45cd5928705b0979u, 0x3a3e35e3ca9913a5u, 0xa91dc74e4ade3b35u,
    0xfb0bed02ef6cd00du, 0x88d93cb44ab1e1f4u, 0x540f11d643c5e663u, 0x2370dd1f8c21d1bcu,
    0x81157b6c16a7b60du, 0x4d54b9e57a8ff9bfu, 0x759f12781f2a753eu, 0xcea1a3bebf186b91u,
    0x2cf508d3ada26206u, 0xb6101c2da3c33057u, 0xb3f47496ae3a36a1u, 0x626b57547b108392u,
    0xc1d2363299e41531u, 0x667cc1923f1ad944u, 0x65704ffec8138825u, 0x24f280d1c28949a6u,
    0xc2ca1cedfaf8876bu, 0xc2164bfc9f042196u, 0xa16e9c9368b1d623u, 0x49fb169c8b5114fdu,
    0x9f3143f8df074c46u, 0xc6fdaf2412cc86b3u, 0x7eaf49d10a52098fu, 0x1cf313559d292f9au,
    0xc44a30dda2f41f12u, 0x36fae98943a71ed0u, 0x318fb34c73f0bce6u, 0xa27abf3670a7e980u,
    0xb4bcc0db243c6d75u, 0x23f8d852fdb71513u, 0x8f035f4da67d8a08u, 0xd89cd0e5b7e8f148u,
    0xf6f4e6bcf7a644eeu, 0xaec59ad80f1837f2u, 0xc3b2f6154b6694e0u, 0x9d199062b7bbb3a8u,
};

static void reference(void)
{
    const struct hash_seed seed = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    uint8_t input[64];
    for (size_t i = 0; i < sizeof input; i++) {
        test_context("%zu bytes", i);
        input[i] = (uint8_t)i;
        CHECK(hash_bytes(&seed, guard_copy(input, i), i) == vectors[i]);
    }
    test_context(NULL);
}

/* As Python computes them for its own tables with PYTHONHASHSEED=0. */
static void with_an_empty_key(void)
{
    const struct hash_seed seed = {0, 0};
    CHECK(hash_bytes(&seed, "", 0) == 0xd1fba762150c532cu);
    CHECK(hash_bytes(&seed, "siphash", 7) == 0x8264ceeccb16bcbeu);
    CHECK(hash_bytes(&seed, "\0\1\2", 3) == 0x4d4c9a4a8ef6e0adu);
}

static void the_seed_matters(void)
{
    const struct hash_seed a = {1, 2}, b = {1, 3};
    CHECK(hash_bytes(&a, "blue", 4) != hash_bytes(&b, "blue", 4));
}

/* Addresses differ in few bits; their low hash bits must not. */
static void pairs_scatter(void)
{
    unsigned filled = 0;
    uint8_t bucket[4096] = {0};
    for (uint64_t a = 0; a < 64; a++)
        for (uint64_t b = 0; b < 64; b++)
            bucket[hash_pair(0x7f0000001000u + 96 * a, 0x7f0000801000u + 720 * b) % 4096]++;
    for (size_t i = 0; i < sizeof bucket; i++) {
        filled += bucket[i] != 0;
        CHECK(bucket[i] < 12);
    }
    CHECK(filled > 4096 * 60 / 100); /* 63 % where it is as good as random */
}

int main(void)
{
    test("the reference's outputs", reference);
    test("with an empty key", with_an_empty_key);
    test("the seed matters", the_seed_matters);
    test("pairs scatter", pairs_scatter);
    return test_end();
}
