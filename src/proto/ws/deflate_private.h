// SPDX-License-Identifier: MIT
/* Private to deflate*.c: the structs, and what the files call in each other. */
#ifndef NEAP_PROTO_WS_DEFLATE_PRIVATE_H
#define NEAP_PROTO_WS_DEFLATE_PRIVATE_H

#include "proto/ws/deflate.h"

#define ZLIB_CONST
#include <libdeflate.h>
#include <zlib.h>

struct deflate {
    const struct deflate_config *config;
    z_stream *out, *in; /* kept windows; NULL until the first message, or without takeover */
    uint8_t out_bits, in_bits;
    bool out_keeps, in_keeps;
    bool stale; /* `out` begins anew with the next message */
};

struct deflate_shared {
    struct libdeflate_compressor *compressor;
    struct libdeflate_decompressor *decompressor;
    z_stream *out;     /* for messages longer than the agreed window */
    z_stream *in;      /* for what libdeflate does not unpack, and to find ends of blocks */
    uint32_t out_kind; /* deflate_kind that `out` was made for */
    unsigned level;    /* that `compressor` was made for */
    /* Only data and cap are used; at rest each holds at most DEFLATE_KEPT. */
    struct buf payload, unpacked, packed;
};

enum { DEFLATE_KEPT = 128 * 1024 };

/* Room for `size` bytes in `b`, what it held is lost; false when memory is short. */
bool deflate_buffer(struct buf *b, size_t size);

/* A zlib stream that allocates by mem_try, not initialised; NULL when memory is short. */
z_stream *deflate_stream_new(void);
z_stream *deflate_out_new(const struct deflate_config *config, unsigned bits);
void deflate_out_free(z_stream *z);
z_stream *deflate_in_new(unsigned bits);
void deflate_in_free(z_stream *z);

/* The worker's codecs, made when they are asked for; NULL when memory is short. */
struct libdeflate_compressor *deflate_shared_compressor(struct deflate_shared *s, unsigned level);
z_stream *deflate_shared_stream(struct deflate_shared *s, const struct deflate_config *config,
                                unsigned bits, uint32_t kind);
z_stream *deflate_shared_reader(struct deflate_shared *s);

/*
 * Makes the final block at the end of `bytes` one that others may follow, and adds what begins the
 * empty block of §7.2.1: the payload's length, at most len + 1, for which there is room. 0 when
 * memory is short.
 */
size_t deflate_unfinish(struct deflate_shared *s, uint8_t *bytes, size_t len);

#endif
