// SPDX-License-Identifier: MIT
/*
 * Hashes for tables whose keys come from outside. With a secret seed nobody can choose names that
 * all fall into one bucket: SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012, with one and three rounds, as Rust's and Python's tables use it).
 */
#ifndef NEAP_BASE_HASH_H
#define NEAP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* 16 random bytes, as two little-endian words. */
struct hash_seed {
    uint64_t k0, k1;
};

/* SipHash-1-3 of the bytes. */
uint64_t hash_bytes(const struct hash_seed *seed, const void *bytes, size_t len);

/* Scatters two words that nobody outside chooses, such as addresses of ours. */
static inline uint64_t hash_pair(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b << 32 | b >> 32)) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32 ^ b) * 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

#endif
