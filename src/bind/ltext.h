// SPDX-License-Identifier: MIT
/* Questions about text that the library asks for whole messages, too long for Lua to look at. */
#ifndef NEAP_BIND_LTEXT_H
#define NEAP_BIND_LTEXT_H

#include "bind/lvm.h"

/* Adds `isUtf8(s)` to the core table at the top of the stack. */
void ltext_open(struct lvm *vm, lua_State *L);

#endif
