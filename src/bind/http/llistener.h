// SPDX-License-Identifier: MIT
/*
 * Listeners and routes as Lua hands them to the server: see lua/neap/websocket/listener.lua for
 * what apps see.
 */
#ifndef NEAP_BIND_HTTP_LLISTENER_H
#define NEAP_BIND_HTTP_LLISTENER_H

#include "bind/core/lvm.h"
#include "proto/http/http.h"

struct route;

/* Adds `listen` and `checkPath` to the core table at the top of the stack. */
void llistener_open(struct lvm *vm, lua_State *L);

/* Begins to accept on all listeners that have not begun yet. */
void llistener_start_all(struct lvm *vm);

/* Pushes the table that the route was attached with. */
void llistener_push_route(lua_State *L, const struct route *route);

/*
 * The group of the route's clients whose service has no name: valid as long as the route, the same
 * in all workers, and the name of no service.
 */
struct http_str llistener_route_group(const struct route *route);

/*
 * Reads the certificates of all TLS listeners again, for new connections. One that cannot be used
 * changes nothing: that is logged, and the old one stays.
 */
void llistener_renew_certificates(struct lvm *vm);

/* Drops all listeners when the state ends. */
void llistener_close_all(struct lvm *vm);

#endif
