// SPDX-License-Identifier: MIT
/*
 * The server's hooks, told to Lua: what happens on a connection becomes a callback of its service.
 */
#ifndef NEAP_BIND_LCONN_H
#define NEAP_BIND_LCONN_H

#include "bind/lvm.h"

/* The hooks to be given to server_init of vm->server. */
const struct server_hooks *lconn_hooks(void);

#endif
