// SPDX-License-Identifier: MIT
/*
 * The server's hooks, told to Lua: what happens on a connection becomes a callback of its service.
 */
#ifndef NEAP_BIND_WS_LCONN_H
#define NEAP_BIND_WS_LCONN_H

#include "bind/core/lvm.h"

enum { LCONN_SLOT = LMODULE_WS + 5 };

/* Gives the server of bind/http/lserver.h its hooks, and so is opened after it. */
const struct lmodule *lconn_module(void);

#endif
