// SPDX-License-Identifier: MIT
/* The log for lua/neap/log.lua: `core.log`, `core.logEnabled`. */
#ifndef NEAP_BIND_CORE_LLOG_H
#define NEAP_BIND_CORE_LLOG_H

#include "bind/core/lvm.h"

void llog_open(struct lvm *vm, lua_State *L);

#endif
