// SPDX-License-Identifier: MIT
/*
 * What the parts of a connection (conn.c, conn_clock.c, conn_http.c, conn_ws.c, conn_ws_clock.c)
 * call in each other.
 */
#ifndef NEAP_SERVER_CONN_PRIVATE_H
#define NEAP_SERVER_CONN_PRIVATE_H

#include "server/conn.h"

/* Off the path of messages: the compiler keeps it out of those functions that are on it. */
#define RARE __attribute__((cold))

/* Kept only while the request is read and answered. */
struct conn_setup {
    struct http_parser *parser;
    struct buf early; /* bytes behind the head, until the session takes them */
};

/* conn.c: makes all progress, then sets what to wait for. */
void conn_proceed(struct conn *c);

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
void conn_rest_init(struct server *s);
/* conn.c: that turn has come. */
void conn_go_on(struct conn *c);
/* conn.c: has output to be flushed at the end of the batch or turn. */
void conn_dirty(struct conn *c);
/* conn.c: writes now what is queued, as far as it is taken; the connection may be gone then. */
void conn_flush(struct conn *c);
/* conn.c: all is written: finish the stream, read until the peer has closed, at most a moment. */
void conn_linger(struct conn *c);
/* conn.c: closes the socket. */
void conn_gone(struct conn *c);
/* conn.c: the same for a peer that is gone without an end: what it left behind is not told. */
void conn_lost(struct conn *c);
void conn_setup_free(struct conn *c);

/* conn_http.c: bytes of the request head. */
void conn_http_input(struct conn *c, uint8_t *bytes, size_t len);
/* conn_http.c: bytes that come while the answer to the request is still due: they wait. */
void conn_http_early(struct conn *c, const uint8_t *bytes, size_t len);
/* conn_http.c: true while more of those are taken. */
bool conn_http_wants_early(const struct conn *c);
/* conn_http.c: refuses with a plain-text body. */
void conn_http_refuse(struct conn *c, int status, const char *text);

/*
 * conn_ws.c: bytes of the session; telling events, open and end; what to do when the session ended.
 */
void conn_ws_input(struct conn *c, uint8_t *bytes, size_t len);
void conn_ws_dispatch(struct conn *c);
void conn_ws_over(struct conn *c);
void conn_ws_free_queue(struct conn *c);
/* Messages that have come, or may have, and have not been told. */
bool conn_ws_left(const struct conn *c);
/* True while reading more makes sense. */
bool conn_ws_wants_input(const struct conn *c);

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
/* Our close frame is written: starts what waits for that once the peer's system has it, too. */
void conn_clock_closure(struct conn *c) RARE;
/* A clock has been started: has the wheel call in time for it. */
void conn_clock_arm(struct conn *c);
/* We do not listen to the peer from now on (or do again). */
void conn_clock_hold(struct conn *c, bool hold) RARE;
/* There is output that the peer has to take before we can go on (or all has been taken). */
void conn_clock_output(struct conn *c, bool waits) RARE;
/* `written` bytes of the queue have left, while ping_waits. */
void conn_clock_ping_moved(struct conn *c, size_t written) RARE;
/* Asks what the peer has taken, and feeds the clocks that it feeds. */
void conn_clock_measure(struct conn *c) RARE;
/* What the wheel calls. */
void conn_clock_on_due(struct wheel_entry *entry);
/*
 * What a new connection has for its head; as long as a TLS handshake goes on, for that.
 */
double conn_head_seconds(const struct conn *c);

/* conn_ws_clock.c: until the first clock of the session runs out, CONN_NEVER: none does. */
int32_t conn_ws_clock_left(const struct conn *c);
/* conn_ws_clock.c: does what is due by them. */
void conn_ws_clock_due(struct conn *c);

#endif
