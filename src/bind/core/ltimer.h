// SPDX-License-Identifier: MIT
/* Timers of lua/neap/task.lua: `core.timer`, `core.timerStop`, and the clocks. */
#ifndef NEAP_BIND_CORE_LTIMER_H
#define NEAP_BIND_CORE_LTIMER_H

#include "bind/core/lvm.h"

void ltimer_open(struct lvm *vm, lua_State *L);

/*
 * Stops all timers, when the state ends: their memory is the state's, and the loop must not find
 * them afterwards.
 */
void ltimer_close(struct lvm *vm);

#endif
