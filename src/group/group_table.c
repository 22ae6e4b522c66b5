// SPDX-License-Identifier: MIT
/*
 * The groups of a worker, by kind and name; and when one is not needed any more.
 */
#include "group/group_private.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

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

struct group *group_table_find(struct groups *g, const struct group_key *key)
{
    return group_key_valid(key) ? find(g, key, key_hash(g, key)) : NULL;
}

static struct group *group_new(struct groups *g, const struct group_key *key, uint32_t hash)
{
    struct group *group = mem_try(offsetof(struct group, name) + key->len);
    if (!group)
        return NULL;
    memset(group, 0, offsetof(struct group, name));
    group->kind = (uint8_t)key->kind;
    group->len = (uint8_t)key->len;
    memcpy(group->name, key->name, key->len);
    link_init(&group->link);
    if (map_add(&g->names, &group->node, hash) < 0) {
        mem_free(group);
        return NULL;
    }
    list_append(&g->silent, &group->link);
    group_check(g, group);
    return group;
}

struct group *group_table_get(struct groups *g, const struct group_key *key)
{
    if (!group_key_valid(key))
        return NULL;
    uint32_t hash = key_hash(g, key);
    struct group *group = find(g, key, hash);
    return group ? group : group_new(g, key, hash);
}

static void group_free(struct groups *g, struct group *group)
{
    CHECK(!group->count && !group->held);
    map_remove(&g->names, &group->node);
    list_remove(&group->link);
    mem_free(group->slots);
    mem_free(group->shares);
    mem_free(group);
}

void group_table_settle(struct groups *g, struct group *group)
{
    if (!group->count && !group->share_count && !group->seq && !group->held)
        group_free(g, group);
}

static void free_list(struct groups *g, struct link *list)
{
    while (!link_empty(list))
        group_free(g, LIST_ITEM(list->next, struct group, link));
}

struct group_key group_table_key(const struct group *group)
{
    return (struct group_key){(enum group_kind)group->kind, group->name, group->len};
}

void group_table_deinit(struct groups *g)
{
    free_list(g, &g->announced);
    free_list(g, &g->silent);
    map_deinit(&g->names);
}
