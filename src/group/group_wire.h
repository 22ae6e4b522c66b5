// SPDX-License-Identifier: MIT
/*
 * Messages between the groups of two workers, as bytes. All numbers are little endian, a name is a
 * length byte and its bytes, and what is last in a message goes on to its end.
 *
 *      STATE   type │ entry │ entry │ …        how it stands with these groups here
 *      END     type                            all groups have been told
 *      PUSH    type │ kind │ name │ text or binary │ message
 *      ASK     type │ kind │ name │ u32 id │ want ids?
 *      ANSWER  type │ u32 id │ u32 members │ ids, CONN_ID_SIZE characters each, or none
 *
 *      entry   kind and flags │ name │ u32 members [│ u64 claim] [│ u64 dissolved]
 *
 * What a worker reads here was written by another one of the same build. It is judged all the same,
 * byte by byte: a fault in one worker must not spread.
 */
#ifndef NEAP_GROUP_GROUP_WIRE_H
#define NEAP_GROUP_GROUP_WIRE_H

#include "group/group_key.h"
#include "proto/ws/ws.h"

#include <stdint.h>

enum group_wire_type {
    GROUP_WIRE_STATE = 1,
    GROUP_WIRE_END,
    GROUP_WIRE_PUSH,
    GROUP_WIRE_ASK,
    GROUP_WIRE_ANSWER,
};

enum { GROUP_WIRE_MEMBERS_MAX = 1 << 24 };             /* of one worker in one group */
#define GROUP_WIRE_STAMP_MAX ((uint64_t)INT64_MAX / 2) /* microseconds: for 146,000 years */

/* A message; the key and the bytes are borrowed from whoever made it. */
struct group_wire {
    enum group_wire_type type;
    struct group_key key; /* PUSH, ASK */
    enum ws_type ws_type; /* PUSH */
    bool want_ids;        /* ASK */
    uint32_t id, members; /* ASK, ANSWER; ANSWER */
    const uint8_t *bytes; /* STATE: entries. PUSH: the message. ANSWER: ids */
    size_t len;
};

/* One group of a STATE. */
struct group_wire_entry {
    struct group_key key;
    uint32_t members;
    uint64_t claim; /* GROUP_STORED with a member: the stamp of its claim; else 0 */
    uint64_t
        dissolved; /* the stamp of group_dissolve, which was called since the last entry; or 0 */
};

/* The size of a message, and its bytes. */
size_t group_wire_size(const struct group_wire *m);
void group_wire_write(const struct group_wire *m, uint8_t *out);
size_t group_wire_entry_size(const struct group_wire_entry *e);
/* Returns where the next one goes. */
uint8_t *group_wire_write_entry(const struct group_wire_entry *e, uint8_t *out);

/* Takes a message apart: 0, or ERR_PROTOCOL. Entries of a STATE are judged by group_wire_next. */
int group_wire_read(const uint8_t *bytes, size_t len, struct group_wire *m);
/* Takes the next entry from a STATE: 1, 0 after the last one, or ERR_PROTOCOL. */
int group_wire_next(struct group_wire *state, struct group_wire_entry *e);

#endif
