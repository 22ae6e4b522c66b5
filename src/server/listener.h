// SPDX-License-Identifier: MIT
/*
 * One listening address with its routes and limits: what an app calls a listener. Its connections
 * keep it alive by a count, so that a listener can be closed while they go on.
 */
#ifndef NEAP_SERVER_LISTENER_H
#define NEAP_SERVER_LISTENER_H

#include "http/http_conn.h"
#include "net/accept.h"
#include "server/server.h"

struct listener;

/* Somebody who waits for the end of the connections. */
struct listener_drain {
    void (*on_drained)(struct listener *listener, void *arg); /* NULL: nobody, or told already */
    void *arg;
    bool for_handlers; /* also waits for handlers that wait for the drain, and after an abort */
};

/* How many connections it takes. */
struct listener_limits {
    uint32_t max_connections; /* of this listener in this worker; 0: no limit. Past it: 503 */
    uint32_t max_per_address; /* of one peer address, of IPv6 its /64; 0: no limit. Past it: 429 */
};

enum { LISTENER_DRAINS = 2 }; /* the listener's owner, and the server that stops */

struct listener {
    struct link link; /* in server->listeners */
    struct server *server;
    struct accept accept;
    struct http_site site; /* its settings, routes and connections */
    struct listener_limits limits;
    uint32_t count;
    uint32_t peak; /* the most there were, since memory was last given back */
    uint32_t refs;
    struct address_count **per_address; /* buckets; NULL without max_per_address */
    struct loop_timer step;             /* while draining: closes some more */
    unsigned per_step;
    struct loop_job cut_off; /* the end of listener_cut_off */
    bool draining;
    bool aborted;
    struct listener_drain drains[LISTENER_DRAINS];
};

/* Takes over the listening descriptor and what `settings` owns. One reference. */
struct listener *listener_new(struct server *s, int fd, const struct http_settings *settings,
                              const struct listener_limits *limits);
struct listener *listener_ref(struct listener *listener);
void listener_unref(struct listener *listener);

/* Takes the settings over: new connections use them, established ones keep theirs. */
void listener_use_tls(struct listener *listener, struct tls_context *tls);

/* Begins to accept. */
void listener_start(struct listener *listener);

/*
 * Stops accepting for good: answers what waits in the queue with 503 and closes the socket.
 * Established connections go on.
 */
void listener_stop(struct listener *listener);

/* The same, but what waits in the queue is left to another process that has the socket, too. */
void listener_hand_over(struct listener *listener);

/*
 * listener_stop, then closes every session with 1001 "server shutting down", spread over about a
 * second, so that thousands of clients do not return in the same instant. `who` is told once, in a
 * later turn: when all are gone; without `for_handlers`, a connection that is `excused` counts as
 * gone once its socket is closed, and after listener_abort nothing is waited for. Two may wait.
 */
void listener_drain(struct listener *listener, const struct listener_drain *who);

/* Ends all connections at once: sockets closed, on_close told with 1006. */
void listener_abort(struct listener *listener);

/*
 * For the end of the drain time: who has not been told yet gets 1001, and at the end of this turn,
 * when the close frames have been written, listener_abort.
 */
void listener_cut_off(struct listener *listener);

#endif
