// SPDX-License-Identifier: MIT
/*
 * One listening address with its routes and limits: what an app calls a listener. Its connections
 * keep it alive by a count, so that a listener can be closed while they go on.
 */
#ifndef NEAP_SERVER_ENDPOINT_H
#define NEAP_SERVER_ENDPOINT_H

#include "net/accept.h"
#include "server/config.h"
#include "server/router.h"
#include "server/server.h"

struct endpoint;

/* Somebody who waits for the end of the connections. */
struct endpoint_drain {
    void (*told)(struct endpoint *e, void *arg); /* NULL: nobody, or told already */
    void *arg;
    bool for_handlers; /* also waits for handlers that wait for the drain, and after an abort */
};

enum { ENDPOINT_DRAINS = 2 }; /* the listener's owner, and the server that stops */

struct endpoint {
    struct link link; /* in server->endpoints */
    struct server *server;
    struct accept accept;
    struct router router;
    struct listener_config config;
    struct link conns; /* all of its connections, opened or not */
    uint32_t count;
    uint32_t peak; /* the most there were, since memory was last given back */
    uint32_t refs;
    struct address_count **per_address; /* buckets; NULL without max_per_address */
    struct loop_timer step;             /* while draining: closes some more */
    unsigned per_step;
    struct loop_job cut_off; /* the end of endpoint_cut_off */
    bool draining;
    bool aborted;
    struct endpoint_drain drains[ENDPOINT_DRAINS];
};

/* Takes over the listening descriptor and what `config` owns. One reference. */
struct endpoint *endpoint_new(struct server *s, int fd, const struct listener_config *config);
struct endpoint *endpoint_ref(struct endpoint *e);
void endpoint_unref(struct endpoint *e);

/* Takes the settings over: new connections use them, established ones keep theirs. */
void endpoint_use_tls(struct endpoint *e, struct tls_context *tls);

/* Begins to accept. */
void endpoint_start(struct endpoint *e);

/*
 * Stops accepting for good: answers what waits in the queue with 503 and closes the socket.
 * Established connections go on.
 */
void endpoint_stop(struct endpoint *e);

/* The same, but what waits in the queue is left to another process that has the socket, too. */
void endpoint_hand_over(struct endpoint *e);

/*
 * endpoint_stop, then closes every session with 1001 "server shutting down", spread over about a
 * second, so that thousands of clients do not return in the same instant. `who` is told once, in a
 * later turn: when all are gone; without `for_handlers`, a connection that is `excused` counts as
 * gone once its socket is closed, and after endpoint_abort nothing is waited for. Two may wait.
 */
void endpoint_drain(struct endpoint *e, const struct endpoint_drain *who);

/* Ends all connections at once: sockets closed, on_close told with 1006. */
void endpoint_abort(struct endpoint *e);

/*
 * For the end of the drain time: who has not been told yet gets 1001, and at the end of this turn,
 * when the close frames have been written, endpoint_abort.
 */
void endpoint_cut_off(struct endpoint *e);

/*
 * Counts a peer in: 0, or the HTTP status that refuses it: 503 (draining, or at max_connections),
 * 429 (its address, or IPv6 /64, is at max_per_address). What was counted in is counted out by
 * endpoint_leave.
 */
int endpoint_enter(struct endpoint *e, const struct address *peer);
void endpoint_leave(struct endpoint *e, const struct address *peer);

/* Called when one of its connections has been freed: the drain may be over. */
void endpoint_conn_freed(struct endpoint *e);

#endif
