// SPDX-License-Identifier: MIT
/*
 * Unpacking. Behind the payload come the four bytes that its sender left out, and an empty final
 * block, so that both libraries find the end of a stream exactly where the input ends: whatever
 * else is behind it, or missing, is invalid.
 *
 *      payload            00 00 ff ff                      01 00 00 ff ff
 *      … header 000 ▶     … of an empty stored block       empty stored block, BFINAL set
 *
 * A sender may set BFINAL itself (§7.2.3.4); what follows begins at the next byte. Room for the
 * message grows by four from one try to the next and never beyond the limit, so that a bomb costs
 * no more than a message of that size.
 */
#include "proto/ws/deflate_private.h"

#include "base/err.h"
#include "base/mem.h"

#include <string.h>

enum { ROOM_FIRST = 16 * 1024, ROOM_GROWS = 4 };

static const uint8_t tail[DEFLATE_TAIL] = {0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff};

z_stream *deflate_in_new(unsigned bits)
{
    z_stream *z = deflate_stream_new();
    if (!z)
        return NULL;
    if (inflateInit2(z, -(int)bits) == Z_OK)
        return z;
    mem_free(z);
    return NULL;
}

void deflate_in_free(z_stream *z)
{
    if (!z)
        return;
    inflateEnd(z);
    mem_free(z);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Room for the first try: about what texts come to. */
static size_t first_room(size_t packed, size_t limit)
{
    size_t room = packed > SIZE_MAX / 8 ? packed : packed * 4;
    return smaller(room < ROOM_FIRST ? ROOM_FIRST : room, limit);
}

static size_t next_room(size_t room, size_t limit)
{
    return room > limit / ROOM_GROWS ? limit : room * ROOM_GROWS;
}

/*
 * Where a final block may end, in bytes before the end of the tail: at the end of ours, or, a
 * sender having set BFINAL, at the end of its payload, or of the empty block that it left out.
 */
static bool ends_well(size_t left)
{
    return left == 0 || left == DEFLATE_TAIL || left == DEFLATE_TAIL - 4;
}

/* zlib: a window that is kept, or several final blocks in one message. */

static int enlarge(struct buf *b, size_t used, size_t size)
{
    b->off = 0;
    b->end = used;
    return buf_reserve(b, size - used);
}

/* What a final block means that ends with `left` bytes of the input unread: 1 go on. */
static int judge_end(z_stream *z, size_t left)
{
    inflateResetKeep(z); /* the window stays */
    if (left > DEFLATE_TAIL)
        return 1;
    return ends_well(left) ? 0 : ERR_PROTOCOL;
}

/* What to do after one call of inflate: 0 the message is complete, 1 go on, or an error. */
static int judge(z_stream *z, int r, size_t *room, size_t limit, struct buf *out)
{
    if (r == Z_STREAM_END)
        return judge_end(z, z->avail_in);
    if (r == Z_MEM_ERROR)
        return ERR_NOMEM;
    if ((r != Z_OK && r != Z_BUF_ERROR) || z->avail_out > 0) /* invalid, or the end is missing */
        return ERR_PROTOCOL;
    size_t used = *room;
    *room = next_room(*room, limit);
    return enlarge(out, used, *room) < 0 ? ERR_NOMEM : 1;
}

/*
 * At the limit one byte more is offered, so that a message of exactly that size, whose end has not
 * been read yet, is told from a larger one.
 */
static int unpack_stream(z_stream *z, struct deflate_shared *s, struct deflate_span payload,
                         size_t limit, struct deflate_span *out)
{
    size_t room = first_room(payload.len, limit + 1), used = 0;
    int more = deflate_buffer(&s->unpacked, room) ? 1 : ERR_NOMEM;
    z->next_in = payload.bytes;
    z->avail_in = (uInt)(payload.len + DEFLATE_TAIL);
    while (more == 1) {
        z->next_out = s->unpacked.data + used;
        z->avail_out = (uInt)(room - used);
        int r = inflate(z, Z_SYNC_FLUSH);
        used = room - z->avail_out;
        more = used > limit ? ERR_TOO_BIG : judge(z, r, &room, limit + 1, &s->unpacked);
    }
    *out = (struct deflate_span){s->unpacked.data, used};
    return more;
}

static int unpack_kept(struct deflate *d, struct deflate_shared *s, struct deflate_span payload,
                       size_t limit, struct deflate_span *out)
{
    if (!d->in)
        /* clients that say 8 mean 9: zlib's peculiarity */
        d->in = deflate_in_new(d->in_bits < 9 ? 9 : d->in_bits);
    return d->in ? unpack_stream(d->in, s, payload, limit, out) : ERR_NOMEM;
}

static int unpack_again(struct deflate_shared *s, struct deflate_span payload, size_t limit,
                        struct deflate_span *out)
{
    z_stream *z = deflate_shared_reader(s);
    return z ? unpack_stream(z, s, payload, limit, out) : ERR_NOMEM;
}

/* libdeflate: all else. */

/*
 * What follows the sender's own final block: in most cases the header of an empty one, which
 * §7.2.3.4 asks for.
 */
static int judge_whole(struct deflate_shared *s, struct deflate_span payload, size_t left,
                       size_t limit, struct deflate_span *out)
{
    if (left == DEFLATE_TAIL + 1 && payload.bytes[payload.len - 1] == 0)
        return 0;
    if (left > DEFLATE_TAIL)
        return unpack_again(s, payload, limit, out);
    return ends_well(left) ? 0 : ERR_PROTOCOL;
}

static int unpack_whole(struct deflate_shared *s, struct deflate_span payload, size_t limit,
                        struct deflate_span *out)
{
    enum libdeflate_result r = LIBDEFLATE_INSUFFICIENT_SPACE;
    size_t read = 0, room = 0;
    if (!s->decompressor && !(s->decompressor = libdeflate_alloc_decompressor()))
        return ERR_NOMEM;
    while (r == LIBDEFLATE_INSUFFICIENT_SPACE) {
        if (room == limit && room > 0)
            return ERR_TOO_BIG;
        room = room ? next_room(room, limit) : first_room(payload.len, limit);
        if (!deflate_buffer(&s->unpacked, room))
            return ERR_NOMEM;
        r = libdeflate_deflate_decompress_ex(s->decompressor, payload.bytes,
                                             payload.len + DEFLATE_TAIL, s->unpacked.data, room,
                                             &read, &out->len);
    }
    if (r != LIBDEFLATE_SUCCESS)
        return ERR_PROTOCOL;
    out->bytes = s->unpacked.data;
    return judge_whole(s, payload, payload.len + DEFLATE_TAIL - read, limit, out);
}

int deflate_unpack(struct deflate *d, struct deflate_shared *s, struct deflate_span payload,
                   size_t limit, struct deflate_span *out)
{
    *out = (struct deflate_span){payload.bytes, 0};
    if (payload.len == 0) /* nothing at all: an empty message, as others send it */
        return 0;
    if (payload.len > UINT32_MAX / 4)
        return ERR_TOO_BIG;
    limit = smaller(limit, UINT32_MAX / 2);
    memcpy(payload.bytes + payload.len, tail, sizeof tail);
    return d->in_keeps ? unpack_kept(d, s, payload, limit, out)
                       : unpack_whole(s, payload, limit, out);
}
