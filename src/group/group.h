// SPDX-License-Identifier: MIT
/*
 * Groups of connections, stored connections and services, over all workers: who is in them, and
 * pushes to them.
 *
 * A worker keeps its own members and names, and tells the others how many members of each group it
 * has and which names; it knows of theirs what they last told. A push reaches the members here at
 * once, and every worker that has members by one message. State, not events: what is told is "n
 * members now", so that nothing is lost when it is told late, or once for many changes.
 *
 *      worker 0: group "blue"                     worker 1: group "blue"
 *        members: ● ● ●                             members: ● ●
 *        shares:  worker 1 has 2   ◀── told ──▶     shares:  worker 0 has 3
 *
 * Each of the three kinds has its own names: a group "x" is not the service "x". Names are byte
 * strings of 1 to GROUP_NAME_MAX bytes.
 */
#ifndef NEAP_GROUP_GROUP_H
#define NEAP_GROUP_GROUP_H

#include "base/buf.h"
#include "bus/bus.h"
#include "proto/ws/ws.h"
#include "session/session.h"

enum group_kind {
    GROUP_JOINED,  /* addConnectionToGroup */
    GROUP_SERVICE, /* all connections of a service; joined when they open */
    GROUP_STORED,  /* a stored connection: one holder in the whole deployment */
    GROUP_KINDS
};

enum {
    GROUP_NAME_MAX = 255,
    GROUP_PER_CONN = 10000, /* groups and names that one connection may be in */
};

struct group_key {
    enum group_kind kind;
    const char *name;
    size_t len;
};

struct groups;

/* Without a bus: one worker's. Random bytes are for the seed of its tables. */
struct groups *groups_new(struct loop *loop, struct entropy *entropy);
/* No connection may be left, and no question. */
void groups_free(struct groups *g);

/* From now on there may be others. At most once. */
void groups_use_bus(struct groups *g, struct bus *bus);

/*
 * Puts the connection into the group; harmless when it is there. For GROUP_STORED: it becomes the
 * holder of the name, in the place of whoever was. Others hear of it at the end of the turn, and
 * before any push of this worker that follows. Returns 0, ERR_CLOSED when session_writable says no,
 * ERR_ARGUMENT for GROUP_SERVICE and for a name that is empty or too long, ERR_POLICY when it is in
 * GROUP_PER_CONN, ERR_NOMEM.
 */
int group_join(struct groups *g, const struct group_key *key, struct session *s);

/* Takes the connection out; false when it was not in. Not for GROUP_STORED: see group_dissolve. */
bool group_leave(struct groups *g, const struct group_key *key, struct session *s);

/*
 * For session_hooks.begins: the session opens, as a client of that service; it is in none yet. 0,
 * ERR_ARGUMENT for a bad name, ERR_NOMEM.
 */
int group_join_service(struct groups *g, struct session *s, const char *name, size_t len);

/* For session_hooks.ends: takes the session out of everything. Harmless when it is in nothing. */
void group_leave_all(struct groups *g, struct session *s);

/*
 * Empties the group, or takes the name from its holder, in all workers; the connections stay open.
 * False when it had no members as far as is known here, and for GROUP_SERVICE.
 */
bool group_dissolve(struct groups *g, const struct group_key *key);

/* One message for all members. */
struct group_push {
    struct group_key key;
    enum ws_type type; /* WS_TEXT (UTF-8, checked by the caller) or WS_BINARY */
    const uint8_t *bytes;
    size_t len;
    const struct session *except; /* NULL, or who gets none */
};

/* What became of it; of the members elsewhere, by what their workers told last. */
struct group_pushed {
    uint32_t members;   /* addressed; without `except` */
    uint32_t delivered; /* queued for the client, or taken by the bus */
    uint32_t dropped;   /* not, for whatever reason */
    uint32_t closed;    /* of `dropped`: here, whose connections were ended for being slow */
};

/* Never waits: slow members are dealt with as their route says (session_push). */
void group_push(struct groups *g, const struct group_push *push, struct group_pushed *out);

/*
 * A question to all workers: how many members the group has, or who they are. Embedded in its
 * owner, who sets the first three fields; `told` comes once, in a later turn or from inside
 * group_ask, with 0, or ERR_IO when a worker did not answer within GROUP_ASK_SECONDS (count and ids
 * have what came). The ids stay until group_ask_end.
 */
#define GROUP_ASK_SECONDS 2.0
struct group_ask {
    struct group_key key; /* the name is copied */
    bool want_ids;
    void (*told)(struct group_ask *ask, int err);

    uint64_t count;
    struct buf ids;              /* CONN_ID_SIZE characters each, without ends */
    struct group_asking *asking; /* private */
};
/* ERR_ARGUMENT for a bad name, ERR_NOMEM: then nothing is told. Else 0. */
int group_ask(struct groups *g, struct group_ask *ask);
/* Forgets the question, answered or not. */
void group_ask_end(struct group_ask *ask);

#endif
