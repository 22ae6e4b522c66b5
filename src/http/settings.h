// SPDX-License-Identifier: MIT
/*
 * Settings of what speaks HTTP, as it uses them: of a listener, and of a route. Names, defaults and
 * checks for the people who write apps are the Lua library's; here everything is filled in. Times
 * are seconds.
 */
#ifndef NEAP_HTTP_SETTINGS_H
#define NEAP_HTTP_SETTINGS_H

#include "proto/http/http.h"
#include "proto/ws/deflate.h"
#include "session/settings.h"

#include <stdbool.h>
#include <stddef.h>

struct http_conn;
struct tls_context;

/* Calls upwards. */
struct http_hooks {
    /*
     * A valid upgrade request for http_conn_route. Answer now or later by exactly one of
     * http_conn_accept and http_conn_refuse.
     */
    void (*on_upgrade)(struct http_conn *h);
    /* The connection is about to be freed: forget it. Also told for those that never opened. */
    void (*on_free)(struct http_conn *h);
};

struct http_settings {
    const struct http_hooks *hooks;
    struct http_limits limits;
    /* for the whole request head, handshakes below it included; 0: none */
    double head_timeout;
    double handshake_timeout; /* for the TLS handshake alone, within head_timeout; 0: none */
    struct tls_context *tls;  /* NULL: plain TCP; owned by the listener */
    bool compress;            /* compression may be agreed upon, as `deflate` says */
    struct deflate_config deflate;
    char *server; /* value of the Server header, or NULL; owned by the listener */
};

/* What is attached to a path. */
struct route_config {
    struct session_settings session;
    char **subprotocols; /* owned, as are the strings */
    size_t subprotocol_count;
};

#endif
