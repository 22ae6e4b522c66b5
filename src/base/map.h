// SPDX-License-Identifier: MIT
/*
 * An intrusive hash map: chains of nodes that lie inside of their owners, in buckets whose number
 * follows the number of nodes one by one (linear hashing). So nothing is ever moved all at once:
 * with a million nodes an insertion takes as long as with ten.
 *
 *      buckets  [0] ──▶ node ──▶ node        struct thing {
 *               [1]                              struct map_node node;
 *               [2] ──▶ node                     …
 *
 * The map compares hashes alone; whoever looks for a key goes through the nodes that have its hash.
 */
#ifndef NEAP_BASE_MAP_H
#define NEAP_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    uint32_t hash;
    uint32_t value; /* the owner's to use: the space is there anyway */
};

struct map {
    struct map_node **buckets;
    size_t count; /* nodes */
    size_t size;  /* buckets */
    size_t room;  /* for so many */
};

/* The object of `type` whose field `member` is the node `n`. */
#define MAP_ITEM(n, type, member) ((type *)(void *)((char *)(n)-offsetof(type, member)))

/*
 * Puts the node in; several may have the same hash. 0, or ERR_NOMEM, which only a map that never
 * had a node returns: later on a lack of memory makes it slower.
 */
int map_add(struct map *m, struct map_node *node, uint32_t hash);

/* Takes out a node that is in the map. */
void map_remove(struct map *m, struct map_node *node);

/* The first node with this hash, and the next one with the same after it; or NULL. */
struct map_node *map_first(const struct map *m, uint32_t hash);
struct map_node *map_next(const struct map_node *node);

/* Frees the buckets; the nodes are their owners'. The map is empty and usable afterwards. */
void map_deinit(struct map *m);

#endif
