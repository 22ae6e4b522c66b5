// SPDX-License-Identifier: MIT
/*
 * What other workers send: what they have, pushes, questions and answers.
 *
 * A stored name has one holder. Claims have stamps, and the newest wins; of equal ones, that of the
 * higher worker. Only the worker of a holder speaks of its claim: when it hears of a better one it
 * drops its own and says so. group_dissolve has a stamp, too, so that a claim that was made after
 * it survives wherever the two meet. The stamp of a claim is told even when its holder has gone.
 * Whoever hears of a removal or of a newer claim does not wait for the older holder to say so: of a
 * claim that is older, heard before or after, nothing is believed (group_grave.c).
 */
#include "group/group_private.h"

#include "group/group_push.h"
#include "group/group_wire.h"

static void note_stamp(struct group_bus *b, uint64_t stamp)
{
    if (stamp > b->stamp)
        b->stamp = stamp;
}

/* True when our members have to go: the other one has the better claim, or has dissolved it. */
static bool ends_ours(const struct groups *g, const struct group *group, unsigned other,
                      const struct group_wire_entry *e)
{
    if (group->kind != GROUP_STORED)
        return e->dissolved;
    if (e->claim == group->claim)
        return other > g->bus->bus->self || e->dissolved > group->claim;
    return e->claim > group->claim || e->dissolved > group->claim;
}

/*
 * Whoever makes a claim that is void has not heard of what made it so: the line to it was broken at
 * that time, perhaps. It would hold the name for ever, and nobody would know; so it is told.
 */
static void tell_void(struct groups *g, const struct group_key *name, uint64_t stamp)
{
    struct group *group = group_table_get(g, name);
    if (!group)
        return; /* out of memory: the next claim is another chance */
    if (stamp > group->dissolved)
        group->dissolved = stamp;
    group_changed(g, group, true);
    group->dissolved_seq = group->seq;
}

static void hear_entry(struct groups *g, unsigned other, struct group_wire_entry *e)
{
    note_stamp(g->bus, e->claim);
    note_stamp(g->bus, e->dissolved);
    if (e->dissolved && e->key.kind == GROUP_STORED)
        group_grave_dig(g, &e->key, e->dissolved);
    uint64_t newer = group_grave_of(g, e);
    if (newer) {
        e->members = 0;
        tell_void(g, &e->key, newer);
    }
    struct group *group = e->members ? group_table_get(g, &e->key) : group_table_find(g, &e->key);
    if (!group) {
        if (e->members)
            group_other_lose(g, other);
        return;
    }
    group_share_note(g, group, other, e);
    if (group->count && ends_ours(g, group, other, e))
        group_clear(g, group);
    group_check(g, group);
    group_table_settle(g, group);
}

static int hear_state(struct groups *g, unsigned other, struct group_wire *m)
{
    struct group_wire_entry e;
    int r;
    while ((r = group_wire_next(m, &e)) > 0)
        hear_entry(g, other, &e);
    return r;
}

static void hear_push(struct groups *g, const struct group_wire *m)
{
    struct group *group = group_table_find(g, &m->key);
    struct group_pushed pushed = {0};
    const struct group_push push = {
        .key = m->key, .type = m->ws_type, .bytes = m->bytes, .len = m->len};
    if (group)
        group_push_here(g, group, &push, &pushed);
}

int group_hear(struct groups *g, unsigned other, const uint8_t *bytes, size_t len)
{
    struct group_wire m;
    int err = group_wire_read(bytes, len, &m);
    if (err < 0)
        return err;
    g->bus->others[other].heard = true;
    switch (m.type) {
    case GROUP_WIRE_STATE: return hear_state(g, other, &m);
    case GROUP_WIRE_END: group_other_set_sure(g->bus, other, !g->bus->others[other].lost); break;
    case GROUP_WIRE_PUSH: hear_push(g, &m); break;
    case GROUP_WIRE_ASK: group_ask_answer(g, other, &m); break;
    case GROUP_WIRE_ANSWER: group_ask_hear(g, other, &m); break;
    }
    return 0;
}
