// SPDX-License-Identifier: MIT
//
// Heads of frames (RFC 6455 §5.2) for the load generator, which writes and reads them without
// their mask:
//
//      FIN RSV opcode │ MASK length │ 0, 2 or 8 bytes of length
//
// The head of a reply comes in pieces as everything does, so it is collected in ten bytes.

#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_FIN = 0x80, FRAME_RSV1 = 0x40, FRAME_MASK = 0x80, FRAME_HEAD_MAX = 10 };

// The bytes of length behind the first two bytes.
static inline unsigned frame_length_bytes(unsigned second)
{
    unsigned length = second & 0x7f;
    return length < 126 ? 0 : length == 126 ? 2 : 8;
}

// Writes a head of FRAME_HEAD_MAX bytes at most. Returns its size.
static inline size_t frame_head_write(uint8_t *out, int first, size_t size)
{
    out[0] = (uint8_t)first;
    out[1] = (uint8_t)(size < 126 ? size : size < 65536 ? 126 : 127);
    unsigned count = frame_length_bytes(out[1]);
    for (unsigned i = 0; i < count; i++)
        out[2 + i] = (uint8_t)((uint64_t)size >> (8 * (count - 1 - i)));
    return 2 + count;
}

// Whether `size` bytes of a head are all of it.
static inline bool frame_head_whole(const uint8_t *head, size_t size)
{
    return size >= 2 && size == 2 + frame_length_bytes(head[1]);
}

// Moves what is missing of a head from `data` behind its `*size` bytes. Returns the bytes moved.
static inline size_t frame_head_collect(uint8_t *head, size_t *size, const uint8_t *data,
                                        size_t available)
{
    size_t used = 0;
    while (used < available && !frame_head_whole(head, *size))
        head[(*size)++] = data[used++];
    return used;
}

// The size of the payload that a whole head tells.
static inline uint64_t frame_payload_size(const uint8_t *head)
{
    unsigned count = frame_length_bytes(head[1]);
    uint64_t size = count == 0 ? head[1] & 0x7f : 0;
    for (unsigned i = 0; i < count; i++)
        size = size << 8 | head[2 + i];
    return size;
}

#endif
