// SPDX-License-Identifier: MIT
/*
 * A WebSocket session (RFC 6455) without any input or output: bytes are fed in, events come out;
 * messages are queued, bytes to be written come out. The same session serves both roles. It knows
 * no socket, clock or Lua. The handshake is over when it starts.
 *
 *      ws_feed(bytes) ──▶ ws_next ──▶ WS_TEXT  WS_BINARY  WS_PING  WS_PONG  WS_CLOSE
 *      ws_send, ws_ping, ws_close … ──▶ ws->out ──▶ (the connection writes it)
 *
 * Reading. Fed bytes are borrowed, and unmasked in place, until ws_next returns 0: then the session
 * has kept what it needs of an unfinished frame, and the buffer may be used again. A message that
 * lies whole in one fed buffer is never copied: its event points into it, and is valid until the
 * next call of ws_next or ws_feed. To stop in the middle of a batch, call ws_keep: the rest is
 * copied and comes out of ws_next later.
 *
 * Compression (RFC 7692). A session that was given a struct deflate unpacks messages whose first
 * frame has RSV1, and packs what it sends. An unpacked message lies in memory of the worker: its
 * event is valid until the next ws_next of any session with the same ws_shared.
 *
 * Order of limits: every length is judged before memory is reserved for it, and memory is reserved
 * for bytes that have arrived, not for bytes that were announced.
 *
 * Errors are sticky. When the peer breaks a rule, the session queues the close frame that the RFC
 * asks for (ws->close_sent), returns the error from ws_next, and ignores all further input.
 *
 * Closing. Whoever sends the second close frame ends the session: after a close event the answer
 * has been queued already (the peer's own code and reason are echoed, §5.5.1). After ws_close the
 * session goes on reading until the peer's close frame; data and pings that come meanwhile are
 * dropped. Which fields are possible when:
 *
 *                     open   we closed   both closed   failed
 *      close_sent     no     yes         yes           yes
 *      close_got      no     no          yes           as it was
 *      error          0      0           0             not 0
 *      why            NULL   NULL        NULL          yes, for a fault of the peer's
 *      close_code     0      not 0       any: without memory the answer is left out
 *      fed_len        yes    yes         0             0
 *      input          yes    yes         until the next ws_next, which frees it
 *      pong           only while blocked
 */
#ifndef NEAP_PROTO_WS_WS_H
#define NEAP_PROTO_WS_WS_H

#include "base/buf.h"
#include "base/outq.h"
#include "proto/ws/deflate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_role { WS_SERVER, WS_CLIENT };

