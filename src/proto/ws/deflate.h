// SPDX-License-Identifier: MIT
/*
 * Compression of messages, RFC 7692 §7: bytes in, bytes out. What the peers agree upon is in
 * deflate_offer.h; frames and RSV1 are the session's business (ws_read.c, ws_send.c).
 *
 *      message ──▶ deflate_pack ──▶ DEFLATE blocks, the last 00 00 ff ff left out (§7.2.1)
 *      payload, then DEFLATE_TAIL ──▶ deflate_unpack ──▶ message (§7.2.2)
 *
 * Two libraries. Where no window is kept from message to message (the default), one compressor and
 * one decompressor of libdeflate serve all sessions of a worker: it is faster, and a session at
 * rest keeps nothing. Where a window is kept, or a smaller one was agreed upon than the message
 * needs, it is zlib's work. The figures are in docs/decisions.
 */
#ifndef NEAP_PROTO_WS_DEFLATE_H
#define NEAP_PROTO_WS_DEFLATE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DEFLATE_BITS_MIN = 8, DEFLATE_BITS_MAX = 15, DEFLATE_TAIL = 9 };

/* Settings of a listener or a client. */
struct deflate_config {
    uint8_t level;       /* 1 (fast) to 9 (small); 0: what suits each library */
    uint8_t mem_level;   /* 1 to 9: zlib's tables for a window that is kept */
    uint8_t window_bits; /* 9 to 15: the largest window that is kept, 2^n bytes */
    bool server_no_takeover, client_no_takeover;
    uint32_t threshold; /* messages of fewer bytes are sent as they are */
};

/* What was agreed upon (§7.1). Bits: the window of that side's compressor, 8 to 15. */
struct deflate_params {
    uint8_t server_bits, client_bits;
    bool server_no_takeover, client_no_takeover;
};

struct deflate_span {
    uint8_t *bytes;
    size_t len;
};

struct deflate;        /* of one session that has agreed to compress */
struct deflate_shared; /* of all sessions of a worker: codecs and room to work in */

/*
 * A session's part. `config` is borrowed for its life. Contexts that keep a window are made when
 * the first message needs them. NULL when memory is short.
 */
struct deflate *deflate_new(const struct deflate_config *config,
                            const struct deflate_params *params, bool server);
void deflate_free(struct deflate *d);

/* The worker's part, made once. NULL when memory is short. */
struct deflate_shared *deflate_shared_new(void);
void deflate_shared_free(struct deflate_shared *s);

/*
 * Compresses one message of `len` bytes into room of `s`, where it lies in *out until the next call
 * with the same `s`, or deflate_packed_used. False when it is to be sent as it is: below the
 * threshold, not made smaller, or memory is short. That is always legal (§6).
 */
bool deflate_pack(struct deflate *d, struct deflate_shared *s, const uint8_t *bytes, size_t len,
                  struct deflate_span *out);

/*
 * The same, without the session's window, so that sessions whose deflate_kind is equal can share
 * the outcome. A session that sends it must call deflate_forget: its window no longer is what the
 * peer's is.
 */
bool deflate_pack_shared(const struct deflate *d, struct deflate_shared *s, const uint8_t *bytes,
                         size_t len, struct deflate_span *out);
void deflate_forget(struct deflate *d);

/*
 * All on which the outcome of deflate_pack_shared depends, for a message of that length; 0 when
 * such a message is sent as it is.
 */
uint32_t deflate_kind(const struct deflate *d, size_t len);

/*
 * Room for a payload of `len` bytes that is about to be unpacked and for the tail behind it; NULL
 * when memory is short. For callers that have no room of their own.
 */
uint8_t *deflate_room(struct deflate_shared *s, size_t len);

/*
 * Unpacks a payload of `len` bytes; DEFLATE_TAIL bytes behind it are overwritten. The message lies
 * in *out until the next call with the same `s`, or deflate_unpacked_used. Returns 0, ERR_PROTOCOL
 * (invalid data), ERR_TOO_BIG (more than `limit` bytes: noticed before they are written),
 * ERR_NOMEM. After an error the session must end.
 */
int deflate_unpack(struct deflate *d, struct deflate_shared *s, struct deflate_span payload,
                   size_t limit, struct deflate_span *out);

/* What was packed, or unpacked, is needed no more: gives back the room of a large message. */
void deflate_packed_used(struct deflate_shared *s);
void deflate_unpacked_used(struct deflate_shared *s);

/* Bytes that the session's own contexts hold, about. */
size_t deflate_held(const struct deflate *d);

#endif
