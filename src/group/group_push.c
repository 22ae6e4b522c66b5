// SPDX-License-Identifier: MIT
/*
 * One message to all members of a group. It is encoded once for each way in which connections of
 * the group want it (ws_broadcast), and never waits: what becomes of a slow member is the route's
 * business, and told once a second.
 */
#include "group/group_push.h"

#include "base/err.h"
#include "base/log.h"
#include "group/group_private.h"
#include "group/group_wire.h"

#include <string.h>

#define TELL_SECONDS 1.0

enum { FETCH_AHEAD = 4 }; /* members, whose memory has left the cache since the last message */

static void tell_slow(struct group_trouble *t)
{
    struct log_field field = {.key = "group", .value = t->name, .len = t->len};
    log_event(LOG_WARN, &field, 1,
              "slow clients: %llu pushed messages were dropped, %llu connections closed",
              (unsigned long long)t->dropped, (unsigned long long)t->closed);
    t->dropped = t->closed = 0;
}

static void tell_unsent(struct group_trouble *t)
{
    log_warn("%llu pushes to other workers were dropped: they do not take them",
             (unsigned long long)t->unsent);
    t->unsent = 0;
}

static void on_time_to_tell(struct loop_timer *timer)
{
    struct group_trouble *t = LIST_ITEM(timer, struct group_trouble, timer);
    if (t->dropped || t->closed)
        tell_slow(t);
    if (t->unsent)
        tell_unsent(t);
}

void group_push_init(struct groups *g)
{
    loop_timer_init(&g->trouble.timer, on_time_to_tell);
}

void group_push_deinit(struct groups *g)
{
    loop_timer_stop(g->loop, &g->trouble.timer);
}

static void tell_in_a_while(struct groups *g)
{
    if (!loop_timer_active(&g->trouble.timer))
        loop_timer_start(g->loop, &g->trouble.timer, TELL_SECONDS);
}

static void log_closed(const struct session *s)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    char id[CONN_ID_SIZE + 1];
    conn_id_text(&s->conn, id);
    struct log_field field = {.key = "connection", .value = id};
    log_event(LOG_DEBUG, &field, 1, "closed: too slow for what is pushed to it");
}

/* A member got nothing; ERR_POLICY: it does not read fast enough. */
static void note_dropped(struct groups *g, const struct group *group, const struct session *s,
                         int err)
{
    struct group_trouble *t = &g->trouble;
    if (err != ERR_POLICY)
        return;
    if (session_over(s)) {
        t->closed++;
        log_closed(s);
    } else {
        t->dropped++;
    }
    t->len = group->len;
    memcpy(t->name, group->name, group->len);
    tell_in_a_while(g);
}

static void note(struct groups *g, const struct group *group, const struct session *s, int err,
                 struct group_pushed *out)
{
    out->members++;
    if (err == 0) {
        out->delivered++;
        return;
    }
    out->dropped++;
    out->closed += err == ERR_POLICY && session_over(s);
    note_dropped(g, group, s, err);
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
        struct session *s = group->slots[i].session;
        if (i >= FETCH_AHEAD)
            session_fetch(group->slots[i - FETCH_AHEAD].session);
        if (s != push->except)
            note(g, group, s, session_push_broadcast(s, &b), out);
    }
    ws_broadcast_deinit(&b);
    group->held = false;
    group_table_settle(g, group);
}

/* --- Other workers ---------------------------------------------------------------------------- */

/* Who has a stored name elsewhere, when claims disagree; NULL: nobody. */
static const struct group_share *holder(const struct group *group)
{
    const struct group_share *best = NULL;
    for (unsigned i = 0; i < group->share_count; i++) {
        const struct group_share *s = &group->shares[i];
        bool tied = best && s->claim == best->claim;
        if (!best || s->claim > best->claim || (tied && s->other > best->other))
            best = s;
    }
    return best;
}

/* A message on its way to other workers. */
struct sending {
    const struct group_push *push;
    struct group_pushed *out;
    struct chunk *message; /* NULL: not made yet, or it cannot be */
};

static void send_to(struct groups *g, unsigned other, uint32_t members, struct sending *s)
{
    const struct group_push *push = s->push;
    const struct group_wire m = {.type = GROUP_WIRE_PUSH,
                                 .key = push->key,
                                 .ws_type = push->type,
                                 .bytes = push->bytes,
                                 .len = push->len};
    if (!s->message)
        s->message = group_other_encode(&m);
    s->out->members += members;
    if (s->message && group_other_send(g, other, s->message)) {
        s->out->delivered += members;
        return;
    }
    s->out->dropped += members;
    g->trouble.unsent++;
    tell_in_a_while(g);
}

/* To all that may have members: those that have told so, and those that have not told all yet. */
static void send_to_all(struct groups *g, const struct group *group, struct sending *s)
{
    const struct group_bus *b = g->bus;
    const struct group_share *shares = group ? group->shares : NULL;
    for (unsigned i = 0; shares && i < group->share_count; i++)
        send_to(g, shares[i].other, shares[i].count, s);
    for (unsigned i = 0; b->unsure && i < b->limit; i++) {
        bool told = group && group_share_of(group, i);
        if (b->others[i].there && !b->others[i].sure && !told)
            send_to(g, i, 0, s);
    }
}

static void push_elsewhere(struct groups *g, const struct group *group, struct sending *s)
{
    bool single = group && group->kind == GROUP_STORED;
    const struct group_share *best = single ? holder(group) : NULL;
    if (single && group->count)
        return;
    if (best)
        send_to(g, best->other, best->count, s);
    else
        send_to_all(g, group, s);
    if (s->message)
        chunk_unref(s->message);
}

void group_push(struct groups *g, const struct group_push *push, struct group_pushed *out)
{
    if (g->bus && g->bus->urgent)
        group_tell(g); /* so that an answer to this message finds whom it is for */
    struct group *group = group_table_find(g, &push->key);
    *out = (struct group_pushed){0};
    if (g->bus && g->bus->there && group_key_valid(&push->key))
        push_elsewhere(g, group, &(struct sending){.push = push, .out = out});
    if (group)
        group_push_here(g, group, push, out);
}
