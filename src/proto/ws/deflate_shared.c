// SPDX-License-Identifier: MIT
/*
 * What all sessions of a worker share for compression: codecs without a memory of earlier messages,
 * and room to work in. Codecs are made by the first message that needs them; there is one of each
 * kind, made anew when a session asks for other settings, which costs about as much as a message.
 */
#include "proto/ws/deflate_private.h"

#include "base/mem.h"

struct deflate_shared *deflate_shared_new(void)
{
    struct deflate_shared *s = mem_try(sizeof *s);
    if (s)
        *s = (struct deflate_shared){0};
    libdeflate_set_memory_allocator(mem_try, mem_free);
    return s;
}

void deflate_shared_free(struct deflate_shared *s)
{
    if (!s)
        return;
    libdeflate_free_compressor(s->compressor);
    libdeflate_free_decompressor(s->decompressor);
    deflate_out_free(s->out);
    deflate_in_free(s->in);
    buf_free(&s->payload);
    buf_free(&s->unpacked);
    buf_free(&s->packed);
    mem_free(s);
}

struct libdeflate_compressor *deflate_shared_compressor(struct deflate_shared *s, unsigned level)
{
    if (s->compressor && s->level == level)
        return s->compressor;
    libdeflate_free_compressor(s->compressor);
    s->compressor = libdeflate_alloc_compressor((int)level);
    s->level = level;
    return s->compressor;
}

z_stream *deflate_shared_stream(struct deflate_shared *s, const struct deflate_config *config,
                                unsigned bits, uint32_t kind)
{
    if (s->out && s->out_kind == kind) {
        deflateReset(s->out);
        return s->out;
    }
    deflate_out_free(s->out);
    s->out = deflate_out_new(config, bits);
    s->out_kind = kind;
    return s->out;
}

z_stream *deflate_shared_reader(struct deflate_shared *s)
{
    if (!s->in)
        s->in = deflate_in_new(DEFLATE_BITS_MAX);
    return s->in && inflateReset(s->in) == Z_OK ? s->in : NULL;
}

bool deflate_buffer(struct buf *b, size_t size)
{
    if (b->cap >= size)
        return true;
    buf_free(b); /* nothing in it is worth moving */
    return buf_reserve(b, size) == 0;
}

uint8_t *deflate_room(struct deflate_shared *s, size_t len)
{
    return deflate_buffer(&s->payload, len + DEFLATE_TAIL) ? s->payload.data : NULL;
}

static void settle(struct buf *b)
{
    if (b->cap > DEFLATE_KEPT)
        buf_free(b);
}

void deflate_packed_used(struct deflate_shared *s)
{
    settle(&s->packed);
}

void deflate_unpacked_used(struct deflate_shared *s)
{
    settle(&s->payload);
    settle(&s->unpacked);
}
