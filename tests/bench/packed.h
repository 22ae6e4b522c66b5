// SPDX-License-Identifier: MIT
//
// Messages for permessage-deflate (RFC 7692), and the unpacking of their echoes. The messages are
// JSON as an API would send it, some thousands of different ones, compressed and masked by zlib
// before anything is measured: making each message unique, as without compression, would cost the
// load generator more than the server.
//
// Nothing is kept from message to message, which both sides agree upon. Nevertheless a reader
// unpacks with one inflate that never begins anew, as a client does that does not care what was
// agreed upon: a reply has to end at a byte, in a block that is not the final one. A final block
// is legal (§7.2.3.4), so it is no fault; it is counted, and the reader begins anew.

#ifndef BENCH_PACKED_H
#define BENCH_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The line of the request that asks for it.
#define PACKED_OFFER \
    "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; " \
    "server_no_context_takeover\r\n"

enum { PACKED_SIZE_MAX = 1 << 20 };

// Makes the messages: `size` bytes each, at most PACKED_SIZE_MAX, and `opcode` for their frames.
void packed_init(size_t size, int opcode);

// Whether the answer to the request, a string, agrees to the offer and to nothing else.
bool packed_agreed(const char *answer);

// Writes the frame of message `number`, of which those above the last begin with the first again.
// Returns its size, which packed_frame_max() is the most of.
size_t packed_frame_write(uint8_t *out, uint32_t number);
size_t packed_frame_max(void);

// The first byte of a reply.
int packed_reply_first(void);

// Unpacks the replies of a connection, or some of them, one after the other.
struct packed_reader;
struct packed_reader *packed_reader_new(void);

// Compares a piece of the echo of message `number`; the `last` one ends it. NULL, or what is wrong.
const char *packed_reader_add(struct packed_reader *r, uint32_t number, const uint8_t *data,
                              size_t size, bool last);

// Replies with a final block, among those that were unpacked.
uint64_t packed_finals(void);

#endif
