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
#include "conn/conn_private.h"

#include "base/mem.h"

enum { SHAKES_PER_TURN = 2 };

static struct conn *conn_of(struct link *l)
{
    return LIST_ITEM(LIST_ITEM(l, struct loop_job, link), struct conn, job);
}

void conn_rest(struct conn *c)
{
    struct conn_shared *s = c->shared;
    c->rest = true;
    if (!link_empty(&c->job.link))
        return; /* it waits already, or its output does: then it comes here again */
    list_append(&s->resting, &c->job.link);
    loop_defer(s->loop, LOOP_REST, &s->go_on);
}

static bool any_waits(const struct conn_shared *s)
{
    return s->resting.next != &s->turn_mark;
}

/* Those that have to wait for another turn: what others have sent them does not. */
static void flush_waiting(struct conn_shared *s)
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
    struct conn_shared *s = LIST_ITEM(job, struct conn_shared, go_on);
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

/* --- What connections share ------------------------------------------------------------------- */

static void on_rested(struct loop_job *job)
{
    LIST_ITEM(job, struct conn_shared, rested)->shakes = 0;
}

bool conn_may_shake(struct conn_shared *shared)
{
    loop_defer(shared->loop, LOOP_FREE, &shared->rested);
    return shared->shakes++ < SHAKES_PER_TURN;
}

void conn_shared_init(struct conn_shared *shared, struct loop *loop)
{
    *shared = (struct conn_shared){.loop = loop};
    shared->read_buffer = mem_alloc(CONN_READ_SIZE);
    wheel_init(&shared->wheel, loop, conn_clock_on_due);
    loop_job_init(&shared->rested, on_rested);
    link_init(&shared->resting);
    link_init(&shared->turn_mark);
    list_append(&shared->resting, &shared->turn_mark);
    loop_job_init(&shared->go_on, on_rest);
    refusal_init(&shared->refusals, loop);
}

void conn_shared_deinit(struct conn_shared *shared)
{
    refusal_deinit(&shared->refusals);
    wheel_deinit(&shared->wheel);
    loop_undefer(&shared->rested);
    loop_undefer(&shared->go_on);
    outpool_deinit(&shared->pool);
    mem_free(shared->read_buffer);
}
