// SPDX-License-Identifier: MIT
/*
 * What other workers have of a group, as they have told.
 */
#include "group/group_private.h"

#include "base/check.h"
#include "base/mem.h"
#include "group/group_wire.h"

struct group_share *group_share_of(const struct group *group, unsigned other)
{
    for (unsigned i = 0; i < group->share_count; i++)
        if (group->shares[i].other == other)
            return &group->shares[i];
    return NULL;
}

/* There is one for this worker, with members, and of a stored name with one that has a claim. */
static void check_share(const struct group *group, const struct group_share *s, unsigned other)
{
    CHECK(group_share_of(group, other) == s && s->count);
    CHECK(group->kind != GROUP_STORED || (s->count == 1 && s->claim));
}

void group_share_forget(struct group *group)
{
    mem_free(group->shares);
    group->shares = NULL;
    group->share_count = 0;
}

void group_share_drop(struct group *group, unsigned other)
{
    struct group_share *s = group_share_of(group, other);
    if (!s)
        return;
    *s = group->shares[--group->share_count];
    if (!group->share_count)
        group_share_forget(group);
    CHECK(!group_share_of(group, other));
}

static struct group_share *add_share(struct group *group, unsigned other)
{
    size_t size = (group->share_count + 1u) * sizeof(struct group_share);
    struct group_share *shares = mem_try_resize(group->shares, size);
    if (!shares)
        return NULL;
    group->shares = shares;
    shares[group->share_count] = (struct group_share){.other = (uint16_t)other};
    return &shares[group->share_count++];
}

void group_share_note(struct groups *g, struct group *group, unsigned other,
                      const struct group_wire_entry *e)
{
    if (!e->members) {
        group_share_drop(group, other);
        return;
    }
    struct group_share *s = group_share_of(group, other);
    if (!s)
        s = add_share(group, other);
    if (!s) {
        group_other_lose(g, other);
        return;
    }
    s->count = e->members;
    s->claim = e->claim;
    check_share(group, s, other);
}
