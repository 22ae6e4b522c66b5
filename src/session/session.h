// SPDX-License-Identifier: MIT
/*
 * A WebSocket session on a connection, in either role: it tells the layer above what happens, one
 * thing at a time, and sends what that wants to be sent. The rules of the protocol itself are
 * proto/ws's.
 *
 *      SESSION_NEW ──▶ SESSION_OPEN ──▶ SESSION_CLOSING ──▶ SESSION_OVER
 *                           └──── the peer closes, an error ──▲
 *
 * SESSION_NEW: an embedded one that has not begun. SESSION_CLOSING: we have sent a close frame and
 * wait for the peer's. SESSION_OVER: the end is due to be told, or has been; the socket may outlive
 * it for a moment (the close frame has to be written), and the object may outlive the socket (a
 * handler has to finish). Which flags are possible in which state:
 *
 *                           NEW    OPEN    CLOSING    OVER
 *      open_due             no     yes     yes        yes
 *      error_due            no     no      no         with close_due
 *      close_due            no     no      no         yes
 *      idle_due             no     yes     yes        ignored      (only if wants_idle)
 *      stalled              no     yes     no         ignored      (the queue is above its limit)
 *      output_full          no     yes     no         ignored
 *      pong_due             no     yes     ignored    ignored
 *      close_now            no     no      yes        as it was
 *      telling, writers_wait no    yes     yes        yes
 *      wants_…              as session_config has them
 *      queue                no     yes     no         what was there when the peer ended it
 *      code, reason         no     no      no         code; a reason, if there was one
 *
 *      conn.state           OPEN   OPEN    OPEN, and with close_now LINGER    any
 *      ws.close_sent        no     until its end is told             yes       any
 *      ws.close_got         no     no      no         the peer's end
 */
#ifndef NEAP_SESSION_SESSION_H
#define NEAP_SESSION_SESSION_H

#include "conn/conn.h"
#include "proto/ws/ws.h"
#include "session/session_shared.h"
#include "session/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum session_state { SESSION_NEW, SESSION_OPEN, SESSION_CLOSING, SESSION_OVER };

struct session_message; /* an event that waits because a handler is running */

/* Where it stands in groups. group/ alone writes this. */
struct session_place {
    struct group_member *memberships;
    struct group *service;
    uint32_t service_slot, membership_count;
};

/*
 * What a message touches stands together, the connection's part of it included: five lines of the
 * cache; and within that what a broadcast touches, in three (session.c has the assertions).
 */
struct session {
    struct conn conn;
    uint8_t state;     /* enum session_state */
    uint8_t busy;      /* what keeps the next event from being told: a handler, a hold */
    bool open_due : 1; /* on_open has not been told yet */
    bool error_due : 1;
    bool close_due : 1;
    bool idle_due : 1;
    bool stalled : 1;      /* the queue is full: input waits unread */
    bool output_full : 1;  /* so is the output, with answers: the same */
    bool telling : 1;      /* inside dispatch */
    bool writers_wait : 1; /* session_await_drain */
    bool pong_due : 1;     /* our ping has not been answered */
    bool wants_idle : 1;   /* the handler is told of idle time-outs */
    bool close_now : 1;    /* finish the stream once our close frame is written */
    uint8_t reason_len;
    uint16_t code; /* what on_close will tell, once over */
    struct ws ws;
    struct session_message *queue; /* the last one, whose next is the first; NULL: empty */
    void *user;                    /* the layer above's */
    uint32_t last_input;           /* for idle_timeout; as all times here: see conn_clock.c */
    uint32_t parallel;             /* handlers that run in parallel: on_close waits for them */

    uint32_t queued;         /* bytes in the queue */
    uint32_t beat;           /* our heartbeat: when the last ping left */
    uint32_t assembly_since; /* first piece of an unfinished message, if there is one */
    uint32_t assembly;       /* which one that is, as ws_assembling numbers them; 0: none */
    char *reason;            /* the peer's or ours; owned, NULL when empty */
    struct session_place place;
};

/* What a session begins with. */
struct session_config {
    enum ws_role role;
    const struct session_settings *settings; /* borrowed for its life */
    bool wants_pings, wants_idle;
};

/*
 * The handshake is over, in a moment: what is left is to queue its answer, and to take the
 * connection over by session_open. `s` is embedded, zeroed but for its connection and `user`.
 */
void session_init(struct session *s, struct session_shared *shared,
                  const struct session_config *config);

/* Makes it a session that speaks on its connection; false when memory is short (hooks->begins). */
bool session_open(struct session *s, const struct conn_proto *proto);

/* Frees what it owns, also when it was never opened, or not even given to session_init. */
void session_deinit(struct session *s);

/*
 * The functions of a conn_proto for a session, to which whoever embeds one adds `free`, and `path`
 * by its settings.
 */
