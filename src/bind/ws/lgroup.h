// SPDX-License-Identifier: MIT
/*
 * Groups for Lua: joining, leaving, pushing, asking. What apps call is in
 * lua/neap/websocket/group.lua and lcaller_send.c; who is in which group, and how a message gets to
 * other workers, is group/groups.h's business.
 */
#ifndef NEAP_BIND_WS_LGROUP_H
#define NEAP_BIND_WS_LGROUP_H

#include "bind/ws/lmessage.h"
#include "group/group_key.h"

enum { LGROUP_SLOT = LMODULE_WS + 3 };

/* A message, text or binary, and who gets it: all members but one (NULL: all). */
struct lgroup_push {
    struct group_key key;
    struct lmessage message;
    const struct session *except;
};

/*
 * Pushes a message to a group, and on the stack what became of it: a PushResult; or nil and an
 * error for text that is not UTF-8. Returns how many values that is. Does not yield. Raises for
 * lack of memory, before anything is sent.
 */
int lgroup_push(lua_State *L, struct lvm *vm, const struct lgroup_push *push);

/* Whether the value at `index` is a PushResult. Does not raise. */
bool lgroup_is_result(const struct lvm *vm, lua_State *L, int index);

/* The groups of this worker's connections. */
struct groups *lgroup_groups(const struct lvm *vm);

const struct lmodule *lgroup_module(void);

#endif
