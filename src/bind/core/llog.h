// SPDX-License-Identifier: MIT
/* The log for lua/neap/log.lua: `core.log`, `core.logEnabled`. Called by Lua alone. */
#ifndef NEAP_BIND_CORE_LLOG_H
#define NEAP_BIND_CORE_LLOG_H

#include "bind/core/lvm.h"

const struct lmodule *llog_module(void);

#endif
