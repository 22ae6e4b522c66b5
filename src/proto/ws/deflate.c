// SPDX-License-Identifier: MIT
/*
 * A session's part of compression, and packing. Unpacking is in deflate_in.c, what a worker shares
 * in deflate_shared.c.
 *
 * Which library packs a message:
 *
 *      a window is kept from message to message          zlib, the session's own stream
 *      none is, the message fits the agreed window       libdeflate: no distance can be too far
 *      none is, the message is longer than the window    zlib, the worker's stream
 */
#include "proto/ws/deflate_private.h"

#include "base/mem.h"

enum {
    LEVEL = 6,     /* of both libraries (docs/decisions) */
    SYNC_TAIL = 4, /* 00 00 ff ff, left out of what is sent (§7.2.1) */
};

struct deflate *deflate_new(const struct deflate_config *config,
                            const struct deflate_params *params, bool server)
{
    struct deflate *d = mem_try(sizeof *d);
    if (!d)
        return NULL;
    *d = (struct deflate){
        .config = config,
        .out_bits = server ? params->server_bits : params->client_bits,
        .in_bits = server ? params->client_bits : params->server_bits,
        .out_keeps = !(server ? params->server_no_takeover : params->client_no_takeover),
        .in_keeps = !(server ? params->client_no_takeover : params->server_no_takeover),
    };
    /* A smaller window than agreed upon is always legal to write with. */
    if (d->out_keeps && d->out_bits > config->window_bits)
        d->out_bits = config->window_bits;
    return d;
}

void deflate_free(struct deflate *d)
{
    if (!d)
        return;
    deflate_out_free(d->out);
    deflate_in_free(d->in);
    mem_free(d);
}

size_t deflate_held(const struct deflate *d)
{
    size_t held = sizeof *d;
    if (d->out) /* zlib's own account in zconf.h */
        held += ((size_t)4 << d->out_bits) + ((size_t)512 << d->config->mem_level) + 6000;
    if (d->in)
        held += ((size_t)1 << d->in_bits) + 7000;
    return held;
}

/* zlib's compressor. */

static void *on_alloc(void *opaque, unsigned items, unsigned size)
{
    (void)opaque;
    return mem_try((size_t)items * size);
}

static void on_free(void *opaque, void *p)
{
    (void)opaque;
    mem_free(p);
}

z_stream *deflate_stream_new(void)
{
    z_stream *z = mem_try(sizeof *z);
    if (z)
        *z = (z_stream){.zalloc = on_alloc, .zfree = on_free};
    return z;
}

/*
 * zlib refuses a raw window of 2^8 bytes. With 2^9 it looks back 512 - 262 bytes at the most (its
 * MAX_DIST), which is within 256; the unit test unpacks such output with a window of 256 bytes.
 */
static int stream_bits(unsigned bits)
{
    return bits < 9 ? 9 : (int)bits;
}

z_stream *deflate_out_new(const struct deflate_config *config, unsigned bits)
{
    z_stream *z = deflate_stream_new();
    int level = config->level ? config->level : LEVEL;
    if (!z)
        return NULL;
    if (deflateInit2(z, level, Z_DEFLATED, -stream_bits(bits), config->mem_level,
                     Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    mem_free(z);
    return NULL;
}

void deflate_out_free(z_stream *z)
{
    if (!z)
        return;
    deflateEnd(z);
    mem_free(z);
}

/*
 * Packs with `z` and ends at a byte by an empty stored block (§7.2.1). The whole room is there
 * before a byte is taken, so that the stream cannot be left in the middle.
 */
static bool pack_stream(z_stream *z, struct deflate_shared *s, const uint8_t *bytes, size_t len,
                        struct deflate_span *out)
{
    size_t bound = deflateBound(z, (uLong)len) + 16;
    if (len > UINT32_MAX / 2 || !deflate_buffer(&s->packed, bound))
        return false;
    z->next_in = bytes;
    z->avail_in = (uInt)len;
    z->next_out = s->packed.data;
    z->avail_out = (uInt)bound;
    deflate(z, Z_SYNC_FLUSH);
    size_t written = bound - z->avail_out;
    *out = (struct deflate_span){s->packed.data, written < SYNC_TAIL ? 0 : written - SYNC_TAIL};
    return z->avail_in == 0 && z->avail_out > 0 && out->len > 0;
}

/* libdeflate. */

/* DEFLATE itself looks back 2^15 bytes at the most. */
static bool fits_window(const struct deflate *d, size_t len)
{
    return d->out_bits == DEFLATE_BITS_MAX || len <= (size_t)1 << d->out_bits;
}

/* Output that is not smaller than the message finds no room, so nothing is lost in it. */
static bool pack_whole(const struct deflate *d, struct deflate_shared *s, const uint8_t *bytes,
                       size_t len, struct deflate_span *out)
{
    unsigned level = d->config->level ? d->config->level : LEVEL;
    struct libdeflate_compressor *c = deflate_shared_compressor(s, level);
    if (!c || !deflate_buffer(&s->packed, len))
        return false;
    size_t written = libdeflate_deflate_compress(c, bytes, len, s->packed.data, len - 1);
    if (written == 0)
        return false;
    *out = (struct deflate_span){s->packed.data, deflate_unfinish(s, s->packed.data, written)};
    return out->len > 0 && out->len < len;
}

/* Sharing. */

uint32_t deflate_kind(const struct deflate *d, size_t len)
{
    unsigned level = d->config->level;
    if (len < d->config->threshold || len < 2)
        return 0;
    if (fits_window(d, len))
        return 1u << 16 | level;
    return 2u << 16 | (uint32_t)d->out_bits << 12 | (uint32_t)d->config->mem_level << 8 | level;
}

bool deflate_pack_shared(const struct deflate *d, struct deflate_shared *s, const uint8_t *bytes,
                         size_t len, struct deflate_span *out)
{
    uint32_t kind = deflate_kind(d, len);
    if (kind == 0)
        return false;
    if (fits_window(d, len))
        return pack_whole(d, s, bytes, len, out);
    z_stream *z = deflate_shared_stream(s, d->config, d->out_bits, kind);
    return z && pack_stream(z, s, bytes, len, out) && out->len < len;
}

void deflate_forget(struct deflate *d)
{
    d->stale = d->out != NULL;
}

/*
 * With a window of its own. What came out is sent even when it is larger: the window holds the
 * message now, so the peer's has to. After a failure the window begins anew, and never says what
 * the peer does not have.
 */
static bool pack_own(struct deflate *d, struct deflate_shared *s, const uint8_t *bytes, size_t len,
                     struct deflate_span *out)
{
    if (!d->out)
        d->out = deflate_out_new(d->config, d->out_bits);
    else if (d->stale)
        deflateReset(d->out);
    if (!d->out)
        return false;
    d->stale = !pack_stream(d->out, s, bytes, len, out);
    return !d->stale;
}

bool deflate_pack(struct deflate *d, struct deflate_shared *s, const uint8_t *bytes, size_t len,
                  struct deflate_span *out)
{
    if (!d->out_keeps)
        return deflate_pack_shared(d, s, bytes, len, out);
    return deflate_kind(d, len) != 0 && pack_own(d, s, bytes, len, out);
}
