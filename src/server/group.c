// SPDX-License-Identifier: MIT
/*
 * Who is in which group. Joining, leaving and the end of a connection cost the same whatever the
 * numbers are: a group is found by its name, a membership by group and connection, the place of a
 * member in its group by the membership.
 */
#include "server/group_private.h"

#include "base/err.h"
#include "base/mem.h"

#include <string.h>

enum { ROOM_MIN = 2 };

static struct groups *groups_of(const struct conn *c)
{
    return c->endpoint->server->groups;
}

static bool valid(const struct group_key *key)
{
    return key->len > 0 && key->len <= GROUP_NAME_MAX;
}

static uint32_t key_hash(const struct groups *g, const struct group_key *key)
{
    return (uint32_t)hash_bytes(&g->seed, key->name, key->len) + (uint32_t)key->kind;
}

static struct group *find(const struct groups *g, const struct group_key *key, uint32_t hash)
{
    for (struct map_node *n = map_first(&g->names, hash); n; n = map_next(n)) {
        struct group *group = MAP_ITEM(n, struct group, node);
        if (group->kind == key->kind && group->len == key->len &&
            memcmp(group->name, key->name, key->len) == 0)
            return group;
    }
    return NULL;
}

struct group *group_find(struct groups *g, const struct group_key *key)
{
    return valid(key) ? find(g, key, key_hash(g, key)) : NULL;
}

/* The group, which is made when there is none; NULL when memory is short. */
static struct group *get(struct groups *g, const struct group_key *key)
{
    uint32_t hash = key_hash(g, key);
    struct group *group = find(g, key, hash);
    if (group)
        return group;
    group = mem_try(sizeof *group + key->len);
    if (!group)
        return NULL;
    *group = (struct group){.kind = (uint8_t)key->kind, .len = (uint8_t)key->len};
    memcpy(group->name, key->name, key->len);
    if (map_add(&g->names, &group->node, hash) == 0)
        return group;
    mem_free(group);
    return NULL;
}

void group_settle(struct groups *g, struct group *group)
{
    if (group->count || group->held)
        return;
    map_remove(&g->names, &group->node);
    mem_free(group->slots);
    mem_free(group);
}

/*
 * --- Places in a group
 * ---------------------------------------------------------------------------------------------
 */

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
    return resize(group, group->room < ROOM_MIN ? ROOM_MIN : group->room + group->room / 2);
}

/* Tells the one that stands there now. */
static void note_slot(struct group *group, uint32_t slot)
{
    struct group_slot *s = &group->slots[slot];
    if (s->member)
        s->member->node.value = slot;
    else
        s->conn->service_slot = slot;
}

/* At the end; there must be room. */
static void put(struct group *group, struct conn *c, struct group_member *member)
{
    group->slots[group->count] = (struct group_slot){c, member};
    note_slot(group, group->count++);
}

/* The last one takes the place of who leaves. */
static void vacate(struct groups *g, struct group *group, uint32_t slot)
{
    uint32_t last = --group->count;
    if (slot != last) {
        group->slots[slot] = group->slots[last];
        note_slot(group, slot);
    }
    if (group->room > ROOM_MIN && group->count < group->room / 4)
        (void)resize(group, group->room / 2); /* else it stays as large as it is */
    group_settle(g, group);
}

/*
 * --- Memberships
 * ---------------------------------------------------------------------------------------------
 */

static uint32_t member_hash(const struct group *group, const struct conn *c)
{
    return (uint32_t)hash_pair((uintptr_t)group, (uintptr_t)c);
}

static struct group_member *find_member(const struct groups *g, const struct group *group,
                                        const struct conn *c)
{
    struct map_node *n = map_first(&g->members, member_hash(group, c));
    for (; n; n = map_next(n)) {
        struct group_member *m = MAP_ITEM(n, struct group_member, node);
        if (m->group == group && group->slots[n->value].conn == c)
            return m;
    }
    return NULL;
}

static int add_member(struct groups *g, struct group *group, struct conn *c)
{
    struct group_member *m = mem_try(sizeof *m);
    if (!m || make_room(group) < 0 || map_add(&g->members, &m->node, member_hash(group, c)) < 0) {
        mem_free(m);
        return ERR_NOMEM;
    }
    m->group = group;
    m->next = c->memberships;
    m->at = &c->memberships;
    if (m->next)
        m->next->at = &m->next;
    c->memberships = m;
    c->membership_count++;
    put(group, c, m);
    return 0;
}

static void remove_member(struct groups *g, struct group_member *m)
{
    struct group *group = m->group;
    uint32_t slot = m->node.value;
    *m->at = m->next;
    if (m->next)
        m->next->at = m->at;
    group->slots[slot].conn->membership_count--;
    map_remove(&g->members, &m->node);
    mem_free(m);
    vacate(g, group, slot);
}

/* Takes out who is in; the group may be freed by that. */
static void clear(struct groups *g, struct group *group)
{
    group->held = true;
    while (group->count)
        remove_member(g, group->slots[group->count - 1].member);
    group->held = false;
    group_settle(g, group);
}

static int join(struct groups *g, struct group *group, struct conn *c)
{
    bool single = group->kind == GROUP_STORED && group->count;
    if (find_member(g, group, c))
        return 0;
    if (c->membership_count >= GROUP_PER_CONN)
        return ERR_POLICY;
    int err = add_member(g, group, c);
    if (err == 0 && single)
        remove_member(g, group->slots[0].member);
    return err;
}

int group_join(struct groups *g, const struct group_key *key, struct conn *c)
{
    if (!valid(key) || key->kind == GROUP_SERVICE)
        return ERR_ARGUMENT;
    if (!conn_writable(c))
        return ERR_CLOSED;
    struct group *group = get(g, key);
    if (!group)
        return ERR_NOMEM;
    int err = join(g, group, c);
    group_settle(g, group);
    return err;
}

int group_join_service(struct conn *c, const char *name, size_t len)
{
    struct groups *g = groups_of(c);
    const struct group_key key = {GROUP_SERVICE, name, len};
    if (!valid(&key))
        return ERR_ARGUMENT;
    struct group *group = get(g, &key);
    if (!group)
        return ERR_NOMEM;
    int err = make_room(group);
    if (err == 0) {
        put(group, c, NULL);
        c->service = group;
    }
    group_settle(g, group);
    return err;
}

bool group_leave(struct groups *g, const struct group_key *key, struct conn *c)
{
    struct group *group = group_find(g, key);
    struct group_member *m = group ? find_member(g, group, c) : NULL;
    if (m)
        remove_member(g, m);
    return m;
}

void group_leave_all(struct conn *c)
{
    struct groups *g = groups_of(c);
    struct group *service = c->service;
    c->service = NULL;
    if (service)
        vacate(g, service, c->service_slot);
    while (c->memberships)
        remove_member(g, c->memberships);
}

bool group_dissolve(struct groups *g, const struct group_key *key)
{
    struct group *group = key->kind == GROUP_SERVICE ? NULL : group_find(g, key);
    if (!group)
        return false;
    clear(g, group);
    return true;
}

struct groups *groups_new(struct server *s)
{
    struct groups *g = mem_alloc(sizeof *g);
    g->server = s;
    server_random(s, &g->seed, sizeof g->seed);
    group_trouble_init(g);
    return g;
}

void groups_free(struct groups *g)
{
    group_trouble_deinit(g);
    map_deinit(&g->names);
    map_deinit(&g->members);
    mem_free(g);
}
