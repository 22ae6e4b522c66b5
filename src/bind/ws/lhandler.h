// SPDX-License-Identifier: MIT
/* Further handlers of a connection, parallel to its callbacks, as the Lua side starts them. */
#ifndef NEAP_BIND_WS_LHANDLER_H
#define NEAP_BIND_WS_LHANDLER_H

#include "bind/core/lvm.h"

const struct lmodule *lhandler_module(void);

#endif
