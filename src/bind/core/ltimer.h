// SPDX-License-Identifier: MIT
/*
 * Timers of lua/neap/task.lua: `core.timer`, `core.timerStop`, and the clocks. Called by Lua alone.
 */
#ifndef NEAP_BIND_CORE_LTIMER_H
#define NEAP_BIND_CORE_LTIMER_H

#include "bind/core/lvm.h"

enum { LTIMER_SLOT = LMODULE_CORE + 7 };

const struct lmodule *ltimer_module(void);

#endif
