// SPDX-License-Identifier: MIT
/*
 * Turns of connections that have more to do than one is for. A client that sends much, or little
 * that inflates to much, or whose answers are taken as fast as they come, is told a part of it
 * (CONN_TURN_WORK), and the rest waits here, in turn:
 *
 *      resting ──▶ a   b   c   mark   d   e
 *                  ▲           those that have had their share of this turn
 *                  served first, as many as CONN_TURN_WORK of all together allows
 *
 * Meanwhile it is not read, and the loop does not wait. So who has little to do waits for one such
 * share at the end of a turn, however many clients have much.
 */
#include "server/conn_private.h"

#include "server/server.h"

static struct conn *conn_of(struct link *l)
{
    return LIST_ITEM(LIST_ITEM(l, struct loop_job, link), struct conn, job);
}

void conn_rest(struct conn *c)
{
    struct server *s = c->endpoint->server;
    c->rest = true;
    if (!link_empty(&c->job.link))
        return; /* it waits already, or its output does: then it comes here again */
    list_append(&s->resting, &c->job.link);
    loop_defer(s->loop, LOOP_REST, &s->go_on);
}

static bool any_waits(const struct server *s)
{
    return s->resting.next != &s->turn_mark;
}

/* Those that have to wait for another turn: what others have sent them does not. */
static void flush_waiting(struct server *s)
{
    for (struct link *l = s->resting.next, *next; l != &s->turn_mark; l = next) {
        struct conn *c = conn_of(l);
        next = l->next;
        if (c->out.len && !c->blocked)
            conn_proceed(c);
    }
}

static void on_rest(struct loop_job *job)
{
    struct server *s = LIST_ITEM(job, struct server, go_on);
    s->work = 0;
    while (any_waits(s) && s->work < CONN_TURN_WORK) {
        struct conn *c = conn_of(s->resting.next);
        list_remove(&c->job.link);
        conn_go_on(c);
    }
    flush_waiting(s);
    list_remove(&s->turn_mark);
    list_append(&s->resting, &s->turn_mark);
    if (any_waits(s))
        loop_defer(s->loop, LOOP_REST, &s->go_on);
}

void conn_rest_init(struct server *s)
{
    link_init(&s->resting);
    link_init(&s->turn_mark);
    list_append(&s->resting, &s->turn_mark);
    loop_job_init(&s->go_on, on_rest);
}
