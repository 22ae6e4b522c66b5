// SPDX-License-Identifier: MIT
/*
 * Questions to all workers: how many members a group has, or who they are.
 */
#ifndef NEAP_GROUP_GROUP_ASK_H
#define NEAP_GROUP_GROUP_ASK_H

#include "base/buf.h"
#include "group/group_key.h"

#include <stdbool.h>
#include <stdint.h>

struct groups;

/*
 * A question. Embedded in its owner, who sets the first three fields; `on_answer` comes once, in a
 * later turn or from inside group_ask, with 0, or ERR_IO when a worker did not answer within
 * GROUP_ASK_SECONDS (count and ids have what came). The ids stay until group_ask_end.
 */
#define GROUP_ASK_SECONDS 2.0
struct group_ask {
    struct group_key key; /* the name is copied */
    bool want_ids;
    void (*on_answer)(struct group_ask *ask, int err);

    uint64_t count;
    struct buf ids;                  /* CONN_ID_SIZE characters each, without ends */
    struct group_question *question; /* private */
};
/* ERR_ARGUMENT for a bad name, ERR_NOMEM: then nothing is told. Else 0. */
int group_ask(struct groups *g, struct group_ask *ask);
/* Forgets the question, answered or not. */
void group_ask_end(struct group_ask *ask);

#endif
