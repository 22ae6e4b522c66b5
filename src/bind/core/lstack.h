// SPDX-License-Identifier: MIT
/*
 * The C stack under Lua. Calls from Lua to Lua take none of it, and what goes through C
 * (string.gsub with a function, table.sort, metamethods of C functions) ends at LuaJIT's own limit
 * of 65,500 slots a coroutine, which takes some 30 MiB of it. But each coroutine has slots of its
 * own: those that resume each other without end use up the C stack, and the process ends by a
 * signal.
 */
#ifndef NEAP_BIND_CORE_LSTACK_H
#define NEAP_BIND_CORE_LSTACK_H

#include "bind/core/lvm.h"

enum { LSTACK_SLOT = LMODULE_CORE + 6 };

/*
 * Opened from near the stack's beginning: lets the stack of the process grow to what Lua may need,
 * as far as the system permits it.
 */
const struct lmodule *lstack_module(void);

#endif
