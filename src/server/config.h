// SPDX-License-Identifier: MIT
/*
 * Settings of listeners and routes as the server uses them. Names, defaults and checks for the
 * people who write apps are in lua/neap/config/; here everything is filled in. Times are seconds.
 */
#ifndef NEAP_SERVER_CONFIG_H
#define NEAP_SERVER_CONFIG_H

#include "proto/http/http.h"
#include "proto/ws/deflate.h"
#include "proto/ws/ws.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;

struct listener_config {
    struct http_limits http;
    /* for the whole request head, handshakes below it included; 0: none */
    double head_timeout;
    double handshake_timeout; /* for the TLS handshake alone, within head_timeout; 0: none */
    uint32_t max_connections; /* of this listener in this worker; 0: no limit. Past it: 503 */
    uint32_t max_per_address; /* of one peer address, of IPv6 its /64; 0: no limit. Past it: 429 */
    struct tls_context *tls;  /* NULL: plain TCP; owned */
    bool compress;            /* compression may be agreed upon, as `deflate` says */
    struct deflate_config deflate;
    char *server; /* value of the Server header, or NULL; owned */
};

struct route_config {
    struct ws_limits ws;
    double idle_timeout;    /* nothing received; 0: never */
    double message_timeout; /* from the first piece of a message to its last; 0: none */
    double close_timeout;   /* from our close frame to the peer's; -1: for ever */
    double ping_interval;   /* 0: no pings of ours */
    double pong_timeout;    /* after such a ping; 0: none */
    double write_timeout;   /* in which a peer must take something of what waits; 0: none */
    /* bytes queued towards a peer before writers wait and pushes are refused */
    size_t max_buffered;
    /* what happens to a push then: drop it (true) or close the peer with 1013 */
    bool drop_slow;
    char **subprotocols; /* owned, as are the strings */
    size_t subprotocol_count;
};

#endif