#define SESSION_PROTO \
    .input = session_input, .wants_input = session_wants_input, .listens = session_listens, \
    .has_left = session_has_left, .proceed = session_proceed, .written = session_written, \
    .blocked = session_blocked, .mark_left = session_mark_left, .mark_fed = session_mark_fed, \
    .broken = session_broken, .gone = session_gone, .may_free = session_may_free, \
    .on_deadline = conn_gone, .clock_left = session_clock_left, .clock_due = session_clock_due, \
    .write_timeout = session_write_timeout, .path = session_path
void session_input(struct conn *c, uint8_t *bytes, size_t len);
bool session_wants_input(const struct conn *c);
bool session_listens(const struct conn *c);
bool session_has_left(const struct conn *c);
void session_proceed(struct conn *c);
bool session_written(struct conn *c);
void session_blocked(struct conn *c, bool blocked);
void session_mark_left(struct conn *c);
void session_mark_fed(struct conn *c);
bool session_broken(struct conn *c);
void session_gone(struct conn *c, bool lost);
bool session_may_free(const struct conn *c);
int32_t session_clock_left(const struct conn *c);
void session_clock_due(struct conn *c);
double session_write_timeout(const struct conn *c);
const char *session_path(const struct conn *c);

/* The session of which this is the connection. */
static inline struct session *session_of(const struct conn *c)
{
    return (struct session *)(uintptr_t)c; /* its first member */
}

/* Its settings: those whose limits it was given. */
static inline const struct session_settings *session_settings_of(const struct session *s)
{
    return (const struct session_settings *)(const void *)s->ws.limits;
}

/* The handler that on_… said had not finished, has: tell what waits, read on. */
void session_done(struct session *s);

/*
 * A further handler has begun that runs in parallel: events are told meanwhile, but on_close and
 * the end of the object wait until it has ended. The number is the caller's to bound. Its end shows
 * at the end of the turn.
 */
void session_parallel_begin(struct session *s);
void session_parallel_end(struct session *s);
static inline uint32_t session_parallel(const struct session *s)
{
    return s->parallel;
}

/*
 * Keeps further events from being told until session_release, as a handler that has not finished
 * does, on_close included. One hold at a time.
 */
void session_hold(struct session *s);
void session_release(struct session *s);

/* Whether on_drain is to be told. */
void session_await_drain(struct session *s, bool awaited);

/* True while messages can be sent: open, and no close frame queued. */
static inline bool session_writable(const struct session *s)
{
    return s->state == SESSION_OPEN && !s->ws.close_sent;
}

/* True while it has not ended, and its socket has not been finished with. */
static inline bool session_running(const struct session *s)
{
    return (s->state == SESSION_OPEN || s->state == SESSION_CLOSING) && s->conn.state == CONN_OPEN;
}

/* True once it has ended, told or not. */
static inline bool session_over(const struct session *s)
{
    return s->state == SESSION_OVER;
}

/* True when the peer has sent a close frame. */
static inline bool session_closed_by_peer(const struct session *s)
{
    return s->ws.close_got;
}

/* What the error was that ended it: an enum err, and words for it. 0 when there was none. */
int session_error(const struct session *s);
const char *session_why(const struct session *s);

/*
 * Sending, each 0 or a negative enum err: ERR_CLOSED when session_writable is false, ERR_NOMEM,
 * ERR_ARGUMENT (too long a control frame). Output is written at the end of the batch or of the
 * turn.
 */
int session_send(struct session *s, enum ws_type type, const void *bytes, size_t len);
int session_ping(struct session *s, const void *bytes, size_t len);
int session_pong(struct session *s, const void *bytes, size_t len);

/*
 * As session_send for pushes, which never wait: when max_buffered is exceeded, and the peer does
 * not take enough of it now, the settings' policy applies (ERR_POLICY: dropped, or the peer was
 * closed with 1013).
 */
int session_push(struct session *s, enum ws_type type, const void *bytes, size_t len);

/* The same for a message to many, which is encoded once for all of them. */
int session_push_broadcast(struct session *s, struct ws_broadcast *b);

/* Loads what that will touch into the cache: for a member whose turn comes in a moment. */
static inline void session_fetch(const struct session *s)
{
    __builtin_prefetch(&s->conn.state);
    __builtin_prefetch(&s->conn.out);
    __builtin_prefetch(&s->ws);
}

/*
 * Starts the closing handshake: queues the close frame, waits at most `timeout` seconds for the
 * peer's (-1 for ever; 0: the stream is finished at once and the peer has a moment to answer).
 * ERR_CLOSED when a close frame was queued before, ERR_ARGUMENT for a bad code.
 */
int session_close(struct session *s, unsigned code, const char *reason, size_t len, double timeout);

/*
 * Ends the session for an error of ours (failed handler): close frame, on_error, on_close. Harmless
 * when it is over.
 */
void session_fail(struct session *s, int err, unsigned code, const char *reason);

#endif
