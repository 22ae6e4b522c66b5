// SPDX-License-Identifier: MIT
/*
 * Linear hashing. With N buckets, 2^k < N <= 2^(k+1), a hash belongs to the bucket that its lowest
 * k+1 bits name, or where there is none yet, its lowest k bits. Bucket N appears by taking out of
 * bucket N - 2^k what belongs there now; the last bucket disappears by joining that one again.
 */
#include "base/map.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    SIZE_MIN = 8,
    SPARSE = 4, /* fewer nodes than a bucket in so many: it shrinks */
    MERGES = 8, /* at most so many buckets for each node that goes */
};

/* The buckets that there would be if all of the current doubling were there, less one. */
static size_t mask_of(size_t size)
{
    return ((size_t)2 << (63 - __builtin_clzll(size - 1))) - 1;
}

static struct map_node **bucket(const struct map *m, uint32_t hash)
{
    size_t mask = mask_of(m->size);
    size_t i = hash & mask;
    return &m->buckets[i < m->size ? i : i & mask >> 1];
}

/* The first of a chain stands for it. */
static void chain_check(const struct map *m, struct map_node *const *chain)
{
    CHECK(!*chain || bucket(m, (*chain)->hash) == chain);
}

static void map_check(const struct map *m, uint32_t hash)
{
    CHECK(m->size >= SIZE_MIN && m->size <= m->room);
    CHECK((m->room & (m->room - 1)) == 0);
    CHECK(m->count || !*bucket(m, hash));
    chain_check(m, bucket(m, hash));
}

static int resize(struct map *m, size_t room)
{
    struct map_node **buckets = mem_try_resize(m->buckets, room * sizeof(struct map_node *));
    if (!buckets)
        return ERR_NOMEM;
    m->buckets = buckets;
    m->room = room;
    return 0;
}

static int start(struct map *m)
{
    if (resize(m, SIZE_MIN) < 0)
        return ERR_NOMEM;
    m->size = SIZE_MIN;
    for (size_t i = 0; i < SIZE_MIN; i++)
        m->buckets[i] = NULL;
    return 0;
}

/* One bucket more. Without memory the chains get longer. */
static void split(struct map *m)
{
    if (m->size == m->room && resize(m, 2 * m->room) < 0)
        return;
    size_t added = m->size++;
    size_t mask = mask_of(m->size);
    struct map_node **from = &m->buckets[added & mask >> 1];
    struct map_node **to = &m->buckets[added];
    while (*from) {
        struct map_node *n = *from;
        if ((n->hash & mask) == added) {
            *from = n->next;
            *to = n;
            to = &n->next;
        } else {
            from = &n->next;
        }
    }
    *to = NULL;
    chain_check(m, &m->buckets[added]);
    chain_check(m, &m->buckets[added & mask >> 1]);
}

/* One bucket less. */
static void merge(struct map *m)
{
    size_t mask = mask_of(m->size);
    struct map_node *chain = m->buckets[--m->size];
    struct map_node **to = &m->buckets[m->size & mask >> 1];
    while (*to)
        to = &(*to)->next;
    *to = chain;
    chain_check(m, &m->buckets[m->size & mask >> 1]);
    if (m->room > SIZE_MIN && m->size <= m->room / 4)
        (void)resize(m, m->room / 2); /* else it stays as large as it is */
}

int map_add(struct map *m, struct map_node *node, uint32_t hash)
{
    if (!m->buckets && start(m) < 0)
        return ERR_NOMEM;
    if (m->count++ >= m->size)
        split(m);
    struct map_node **head = bucket(m, hash);
    node->hash = hash;
    node->next = *head;
    *head = node;
    map_check(m, hash);
    return 0;
}

void map_remove(struct map *m, struct map_node *node)
{
    CHECK(m->count > 0);
    struct map_node **at = bucket(m, node->hash);
    while (*at != node) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    m->count--;
    for (int i = 0; i < MERGES && m->size > SIZE_MIN && m->count < m->size / SPARSE; i++)
        merge(m);
    map_check(m, node->hash);
}

static struct map_node *with_hash(struct map_node *node, uint32_t hash)
{
    while (node && node->hash != hash)
        node = node->next;
    return node;
}

struct map_node *map_first(const struct map *m, uint32_t hash)
{
    return m->buckets ? with_hash(*bucket(m, hash), hash) : NULL;
}

struct map_node *map_next(const struct map_node *node)
{
    return with_hash(node->next, node->hash);
}

void map_deinit(struct map *m)
{
    mem_free(m->buckets);
    *m = (struct map){0};
}
