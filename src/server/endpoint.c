// SPDX-License-Identifier: MIT
/* Listening addresses: who may come in, and how everybody leaves. */
#include "server/endpoint.h"

#include "base/mem.h"
#include "server/conn_private.h"

enum { ADDRESS_BUCKETS = 1024 };

#define STEP_SECONDS 0.05
#define DRAIN_STEPS 20

struct address_count {
    struct address_count *next;
    struct address address;
    uint32_t count;
};

static void on_accept(struct listener *l, int fd, const struct address *peer)
{
    conn_open(LIST_ITEM(l, struct endpoint, listener), fd, peer);
}

static void tell_drained(struct endpoint *e)
{
    void (*told)(struct endpoint *, void *) = e->on_drained;
    e->on_drained = NULL;
    loop_timer_stop(e->server->loop, &e->step);
    if (told)
        told(e, e->arg);
}

static void close_one(struct conn *c)
{
    static const char reason[] = "server shutting down";
    if (c->state == CONN_HEAD) /* as for what still waited to be accepted: often it just did */
        conn_http_refuse(c, 503, NULL);
    else if (conn_writable(c))
        conn_close(c, WS_GOING_AWAY, reason, sizeof reason - 1, c->route->config.close_timeout);
}

static bool leaves(const struct conn *c)
{
    return c->state == CONN_HEAD || conn_writable(c);
}

static void on_step(struct loop_timer *timer)
{
    struct endpoint *e = LIST_ITEM(timer, struct endpoint, step);
    if (link_empty(&e->conns)) {
        tell_drained(e);
        return;
    }
    unsigned left = e->per_step;
    for (struct link *l = e->conns.next; l != &e->conns && left; l = l->next) {
        struct conn *c = LIST_ITEM(l, struct conn, link);
        if (!leaves(c))
            continue;
        close_one(c);
        left--;
    }
    loop_timer_start(e->server->loop, &e->step, STEP_SECONDS);
}

struct endpoint *endpoint_new(struct server *s, int fd, const struct listener_config *config)
{
    struct endpoint *e = mem_alloc(sizeof *e);
    e->server = s;
    e->refs = 1;
    e->config = *config;
    if (config->max_per_address)
        e->per_address = mem_alloc(ADDRESS_BUCKETS * sizeof(struct address_count *));
    link_init(&e->conns);
    link_init(&e->link);
    list_append(&s->endpoints, &e->link);
    router_init(&e->router);
    listener_init(&e->listener, s->loop, fd, on_accept);
    loop_timer_init(&e->step, on_step);
    return e;
}

struct endpoint *endpoint_ref(struct endpoint *e)
{
    e->refs++;
    return e;
}

void endpoint_unref(struct endpoint *e)
{
    if (--e->refs)
        return;
    listener_close(&e->listener);
    loop_timer_stop(e->server->loop, &e->step);
    list_remove(&e->link);
    router_deinit(&e->router);
    mem_free(e->per_address);
    mem_free(e->config.server);
    mem_free(e);
}

void endpoint_start(struct endpoint *e)
{
    if (!e->draining)
        listener_start(&e->listener);
}

void endpoint_stop(struct endpoint *e)
{
    if (e->draining)
        return;
    e->draining = true;
    listener_accept_all(&e->listener);
    listener_close(&e->listener);
}

void endpoint_drain(struct endpoint *e, void (*told)(struct endpoint *, void *), void *arg)
{
    endpoint_stop(e);
    e->on_drained = told;
    e->arg = arg;
    e->per_step = e->count / DRAIN_STEPS + 50;
    loop_timer_start(e->server->loop, &e->step, 0);
}

void endpoint_tell(struct endpoint *e)
{
    for (struct link *l = e->conns.next; l != &e->conns; l = l->next) {
        struct conn *c = LIST_ITEM(l, struct conn, link);
        if (leaves(c))
            close_one(c);
    }
}

void endpoint_abort(struct endpoint *e)
{
    listener_close(&e->listener);
    e->draining = true;
    for (struct link *l = e->conns.next; l != &e->conns; l = l->next)
        conn_abort(LIST_ITEM(l, struct conn, link));
}

static struct address_count **slot(struct endpoint *e, const struct address *peer)
{
    struct address_count **at = &e->per_address[address_hash(peer) % ADDRESS_BUCKETS];
    while (*at && !address_same_host(&(*at)->address, peer))
        at = &(*at)->next;
    return at;
}

int endpoint_enter(struct endpoint *e, const struct address *peer)
{
    if (e->draining || (e->config.max_connections && e->count >= e->config.max_connections))
        return 503;
    if (e->per_address) {
        struct address_count **at = slot(e, peer);
        if (*at && (*at)->count >= e->config.max_per_address)
            return 429;
        if (!*at) {
            *at = mem_alloc(sizeof **at);
            (*at)->address = *peer;
        }
        (*at)->count++;
    }
    e->count++;
    return 0;
}

void endpoint_leave(struct endpoint *e, const struct address *peer)
{
    e->count--;
    if (!e->per_address)
        return;
    struct address_count **at = slot(e, peer);
    if (!*at || --(*at)->count)
        return;
    struct address_count *gone = *at;
    *at = gone->next;
    mem_free(gone);
}

void endpoint_conn_freed(struct endpoint *e)
{
    if (e->on_drained && link_empty(&e->conns))
        loop_timer_start(e->server->loop, &e->step, 0);
}
