// SPDX-License-Identifier: MIT
/* The hash map against an array of flags; growth, shrinking, and lack of memory. */
#include "base/err.h"
#include "base/hash.h"
#include "base/map.h"
#include "support.h"

#include <stdlib.h>

enum { THINGS = 5000 };

struct thing {
    struct map_node node;
    unsigned number;
    bool in;
};

static struct thing things[THINGS];
static struct map map;

/* Few hashes, so that chains have several of the same. */
static uint32_t hash_of(unsigned number)
{
    return (uint32_t)hash_pair(number % 3000, 7);
}

static struct thing *find(unsigned number)
{
    for (struct map_node *n = map_first(&map, hash_of(number)); n; n = map_next(n)) {
        struct thing *t = MAP_ITEM(n, struct thing, node);
        if (t->number == number)
            return t;
    }
    return NULL;
}

static void toggle(unsigned number)
{
    struct thing *t = &things[number];
    t->number = number;
    if (t->in)
        map_remove(&map, &t->node);
    else
        CHECK_INT(map_add(&map, &t->node, hash_of(number)), 0);
    t->in = !t->in;
}

static void check_all(void)
{
    size_t count = 0;
    for (unsigned i = 0; i < THINGS; i++) {
        count += things[i].in;
        CHECK(find(i) == (things[i].in ? &things[i] : NULL));
    }
    CHECK_INT(map.count, count);
}

static void against_a_model(void)
{
    uint64_t random = 1;
    for (unsigned round = 0; round < 20; round++) {
        unsigned range = round % 2 ? THINGS : 1 + THINGS / 10;
        for (unsigned i = 0; i < 3000; i++)
            toggle((unsigned)(random_next(&random) % range));
        check_all();
        CHECK(map.size <= map.room && map.size >= 8);
        CHECK(map.size >= map.count || map.size + 1 == map.count);
    }
    for (unsigned i = 0; i < THINGS; i++)
        if (things[i].in)
            toggle(i);
    check_all();
    CHECK_INT(map.size, 8);
    CHECK(map.room <= 32);
    map_deinit(&map);
    CHECK(map_first(&map, 0) == NULL);
}

/* However many there are, one more moves the nodes of one bucket, and chains stay short. */
static void chains_stay_short(void)
{
    size_t longest = 0;
    for (unsigned i = 0; i < THINGS; i++) {
        things[i].number = i;
        CHECK_INT(map_add(&map, &things[i].node, (uint32_t)hash_pair(i, 1)), 0);
    }
    CHECK_INT(map.size, THINGS);
    for (size_t i = 0; i < map.size; i++) {
        size_t length = 0;
        for (struct map_node *n = map.buckets[i]; n; n = n->next)
            length++;
        longest = length > longest ? length : longest;
    }
    CHECK(longest > 0 && longest < 12);
    for (unsigned i = 0; i < THINGS; i++)
        map_remove(&map, &things[i].node);
    map_deinit(&map);
}

static void without_memory(void)
{
    static struct thing many[100];
    alloc_watch(1, true);
    int err = map_add(&map, &many[0].node, 1);
    alloc_end();
    CHECK_INT(err, ERR_NOMEM);
    CHECK(map.count == 0 && map_first(&map, 1) == NULL);
    CHECK_INT(map_add(&map, &many[0].node, 0), 0);
    alloc_watch(1, true);
    for (unsigned i = 1; i < 100; i++)
        err |= map_add(&map, &many[i].node, i) << 8;
    CHECK(alloc_end().failed);
    CHECK_INT(err, ERR_NOMEM);
    CHECK_INT(map.size, 8);
    for (unsigned i = 0; i < 100; i++)
        CHECK(map_first(&map, i) == &many[i].node);
    map_deinit(&map);
}

int main(void)
{
    test("against a model", against_a_model);
    test("chains stay short", chains_stay_short);
    test("without memory", without_memory);
    return test_end();
}
