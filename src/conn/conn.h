// SPDX-License-Identifier: MIT
/*
 * One connection, as transport: a stream, what waits to be written, the clocks that belong to both,
 * and its end. What the bytes mean is the business of what speaks on it, behind struct conn_proto:
 * an HTTP exchange first and a WebSocket session then, for those that are accepted.
 *
 *      bytes in ──▶ conn ──▶ proto->input            conn->out ◀── proto
 *                    │ conn_proceed: proto->proceed, write, proto->written, say what to wait for
 *
 *      CONN_OPEN ──▶ CONN_LINGER ──▶ CONN_GONE ──▶ freed at the end of the turn
 *          └───────────── broken ───────▲
 *
 * CONN_LINGER: all is written and the stream finished; what the peer still sends is read and thrown
 * away until it closes, because closing a socket with unread input makes the kernel send a reset,
 * which can destroy what the peer has not read yet. CONN_GONE: no socket any more; the object waits
 * until what speaks on it needs it no longer.
 *
 * Which flags are possible in which state:
 *
 *                                 CONN_OPEN   CONN_LINGER   CONN_GONE
 *      in_batch                     yes          yes         until the batch returns
 *      rest                         yes          yes         yes: what it left is told in turns
 *      blocked, told_blocked        with output  no          as they were
 *      write_reads                  blocked      no          as it was
 *      read_writes                  yes          yes         as it was
 *      held                         yes          no          as it was
 *      stuck                        blocked,     read_writes as it was
 *                                   read_writes,
 *                                   closure_due
 *      marked                       yes          no          no
 *      closure_due                  with deadline no         no
 *      hung_up                      yes          yes         yes
 *      excused                      yes          yes         yes
 *      freed                        no           no          once nobody needs it
 *
 * That is so when a connection has settled, at the end of conn_proceed: `held` and `stuck` follow
 * the others there. While it is open or lingers and a clock runs, it stands in the wheel, except
 * while what the wheel has called deals with it.
 */
#ifndef NEAP_CONN_CONN_H
#define NEAP_CONN_CONN_H

#include "base/outq.h"
#include "conn/conn_shared.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/wheel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Off the path of messages: the compiler keeps it out of those functions that are on it. */
#define RARE __attribute__((cold))

struct conn;
struct tls_context;

/* What speaks on a connection. None may be NULL, and none may free the connection but `free`. */
struct conn_proto {
    /* Bytes of the peer, valid during the call; may be changed in place. In CONN_LINGER, too. */
    void (*input)(struct conn *c, uint8_t *bytes, size_t len);
    /* True while it makes sense to read more. Asked in CONN_OPEN. */
    bool (*wants_input)(const struct conn *c);
    /* True while not reading means not listening, so that clocks have to stand still. */
    bool (*listens)(const struct conn *c);
    /* True when more could be told now of what has been read: before that, nothing is read. */
    bool (*has_left)(const struct conn *c);
    /* Makes all progress that is possible: before output is written, in all states. */
    void (*proceed)(struct conn *c);
    /*
     * Output was written, as far as the peer takes it at the moment; in all states. Returns what
     * wants_input would.
     */
    bool (*written)(struct conn *c);
    /* Whether output is stuck has changed, or it still is. May queue more. */
    void (*blocked)(struct conn *c, bool blocked);
    /* What was queued at conn_mark has left ... */
    void (*mark_left)(struct conn *c);
    /* ... and the peer has acknowledged some of what was queued before. */
    void (*mark_fed)(struct conn *c);
    /* The stream broke. True when that was answered, and the connection goes on. */
    bool (*broken)(struct conn *c);
    /* The socket has been closed; `lost`: nobody wants to know what the peer said before. */
    void (*gone)(struct conn *c, bool lost);
    /* True when nothing has to be told, and nothing runs, that needs the connection. */
    bool (*may_free)(const struct conn *c);
    /* Frees the object that the connection is a part of, conn_deinit included. */
    void (*free)(struct conn *c);

