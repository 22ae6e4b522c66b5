// SPDX-License-Identifier: MIT
/* How many members a group has, or who they are. */
#include "server/group_private.h"

#include "base/err.h"

static int append_ids(struct buf *ids, const struct group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        char text[CONN_ID_SIZE + 1];
        conn_id_text(group->slots[i].conn, text);
        if (buf_append(ids, text, CONN_ID_SIZE) < 0)
            return ERR_NOMEM;
    }
    return 0;
}

int group_ask(struct groups *g, struct group_ask *ask)
{
    struct group *group = group_find(g, &ask->key);
    ask->asking = NULL;
    ask->ids = (struct buf){0};
    ask->count = group ? group->count : 0;
    if (ask->key.len == 0 || ask->key.len > GROUP_NAME_MAX)
        return ERR_ARGUMENT;
    if (group && ask->want_ids && append_ids(&ask->ids, group) < 0) {
        buf_free(&ask->ids);
        return ERR_NOMEM;
    }
    ask->told(ask, 0);
    return 0;
}

void group_ask_end(struct group_ask *ask)
{
    buf_free(&ask->ids);
}
