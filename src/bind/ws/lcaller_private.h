// SPDX-License-Identifier: MIT
/*
 * What the files of the Caller have in common: lcaller.c its life, lcaller_methods.c and
 * lcaller_send.c its methods. Each method has three upvalues: the
 * vm, the metatable of Callers, the table of all Callers' attributes.
 */
#ifndef NEAP_BIND_WS_LCALLER_PRIVATE_H
#define NEAP_BIND_WS_LCALLER_PRIVATE_H

#include "bind/ws/lcaller.h"

#include <lauxlib.h>

/* Registry references. */
struct lcallers {
    int metatable;
    int attributes; /* a table of all Callers' attributes, by Caller */
};

/*
 * The Caller at argument 1 of a method; raises when there is something else. The metatable is
 * compared, which costs no look-up by name.
 */
struct lcaller *lcaller_self(lua_State *L);

/*
 * In a method: `return lcaller_gone(L)` when there is no connection any more. May raise (no
 * memory).
 */
int lcaller_gone(lua_State *L);

/* The methods that send and close, by name, up to { NULL, NULL }. */
const struct luaL_Reg *lcaller_sending(void);

#endif
