// SPDX-License-Identifier: MIT
/*
 * Private to ws*.c: what a session keeps of its input between two calls. It exists only while there
 * is something to keep, and goes when ws_next has nothing left to say, so that an idle session owns
 * no memory but its struct.
 *
 *      kept      raw bytes that ws_keep has copied; while there are any, ws->fed points into them
 *      small     the start of a header, or the payload of a control frame that has come in part
 *      message   unmasked payload of the data message in assembly, all its fragments so far; as it
 *                came, when it is compressed
 *
 * Which fields are possible in which state, between two calls:
 *
 *                   HEADER                PAYLOAD    CONTROL             SKIP
 *      left         0                     not 0      not 0               not 0
 *      small_len    less than a header    0          what has come       0
 *      frame        as it was             data       control             data
 *      type         inside a message      not 0      inside a message    0
 *      delivered    right after one       no         no                  no
 *      message      while type or delivered
 *
 * WS_READ_SKIP comes after our close frame alone.
 */
#ifndef NEAP_PROTO_WS_WS_INPUT_H
#define NEAP_PROTO_WS_WS_INPUT_H

#include "base/buf.h"
#include "proto/ws/frame.h"
#include "proto/ws/ws.h"

enum ws_state {
    WS_READ_HEADER,  /* between frames; `small` may hold the start of a header */
    WS_READ_PAYLOAD, /* in a data frame: its payload goes to `message` */
    WS_READ_CONTROL, /* in a control frame: its payload goes to `small` */
    WS_READ_SKIP,    /* in a data frame that is dropped, since our close frame has gone out */
};

struct ws_input {
    struct buf kept;
    struct buf message;
    struct frame frame; /* the frame that is being read */
    uint64_t left;      /* bytes of its payload that have not come */
    uint32_t fragments; /* frames of the message so far */
    uint32_t begun;     /* messages, and frames outside of one, since this input was made */
    uint8_t state;      /* enum ws_state */
    uint8_t type;       /* WS_TEXT or WS_BINARY while a message is in assembly, else 0 */
    uint8_t utf8;       /* state of utf8_feed at the end of a text message so far */
    bool packed;        /* the message in assembly is compressed */
    bool delivered;     /* `message` has been given out and goes with the next ws_next */
    uint8_t small_len;
    uint8_t small[FRAME_CONTROL_MAX];
};

/* What the worker's sessions share for compression; NULL when memory is short. */
struct deflate_shared *ws_codecs(struct ws *ws);

__attribute__((cold, noinline)) void ws_note_large(struct ws_shared *shared);

/* Memory of that size was asked for: tells who wants to know of large ones. */
static inline void ws_note_size(struct ws_shared *shared, size_t size)
{
    if (__builtin_expect(size >= WS_LARGE, 0))
        ws_note_large(shared);
}

/* The session's input, made when there is none; NULL when memory is short. */
struct ws_input *ws_input_need(struct ws *ws);

/*
 * Frees the message whose event has been used, or that nobody will get since our close frame has
 * gone out.
 */
void ws_input_forget_message(struct ws *ws);

/* All fed bytes have been looked at: frees what is not needed to go on. */
void ws_input_settle(struct ws *ws);

/* ws.c: dies when the fields are not as ws.h's table has them (in builds for tests). */
void ws_check(const struct ws *ws);

/* The same for those of its input, and this file's table: between two calls. */
void ws_input_check(const struct ws *ws);

/* Frees everything, fed bytes forgotten. */
void ws_input_drop(struct ws *ws);

#endif
