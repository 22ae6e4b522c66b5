// SPDX-License-Identifier: MIT
/* What holds of a task at the end of every function that changes it. */
#include "bind/core/ltask_private.h"

#include "base/check.h"

#include <lauxlib.h>

/* ltask.h has the table. */
void ltask_check(const struct ltask *t)
{
    bool waits = t->state == LTASK_RUNNING || t->state == LTASK_PARKED;
    CHECK(t->state <= LTASK_OVER);
    CHECK(!link_empty(&t->alive));
    CHECK(waits || (link_empty(&t->waiting) && !loop_timer_active(&t->timer)));
    CHECK(t->state == LTASK_NEW || link_empty(&t->link) == (t->state != LTASK_READY));
    CHECK(t->state != LTASK_NEW || !(t->waited || t->shield));
    CHECK(!t->shield || t->cancelled);
    CHECK(t->state == LTASK_OVER || t->vm->tasks > 0);
}

void ltask_idle_check(const struct ltask *t)
{
    CHECK(t->state == LTASK_OVER && t->vm->running != t);
    CHECK(t->handle == LUA_NOREF && t->pinned == LUA_NOREF && !t->shield);
    CHECK(link_empty(&t->link) && link_empty(&t->waiting) && link_empty(&t->kin));
    CHECK(!t->vm->idle == !t->vm->idle_count && t->vm->idle_count <= LTASK_IDLE_MAX);
    ltask_check(t);
}
