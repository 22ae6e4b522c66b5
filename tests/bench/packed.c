// SPDX-License-Identifier: MIT
//
// See packed.h. What zlib writes up to a sync flush ends in an empty stored block, whose last four
// bytes 00 00 ff ff are not sent (RFC 7692 §7.2.1) and are put back before unpacking (§7.2.2).

#define ZLIB_CONST
#include "packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "frame.h"

enum {
    MESSAGES_MAX = 4096,
    TOGETHER_MAX = 64 << 20, // bytes of all messages
    LEVEL = 6,
    WINDOW_BITS = -15, // raw
    MEMORY = 8,
    TAIL = 4,
    AT_BLOCK_END = 128, // zlib's data_type: behind a block that is not the last, no bits left over
};

struct frame {
    uint8_t *bytes;
    size_t size;
};

struct packed_reader {
    z_stream z;
    size_t done; // bytes of the message that have come out
    bool ended;  // by a final block
};

static struct {
    size_t size; // of a message
    int first;   // byte of a frame
    uint32_t count;
    uint8_t *plain; // all messages, one behind the other
    struct frame *frames;
    size_t frame_max;
    uint8_t *scratch;
    uint64_t finals;
} packed;

static const uint8_t tail[TAIL] = {0, 0, 0xff, 0xff};

static void need(bool held, const char *what)
{
    if (held)
        return;
    fprintf(stderr, "loadgen: %s\n", what);
    exit(1);
}

static void *allocate(size_t size)
{
    void *p = calloc(1, size);
    need(p != NULL, "out of memory");
    return p;
}

static unsigned any(uint64_t *state, unsigned below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*state >> 33) % below;
}

// One message: rows as those of an API, cut off where it is full.
static void write_json(uint8_t *out, uint32_t number)
{
    static const char *const names[] = {"alpha", "bravo", "charlie", "delta"};
    static const char *const regions[] = {"north", "south", "east", "west"};
    uint64_t state = number;
    char row[128];
    int length = snprintf(row, sizeof(row), "{\"type\":\"update\",\"seq\":%u,\"items\":[", number);
    for (size_t at = 0, size; at < packed.size; at += size) {
        size = (size_t)length < packed.size - at ? (size_t)length : packed.size - at;
        memcpy(out + at, row, size);
        unsigned id = any(&state, 1000000), name = any(&state, 4), region = any(&state, 4);
        unsigned cents = any(&state, 100000), active = any(&state, 2);
        length = snprintf(
            row, sizeof(row), "{\"id\":%u,\"name\":\"%s %s\",\"price\":%u.%02u,\"active\":%s},", id,
            names[name], regions[region], cents / 100, cents % 100, active ? "true" : "false");
    }
}

static struct frame make_frame(const uint8_t *body, size_t size)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    struct frame f = {.bytes = allocate(FRAME_HEAD_MAX + sizeof(mask) + size)};
    f.size = frame_head_write(f.bytes, packed.first, size);
    f.bytes[1] |= FRAME_MASK;
    memcpy(f.bytes + f.size, mask, sizeof(mask));
    f.size += sizeof(mask);
    for (size_t i = 0; i < size; i++)
        f.bytes[f.size + i] = body[i] ^ mask[i & 3];
    f.size += size;
    return f;
}

static void make_message(z_stream *z, uint32_t number, uint8_t *room, size_t room_size)
{
    uint8_t *plain = packed.plain + number * packed.size;
    write_json(plain, number);
    deflateReset(z);
    z->next_in = plain;
    z->avail_in = (uInt)packed.size;
    z->next_out = room;
    z->avail_out = (uInt)room_size;
    size_t size = deflate(z, Z_SYNC_FLUSH) == Z_OK ? room_size - z->avail_out : 0;
    need(z->avail_out > 0 && size > TAIL && memcmp(room + size - TAIL, tail, TAIL) == 0,
         "zlib compresses otherwise than expected");
    packed.frames[number] = make_frame(room, size - TAIL);
    if (packed.frames[number].size > packed.frame_max)
        packed.frame_max = packed.frames[number].size;
}

