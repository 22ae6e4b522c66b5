// SPDX-License-Identifier: MIT
/*
 * What the connections of one worker share, and the hooks through which the layer above hears of
 * them. The server knows no Lua: tests install hooks of their own.
 */
#ifndef NEAP_SERVER_SERVER_H
#define NEAP_SERVER_SERVER_H

#include "base/hash.h"
#include "net/loop.h"
#include "net/tls.h"
#include "net/wheel.h"
#include "proto/ws/ws.h"
#include "server/refusal.h"

struct conn;
struct endpoint;
struct groups;

/*
 * Calls upwards. Those that return bool run a handler: true means that it has not finished (it
 * waits for something); the layer above then calls conn_done when it has. Until then nothing else
 * of that connection is told, and what arrives is queued.
 */
struct server_hooks {
    /*
     * A valid upgrade request for c->route. Answer now or later by exactly one conn_accept or
     * conn_refuse.
     */
    void (*on_upgrade)(struct conn *c);
    bool (*on_open)(struct conn *c);
    /*
     * WS_TEXT, WS_BINARY, WS_PING (only with conn_accept.wants_pings), WS_PONG. The bytes are valid
     * during the call.
     */
    bool (*on_event)(struct conn *c, const struct ws_event *ev);
    /*
     * Nothing was received for idle_timeout. Without conn_accept.wants_idle the connection is
     * closed with 1001 instead.
     */
    bool (*on_idle)(struct conn *c);
    /* The session ended by an error: c->ws.error and c->ws.why tell which. on_close follows. */
    bool (*on_error)(struct conn *c);
    /* Exactly once for each connection that opened; the last thing told but for on_free. */
    bool (*on_close)(struct conn *c, unsigned code, const char *reason, size_t len);
    /*
     * Output has drained below max_buffered, the session has ended, or the peer has hung up: who
     * waits for one of them may go on.
     */
    void (*on_drain)(struct conn *c);
    /* The connection is about to be freed: forget it. Also told for those that never opened. */
    void (*on_free)(struct conn *c);
};

enum { SERVER_READ_SIZE = 192 * 1024 }; /* stays in the second-level cache */

struct server {
    struct loop *loop;
    const struct server_hooks *hooks;
    struct wheel wheel;  /* of its connections' clocks */
    size_t work;         /* of this turn's connections that go on, as conn_private.h counts it */
    struct outpool pool; /* of their output queues */
    struct ws_shared shared;
    struct tls_tickets tickets; /* keys of all TLS listeners; from the master */
    struct groups *groups;      /* of all its connections */
    uint8_t *read_buffer;       /* SERVER_READ_SIZE bytes, for whoever reads now */
    unsigned shakes;            /* steps of TLS handshakes in this turn */
    struct loop_job rested;     /* forgets them at its end */
    struct link endpoints;
    struct link resting;     /* connections with something left, by their jobs (conn_rest.c) ... */
    struct link turn_mark;   /* ... those of this turn behind this one */
    struct loop_job go_on;   /* gives them theirs */
    size_t held_back;        /* output of this turn's batches that waits to be written */
    struct loop_job drained; /* tells on_drained */
    unsigned draining;       /* endpoints that are not empty yet */
    void (*on_drained)(struct server *s); /* set by server_drain */
    uint8_t entropy[512];                 /* unused random bytes, for connection ids and masks */
    unsigned entropy_left;
    struct loop_timer large_rests; /* gives back memory when no large message came for a while */
    bool large_again;
    struct refusals refusals;
    struct hash_seed address_seed; /* for tables of clients' addresses */
};

void server_init(struct server *s, struct loop *loop, const struct server_hooks *hooks);

/* Frees what the server owns. Its endpoints must be gone. */
void server_deinit(struct server *s);

/*
 * Stops accepting everywhere and leaves what waits in the queues to another process, which has the
 * same sockets. Before server_drain.
 */
void server_hand_over(struct server *s);

/*
 * Stops accepting everywhere, answers what waits in the queues with 503, and closes every session
 * with 1001 "server shutting down", spread over a short time. `on_drained` is called once when no
 * connection is left. The deadline is the caller's business.
 */
void server_drain(struct server *s, void (*on_drained)(struct server *s));

/*
 * Closes all sockets at the end of this turn; on_close tells 1006. Who has not been told yet gets
 * 1001 before. What server_drain has begun goes on.
 */
void server_abort(struct server *s);

/*
 * Asked before a step of a TLS handshake, each of which may take a good part of a millisecond: true
 * for a few in each turn of the loop. Who is told to wait is asked again by the loop in the next
 * turn, so that a storm of handshakes does not keep the established connections waiting.
 */
bool server_may_shake(struct server *s);

/* Fills `out` with random bytes from the kernel. */
void server_random(struct server *s, void *out, size_t len);

#endif