    /* Clocks: conn_clock.c. The deadline of conn_clock_deadline is over, in CONN_OPEN. */
    void (*on_deadline)(struct conn *c);
    /* Milliseconds until one of its own clocks runs out, or CONN_NEVER. */
    int32_t (*clock_left)(const struct conn *c);
    /* Does what is due by those. */
    void (*clock_due)(struct conn *c);
    /* Seconds in which the peer must take some of what waits to be written; 0: any time. */
    double (*write_timeout)(const struct conn *c);

    /* The path that was asked for, as the app has named it, for the log; or NULL. */
    const char *(*path)(const struct conn *c);
};

enum conn_state { CONN_OPEN, CONN_LINGER, CONN_GONE };

enum { CONN_ID_SIZE = 16 }; /* characters of a connection id */

/* In which a peer must take something, where no setting says it, or where that may not be off. */
#define CONN_WRITE_SECONDS 30.0

/*
 * What few need stands first, and what a message touches last, where the protocol's own continues
 * it: see session.h.
 */
struct conn {
    struct address peer;
    uint8_t id[12];

    /* Clocks, in milliseconds: conn_clock.c. */
    struct wheel_entry entry;
    uint32_t clock;    /* by how much its time is late; while held: its time */
    uint32_t deadline; /* of a phase; 0: none. While closure_due: how long it will be */
    uint32_t taken;    /* when the peer is known to have taken output */
    uint32_t acked;    /* how much it had, as stream_acked counts */
    uint32_t mark;     /* while marked: bytes queued up to it; then `acked` before it */

    uint32_t linger_left; /* bytes that CONN_LINGER still throws away */

    struct stream stream;
    struct loop_io io;
    const struct conn_proto *proto;
    struct conn_shared *shared;
    uint8_t state;         /* enum conn_state */
    bool in_batch : 1;     /* inside a read: it is followed by conn_proceed */
    bool rest : 1;         /* what is left of its turn waits for another (conn_rest) */
    bool blocked : 1;      /* no more output is taken at the moment */
    bool told_blocked : 1; /* ... and the protocol knows */
    bool write_reads : 1;  /* ... until there is input: TLS has to read first */
    bool read_writes : 1;  /* nothing can be read until output is taken: the reverse */
    bool held : 1;         /* not read at the moment: its clock stands still */
    bool stuck : 1;        /* output waits for the peer: the write clock runs */
    bool marked : 1;       /* conn_mark: what was queued then has not left */
    bool closure_due : 1;  /* what was queued has not arrived: the deadline starts when it has */
    bool hung_up : 1;      /* the peer has finished sending, after what is not read yet */
    bool freed : 1;        /* deferred to the end of the turn */
    bool excused : 1;      /* whoever waits for the end of connections need not wait for this one */
    struct loop_job job;   /* flush, later free, at the end of the turn */
    struct outq out;
};

/* conn_rest.c */
void conn_shared_init(struct conn_shared *shared, struct loop *loop);

/* No connection may be left. */
void conn_shared_deinit(struct conn_shared *shared);

/*
 * Asked before a step of a TLS handshake, each of which may take a good part of a millisecond: true
 * for a few in each turn of the loop. Who has to wait is called again by the loop in the next
 * turn, so that a storm of handshakes does not keep the established connections waiting.
 */
bool conn_may_shake(struct conn_shared *shared);

/* A connected socket, and what is known of it. */
struct conn_socket {
    int fd;
    const struct address *peer;
    struct tls_context *tls; /* we are its server; NULL: plain */
};

/*
 * Takes over the socket; false when memory is short: it is closed. The rest of `c` is zeroed
 * memory. Nothing happens before conn_proceed.
 */
bool conn_init(struct conn *c, struct conn_shared *shared, const struct conn_proto *proto,
               const struct conn_socket *socket);

/* For the protocol's free: the connection is CONN_GONE. */
void conn_deinit(struct conn *c);

