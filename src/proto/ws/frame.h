// SPDX-License-Identifier: MIT
/*
 * The frame header of RFC 6455 §5.2, decoded and encoded; masking of §5.3. Pure functions, no
 * state: the session (ws.h) decides what a frame means and whether it is allowed now.
 *
 *      byte 0            byte 1             0, 2 or 8 bytes      0 or 4 bytes
 *      FIN RSV1-3 opcode MASK length(7)     extended length      masking key      payload
 */
#ifndef NEAP_PROTO_WS_FRAME_H
#define NEAP_PROTO_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_opcode {
    FRAME_CONTINUATION = 0x0,
    FRAME_TEXT = 0x1,
    FRAME_BINARY = 0x2,
    FRAME_CLOSE = 0x8,
    FRAME_PING = 0x9,
    FRAME_PONG = 0xA,
};

/* Bytes of a header; of a control frame's payload (RFC 6455 §5.5), and of a close reason in it. */
enum { FRAME_HEADER_MAX = 14, FRAME_CONTROL_MAX = 125, FRAME_REASON_MAX = FRAME_CONTROL_MAX - 2 };

/* RSV bits as they stand in byte 0. RSV1 marks a compressed message (RFC 7692 §6). */
enum { FRAME_RSV1 = 0x40, FRAME_RSV2 = 0x20, FRAME_RSV3 = 0x10 };

struct frame {
    uint64_t length; /* of the payload, bytes */
    uint8_t opcode;
    uint8_t rsv; /* of FRAME_RSV1, FRAME_RSV2, FRAME_RSV3 */
    bool fin, masked;
    uint8_t mask[4]; /* the key, in the order of the wire; zero when not masked */
};

/*
 * Decodes a header from the start of `bytes`. Returns its size (2 to 14), 0 when more bytes are
 * needed, or ERR_PROTOCOL: reserved opcode, control frame that is fragmented or longer than
 * FRAME_CONTROL_MAX (§5.5), length not in its shortest form or with the top bit set (§5.2). Errors
 * are told as soon as the bytes that prove them are there. Does not judge RSV bits, masking or
 * order.
 */
int frame_decode(struct frame *f, const uint8_t *bytes, size_t len);

/*
 * What was wrong with a header that frame_decode has refused, as a short static text. `bytes` are
 * the first of those that it was given: 1, and 2 and 3 as far as it needed them to know.
 */
const char *frame_fault(const uint8_t *bytes);

/* Bytes that frame_encode will write: 2, 4 or 10, and 4 more when masked. */
size_t frame_header_size(uint64_t length, bool masked);

/* Writes the header to `out` (room for FRAME_HEADER_MAX) and returns its size. */
size_t frame_encode(const struct frame *f, uint8_t *out);

/*
 * XORs `len` bytes from `src` to `dst` (the same, or not overlapping) with the key, the first byte
 * being the payload's byte number `offset`. Both directions are the same operation (§5.3). Returns
 * whether all that was written is ASCII, which costs nothing here and saves most texts a second
 * pass. Vectorised.
 */
bool frame_mask(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t mask[4], size_t offset);

#endif
