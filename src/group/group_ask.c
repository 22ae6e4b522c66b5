// SPDX-License-Identifier: MIT
/*
 * Questions to all workers: how many members a group has, or who they are. Every worker that is
 * there is asked, whatever it has told before, and each has GROUP_ASK_SECONDS. One that dies before
 * it has answered had no members that are left.
 *
 * A worker that was started again and loads its app has no members yet, and does not answer: that
 * may take long. It is known by its silence, as the first thing that a worker does is to tell what
 * it has. One whose first life we have not seen end may be silent because it is stuck, with members
 * that it had before we came; that is waited for.
 */
#include "group/group_ask.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "group/group_private.h"
#include "group/group_wire.h"

#include <string.h>

/* A worker that serves clients has said something by then. */
#define LOADING_SECONDS 0.5

static int append_ids(struct buf *ids, const struct group *group)
{
    if (buf_reserve(ids, (size_t)group->count * CONN_ID_SIZE) < 0)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < group->count; i++) {
        char text[CONN_ID_SIZE + 1];
        conn_id_text(&group->slots[i].session->conn, text);
        memcpy(buf_room(ids), text, CONN_ID_SIZE);
        buf_added(ids, CONN_ID_SIZE);
    }
    return 0;
}

/* What is known here. */
static int ask_here(struct groups *g, struct group_ask *ask)
{
    const struct group *group = group_table_find(g, &ask->key);
    ask->count = group ? group->count : 0;
    ask->ids = (struct buf){0};
    ask->question = NULL;
    return group && ask->want_ids ? append_ids(&ask->ids, group) : 0;
}

static void question_free(struct group_question *q)
{
    map_remove(&q->groups->bus->questions, &q->node);
    list_remove(&q->link);
    loop_timer_stop(q->groups->loop, &q->timer);
    mem_free(q);
}

static void finish(struct group_question *q)
{
    struct group_ask *ask = q->ask;
    int err = q->err;
    ask->question = NULL;
    question_free(q);
    ask->on_answer(ask, err);
}

static bool may_load(const struct group_other *p)
{
    return p->again && !p->heard;
}

static void on_time(struct loop_timer *timer)
{
    struct group_question *q = LIST_ITEM(timer, struct group_question, timer);
    const struct group_bus *b = q->groups->bus;
    for (unsigned i = 0; i < b->limit; i++)
        if (q->awaited[i] && !may_load(&b->others[i]))
            q->err = ERR_IO;
    finish(q);
}

static struct group_question *question_new(struct groups *g, struct group_ask *ask)
{
    struct group_question *q = mem_try(sizeof *q);
    uint32_t id = ++g->bus->next_ask;
    if (!q || map_add(&g->bus->questions, &q->node, id) < 0) {
        mem_free(q);
        return NULL;
    }
    q->groups = g;
    q->ask = ask;
    q->id = id;
    q->err = 0;
    q->waiting = 0;
    memset(q->awaited, 0, sizeof q->awaited);
    link_init(&q->link);
    list_append(&g->bus->question_list, &q->link);
    loop_timer_init(&q->timer, on_time);
    return q;
}

static bool loads(const struct groups *g, const struct group_other *p)
{
    return may_load(p) && loop_now(g->loop) - p->came >= LOADING_SECONDS;
}

/* It waits for as many as have not answered. */
static void check_question(const struct group_question *q)
{
    const struct group_bus *b = q->groups->bus;
    unsigned waiting = 0;
    for (unsigned i = 0; i < b->limit; i++)
        waiting += q->awaited[i];
    CHECK(q->waiting == waiting);
    CHECK(q->ask->question == q);
}

static void send_all(struct groups *g, struct group_question *q, struct chunk *message)
{
    for (unsigned i = 0; i < g->bus->limit; i++) {
        const struct group_other *p = &g->bus->others[i];
        if (!p->there || loads(g, p))
            continue;
        q->awaited[i] = group_other_send(g, i, message);
        if (q->awaited[i])
            q->waiting++;
        else if (!p->ending)
            q->err = ERR_IO; /* it takes no questions, so there will be no answer */
    }
}

