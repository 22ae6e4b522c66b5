// SPDX-License-Identifier: MIT
/*
 * One message to all members of a group. It is encoded once for each way in which connections of
 * the group want it (ws_broadcast), and never waits: what becomes of a slow member is the route's
 * business, and told once a second.
 */
#include "server/group_private.h"

#include "base/err.h"
#include "base/log.h"

#include <string.h>

#define TELL_SECONDS 1.0

static void on_time_to_tell(struct loop_timer *timer)
{
    struct group_trouble *t = LIST_ITEM(timer, struct group_trouble, timer);
    struct log_field field = {.key = "group", .value = t->name, .len = t->len};
    log_event(LOG_WARN, &field, 1,
              "slow clients: %llu pushed messages were dropped, %llu connections closed",
              (unsigned long long)t->dropped, (unsigned long long)t->closed);
    t->dropped = t->closed = 0;
}

void group_trouble_init(struct groups *g)
{
    loop_timer_init(&g->trouble.timer, on_time_to_tell);
}

void group_trouble_deinit(struct groups *g)
{
    loop_timer_stop(g->server->loop, &g->trouble.timer);
}

static void log_closed(const struct conn *c)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    char id[CONN_ID_SIZE + 1];
    conn_id_text(c, id);
    struct log_field field = {.key = "connection", .value = id};
    log_event(LOG_DEBUG, &field, 1, "closed: too slow for what is pushed to it");
}

/* A member got nothing; ERR_POLICY: it does not read fast enough. */
static void note_dropped(struct groups *g, const struct group *group, const struct conn *c, int err)
{
    struct group_trouble *t = &g->trouble;
    if (err != ERR_POLICY)
        return;
    if (c->over) {
        t->closed++;
        log_closed(c);
    } else {
        t->dropped++;
    }
    t->len = group->len;
    memcpy(t->name, group->name, group->len);
    if (!loop_timer_active(&t->timer))
        loop_timer_start(g->server->loop, &t->timer, TELL_SECONDS);
}

static void note(struct groups *g, const struct group *group, const struct conn *c, int err,
                 struct group_pushed *out)
{
    out->members++;
    if (err == 0) {
        out->delivered++;
        return;
    }
    out->dropped++;
    out->closed += err == ERR_POLICY && c->over;
    note_dropped(g, group, c, err);
}

/*
 * From the last to the first: a push may end the connection it is for, whose place is then taken by
 * one that has had the message already.
 */
void group_push_here(struct groups *g, struct group *group, const struct group_push *push,
                     struct group_pushed *out)
{
    struct ws_broadcast b = {.type = push->type, .bytes = push->bytes, .len = push->len};
    group->held = true;
    for (uint32_t i = group->count; i-- > 0;) {
        struct conn *c = group->slots[i].conn;
        if (c != push->except)
            note(g, group, c, conn_push_broadcast(c, &b), out);
    }
    ws_broadcast_deinit(&b);
    group->held = false;
    group_settle(g, group);
}

void group_push(struct groups *g, const struct group_push *push, struct group_pushed *out)
{
    struct group *group = group_find(g, &push->key);
    *out = (struct group_pushed){0};
    if (group)
        group_push_here(g, group, push, out);
}
