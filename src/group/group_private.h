// SPDX-License-Identifier: MIT
/*
 * What the parts of the groups share.
 *
 *      groups.c       all of it: its life, other workers that come and go
 *      group_hear.c   what they send
 *      group_push.c   one message to all members
 *      group_ask.c    questions to all workers
 *      group.c        who is in what
 *      group_tell.c   telling others what is here
 *      group_share.c  what others have told
 *      group_grave.c  claims of stored names that are void
 *      group_other.c  another worker: messages to it
 *      group_table.c  the groups by name
 *      group_check.c  what must hold
 *      group_wire.c   messages as bytes
 *
 * Each rests on some of those below it.
 *
 *      struct groups ── names ──▶ struct group ── slots ──▶ [session|member] … …
 *            │                         ▲                      │     │ ▲
 *            └── members ──▶ struct group_member ◀────────────┼─────┘ │
 *                                      ▲                      ▼       │
 *                                      └─ memberships ── session.place│ slot
 *                                      └──────────────────────────────┘
 *
 * The members of a group stand side by side in an array, which is what a push goes through; who
 * leaves is replaced by the last one. A service has no member records: a connection has one service
 * from its first moment to its last and keeps its place there itself.
 */
#ifndef NEAP_GROUP_GROUP_PRIVATE_H
#define NEAP_GROUP_GROUP_PRIVATE_H

#include "base/hash.h"
#include "base/map.h"
#include "bus/bus.h"
#include "group/group_key.h"
#include "net/loop.h"
#include "session/session.h"

struct group_slot {
    struct session *session;
    struct group_member *member; /* NULL in a service */
};

struct group_member {
    struct map_node node; /* in groups->members; its value is the slot */
    struct group *group;
    struct group_member *next, **at; /* in session->place */
};

/* What another worker has of a group. */
struct group_share {
    uint64_t claim; /* GROUP_STORED: the stamp of its claim */
    uint32_t count;
    uint16_t other;
};

struct group {
    struct map_node node; /* in groups->names */
    struct link link;     /* in groups->announced or ->silent */
    struct group_slot *slots;
    struct group_share *shares;
    uint64_t seq;           /* of its last change here; 0: there is nothing to be told of it */
    uint64_t claim;         /* GROUP_STORED: the stamp of the holder here */
    uint64_t dissolved;     /* claims from before this stamp are void: told of here ... */
    uint64_t dissolved_seq; /* ... and which change that was */
    uint32_t count, room;   /* slots: used, allocated */
    uint16_t share_count;
    uint8_t kind, len; /* enum group_kind; of the name */
    bool held;         /* somebody goes through it: it stays when it is empty */
    char name[];
};

/* What went wrong with pushes, to be told once a second. */
struct group_trouble {
    uint64_t dropped, closed;
    uint64_t unsent; /* to other workers */
    uint8_t len;     /* the last group's name */
    char name[GROUP_NAME_MAX];
    struct loop_timer timer;
};

/* Another worker. */
struct group_other {
    uint64_t sent;  /* the last change that it has been sent */
    uint64_t since; /* the last change before it came */
    double came;    /* when */
    bool there;
    bool full;    /* takes nothing at the moment */
    bool ending;  /* takes nothing any more: it is dead, and on_gone will come */
    bool again;   /* this is not its first life, so it is younger than we are */
    bool heard;   /* has said anything */
    bool greeted; /* has been sent everything once */
    bool lost;    /* memory was short for what it has told */
    bool sure;    /* we know all that it has */
};

/* A stored name that was removed or claimed: claims from before that, heard of later, are void. */
struct group_grave {
    uint64_t hash, stamp;
};

enum { GROUP_GRAVES = 1024 }; /* by hash; a later one takes an earlier one's place */

struct group_bus {
    struct bus *bus;
    uint64_t seq;              /* of the last change here */
    uint64_t reaped;           /* up to here all others have been told */
    uint64_t stamp;            /* the highest that was seen */
    bool urgent;               /* something is to be told before the next push */
    unsigned there, unsure;    /* how many others; those of them that are not sure */
    unsigned limit;            /* all their numbers are below */
    struct loop_job tell;      /* at the end of the turn */
    struct loop_timer later;   /* what can wait */
    struct map questions;      /* ours, by id */
    struct link question_list; /* the same */
    uint32_t next_ask;
    struct group_other others[BUS_WORKERS];
    struct group_grave graves[GROUP_GRAVES];
};

