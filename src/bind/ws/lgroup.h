// SPDX-License-Identifier: MIT
/*
 * Groups for Lua: joining, leaving, pushing, asking. What apps call is in
 * lua/neap/websocket/group.lua and lcaller_send.c; who is in which group, and how a message gets to
 * other workers, is server/group.h's business.
 */
#ifndef NEAP_BIND_WS_LGROUP_H
#define NEAP_BIND_WS_LGROUP_H

#include "bind/core/lvm.h"
#include "server/group.h"

/*
 * Pushes a message to a group, and on the stack what became of it: a PushResult; or nil and an
 * error for text that is no UTF-8. Returns how many values that is. Does not yield.
 */
int lgroup_push(lua_State *L, struct lvm *vm, const struct group_push *push);

/* Whether the value at `index` is a PushResult. */
bool lgroup_is_result(const struct lvm *vm, lua_State *L, int index);

/* Adds the group functions to the core table at the top of the stack. */
void lgroup_open(struct lvm *vm, lua_State *L);

/* Forgets the questions that have not been answered. */
void lgroup_close(struct lvm *vm);

#endif
