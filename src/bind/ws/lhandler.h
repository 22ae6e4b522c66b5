// SPDX-License-Identifier: MIT
/* Further handlers of a connection, beside its callbacks, as the Lua side starts them. */
#ifndef NEAP_BIND_WS_LHANDLER_H
#define NEAP_BIND_WS_LHANDLER_H

#include "bind/core/lvm.h"

/*
 * Adds `start`, `startNow`, `fail`, `handlers` and `awaitHandler` to the core table at the top of
 * the stack.
 */
void lhandler_open(struct lvm *vm, lua_State *L);

#endif