enum ws_type { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* Close codes, RFC 6455 §7.4.1 and the IANA registry. 1005 and 1006 never travel. */
enum ws_code {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_UNSUPPORTED_DATA = 1003,
    WS_NO_STATUS = 1005,
    WS_ABNORMAL = 1006,
    WS_INVALID_PAYLOAD = 1007,
    WS_POLICY_VIOLATION = 1008,
    WS_MESSAGE_TOO_BIG = 1009,
    WS_INTERNAL_ERROR = 1011,
    WS_TRY_AGAIN_LATER = 1013,
};

/*
 * Limits of a session, shared by all connections of a route. All in bytes or counts; 0 is not "no
 * limit", except for max_frame.
 */
struct ws_limits {
    uint64_t max_frame;     /* payload of one incoming frame, judged by its header: ERR_TOO_BIG;
                             * 0: what max_message admits */
    uint64_t max_message;   /* a reassembled (and inflated) message: ERR_TOO_BIG */
    uint32_t max_fragments; /* frames in one message, empty ones counted: ERR_POLICY */
    uint32_t out_frame;     /* most payload in an outgoing frame, not 0; longer messages are cut */
};

/*
 * Broadcasts of one encoding, one behind the other in a mixed chunk. It is wound back when no queue
 * refers to it any more.
 */
struct ws_reel {
    struct chunk *chunk; /* NULL: none yet */
    uint32_t used;
    uint32_t out_frame, kind; /* as in the broadcast's variants */
};

enum { WS_REELS = 4, WS_LARGE = 256 * 1024 };

enum ws_limit {
    WS_LIMIT_NONE,
    WS_LIMIT_FRAME,
    WS_LIMIT_MESSAGE,
    WS_LIMIT_UNPACKED, /* max_message, once decompressed */
    WS_LIMIT_FRAGMENTS,
};

/* What went past which limit: for the log. `size` is what is known of it, at least. */
struct ws_excess {
    enum ws_limit limit;
    uint64_t size, value;
};

/*
 * What the sessions of one worker share. `random` fills `len` bytes for masking keys (client role
 * only, RFC 6455 §10.3 wants them unpredictable); randomness is an argument so that tests and
 * fuzzing repeat.
 */
struct ws_shared {
    struct outpool *pool; /* of the output queues; not owned */
    void (*random)(void *out, size_t len);
    struct deflate_shared *deflate;             /* made by the first message that is compressed */
    void (*on_large)(struct ws_shared *shared); /* a message of WS_LARGE has memory; or NULL */
    struct ws_excess excess; /* of the session whose ws_next has just refused; else WS_LIMIT_NONE */
    struct ws_reel reels[WS_REELS]; /* private to ws_send.c: where broadcasts are encoded */
};

/* Frees what the sessions have put there; they are gone. */
void ws_shared_deinit(struct ws_shared *shared);

struct ws_event {
    enum ws_type type;
    uint16_t code; /* WS_CLOSE: the peer's code, WS_NO_STATUS when it had none */
    uint8_t *data; /* message, ping or pong payload, or close reason; not terminated */
    size_t len;
    size_t work; /* of a compressed message: what it took, in bytes that are copied; else 0 */
};

/* For whoever judges a peer by what it sends: bytes of data frames, pings and closes, pongs. */
enum { WS_HEARD_DATA = 1, WS_HEARD_CONTROL = 2, WS_HEARD_PONG = 4 };

struct ws {
    const struct ws_limits *limits;
    struct ws_shared *shared;
    struct outq *out;        /* where encoded bytes go, in order: the transport writes them */
    struct deflate *deflate; /* compression, or NULL; private to ws*.c */

    uint8_t role;        /* enum ws_role */
    uint8_t heard;       /* WS_HEARD_…: what frames were read; reset by whoever looks */
    bool auto_pong : 1;  /* answer pings here (the default); else WS_PING events are given out */
    bool blocked : 1;    /* ws_set_blocked: the peer does not read, only the newest ping is kept */
    bool close_sent : 1; /* our close frame has been queued */
    bool close_got : 1;  /* the peer's close frame has been read */
    int8_t error;        /* sticky enum err, 0 while all is well */
    uint16_t close_code; /* in the close frame that we queued; WS_NO_STATUS when it had none */
    const char *why;     /* for an error of the peer's: what was wrong, static; else NULL */

