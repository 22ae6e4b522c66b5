// SPDX-License-Identifier: MIT
/*
 * Stored names that were removed, or have had a newer holder: claims from before that are void,
 * however late they are heard of.
 */
#include "group/group_private.h"

#include "group/group_wire.h"

/*
 * Of names that were removed a long time ago nobody can have news that are older; so a few of the
 * latest are enough, and cost no memory that grows.
 */
static struct group_grave *grave_of(const struct groups *g, uint64_t hash)
{
    return &g->bus->graves[hash % GROUP_GRAVES];
}

static uint64_t name_hash(const struct groups *g, const struct group_key *key)
{
    return hash_bytes(&g->seed, key->name, key->len);
}

void group_grave_dig(struct groups *g, const struct group_key *name, uint64_t stamp)
{
    uint64_t hash = name_hash(g, name);
    struct group_grave *grave = grave_of(g, hash);
    if (grave->hash != hash || grave->stamp < stamp)
        *grave = (struct group_grave){hash, stamp};
    struct group *group = group_table_find(g, name);
    for (unsigned i = group ? group->share_count : 0; i-- > 0;)
        if (group->shares[i].claim < stamp)
            group_share_drop(group, group->shares[i].other);
}

uint64_t group_grave_of(const struct groups *g, const struct group_wire_entry *e)
{
    if (e->key.kind != GROUP_STORED || !e->members)
        return 0;
    uint64_t hash = name_hash(g, &e->key);
    const struct group_grave *grave = grave_of(g, hash);
    return grave->hash == hash && e->claim < grave->stamp ? grave->stamp : 0;
}
