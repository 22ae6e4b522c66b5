// SPDX-License-Identifier: MIT
/*
 * Listeners and routes as Lua hands them to the server: see lua/neap/websocket/listener.lua for
 * what apps see.
 */
#ifndef NEAP_BIND_HTTP_LLISTENER_H
#define NEAP_BIND_HTTP_LLISTENER_H

#include "base/str.h"
#include "bind/core/lvm.h"

struct route;

enum { LLISTENER_SLOT = LMODULE_HTTP + 1 };

/* A listening socket for a listener. */
struct llistener_socket {
    bool secure; /* asked for TLS: tells the log */
    int fd;
    int port;
    char error[256];
};

/*
 * How listeners get their sockets: by the program, which returns a negative number with `error`
 * filled when there is none, and which hears of those that are not wanted any more. Without that,
 * as under `neap check`, there are listeners but no sockets.
 */
struct llistener_binder {
    int (*bind)(struct lvm *vm, const char *address, int backlog, struct llistener_socket *out);
    void (*unbind)(struct lvm *vm, const char *address, int port);
};

/* Before an app is loaded. The binder is copied. */
void llistener_bind_with(struct lvm *vm, const struct llistener_binder *binder);

/* Whether a listener is open. */
bool llistener_any(const struct lvm *vm);

/* Pushes the table that the route was attached with. Never raises. */
void llistener_push_route(lua_State *L, const struct route *route);

/*
 * The group of the route's clients whose service has no name: valid as long as the route, the same
 * in all workers, and the name of no service.
 */
struct str llistener_route_group(const struct route *route);

/*
 * Reads the certificates of all TLS listeners again, for new connections. One that cannot be used
 * changes nothing: that is logged, and the old one stays. Never raises.
 */
void llistener_renew_certificates(struct lvm *vm);

const struct lmodule *llistener_module(void);

#endif
