// SPDX-License-Identifier: MIT
/*
 * What must hold of a group and of a session's place in groups. The effort does not grow with them:
 * of what is long the ends are looked at, and the neighbours of what has changed, so that tests
 * with large groups are not much slower for it.
 */
#include "group/group_private.h"

#include "base/check.h"

enum { LOOKED_AT = 8 }; /* memberships of a session */

static void check_slot(const struct group *group, const struct group_slot *at, uint32_t slot)
{
    CHECK(slot < group->count);
    CHECK(!at->member == (group->kind == GROUP_SERVICE));
    CHECK(!at->member || (at->member->group == group && at->member->node.value == slot));
    CHECK(at->member || at->session->place.service == group);
    CHECK(at->member || at->session->place.service_slot == slot);
}

void group_check_slot(const struct group *group, uint32_t slot)
{
    check_slot(group, &group->slots[slot], slot);
}

/* Of a group that stands beside another one in a list. */
static uint64_t seq_at(struct link *link)
{
    return LIST_ITEM(link, struct group, link)->seq;
}

/* Both of the silent list, whose groups have no number, or one after the other. */
static bool ordered(uint64_t seq, uint64_t next)
{
    return seq && next ? seq < next : seq == next;
}

static void check_neighbours(const struct group *group, const struct link *list,
                             const struct link *other_list)
{
    CHECK(group->link.prev->next == &group->link && group->link.next->prev == &group->link);
    CHECK(!link_empty(&group->link));
    CHECK(group->link.prev != other_list && group->link.next != other_list);
    CHECK(group->link.prev == list || ordered(seq_at(group->link.prev), group->seq));
    CHECK(group->link.next == list || ordered(group->seq, seq_at(group->link.next)));
}

/* It is in the list of its state, and announced ones are in the order of their changes. */
void group_check_list(const struct groups *g, const struct group *group)
{
    if (group->seq)
        check_neighbours(group, &g->announced, &g->silent);
    else
        check_neighbours(group, &g->silent, &g->announced);
}

static void check_stamps(const struct groups *g, const struct group *group)
{
    bool claimed = g->bus && group->kind == GROUP_STORED && group->count;
    CHECK(group->seq <= (g->bus ? g->bus->seq : 0));
    CHECK(group->dissolved_seq <= group->seq);
    CHECK(!claimed || (group->claim && group->claim <= g->bus->stamp));
}

void group_check(const struct groups *g, const struct group *group)
{
    CHECK(group->count <= group->room && !group->room == !group->slots);
    CHECK(!group->share_count == !group->shares);
    CHECK(group->kind != GROUP_STORED || group->count <= 1);
    check_stamps(g, group);
    group_check_list(g, group);
    if (group->count) {
        group_check_slot(group, 0);
        group_check_slot(group, group->count - 1);
    }
}

static void check_membership(const struct group_member *m, const struct session *s)
{
    const struct group *group = m->group;
    CHECK(*m->at == m);
    group_check_slot(group, m->node.value);
    CHECK(group->slots[m->node.value].member == m && group->slots[m->node.value].session == s);
}

void group_check_session(const struct session *s)
{
    const struct session_place *place = &s->place;
    const struct group_member *m = place->memberships;
    uint32_t seen = 0;
    for (; m && seen < LOOKED_AT; m = m->next, seen++)
        check_membership(m, s);
    CHECK(m ? place->membership_count > seen : place->membership_count == seen);
    if (place->service) {
        group_check_slot(place->service, place->service_slot);
        CHECK(place->service->slots[place->service_slot].session == s);
    }
}
