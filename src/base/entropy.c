// SPDX-License-Identifier: MIT
/* Random bytes by the stock: see entropy.h. */
#include "base/entropy.h"

#include "base/check.h"

#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

void entropy_take(struct entropy *e, void *out, size_t len)
{
    CHECK(len <= sizeof e->bytes);
    if (e->left < len) {
        while (getrandom(e->bytes, sizeof e->bytes, 0) != (ssize_t)sizeof e->bytes)
            ; /* interrupted: 512 bytes are not promised in one call */
        e->left = sizeof e->bytes;
    }
    uint8_t *from = e->bytes + sizeof e->bytes - e->left;
    memcpy(out, from, len);
    memset(from, 0, len);
    e->left -= (unsigned)len;
}
