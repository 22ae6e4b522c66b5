// SPDX-License-Identifier: MIT
/* What connections of a worker share: the read buffer, randomness, and the way out. */
#include "server/server.h"

#include "base/log.h"
#include "base/mem.h"
#include "proto/http/handshake.h"
#include "server/conn_private.h"
#include "server/group.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { SHAKES_PER_TURN = 2 };

#define LARGE_KEPT_SECONDS 3.0

/* Random bytes in small portions would cost a system call each: they are taken from a stock. */
void server_random(struct server *s, void *out, size_t len)
{
    if (s->entropy_left < len) {
        while (getrandom(s->entropy, sizeof s->entropy, 0) != (ssize_t)sizeof s->entropy)
            ; /* interrupted: 512 bytes are not promised in one call */
        s->entropy_left = sizeof s->entropy;
    }
    uint8_t *from = s->entropy + sizeof s->entropy - s->entropy_left;
    memcpy(out, from, len);
    memset(from, 0, len); /* what has been given out is not kept */
    s->entropy_left -= (unsigned)len;
}

/*
 * The first digest makes OpenSSL load its providers, which takes milliseconds: not at the first
 * client's expense.
 */
static void warm_up(void)
{
    char accept[HANDSHAKE_ACCEPT_SIZE + 1];
    handshake_accept("AAAAAAAAAAAAAAAAAAAAAA==", accept);
}

static void on_rested(struct loop_job *job)
{
    LIST_ITEM(job, struct server, rested)->shakes = 0;
}

bool server_may_shake(struct server *s)
{
    loop_defer(s->loop, LOOP_FREE, &s->rested);
    return s->shakes++ < SHAKES_PER_TURN;
}

/* Memory of large messages is kept as long as such come: see mem_keep_large. */
static void on_large_rest(struct loop_timer *timer)
{
    struct server *s = LIST_ITEM(timer, struct server, large_rests);
    if (s->large_again)
        loop_timer_start(s->loop, timer, LARGE_KEPT_SECONDS);
    else
        mem_trim();
    s->large_again = false;
}

static void on_large(struct ws_shared *shared)
{
    struct server *s = LIST_ITEM(shared, struct server, shared);
    s->large_again = true;
    if (!loop_timer_active(&s->large_rests))
        loop_timer_start(s->loop, &s->large_rests, LARGE_KEPT_SECONDS);
}

void server_init(struct server *s, struct loop *loop, const struct server_hooks *hooks)
{
    *s = (struct server){.loop = loop, .hooks = hooks};
    s->read_buffer = mem_alloc(SERVER_READ_SIZE);
    server_random(s, &s->address_seed, sizeof s->address_seed);
    loop_timer_init(&s->large_rests, on_large_rest);
    s->shared.pool = &s->pool;
    s->shared.on_large = on_large;
    mem_keep_large();
    refusal_init(&s->refusals);
    link_init(&s->endpoints);
    wheel_init(&s->wheel, loop, conn_clock_on_due);
    loop_job_init(&s->rested, on_rested);
    conn_rest_init(s);
    tls_tickets_rotate(&s->tickets); /* its own, until the master gives others */
    s->groups = groups_new(s);
    warm_up();
}

static void tell_drained(struct loop_job *job)
{
    struct server *s = LIST_ITEM(job, struct server, drained);
    s->on_drained(s);
}

static void on_endpoint_drained(struct endpoint *e, void *arg)
{
    struct server *s = arg;
    endpoint_unref(e);
    if (--s->draining == 0)
        loop_defer(s->loop, LOOP_FREE, &s->drained);
}

void server_hand_over(struct server *s)
{
    for (struct link *l = s->endpoints.next; l != &s->endpoints; l = l->next)
        endpoint_hand_over(LIST_ITEM(l, struct endpoint, link));
}

void server_drain(struct server *s, void (*on_drained)(struct server *))
{
    s->on_drained = on_drained;
    loop_job_init(&s->drained, tell_drained);
    const struct endpoint_drain who = {on_endpoint_drained, s, .for_handlers = true};
    for (struct link *l = s->endpoints.next; l != &s->endpoints; l = l->next) {
        s->draining++;
        endpoint_drain(endpoint_ref(LIST_ITEM(l, struct endpoint, link)), &who);
    }
    if (s->draining == 0)
        loop_defer(s->loop, LOOP_FREE, &s->drained);
}

void server_abort(struct server *s)
{
    for (struct link *l = s->endpoints.next; l != &s->endpoints; l = l->next)
        endpoint_cut_off(LIST_ITEM(l, struct endpoint, link));
}

void server_deinit(struct server *s)
{
    groups_free(s->groups);
    refusal_deinit(s);
    wheel_deinit(&s->wheel);
    loop_timer_stop(s->loop, &s->large_rests);
    ws_shared_deinit(&s->shared);
    outpool_deinit(&s->pool);
    mem_free(s->read_buffer);
}
