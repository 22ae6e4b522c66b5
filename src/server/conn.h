// SPDX-License-Identifier: MIT
/*
 * One connection, from accept to free: a stream below, an HTTP head first and a WebSocket session
 * then, a handler above. Everything that happens to it ends in conn_proceed, which makes all the
 * progress there is and then says what to wait for.
 *
 *      CONN_HEAD ──▶ CONN_UPGRADE ──▶ CONN_OPEN ──────────┐
 *          │ refused       │ refused      │ session over  │ broken
 *          ▼               ▼              ▼               ▼
 *      CONN_REPLY ─────────────────▶ CONN_LINGER ─────▶ CONN_GONE ──▶ freed at the end of the turn
 *
 * CONN_LINGER: all is written and the stream finished; what the peer still sends is read and thrown
 * away until it closes, because closing a socket with unread input makes the kernel send a reset,
 * which can destroy what the peer has not read yet. CONN_GONE: no socket any more; the object waits
 * until on_close has been told and its handler has finished.
 */
#ifndef NEAP_SERVER_CONN_H
#define NEAP_SERVER_CONN_H

#include "net/address.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/wheel.h"
#include "proto/http/handshake.h"
#include "proto/ws/ws.h"
#include "server/endpoint.h"

enum conn_state { CONN_HEAD, CONN_UPGRADE, CONN_REPLY, CONN_OPEN, CONN_LINGER, CONN_GONE };

enum { CONN_ID_SIZE = 16 }; /* characters of a connection id */

struct conn_message; /* an event that waits because a handler is running */

/*
 * What a message touches stands first, so that it lies in five lines of the cache; in the middle of
 * that, from `state` to `ws`, what a broadcast touches, in three; and last what only some
 * connections have, or need.
 */
struct conn {
    struct stream stream;
    struct loop_io io;
    void *user; /* the layer above's */
    struct conn_message *queue;
    uint32_t last_input; /* for idle_timeout; as all times here: see conn_clock.c */
    uint32_t beside;     /* handlers that run beside: on_close waits for them, messages do not */
    uint8_t state;       /* enum conn_state */
    uint8_t busy;        /* what keeps the next event from being told: a handler, conn_hold */
    bool opened : 1;     /* answered with 101 */
    bool open_due : 1;   /* on_open has not been told yet */
    bool over : 1;       /* the session has ended: on_error and on_close are due, or told */
    bool error_due : 1;
    bool close_due : 1;
    bool idle_due : 1;
    bool stalled : 1;      /* the queue is full: input waits unread */
    bool crowded : 1;      /* so is the output, with answers: the same */
    bool rest : 1;         /* what is left of its turn waits for another (conn_rest) */
    bool blocked : 1;      /* no more output is taken at the moment */
    bool write_reads : 1;  /* ... until there is input: TLS has to read first */
    bool read_writes : 1;  /* nothing can be read until output is taken: the reverse */
    bool held : 1;         /* not read at the moment: its clock stands still */
    bool stuck : 1;        /* output waits for the peer: the write clock runs */
    bool closure_due : 1;  /* our close frame has not arrived: its deadline starts when it has */
    bool in_batch : 1;     /* inside on_ready: it flushes at its end */
    bool shaken : 1;       /* the TLS handshake was in time: the head has the rest of its own */
    bool hung_up : 1;      /* the peer has finished sending, behind what is not read yet */
    bool writers_wait : 1; /* set by the layer above: tell on_drain */
    bool pong_due : 1;     /* our ping has not been answered */
    bool ping_waits : 1;   /* it has not even left */
    bool peer_closed : 1;  /* end of data has been read */
    bool wants_pings : 1;  /* the handler answers pings */
    bool wants_idle : 1;   /* the handler is told of idle time-outs */
    bool close_now : 1;    /* finish the stream once our close frame is written */
    bool answer_due : 1;   /* conn_accept or conn_refuse has not been called yet */
    bool counted : 1;      /* by endpoint_enter */
    bool muted : 1;        /* we have closed: messages that come now are nobody's */
    bool telling : 1;      /* inside conn_ws_dispatch */
    bool freed : 1;        /* deferred to the end of the turn */
    bool excused : 1;      /* its handler waits for the drain, which cannot wait for it */
    uint8_t reason_len;
    uint16_t code;     /* what on_close will tell, once over */
    uint32_t lingered; /* bytes thrown away in CONN_LINGER */
    struct endpoint *endpoint;
    struct route *route; /* from CONN_UPGRADE on */
    struct loop_job job; /* flush, later free, at the end of the turn */
    struct outq out;     /* of the session, and HTTP replies before */
    struct ws ws;

    char *reason;             /* the peer's or ours; owned, NULL when empty */
    struct link link;         /* in endpoint->conns */
    struct http_head *head;   /* the request */
    struct conn_setup *setup; /* head parser, early bytes; NULL once open */
    struct conn_message *queue_tail;
    size_t queued; /* bytes in the queue */

