// SPDX-License-Identifier: MIT
/*
 * Who is in which group. Joining, leaving and the end of a connection cost the same whatever the
 * numbers are: a group is found by its name, a membership by group and connection, the place of a
 * member in its group by the membership.
 */
#include "group/group.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "group/group_private.h"

enum { ROOM_KEPT = 8 }; /* places that are not worth giving back */

/* --- Places in a group ------------------------------------------------------------------------ */

static int resize(struct group *group, uint32_t room)
{
    struct group_slot *slots = mem_try_resize(group->slots, room * sizeof *slots);
    if (!slots)
        return ERR_NOMEM;
    group->slots = slots;
    group->room = room;
    return 0;
}

static int make_room(struct group *group)
{
    if (group->count < group->room)
        return 0;
    return resize(group, group->room + group->room / 2 + 1);
}

/* Tells the one that stands there now. */
static void note_slot(struct group *group, uint32_t slot)
{
    struct group_slot *at = &group->slots[slot];
    if (at->member)
        at->member->node.value = slot;
    else
        at->session->place.service_slot = slot;
}

/* At the end; there must be room. */
static void put(struct groups *g, struct group *group, struct session *s,
                struct group_member *member)
{
    group->slots[group->count] = (struct group_slot){s, member};
    note_slot(group, group->count++);
    group_changed(g, group, group->count == 1);
    group_check_slot(group, group->count - 1);
}

/* The last one takes the place of who leaves. */
static void vacate(struct groups *g, struct group *group, uint32_t slot)
{
    uint32_t last = --group->count;
    if (slot != last) {
        group->slots[slot] = group->slots[last];
        note_slot(group, slot);
        group_check_slot(group, slot);
    }
    if (group->room > ROOM_KEPT && group->count < group->room / 4)
        (void)resize(group, group->room / 2); /* else it stays as large as it is */
    group_changed(g, group, group->count == 0);
    group_check(g, group);
    group_table_settle(g, group);
}

/* --- Memberships ------------------------------------------------------------------------------ */

static uint32_t member_hash(const struct group *group, const struct session *s)
{
    return (uint32_t)hash_pair((uintptr_t)group, (uintptr_t)s);
}

static struct group_member *find_member(const struct groups *g, const struct group *group,
                                        const struct session *s)
{
    struct map_node *n = map_first(&g->members, member_hash(group, s));
    for (; n; n = map_next(n)) {
        struct group_member *m = MAP_ITEM(n, struct group_member, node);
        if (m->group == group && group->slots[n->value].session == s)
            return m;
    }
    return NULL;
}

static int add_member(struct groups *g, struct group *group, struct session *s)
{
    struct group_member *m = mem_try(sizeof *m);
    if (!m || make_room(group) < 0 || map_add(&g->members, &m->node, member_hash(group, s)) < 0) {
        mem_free(m);
        return ERR_NOMEM;
    }
    m->group = group;
    m->next = s->place.memberships;
    m->at = &s->place.memberships;
    if (m->next)
        m->next->at = &m->next;
    s->place.memberships = m;
    s->place.membership_count++;
    CHECK(s->place.membership_count <= GROUP_PER_CONN);
    put(g, group, s, m);
    return 0;
}

static void remove_member(struct groups *g, struct group_member *m)
{
    struct group *group = m->group;
    uint32_t slot = m->node.value;
    *m->at = m->next;
    if (m->next)
        m->next->at = m->at;
    group->slots[slot].session->place.membership_count--;
    map_remove(&g->members, &m->node);
    mem_free(m);
    vacate(g, group, slot);
}

void group_clear(struct groups *g, struct group *group)
{
    group->held = true;
    while (group->count)
        remove_member(g, group->slots[group->count - 1].member);
    group->held = false;
}

static int join(struct groups *g, struct group *group, struct session *s)
{
    if (find_member(g, group, s))
        return 0;
    return s->place.membership_count < GROUP_PER_CONN ? add_member(g, group, s) : ERR_POLICY;
}

/*
 * Older claims are void, which others hear even when this holder has gone by then: else one that
 * has missed the claim would hold the name again.
 */
static void succeed(struct groups *g, struct group *group)
{
    const struct group_key name = {GROUP_STORED, group->name, group->len};
    if (!g->bus)
        return;
    group->dissolved = group->claim;
    group_grave_dig(g, &name, group->claim);
}

/* It is the holder now, and nobody else. */
static int claim(struct groups *g, struct group *group, struct session *s)
{
    int err = join(g, group, s);
    if (err < 0)
        return err;
    if (group->count > 1)
        remove_member(g, group->slots[0].member);
    group->claim = group_stamp(g);
    succeed(g, group);
    group_changed(g, group, true);
    group->dissolved_seq = group->seq;
    return 0;
}

int group_join(struct groups *g, const struct group_key *key, struct session *s)
{
    if (!group_key_valid(key) || key->kind == GROUP_SERVICE)
        return ERR_ARGUMENT;
    if (!session_writable(s))
        return ERR_CLOSED;
    struct group *group = group_table_get(g, key);
    if (!group)
        return ERR_NOMEM;
    int err = key->kind == GROUP_STORED ? claim(g, group, s) : join(g, group, s);
    group_check(g, group);
    group_check_session(s);
    group_table_settle(g, group);
    return err;
}

int group_join_service(struct groups *g, struct session *s, const char *name, size_t len)
{
    const struct group_key key = {GROUP_SERVICE, name, len};
    if (!group_key_valid(&key))
        return ERR_ARGUMENT;
    struct group *group = group_table_get(g, &key);
    if (!group)
        return ERR_NOMEM;
    int err = make_room(group);
    if (err == 0) {
        s->place.service = group;
        put(g, group, s, NULL);
    }
    group_check(g, group);
    group_check_session(s);
    group_table_settle(g, group);
    return err;
}

bool group_leave(struct groups *g, const struct group_key *key, struct session *s)
{
    struct group *group = group_table_find(g, key);
    struct group_member *m = group ? find_member(g, group, s) : NULL;
    if (m)
        remove_member(g, m);
    group_check_session(s);
    return m;
}

void group_leave_all(struct groups *g, struct session *s)
{
    struct group *service = s->place.service;
    s->place.service = NULL;
    if (service)
        vacate(g, service, s->place.service_slot);
    while (s->place.memberships)
        remove_member(g, s->place.memberships);
    group_check_session(s);
}

/* Others hear of it even when it is not known here: their news may be on the way. */
bool group_dissolve(struct groups *g, const struct group_key *key)
{
    if (key->kind == GROUP_SERVICE)
        return false;
    bool others = g->bus && g->bus->there;
    struct group *group = others ? group_table_get(g, key) : group_table_find(g, key);
    if (!group)
        return false;
    bool had = group->count || group->share_count;
    group_clear(g, group);
    group_share_forget(group);
    if (others) {
        group->dissolved = group_stamp(g);
        if (group->kind == GROUP_STORED)
            group_grave_dig(g, key, group->dissolved);
        group_changed(g, group, true);
        group->dissolved_seq = group->seq;
    }
    group_check(g, group);
    group_table_settle(g, group);
    return had;
}
