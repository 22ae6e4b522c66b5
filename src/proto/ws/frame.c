// SPDX-License-Identifier: MIT
/*
 * The header of RFC 6455 §5.2 between bytes and struct frame, and the masking of §5.3. Decoding
 * restarts from the first byte each time: a header is at most 14 bytes, so nothing is worth
 * keeping. Masking works on 16 bytes at a time through the compiler's vector type, which every
 * x86-64 and ARM64 has registers for.
 */
#include "proto/ws/frame.h"

#include "base/err.h"

#include <string.h>

enum {
    FIN_BIT = 0x80,
    RSV_BITS = FRAME_RSV1 | FRAME_RSV2 | FRAME_RSV3,
    OPCODE_BITS = 0x0F,
    CONTROL_BIT = 0x08,
    MASK_BIT = 0x80,
    LENGTH_BITS = 0x7F,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
};

/* The opcodes that §5.2 defines, a bit for each. */
static const unsigned known = 1u << FRAME_CONTINUATION | 1u << FRAME_TEXT | 1u << FRAME_BINARY |
                              1u << FRAME_CLOSE | 1u << FRAME_PING | 1u << FRAME_PONG;

/*
 * Byte 0. Reserved opcodes end the connection (§5.2); control frames are never fragmented (§5.5).
 */
static int decode_first(struct frame *f, uint8_t b)
{
    f->fin = (b & FIN_BIT) != 0;
    f->rsv = b & RSV_BITS;
    f->opcode = b & OPCODE_BITS;
    if (!(known >> f->opcode & 1))
        return ERR_PROTOCOL;
    return (f->opcode & CONTROL_BIT) && !f->fin ? ERR_PROTOCOL : 0;
}

static int decode_length16(struct frame *f, const uint8_t *bytes, size_t len)
{
    if (len < 4)
        return 0;
    f->length = (uint64_t)bytes[2] << 8 | bytes[3];
    return f->length < LENGTH_16 ? ERR_PROTOCOL : 4; /* §5.2: the minimal number of bytes */
}

static int decode_length64(struct frame *f, const uint8_t *bytes, size_t len)
{
    if (len > 2 && (bytes[2] & 0x80)) /* §5.2: the most significant bit must be 0 */
        return ERR_PROTOCOL;
    if (len >= 8 && memcmp(bytes + 2, "\0\0\0\0\0\0", 6) == 0) /* would have fitted 16 bits */
        return ERR_PROTOCOL;
    if (len < 10)
        return 0;
    f->length = 0;
    for (int i = 2; i < 10; i++)
        f->length = f->length << 8 | bytes[i];
    return 10;
}

/* Byte 1 and the extended length. Returns the bytes so far, the mask apart; 0 or an error. */
static int decode_length(struct frame *f, const uint8_t *bytes, size_t len)
{
    unsigned n = bytes[1] & LENGTH_BITS;
    if ((f->opcode & CONTROL_BIT) && n > FRAME_CONTROL_MAX) /* §5.5 */
        return ERR_PROTOCOL;
    if (n == LENGTH_16)
        return decode_length16(f, bytes, len);
    if (n == LENGTH_64)
        return decode_length64(f, bytes, len);
    f->length = n;
    return 2;
}

int frame_decode(struct frame *f, const uint8_t *bytes, size_t len)
{
    if (len == 0)
        return 0;
    if (decode_first(f, bytes[0]) < 0)
        return ERR_PROTOCOL;
    if (len == 1)
        return 0;
    int size = decode_length(f, bytes, len);
    if (size <= 0)
        return size;
    f->masked = (bytes[1] & MASK_BIT) != 0;
    memset(f->mask, 0, sizeof f->mask);
    if (!f->masked)
        return size;
    if (len < (size_t)size + sizeof f->mask)
        return 0;
    memcpy(f->mask, bytes + size, sizeof f->mask);
    return size + (int)sizeof f->mask;
}