/* Makes all progress, then sets what to wait for. */
void conn_proceed(struct conn *c);

/* Has conn_proceed called at the end of the turn, or of the batch: there is output, for example. */
static inline void conn_dirty(struct conn *c)
{
    if (!c->in_batch && c->state != CONN_GONE)
        loop_defer(c->shared->loop, LOOP_FLUSH, &c->job);
}

/* The same at the end of the turn, in all states: somebody who was waited for has gone. */
static inline void conn_proceed_soon(struct conn *c)
{
    loop_defer(c->shared->loop, LOOP_FLUSH, &c->job);
}

/* Writes now what is queued, as far as it is taken; the connection may be gone then. */
void conn_flush(struct conn *c);

/*
 * All is written: finishes the stream and reads until the peer has closed, for a moment at most. A
 * peer that sends more than `most` bytes meanwhile gets a reset: it does not hear that it talks in
 * vain.
 */
void conn_linger(struct conn *c, uint32_t most);

/* Closes the socket now. What the peer said before is still told. */
void conn_gone(struct conn *c);
/* The same for a peer that is gone without an end: what it left is not told. */
void conn_lost(struct conn *c);

/* Queues `len` bytes that do not come from a session; false when memory is short. */
bool conn_queue(struct conn *c, const void *bytes, size_t len);

/* Bytes of output that wait. */
static inline size_t conn_buffered(const struct conn *c)
{
    return c->out.len;
}

/*
 * What a connection may do in one turn of the loop, in bytes of messages: a message counts a
 * number of them, and what had to be unpacked its length and more (struct ws_event).
 */
enum { CONN_TURN_WORK = 256 * 1024, CONN_MESSAGE_WORK = 512 };

/*
 * conn_rest.c: the connection has more to do than fits into a turn: it goes on in another one, when
 * those that wait longer have had theirs. Until then nothing is read or told.
 */
void conn_rest(struct conn *c);

/*
 * conn_clock.c: the connection's own time in milliseconds, which stands still while it is held. To
 * be compared by signed differences.
 */
uint32_t conn_now(const struct conn *c);
/* Milliseconds of a setting; 0 (for ever) when it is 0, negative or more than differences tell. */
uint32_t conn_ms(double seconds);
/* Milliseconds left of `seconds` since then; CONN_NEVER when those are for ever. */
enum { CONN_NEVER = INT32_MAX };
int32_t conn_clock_left(const struct conn *c, uint32_t since, double seconds);
/* True when none is left. */
bool conn_clock_out(const struct conn *c, uint32_t since, double seconds);
/* Gives the phase that begins so much time, 0 or less: any. */
void conn_clock_deadline(struct conn *c, double seconds);
/*
 * The same for a phase that begins when what is queued now has arrived at the peer's system; until
 * then the write clock alone judges. To be told by conn_clock_closure each time all is written.
 */
void conn_clock_after_output(struct conn *c, double seconds);
void conn_clock_closure(struct conn *c) RARE;
/* A clock has been started: has the wheel call in time for it. */
void conn_clock_arm(struct conn *c);
/* Wants to know when all that is queued now has left, and what the peer takes of it. */
void conn_mark(struct conn *c);
/* Asks what the peer has taken, and feeds the clocks that it feeds. */
void conn_clock_measure(struct conn *c) RARE;

/*
 * Lines of the log about what was refused to a client, or why its connection has ended, with its
 * id, address and path; at level info. Whether there may be one more: refusal_may_log.
 */
void conn_log_refusal(const struct conn *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The connection ends because of a clock: `what` the client did not do for so long, its setting. */
void conn_log_timeout(const struct conn *c, const char *what, double seconds, const char *setting);

/* The id: CONN_ID_SIZE characters of base64url, unique in the whole deployment, and a NUL. */
void conn_id_text(const struct conn *c, char out[CONN_ID_SIZE + 1]);

#endif
