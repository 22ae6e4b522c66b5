// SPDX-License-Identifier: MIT
/*
 * Growth is geometric, so that appending byte by byte stays linear; consumed space is reused before
 * growing.
 */
#include "base/buf.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#include <string.h>

#ifdef NEAP_CHECKS
void buf_check(const struct buf *b)
{
    CHECK(b->off <= b->end && b->end <= b->cap);
    CHECK(!b->data == !b->cap);
}
#endif

/*
 * Moves what is readable to a block of `cap` bytes. One that starts at the front may be resized in
 * place.
 */
static int move_to(struct buf *b, size_t cap)
{
    uint8_t *data = b->off ? mem_try(cap) : mem_try_resize(b->data, cap);
    if (!data)
        return ERR_NOMEM;
    if (b->off) {
        memcpy(data, b->data + b->off, buf_len(b));
        mem_free(b->data);
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_reserve(struct buf *b, size_t room)
{
    if (b->cap - b->end >= room)
        return 0;
    size_t len = buf_len(b);
    if (room > SIZE_MAX / 4 || len > SIZE_MAX / 4)
        return ERR_NOMEM;
    if (b->off >= len && b->cap - len >= room) { /* moves no more than was consumed */
        memmove(b->data, b->data + b->off, len);
    } else {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < len + room || cap < 2 * len) /* so that the next move is `len` bytes away */
            cap *= 2;
        if (move_to(b, cap) < 0)
            return ERR_NOMEM;
    }
    b->off = 0;
    b->end = len;
    buf_check(b);
    return 0;
}

int buf_reserve_exactly(struct buf *b, size_t room)
{
    size_t len = buf_len(b);
    if (b->cap - b->end >= room)
        return 0;
    if (room > SIZE_MAX / 4 || len > SIZE_MAX / 4 || move_to(b, len + room) < 0)
        return ERR_NOMEM;
    b->off = 0;
    b->end = len;
    buf_check(b);
    return 0;
}

int buf_append(struct buf *b, const void *bytes, size_t len)
{
    if (len == 0)
        return 0;
    if (buf_reserve(b, len) < 0)
        return ERR_NOMEM;
    memcpy(b->data + b->end, bytes, len);
    buf_added(b, len);
    return 0;
}

void buf_consume(struct buf *b, size_t len)
{
    b->off += len;
    buf_check(b);
    if (b->off == b->end)
        b->off = b->end = 0;
}

void buf_free(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){0};
}
