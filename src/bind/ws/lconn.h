// SPDX-License-Identifier: MIT
/*
 * The server's hooks, told to Lua: what happens on a connection becomes a callback of its service.
 */
#ifndef NEAP_BIND_WS_LCONN_H
#define NEAP_BIND_WS_LCONN_H

#include "bind/core/lvm.h"
#include "server/group.h"

/* The hooks to be given to server_init of vm->server. */
const struct server_hooks *lconn_hooks(void);

/*
 * The group that all clients of the connection's service are in, over all workers: named as the
 * service, or after the route where that has no name. The connection must have a Caller.
 */
struct group_key lconn_service(const struct conn *c);

#endif
