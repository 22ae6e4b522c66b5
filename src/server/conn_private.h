// SPDX-License-Identifier: MIT
/*
 * What the parts of a connection (conn.c, conn_http.c, conn_ws.c, conn_timer.c) call in each other.
 */
#ifndef NEAP_SERVER_CONN_PRIVATE_H
#define NEAP_SERVER_CONN_PRIVATE_H

#include "server/conn.h"

/* Kept only while the request is read and answered. */
struct conn_setup {
    struct http_parser *parser;
    struct buf early; /* bytes behind the head, until the session takes them */
};

/* conn.c: makes all progress, then sets what to wait for. */
void conn_proceed(struct conn *c);
/* conn.c: has output to be flushed at the end of the batch or turn. */
void conn_dirty(struct conn *c);
/* conn.c: writes now what is queued, as far as it is taken; the connection may be gone then. */
void conn_flush(struct conn *c);
/* conn.c: all is written: finish the stream, read until the peer has closed, at most a moment. */
void conn_linger(struct conn *c);
/* conn.c: closes the socket. */
void conn_gone(struct conn *c);
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
/* True while reading more makes sense. */
bool conn_ws_wants_input(const struct conn *c);

/*
 * conn_timer.c: arms the timer for the earliest deadline; cheap when nothing is due earlier than
 * before. Does nothing once the socket is closed.
 */
void conn_timer_arm(struct conn *c);
/* conn_timer.c: a phase has ended: drops the timer unless the next phase has a deadline. */
void conn_timer_settle(struct conn *c);
void conn_timer_free(struct conn *c);
/*
 * conn_timer.c: what a new connection has for its head; as long as a TLS handshake goes on, for
 * that.
 */
double conn_head_seconds(const struct conn *c);

#endif