const char *frame_fault(const uint8_t *bytes)
{
    struct frame f;
    if (decode_first(&f, bytes[0]) < 0)
        return known >> f.opcode & 1 ? "control frame is fragmented" : "reserved opcode";
    if (f.opcode & CONTROL_BIT)
        return "control frame is too long";
    bool top_bit = (bytes[1] & LENGTH_BITS) == LENGTH_64 && (bytes[2] & 0x80);
    return top_bit ? "frame length has its top bit set"
                   : "frame length is not in its shortest form";
}

size_t frame_header_size(uint64_t length, bool masked)
{
    size_t size = length < LENGTH_16 ? 2 : length <= UINT16_MAX ? 4 : 10;
    return masked ? size + 4 : size;
}

size_t frame_encode(const struct frame *f, uint8_t *out)
{
    uint8_t mask_bit = f->masked ? MASK_BIT : 0;
    size_t size = frame_header_size(f->length, false);
    out[0] = (uint8_t)((f->fin ? FIN_BIT : 0) | f->rsv | f->opcode);
    if (size == 2) {
        out[1] = (uint8_t)(mask_bit | f->length);
    } else {
        out[1] = mask_bit | (size == 4 ? LENGTH_16 : LENGTH_64);
        for (size_t i = 2; i < size; i++)
            out[i] = (uint8_t)(f->length >> 8 * (size - 1 - i));
    }
    if (!f->masked)
        return size;
    memcpy(out + size, f->mask, sizeof f->mask);
    return size + sizeof f->mask;
}

/* What no ASCII byte has. */
#define HIGH_BITS 0x8080808080808080u

/* Sixteen bytes at any address. */
typedef uint64_t vec __attribute__((vector_size(16), aligned(1), may_alias));

/* The key as it meets the payload from byte `offset` on, twice over. */
static uint64_t turned_key(const uint8_t mask[4], size_t offset)
{
    uint8_t twice[8];
    uint32_t k;
    memcpy(twice, mask, 4);
    memcpy(twice + 4, mask, 4);
    memcpy(&k, twice + (offset & 3), 4);
    return k * (uint64_t)0x100000001u;
}

/* Sixty-four bytes at a time; returns how many were done, and in *seen the bits that occurred. */
static size_t mask_blocks(uint8_t *dst, const uint8_t *src, size_t len, uint64_t key,
                          uint64_t *seen)
{
    vec k = {key, key}, all = {0, 0};
    size_t i = 0;
    for (; i + 64 <= len; i += 64) {
        const vec *s = (const vec *)(const void *)(src + i);
        vec *d = (vec *)(void *)(dst + i);
        vec a = s[0] ^ k, b = s[1] ^ k, c = s[2] ^ k, e = s[3] ^ k;
        d[0] = a;
        d[1] = b;
        d[2] = c;
        d[3] = e;
        all |= (a | b) | (c | e);
    }
    *seen = all[0] | all[1];
    return i;
}

bool frame_mask(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t mask[4], size_t offset)
{
    uint64_t key = turned_key(mask, offset), w, seen = 0;
    size_t i = len < 64 ? 0 : mask_blocks(dst, src, len, key, &seen);
    for (; i + 8 <= len; i += 8) {
        memcpy(&w, src + i, 8);
        w ^= key;
        memcpy(dst + i, &w, 8);
        seen |= w;
    }
    if (len & 4) {
        uint32_t half;
        memcpy(&half, src + i, 4);
        half ^= (uint32_t)key;
        memcpy(dst + i, &half, 4);
        seen |= half;
        i += 4;
    }
    uint8_t bytes[4]; /* the key's halves are alike, so the tail may start anew */
    memcpy(bytes, &key, 4);
    for (; i < len; i++)
        seen |= dst[i] = src[i] ^ bytes[i & 3];
    return (seen & HIGH_BITS) == 0;
}
