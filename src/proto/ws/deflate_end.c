// SPDX-License-Identifier: MIT
/*
 * libdeflate ends what it writes in a final block. RFC 7692 §7.2.3.4 allows that, but a peer that
 * keeps its decompressor from message to message may never get over one: for zlib the stream has
 * ended. So the final block is made an ordinary one, with the empty block of §7.2.1 behind it:
 *
 *      BFINAL=1 │ symbols … end of block │ 0…0
 *      BFINAL=0 │ symbols … end of block │ 000 0…0 (00 00 ff ff, left out)
 *
 * Where the last block begins and ends libdeflate does not tell. Most messages are one block with
 * codes of its own (RFC 1951 §3.2.7), which begins at bit 0; its head says what "end of block"
 * looks like, behind which are only zeros, so the last bit that is set belongs to it. All others
 * are read by zlib, which stops at the end of each block: that costs as much as unpacking.
 *
 * No input of a peer comes here.
 */
#include "proto/ws/deflate_private.h"

#include "base/buf.h"

#include <endian.h>
#include <string.h>

enum {
    END_OF_BLOCK = 256,
    LITERALS_MAX = 286,
    ORDERS = 19,   /* codes for code lengths: 0 to 15, and three kinds of repetition */
    ORDER_MAX = 7, /* bits of such a code */
    LENGTH_MAX = 15,
    DYNAMIC = 2,
};

struct bits {
    const uint8_t *bytes;
    size_t pos, end; /* in bits */
};

/* Up to 16 bits, the first one lowest; zeros behind the end. */
static unsigned peek(const struct bits *b, unsigned count)
{
    uint32_t value = 0;
    size_t at = b->pos / 8, left = at < b->end / 8 ? b->end / 8 - at : 0;
    if (left >= sizeof value)
        memcpy(&value, b->bytes + at, sizeof value);
    else
        memcpy(&value, b->bytes + at, left);
    return le32toh(value) >> b->pos % 8 & ((1u << count) - 1);
}

static unsigned take(struct bits *b, unsigned count)
{
    unsigned value = peek(b, count);
    b->pos += count;
    return value;
}

static unsigned reversed(unsigned code, unsigned length)
{
    unsigned out = 0;
    for (unsigned i = 0; i < length; i++)
        out |= (code >> i & 1) << (length - 1 - i);
    return out;
}

struct code_lengths {
    uint8_t of[LITERALS_MAX]; /* 0: the symbol does not occur */
    unsigned count;
    unsigned counts[LENGTH_MAX + 1]; /* how many symbols have each length */
};

static void add_lengths(struct code_lengths *l, unsigned length, unsigned times)
{
    memset(l->of + l->count, (int)length, times);
    l->count += times;
    l->counts[length] += times;
}

/* The first code of each length: RFC 1951 §3.2.2, step 2. */
static void first_codes(const struct code_lengths *l, unsigned first[LENGTH_MAX + 1])
{
    unsigned code = 0;
    for (unsigned length = 1; length <= LENGTH_MAX; length++) {
        unsigned shorter = length == 1 ? 0 : l->counts[length - 1];
        first[length] = code = (code + shorter) << 1;
    }
}

/* Reads the codes of code lengths: by each 7 bits that may come, the symbol and its length. */
static void read_orders(struct bits *b, unsigned count, uint8_t table[1 << ORDER_MAX][2])
{
    static const uint8_t places[ORDERS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                           11, 4,  12, 3, 13, 2, 14, 1, 15};
    struct code_lengths l = {.count = ORDERS};
    unsigned next[LENGTH_MAX + 1];
    for (unsigned i = 0; i < count; i++)
        l.counts[l.of[places[i]] = (uint8_t)take(b, 3)]++;
    first_codes(&l, next);
    for (unsigned symbol = 0; symbol < ORDERS; symbol++) {
        unsigned length = l.of[symbol];
        if (!length)
            continue;
        unsigned code = reversed(next[length]++, length);
        for (unsigned i = code; i < 1 << ORDER_MAX; i += 1u << length) {
            table[i][0] = (uint8_t)symbol;
            table[i][1] = (uint8_t)length;
        }
    }
}

