// SPDX-License-Identifier: MIT
/*
 * Another worker: sending to it, and whether we know all that it has.
 */
#include "group/group_private.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "group/group_wire.h"

struct chunk *group_other_encode(const struct group_wire *m)
{
    size_t size = group_wire_size(m);
    struct chunk *c = size <= BUS_MESSAGE_MAX ? chunk_new(size) : NULL;
    if (c)
        group_wire_write(m, c->bytes);
    return c;
}

/*
 * A worker whose queue was full once gets nothing until half of it is free, so that no push
 * overtakes what was to be told before it.
 */
bool group_other_send(struct groups *g, unsigned other, struct chunk *message)
{
    struct group_other *p = &g->bus->others[other];
    if (p->full)
        return false;
    int err = bus_send(g->bus->bus, other, message);
    p->full = err == ERR_POLICY || err == ERR_CLOSED;
    p->ending = err == ERR_CLOSED;
    return err == 0;
}

void group_other_check(const struct group_bus *b)
{
    unsigned there = 0, unsure = 0;
    for (unsigned i = 0; i < b->limit; i++) {
        const struct group_other *o = &b->others[i];
        there += o->there;
        unsure += o->there && !o->sure;
        CHECK(o->sent <= b->seq && o->since <= b->seq);
        CHECK(o->there || !(o->full || o->sure || o->greeted || o->sent));
    }
    CHECK(b->there == there && b->unsure == unsure);
    CHECK(b->reaped <= b->seq);
}

void group_other_set_sure(struct group_bus *b, unsigned other, bool sure)
{
    b->unsure += b->others[other].sure;
    b->unsure -= sure;
    b->others[other].sure = sure;
    group_other_check(b);
}

/* From now on it gets every push, as we do not know which ones it needs. */
void group_other_lose(struct groups *g, unsigned other)
{
    if (g->bus->others[other].lost)
        return;
    g->bus->others[other].lost = true;
    group_other_set_sure(g->bus, other, false);
    log_warn("no memory for what worker %u has told of its groups: it gets all pushes",
             bus_worker(g->bus->bus, other));
}
