// SPDX-License-Identifier: MIT
/*
 * Random bytes from the kernel, fetched in stocks: small portions (ids of connections, masking keys
 * of frames) would cost a system call each.
 */
#ifndef NEAP_BASE_ENTROPY_H
#define NEAP_BASE_ENTROPY_H

#include <stddef.h>
#include <stdint.h>

enum { ENTROPY_STOCK = 512 };

/* Zero-initialised is empty. */
struct entropy {
    uint8_t bytes[ENTROPY_STOCK];
    unsigned left; /* the last so many have not been given out */
};

/* Fills `out` with `len` bytes, ENTROPY_STOCK at most. What has been given out is not kept. */
void entropy_take(struct entropy *e, void *out, size_t len);

#endif