struct groups {
    struct loop *loop;
    struct group_bus *bus; /* NULL: there are no others */
    struct hash_seed seed;
    struct map names, members;
    struct link announced; /* groups that others hear of, in the order of their last change */
    struct link silent;    /* the rest */
    struct group_trouble trouble;
};

/* A question that others have been asked. */
struct group_question {
    struct map_node node; /* in bus->questions, by id */
    struct link link;     /* in bus->question_list */
    struct groups *groups;
    struct group_ask *ask;
    struct loop_timer timer;
    uint32_t id;
    int err;
    unsigned waiting;          /* how many have not answered */
    bool awaited[BUS_WORKERS]; /* which ones */
};

struct group_ask;
struct group_push;
struct group_pushed;
struct group_wire;
struct group_wire_entry;

/* group_check.c: of a group at rest; of what is in this slot; of its place in a list. */
void group_check(const struct groups *g, const struct group *group);
void group_check_slot(const struct group *group, uint32_t slot);
void group_check_list(const struct groups *g, const struct group *group);
/* group_check.c: of the session's place, and what that points at. */
void group_check_session(const struct session *s);

/* group_table.c: the group, or NULL; bad names have none. */
struct group *group_table_find(struct groups *g, const struct group_key *key);
/* group_table.c: the same, made if there is none; NULL when memory is short, or for a bad name. */
struct group *group_table_get(struct groups *g, const struct group_key *key);
/* group_table.c: frees a group that nobody needs any more. */
void group_table_settle(struct groups *g, struct group *group);
/* group_table.c: what the group is called. */
struct group_key group_table_key(const struct group *group);
/* group_table.c: frees all groups. */
void group_table_deinit(struct groups *g);

/* group_other.c: a message as a chunk, or NULL when memory is short or it is too long. */
struct chunk *group_other_encode(const struct group_wire *m);
/* group_other.c: sends to a worker that is there; false when it does not take it. */
bool group_other_send(struct groups *g, unsigned other, struct chunk *message);
/* group_other.c: it has told all that it has, or we have lost track of it. */
void group_other_set_sure(struct group_bus *b, unsigned other, bool sure);
/* group_other.c: memory is short for what it has told. */
void group_other_lose(struct groups *g, unsigned other);

/* group_other.c: what must hold of the others: how many there are, what they have been sent. */
void group_other_check(const struct group_bus *b);

/* group_share.c: what the other worker has of the group, or NULL. */
struct group_share *group_share_of(const struct group *group, unsigned other);
/* group_share.c: it has told this of the group. */
void group_share_note(struct groups *g, struct group *group, unsigned other,
                      const struct group_wire_entry *e);
/* group_share.c: it has no members any more, as far as we know. */
void group_share_drop(struct group *group, unsigned other);
/* group_share.c: nobody has. */
void group_share_forget(struct group *group);

/*
 * group_grave.c: claims of the stored name from before that stamp are void: it was removed then, or
 * claimed, here or elsewhere.
 */
void group_grave_dig(struct groups *g, const struct group_key *name, uint64_t stamp);
/* group_grave.c: the stamp of the removal that makes this claim void; or 0. */
uint64_t group_grave_of(const struct groups *g, const struct group_wire_entry *e);

/* group_tell.c: the group has changed here; `urgent`: others must know before the next push. */
void group_changed(struct groups *g, struct group *group, bool urgent);
/* group_tell.c: a stamp that is newer than all that were seen. */
uint64_t group_stamp(struct groups *g);
/* group_tell.c: tells the others what they do not know, as far as they take it. */
void group_tell(struct groups *g);
/* group_tell.c: has that done at the end of the turn, or before the next push. */
void group_tell_soon(struct groups *g);

/* group.c: takes out all members that are here; to be settled afterwards. */
void group_clear(struct groups *g, struct group *group);

/* group_push.c: to the members here. */
void group_push_here(struct groups *g, struct group *group, const struct group_push *push,
                     struct group_pushed *out);
void group_push_init(struct groups *g);
void group_push_deinit(struct groups *g);

/* group_ask.c: a question from another worker; its answer to one of ours; its end. */
void group_ask_answer(struct groups *g, unsigned other, const struct group_wire *ask);
void group_ask_hear(struct groups *g, unsigned other, const struct group_wire *answer);
void group_ask_gone(struct groups *g, unsigned other);
void group_ask_deinit(struct groups *g);

/* group_hear.c: a message from another worker; 0, or ERR_PROTOCOL. */
int group_hear(struct groups *g, unsigned other, const uint8_t *bytes, size_t len);

#endif