    /* Below: private to ws*.c, complete here because a ws is embedded in its connection. */
    struct ws_input *input; /* unfinished frame or message, kept bytes; NULL between messages */
    uint8_t *fed;           /* borrowed bytes not yet looked at */
    size_t fed_len;
    uint8_t *pong; /* the pong that waits while blocked: length byte, then payload; or NULL */
};

/*
 * Starts a session that writes into `out`, the queue of its transport. `limits`, `shared` and `out`
 * are borrowed for its whole life. Allocates nothing.
 */
void ws_init(struct ws *ws, enum ws_role role, const struct ws_limits *limits,
             struct ws_shared *shared, struct outq *out);

/* Compression has been agreed upon: takes `deflate` over. To be called right after ws_init. */
void ws_take_deflate(struct ws *ws, struct deflate *deflate);

/* Forgets all input that has not been given out, and frees it. Nothing must be fed after that. */
void ws_drop_input(struct ws *ws);

/* Frees all it owns. The output queue stays as it is. */
void ws_deinit(struct ws *ws);

/*
 * Hands over `len` bytes from the peer; everything fed before must have been consumed (ws_next
 * returned 0) or kept. Kept bytes come first; then the new ones are appended to them. Returns 0 or
 * ERR_NOMEM (session closed with 1011).
 */
int ws_feed(struct ws *ws, uint8_t *bytes, size_t len);

/*
 * The next event: 1 and *ev filled, 0 when all input is consumed, or the sticky error, ERR_CLOSED
 * after the peer's close. Pings are answered here without an event while auto_pong. Unsolicited
 * pongs are events too.
 */
int ws_next(struct ws *ws, struct ws_event *ev);

/*
 * Copies the fed bytes that ws_next has not consumed yet, so that the buffer can be used again. The
 * event that was given out last stays where it is: in the buffer, or in the session until the next
 * ws_next. Returns 0 or ERR_NOMEM (as ws_feed).
 */
int ws_keep(struct ws *ws);

/*
 * Bytes of input that the session owns: unfinished message and kept input (for backpressure and
 * statistics).
 */
size_t ws_held(const struct ws *ws);

/*
 * For the assembly deadline: not 0 while a fragmented message is unfinished, or a frame, header
 * included, has only come in part. The number stays the same for the same message (or frame outside
 * of one) and is another for the next, so that a peer whose pieces always end inside some message
 * is told from one that never finishes. 0 once our close frame has been queued: then another
 * deadline counts.
 */
unsigned ws_assembling(const struct ws *ws);

/*
 * Queues one message, cut into frames of out_frame. `type` is WS_TEXT or WS_BINARY; text must be
 * valid UTF-8 (checked by the caller: an error object is due there). Returns 0, ERR_CLOSED after a
 * close frame was queued, ERR_NOMEM (nothing queued).
 */
int ws_send(struct ws *ws, enum ws_type type, const uint8_t *bytes, size_t len);

/*
 * A message for many sessions of the server role that compress, or don't, each in its own way: it
 * is encoded by the first session of each way, which differ in out_frame and deflate_kind, and all
 * others queue the same bytes. Those of small messages stand behind the ones of the message before,
 * so that a session that gets both has one piece to write (outq.h). The bytes are borrowed until
 * ws_broadcast_deinit; text is checked by the caller. ws_send_broadcast returns as ws_send, or
 * ERR_ARGUMENT for a session of the client role.
 *
 *      struct ws_broadcast b = {.type = WS_TEXT, .bytes = bytes, .len = len};
 *      for each session: ws_send_broadcast(ws, &b);
 *      ws_broadcast_deinit(&b);
 */
struct ws_broadcast {
    enum ws_type type;
    const uint8_t *bytes;
    size_t len;
    struct ws_variant *variants; /* private: what has been encoded so far */
};
int ws_send_broadcast(struct ws *ws, struct ws_broadcast *b);
void ws_broadcast_deinit(struct ws_broadcast *b);

/*
 * Queues a ping or pong; `len` <= FRAME_CONTROL_MAX else ERR_ARGUMENT; ERR_CLOSED, ERR_NOMEM as
 * above.
 */
int ws_ping(struct ws *ws, const uint8_t *bytes, size_t len);
int ws_pong(struct ws *ws, const uint8_t *bytes, size_t len);

/*
 * Queues a close frame with the code (0: a frame without one) and reason (cut to FRAME_REASON_MAX
 * bytes at a character, left out when it is not UTF-8 or when there is no code). Only the first
 * call has an effect: then ERR_CLOSED. ERR_ARGUMENT for a code that must not travel (see
 * ws_code_valid), ERR_NOMEM when it could not be queued.
 */
int ws_close(struct ws *ws, uint16_t code, const char *reason, size_t reason_len);

/*
 * Ends the session for an error found outside of it (deadline, failed handler): queues close(code,
 * reason) and makes `err` sticky.
 */
void ws_fail(struct ws *ws, int err, uint16_t code, const char *reason);

/*
 * Tells whether output is stuck in the kernel. While blocked, an automatic pong waits in one slot,
 * a newer ping replacing it; unblocking queues it. Keeps a flood of pings from filling memory. And
 * small broadcasts are copied, those that wait already at once: what a peer that does not read
 * keeps in memory is what counts for it, however many others got the same.
 */
void ws_set_blocked(struct ws *ws, bool blocked);

/*
 * True for codes that may stand in a close frame: 1000-1003, 1007-1014, 3000-4999 (RFC 6455 §7.4,
 * IANA registry).
 */
bool ws_code_valid(unsigned code);

/*
 * The close code that answers an error of ours: ERR_PROTOCOL -> 1002, ERR_UTF8 -> 1007, ERR_TOO_BIG
 * -> 1009, … ERR_NOMEM -> 1011.
 */
uint16_t ws_error_code(int err);

#endif