    /* Groups; group.c alone writes these. */
    struct group_member *memberships;
    struct group *service;
    uint32_t service_slot, membership_count;

    /* Clocks, in milliseconds: conn_clock.c. */
    struct wheel_entry entry;
    uint32_t clock;          /* by how much its time is late; while held: its time */
    uint32_t deadline;       /* of head, closure, linger; 0: none. While closure_due: how long */
    uint32_t beat;           /* our heartbeat: when the last ping left */
    uint32_t assembly_since; /* first piece of an unfinished message; 0: none */
    uint32_t assembly;       /* which message that is, as ws_assembling numbers them */
    uint32_t taken;          /* when the peer is known to have taken output */
    uint32_t acked;          /* how much it had, as stream_acked counts */
    uint32_t ping_mark;      /* while ping_waits: bytes queued up to it; then `acked` before it */

    struct address peer;
    uint8_t id[12];
};

/* Takes over an accepted socket. Frees itself. */
void conn_open(struct endpoint *e, int fd, const struct address *peer);

/* Answers an upgrade with 101. `lines` are header lines for the response, checked already. */
struct conn_accept {
    const struct http_line *lines;
    size_t line_count;
    const char *service; /* whose clients it belongs to (GROUP_SERVICE); NULL: to nobody's */
    size_t service_len;
    bool wants_pings, wants_idle;
};
/*
 * Returns false when the client has gone meanwhile or memory is short: nothing will be told but
 * on_free.
 */
bool conn_accept(struct conn *c, const struct conn_accept *how);

/* Refuses an upgrade with that response; `connection: close` and the Server header are added. */
void conn_refuse(struct conn *c, struct http_reply *reply);

/* The handler that on_… said had not finished, has: tell what waits, read on. */
void conn_done(struct conn *c);

/*
 * A further handler has begun (conn_join) that runs beside: events are told meanwhile, but on_close
 * and on_free wait until it has ended (conn_leave). The number is the caller's to bound. Its end
 * shows at the end of the turn.
 */
void conn_join(struct conn *c);
void conn_leave(struct conn *c);

/*
 * Keeps further events from being told until conn_release, as a handler that has not finished does,
 * on_close included. One hold at a time.
 */
void conn_hold(struct conn *c);
void conn_release(struct conn *c);

/* True while messages can be sent: open, and no close frame queued. */
bool conn_writable(const struct conn *c);

/*
 * Sending, each 0 or a negative enum err: ERR_CLOSED when conn_writable is false, ERR_NOMEM,
 * ERR_ARGUMENT (too long a control frame). Output is written at the end of the batch or of the
 * turn.
 */
int conn_send(struct conn *c, enum ws_type type, const void *bytes, size_t len);
int conn_ping(struct conn *c, const void *bytes, size_t len);
int conn_pong(struct conn *c, const void *bytes, size_t len);

/*
 * As conn_send for pushes, which never wait: when max_buffered is exceeded, and the peer does not
 * take enough of it now, the route's policy applies (ERR_POLICY: dropped, or the peer was closed
 * with 1013).
 */
int conn_push(struct conn *c, enum ws_type type, const void *bytes, size_t len);

/* The same for a message to many, which is encoded once for all of them. */
int conn_push_broadcast(struct conn *c, struct ws_broadcast *b);

/* Loads what that will touch into the cache: for a member whose turn comes in a moment. */
static inline void conn_fetch(const struct conn *c)
{
    __builtin_prefetch(&c->state);
    __builtin_prefetch(&c->job);
    __builtin_prefetch(&c->out);
    __builtin_prefetch(&c->ws.deflate);
}

/*
 * Starts the closing handshake: queues the close frame, waits at most `timeout` seconds for the
 * peer's (-1 for ever; 0: the stream is finished at once and the peer has a moment to answer).
 * ERR_CLOSED when a close frame was queued before, ERR_ARGUMENT for a bad code.
 */
int conn_close(struct conn *c, unsigned code, const char *reason, size_t len, double timeout);

/*
 * Ends the session for an error of ours (failed handler): close frame, on_error, on_close. Harmless
 * when it is over.
 */
void conn_fail(struct conn *c, int err, unsigned code, const char *reason);

/* Closes the socket now, without a close frame: on_close tells 1006. */
void conn_abort(struct conn *c);

/* Bytes of output that wait. */
static inline size_t conn_buffered(const struct conn *c)
{
    return c->out.len;
}

/* The sub-protocol of the 101 response, or NULL. */
const char *conn_subprotocol(const struct conn *c);

/* The id: CONN_ID_SIZE characters of base64url, unique in the whole deployment, and a NUL. */
void conn_id_text(const struct conn *c, char out[CONN_ID_SIZE + 1]);

#endif
