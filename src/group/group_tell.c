// SPDX-License-Identifier: MIT
/*
 * Telling other workers how many members the groups have here. The groups stand in a list in the
 * order of their last change, which has a number; of another worker we know the last change that it
 * was sent. So what it still has to hear is the end of the list:
 *
 *      "red" 3   "blue" 7   "x" 8   "green" 12       a change puts "blue" at the end, as 13
 *                             ▲                ▲
 *              worker 2, which is full         worker 1
 *
 * A worker that just came has heard of none, which is all the difference; one that takes no more
 * goes on later where it stopped, and hears of a group that changed a thousand times once. A group
 * that has no members here any more leaves the list when all others know that.
 */
#include "group/group_private.h"

#include "base/err.h"
#include "base/seconds.h"
#include "group/group_wire.h"

enum { BATCH = 64 * 1024 }; /* bytes of entries in one message */

#define LATER_SECONDS 0.05

/* Entries that others are sent; several often need the same ones. */
struct batch {
    struct link *from, *next; /* the groups, and the first that is not among them */
    uint64_t known;           /* calls of group_dissolve up to this change are not told */
    struct chunk *chunk;
};

void group_tell_soon(struct groups *g)
{
    g->bus->urgent = true;
    loop_defer(g->loop, LOOP_RUN, &g->bus->tell);
}

void group_changed(struct groups *g, struct group *group, bool urgent)
{
    struct group_bus *b = g->bus;
    if (!b)
        return;
    group->seq = ++b->seq;
    list_remove(&group->link);
    list_append(&g->announced, &group->link);
    group_check_list(g, group);
    if (urgent && !b->urgent)
        group_tell_soon(g);
    else if (!b->urgent && !loop_timer_active(&b->later))
        loop_timer_start(g->loop, &b->later, LATER_SECONDS);
}

uint64_t group_stamp(struct groups *g)
{
    struct group_bus *b = g->bus;
    if (!b)
        return 0; /* nobody to compare with */
    uint64_t now = (uint64_t)(loop_wall() * US_PER_SECOND);
    b->stamp = now > b->stamp ? now : b->stamp + 1;
    if (b->stamp > GROUP_WIRE_STAMP_MAX)
        b->stamp = GROUP_WIRE_STAMP_MAX;
    return b->stamp;
}

static struct group_wire_entry entry_of(const struct group *group, uint64_t known)
{
    bool stored = group->kind == GROUP_STORED;
    return (struct group_wire_entry){
        .key = group_table_key(group),
        .members = group->count,
        .claim = stored && group->count ? group->claim : 0,
        .dissolved = group->dissolved_seq > known ? group->dissolved : 0,
    };
}

/* The first group in the list that changed after `seq`; the list's head when there is none. */
static struct link *first_after(struct groups *g, uint64_t seq)
{
    struct link *at = &g->announced;
    while (at->prev != &g->announced && LIST_ITEM(at->prev, struct group, link)->seq > seq)
        at = at->prev;
    return at;
}

/* Takes as many groups from batch->from on as make a good message; returns its size. */
static size_t measure(struct groups *g, struct batch *batch)
{
    size_t size = 1;
    struct link *at = batch->from;
    for (; at != &g->announced && size < BATCH; at = at->next) {
        struct group_wire_entry e = entry_of(LIST_ITEM(at, struct group, link), batch->known);
        size += group_wire_entry_size(&e);
    }
    batch->next = at;
    return size;
}

static void fill(const struct batch *batch)
{
    uint8_t *out = batch->chunk->bytes;
    *out++ = GROUP_WIRE_STATE;
    for (struct link *at = batch->from; at != batch->next; at = at->next) {
        struct group_wire_entry e = entry_of(LIST_ITEM(at, struct group, link), batch->known);
        out = group_wire_write_entry(&e, out);
    }
}

static void forget(struct batch *batch)
{
    if (batch->chunk)
        chunk_unref(batch->chunk);
    batch->chunk = NULL;
}

/* What is to be said of the groups from `from` on. False when memory is short. */
static bool prepare(struct groups *g, struct link *from, uint64_t known, struct batch *batch)
{
    if (batch->chunk && batch->from == from && batch->known == known)
        return true;
    forget(batch);
    batch->from = from;
    batch->known = known;
    batch->chunk = chunk_new(measure(g, batch));
    if (batch->chunk)
        fill(batch);
    return batch->chunk;
}

/* That was everything: from now on that worker hears of changes. */
static void greet(struct groups *g, unsigned number)
{
    struct group_other *other = &g->bus->others[number];
    struct chunk *c = group_other_encode(&(struct group_wire){.type = GROUP_WIRE_END});
    other->greeted = c && group_other_send(g, number, c);
    if (c)
        chunk_unref(c);
}

/* Sends the worker what it does not know; false when it does not take it, or memory is short. */
static bool catch_up(struct groups *g, unsigned number, struct batch *batch)
{
    struct group_other *other = &g->bus->others[number];
    struct link *at = first_after(g, other->sent);
    while (at != &g->announced) {
        uint64_t known = other->sent > other->since ? other->sent : other->since;
        if (!prepare(g, at, known, batch) || !group_other_send(g, number, batch->chunk))
            return false;
        at = batch->next;
        other->sent = LIST_ITEM(at->prev, struct group, link)->seq;
    }
    other->sent = g->bus->seq;
    return true;
}

/* False when it has to be tried again later, without somebody telling us when. */
static bool tell_other(struct groups *g, unsigned number, struct batch *batch)
{
    struct group_other *other = &g->bus->others[number];
    if (!other->full && catch_up(g, number, batch) && !other->greeted)
        greet(g, number);
    return other->full || (other->greeted && other->sent == g->bus->seq);
}

/* All others know that this group has no members here. */
static void retire(struct groups *g, struct group *group)
{
    group->seq = group->dissolved_seq = 0;
    list_remove(&group->link);
    list_append(&g->silent, &group->link);
    group_check_list(g, group);
    group_table_settle(g, group);
}

static uint64_t sent_to_all(const struct group_bus *b)
{
    uint64_t all = b->seq;
    for (unsigned i = 0; i < b->limit; i++)
        if (b->others[i].there && b->others[i].sent < all)
            all = b->others[i].sent;
    return all;
}

static void reap(struct groups *g)
{
    uint64_t all = sent_to_all(g->bus);
    if (all <= g->bus->reaped)
        return;
    struct link *at = first_after(g, g->bus->reaped);
    g->bus->reaped = all;
    while (at != &g->announced) {
        struct group *group = LIST_ITEM(at, struct group, link);
        at = at->next;
        if (group->seq > all)
            return;
        if (!group->count)
            retire(g, group);
    }
}

void group_tell(struct groups *g)
{
    struct group_bus *b = g->bus;
    struct batch batch = {0};
    bool told = true;
    b->urgent = false;
    loop_undefer(&b->tell);
    loop_timer_stop(g->loop, &b->later);
    for (unsigned i = 0; i < b->limit; i++)
        if (b->others[i].there && !tell_other(g, i, &batch))
            told = false;
    forget(&batch);
    reap(g);
    group_other_check(b);
    if (!told)
        loop_timer_start(g->loop, &b->later, LATER_SECONDS);
}