void packed_init(size_t size, int opcode)
{
    z_stream z = {0};
    size_t fitting = TOGETHER_MAX / size;
    packed.size = size;
    packed.first = FRAME_FIN | FRAME_RSV1 | opcode;
    packed.count = (uint32_t)(fitting < MESSAGES_MAX ? fitting : MESSAGES_MAX);
    packed.plain = allocate(packed.count * size);
    packed.frames = allocate(packed.count * sizeof(*packed.frames));
    packed.scratch = allocate(size + 1);
    need(deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK,
         "no compressor");
    size_t room_size = deflateBound(&z, (uLong)size) + 64;
    uint8_t *room = allocate(room_size);
    for (uint32_t i = 0; i < packed.count; i++)
        make_message(&z, i, room, room_size);
    free(room);
    deflateEnd(&z);
}

bool packed_agreed(const char *answer)
{
    static const char name[] = "\r\nSec-WebSocket-Extensions:";
    char value[256] = "";
    bool kept = true;
    const char *line = strcasestr(answer, name);
    if (line == NULL || strcasestr(line + 1, name) != NULL)
        return false;
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + strlen(name), "\r"),
             line + strlen(name));
    char *word = strtok(value, "; ");
    if (word == NULL || strcmp(word, "permessage-deflate") != 0)
        return false;
    while ((word = strtok(NULL, "; ")) != NULL) {
        if (strcmp(word, "server_no_context_takeover") == 0)
            kept = false;
        else if (strcmp(word, "client_no_context_takeover") != 0 &&
                 strncmp(word, "server_max_window_bits=", 23) != 0)
            return false;
    }
    return !kept;
}

size_t packed_frame_write(uint8_t *out, uint32_t number)
{
    const struct frame *f = &packed.frames[number % packed.count];
    memcpy(out, f->bytes, f->size);
    return f->size;
}

size_t packed_frame_max(void)
{
    return packed.frame_max;
}

int packed_reply_first(void)
{
    return packed.first;
}

struct packed_reader *packed_reader_new(void)
{
    struct packed_reader *r = allocate(sizeof(*r));
    need(inflateInit2(&r->z, WINDOW_BITS) == Z_OK, "no decompressor");
    return r;
}

// The room is one byte larger than what is missing, so that a byte too many is seen. What comes
// behind a final block is filling.
static const char *unpack(struct packed_reader *r, const uint8_t *plain, const uint8_t *data,
                          size_t size)
{
    size_t room = packed.size + 1 - r->done;
    if (r->ended || size == 0)
        return NULL;
    r->z.next_in = data;
    r->z.avail_in = (uInt)size;
    r->z.next_out = packed.scratch;
    r->z.avail_out = (uInt)room;
    int status = inflate(&r->z, Z_SYNC_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END)
        return r->z.msg != NULL ? r->z.msg : "inflate makes nothing of it";
    if (r->z.avail_out == 0)
        return "longer than the message";
    if (memcmp(packed.scratch, plain + r->done, room - r->z.avail_out) != 0)
        return "another content";
    r->done += room - r->z.avail_out;
    r->ended = status == Z_STREAM_END;
    return NULL;
}

const char *packed_reader_add(struct packed_reader *r, uint32_t number, const uint8_t *data,
                              size_t size, bool last)
{
    const uint8_t *plain = packed.plain + number % packed.count * packed.size;
    const char *fault = unpack(r, plain, data, size);
    if (!last || fault != NULL)
        return fault;
    fault = unpack(r, plain, tail, TAIL);
    if (fault != NULL)
        return fault;
    if (r->done != packed.size)
        return "shorter than the message";
    if (!r->ended && r->z.data_type != AT_BLOCK_END)
        return "it does not end at a byte behind a block";
    if (r->ended) {
        packed.finals++;
        inflateReset(&r->z);
    }
    r->ended = false;
    r->done = 0;
    return NULL;
}

uint64_t packed_finals(void)
{
    return packed.finals;
}
