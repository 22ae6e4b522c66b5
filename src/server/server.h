// SPDX-License-Identifier: MIT
/*
 * The listeners of one worker, what their connections share, and the way out. The server knows no
 * Lua: who is told what happens on a connection is up to the settings of routes.
 */
#ifndef NEAP_SERVER_SERVER_H
#define NEAP_SERVER_SERVER_H

#include "base/hash.h"
#include "conn/conn.h"
#include "net/loop.h"
#include "net/tls.h"
#include "session/session.h"

struct listener;

struct server {
    struct conn_shared conns;
    struct session_shared sessions;
    struct tls_tickets tickets; /* keys of all TLS listeners; from the master */
    struct link listeners;
    struct loop_job drained;              /* tells on_drained */
    unsigned draining;                    /* listeners that are not empty yet */
    void (*on_drained)(struct server *s); /* set by server_drain */
    struct hash_seed address_seed;        /* for tables of clients' addresses */
};

void server_init(struct server *s, struct loop *loop);

/* Frees what the server owns. Its listeners must be gone. */
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

#endif