/* How often symbol 16, 17 or 18 repeats a length (RFC 1951 §3.2.7). */
static unsigned repeats(struct bits *b, unsigned symbol)
{
    switch (symbol) {
    case 16: return 3 + take(b, 2);
    case 17: return 3 + take(b, 3);
    default: return 11 + take(b, 7);
    }
}

/*
 * The lengths of the codes for literals; false when they are not what an encoder writes. Those for
 * distances, which a repetition may run into, are no matter here.
 */
static bool read_lengths(struct bits *b, struct code_lengths *l)
{
    uint8_t orders[1 << ORDER_MAX][2] = {{0}};
    unsigned count = take(b, 5) + 257;
    take(b, 5); /* how many there are for distances */
    read_orders(b, take(b, 4) + 4, orders);
    if (count > LITERALS_MAX)
        return false;
    while (l->count < count && b->pos < b->end) {
        const uint8_t *order = orders[peek(b, ORDER_MAX)];
        if (order[1] == 0 || (order[0] == 16 && l->count == 0))
            return false;
        b->pos += order[1];
        unsigned times = order[0] < 16 ? 1 : repeats(b, order[0]);
        unsigned length = order[0] < 16 ? order[0] : order[0] == 16 ? l->of[l->count - 1] : 0;
        add_lengths(l, length, times < count - l->count ? times : count - l->count);
    }
    return l->count == count;
}

/* How many bits are zero at the end of the code for "end of block"; -1 when all are. */
static int zeros_of_end(const struct code_lengths *l)
{
    unsigned next[LENGTH_MAX + 1], length = l->of[END_OF_BLOCK];
    first_codes(l, next);
    unsigned code = next[length];
    for (unsigned i = 0; i < END_OF_BLOCK; i++)
        code += l->of[i] == length;
    return code && length ? __builtin_ctz(code) : -1;
}

/* The bit behind a stream that is one block; 0 when it cannot be told. */
static size_t end_of_one(const uint8_t *bytes, size_t len)
{
    struct bits b = {bytes, 0, len * 8};
    struct code_lengths lengths = {.count = 0};
    bool last = take(&b, 1);
    if (!last || take(&b, 2) != DYNAMIC || !read_lengths(&b, &lengths))
        return 0;
    int zeros = zeros_of_end(&lengths);
    if (zeros < 0)
        return 0;
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    if (len == 0)
        return 0;
    size_t end = len * 8 - (size_t)__builtin_clz((unsigned)bytes[len - 1] << 24) + (size_t)zeros;
    return end <= b.end && b.end - end < 8 ? end : 0;
}

/* The same for any stream, and where its last block begins. */
static size_t end_of_any(struct deflate_shared *s, const uint8_t *bytes, size_t len, size_t *begin)
{
    uint8_t unpacked[4096];
    z_stream *z = deflate_shared_reader(s);
    if (!z)
        return 0;
    z->next_in = bytes;
    z->avail_in = (uInt)len;
    *begin = 0;
    for (;;) {
        z->next_out = unpacked;
        z->avail_out = sizeof unpacked;
        if (inflate(z, Z_BLOCK) != Z_OK)
            return 0;
        size_t pos = (len - z->avail_in) * 8 - (size_t)(z->data_type & 7);
        bool at_end = z->data_type & 128, last = z->data_type & 64;
        if (at_end && last)
            return pos;
        if (at_end)
            *begin = pos;
    }
}

size_t deflate_unfinish(struct deflate_shared *s, uint8_t *bytes, size_t len)
{
    size_t begin = 0, end = end_of_one(bytes, len);
    if (end == 0)
        end = end_of_any(s, bytes, len, &begin);
    if (end == 0)
        return 0;
    bytes[begin / 8] &= (uint8_t) ~(1u << begin % 8);
    bytes[len] = 0;
    return (end + 3 + 7) / 8;
}
