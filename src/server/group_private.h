// SPDX-License-Identifier: MIT
/*
 * What the parts of the groups share.
 *
 *      group.c       who is in what: groups, their members, names
 *      group_push.c  one message to all members
 *      group_ask.c   questions to all workers
 *
 *      struct groups ── names ──▶ struct group ── slots ──▶ [conn|member] [conn|member] …
 *            │                         ▲                      │     │ ▲
 *            └── members ──▶ struct group_member ◀────────────┼─────┘ │
 *                                      ▲                      ▼       │
 *                                      └─ memberships ── struct conn  │ slot
 *                                      └──────────────────────────────┘
 *
 * The members of a group stand side by side in an array, which is what a push goes through; who
 * leaves is replaced by the last one. A service has no member records: a connection has one service
 * from its first moment to its last and keeps its place there itself.
 */
#ifndef NEAP_SERVER_GROUP_PRIVATE_H
#define NEAP_SERVER_GROUP_PRIVATE_H

#include "base/hash.h"
#include "base/map.h"
#include "server/conn.h"
#include "server/group.h"

struct group_slot {
    struct conn *conn;
    struct group_member *member; /* NULL in a service */
};

struct group_member {
    struct map_node node; /* in groups->members; its value is the slot */
    struct group *group;
    struct group_member *next, **at; /* in conn->memberships */
};

struct group {
    struct map_node node; /* in groups->names */
    struct group_slot *slots;
    uint32_t count, room; /* slots: used, allocated */
    uint8_t kind, len;    /* enum group_kind; of the name */
    bool held;            /* somebody goes through it: it stays when it is empty */
    char name[];
};

/* What went wrong with pushes, to be told once a second. */
struct group_trouble {
    uint64_t dropped, closed;
    uint8_t len; /* the last group's name */
    char name[GROUP_NAME_MAX];
    struct loop_timer timer;
};

struct groups {
    struct server *server;
    struct hash_seed seed;
    struct map names, members;
    struct group_trouble trouble;
};

/* group.c: the group, or NULL; bad names have none. */
struct group *group_find(struct groups *g, const struct group_key *key);
/* group.c: frees a group that nobody needs any more. */
void group_settle(struct groups *g, struct group *group);

/* group_push.c: to the members here. */
void group_push_here(struct groups *g, struct group *group, const struct group_push *push,
                     struct group_pushed *out);
void group_trouble_init(struct groups *g);
void group_trouble_deinit(struct groups *g);

#endif
