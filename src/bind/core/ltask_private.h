// SPDX-License-Identifier: MIT
/* What the parts of tasks (ltask.c, ltask_check.c) share. */
#ifndef NEAP_BIND_CORE_LTASK_PRIVATE_H
#define NEAP_BIND_CORE_LTASK_PRIVATE_H

#include "bind/core/ltask.h"

enum { LTASK_IDLE_MAX = 256 }; /* finished coroutines that are kept for the next tasks */

/* Dies when the task is not as ltask.h's table has it (in builds for tests). */
void ltask_check(const struct ltask *t);

/* The same for one in the pool, which owns nothing but its coroutine, and which nobody knows. */
void ltask_idle_check(const struct ltask *t);

#endif
