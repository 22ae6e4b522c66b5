// SPDX-License-Identifier: MIT
/* All listeners of a worker, and the way out. */
#include "server/server.h"

#include "proto/http/handshake.h"
#include "server/listener.h"

/*
 * The first digest makes OpenSSL load its providers, which takes milliseconds: not at the first
 * client's expense.
 */
static void warm_up(void)
{
    char accept[HANDSHAKE_ACCEPT_SIZE + 1];
    handshake_accept("AAAAAAAAAAAAAAAAAAAAAA==", accept);
}

void server_init(struct server *s, struct loop *loop)
{
    *s = (struct server){0};
    conn_shared_init(&s->conns, loop);
    session_shared_init(&s->sessions, &s->conns);
    entropy_take(&s->conns.entropy, &s->address_seed, sizeof s->address_seed);
    link_init(&s->listeners);
    tls_tickets_rotate(&s->tickets); /* its own, until the master gives others */
    warm_up();
}

static void tell_drained(struct loop_job *job)
{
    struct server *s = LIST_ITEM(job, struct server, drained);
    s->on_drained(s);
}

static void on_listener_drained(struct listener *listener, void *arg)
{
    struct server *s = arg;
    listener_unref(listener);
    if (--s->draining == 0)
        loop_defer(s->conns.loop, LOOP_FREE, &s->drained);
}

void server_hand_over(struct server *s)
{
    for (struct link *l = s->listeners.next; l != &s->listeners; l = l->next)
        listener_hand_over(LIST_ITEM(l, struct listener, link));
}

void server_drain(struct server *s, void (*on_drained)(struct server *))
{
    s->on_drained = on_drained;
    loop_job_init(&s->drained, tell_drained);
    const struct listener_drain who = {on_listener_drained, s, .for_handlers = true};
    for (struct link *l = s->listeners.next; l != &s->listeners; l = l->next) {
        s->draining++;
        listener_drain(listener_ref(LIST_ITEM(l, struct listener, link)), &who);
    }
    if (s->draining == 0)
        loop_defer(s->conns.loop, LOOP_FREE, &s->drained);
}

void server_abort(struct server *s)
{
    for (struct link *l = s->listeners.next; l != &s->listeners; l = l->next)
        listener_cut_off(LIST_ITEM(l, struct listener, link));
}

void server_deinit(struct server *s)
{
    session_shared_deinit(&s->sessions);
    conn_shared_deinit(&s->conns);
}
