// SPDX-License-Identifier: MIT
/*
 * Groups of connections, stored connections and services, over all workers: who is in them
 * (group.h), pushes to them (group_push.h), and questions to all workers (group_ask.h).
 *
 * A worker keeps its own members and names, and tells the others how many members of each group it
 * has and which names; it knows of theirs what they last told. A push reaches the members here at
 * once, and every worker that has members by one message. State, not events: what is told is "n
 * members now", so that nothing is lost when it is told late, or once for many changes.
 *
 *      worker 0: group "blue"                     worker 1: group "blue"
 *        members: ● ● ●                             members: ● ●
 *        shares:  worker 1 has 2   ◀── told ──▶     shares:  worker 0 has 3
 */
#ifndef NEAP_GROUP_GROUPS_H
#define NEAP_GROUP_GROUPS_H

#include "base/entropy.h"
#include "bus/bus.h"
#include "net/loop.h"

struct groups;

/* Without a bus: one worker's. Random bytes are for the seed of its tables. */
struct groups *groups_new(struct loop *loop, struct entropy *entropy);
/* No connection may be left, and no question. */
void groups_free(struct groups *g);

/* From now on there may be others. At most once. */
void groups_use_bus(struct groups *g, struct bus *bus);

#endif