static int ask_others(struct groups *g, struct group_ask *ask)
{
    struct group_question *q = question_new(g, ask);
    const struct group_wire m = {
        .type = GROUP_WIRE_ASK, .key = ask->key, .id = q ? q->id : 0, .want_ids = ask->want_ids};
    struct chunk *message = q ? group_other_encode(&m) : NULL;
    if (!message) {
        if (q)
            question_free(q);
        return ERR_NOMEM;
    }
    ask->question = q;
    send_all(g, q, message);
    chunk_unref(message);
    check_question(q);
    if (q->waiting)
        loop_timer_start(g->loop, &q->timer, GROUP_ASK_SECONDS);
    else
        finish(q);
    return 0;
}

int group_ask(struct groups *g, struct group_ask *ask)
{
    if (!group_key_valid(&ask->key))
        return ERR_ARGUMENT;
    int err = ask_here(g, ask);
    if (err == 0 && g->bus && g->bus->there)
        err = ask_others(g, ask);
    else if (err == 0)
        ask->on_answer(ask, 0);
    if (err < 0)
        buf_free(&ask->ids);
    return err;
}

void group_ask_end(struct group_ask *ask)
{
    if (ask->question)
        question_free(ask->question);
    ask->question = NULL;
    buf_free(&ask->ids);
}

/* --- The other side, and what comes from there ------------------------------------------------ */

/* Without memory for the ids the answer has none, which tells as much. */
void group_ask_answer(struct groups *g, unsigned other, const struct group_wire *ask)
{
    struct group_ask here = {.key = ask->key, .want_ids = ask->want_ids};
    if (ask_here(g, &here) < 0 || buf_len(&here.ids) > BUS_MESSAGE_MAX / 2)
        buf_free(&here.ids);
    struct group_wire m = {
        .type = GROUP_WIRE_ANSWER, .id = ask->id, .members = (uint32_t)here.count};
    m.len = buf_len(&here.ids);
    m.bytes = m.len ? buf_bytes(&here.ids) : NULL;
    struct chunk *answer = group_other_encode(&m);
    if (answer) {
        (void)group_other_send(g, other, answer); /* else the other side's time runs out */
        chunk_unref(answer);
    }
    buf_free(&here.ids);
}

static struct group_question *find(const struct groups *g, uint32_t id)
{
    struct map_node *n = map_first(&g->bus->questions, id);
    return n ? MAP_ITEM(n, struct group_question, node) : NULL;
}

static void take_away(struct group_question *q, unsigned other)
{
    if (!q->awaited[other])
        return;
    q->awaited[other] = false;
    q->waiting--;
    check_question(q);
}

static void add_answer(struct group_question *q, const struct group_wire *answer)
{
    struct group_ask *ask = q->ask;
    ask->count += answer->members;
    if (!ask->want_ids || !answer->members)
        return;
    if (!answer->len || buf_append(&ask->ids, answer->bytes, answer->len) < 0)
        q->err = ERR_NOMEM;
}

void group_ask_hear(struct groups *g, unsigned other, const struct group_wire *answer)
{
    struct group_question *q = find(g, answer->id);
    if (!q || !q->awaited[other])
        return; /* too late */
    take_away(q, other);
    add_answer(q, answer);
    if (!q->waiting)
        finish(q);
}

/* Those that need not wait any longer are told, in which they may end others. */
void group_ask_gone(struct groups *g, unsigned other)
{
    struct link done;
    link_init(&done);
    for (struct link *l = g->bus->question_list.next; l != &g->bus->question_list;) {
        struct group_question *q = LIST_ITEM(l, struct group_question, link);
        l = l->next;
        take_away(q, other);
        if (q->waiting)
            continue;
        list_remove(&q->link);
        list_append(&done, &q->link);
    }
    while (!link_empty(&done))
        finish(LIST_ITEM(done.next, struct group_question, link));
}

void group_ask_deinit(struct groups *g)
{
    while (!link_empty(&g->bus->question_list))
        question_free(LIST_ITEM(g->bus->question_list.next, struct group_question, link));
}
