// SPDX-License-Identifier: MIT
/* Listening addresses: who may come in, and how everybody leaves. */
#include "server/endpoint.h"

#include "base/mem.h"
#include "net/tls.h"
#include "server/conn_private.h"

enum { ADDRESS_BUCKETS = 1024, EBB = 64 };

#define STEP_SECONDS 0.05
#define DRAIN_STEPS 20

struct address_count {
    struct address_count *next;
    struct address site;
    uint32_t count;
};

static void on_accept(struct accept *a, int fd, const struct address *peer)
{
    conn_open(LIST_ITEM(a, struct endpoint, accept), fd, peer);
}

static bool drained(const struct endpoint *e, const struct endpoint_drain *who)
{
    if (who->for_handlers)
        return link_empty(&e->conns);
    if (e->aborted)
        return true;
    for (struct link *l = e->conns.next; l != &e->conns; l = l->next) {
        const struct conn *c = LIST_ITEM(l, struct conn, link);
        if (!c->excused || c->state != CONN_GONE)
            return false;
    }
    return true;
}

/* Tells those whose time has come; true when somebody still waits. */
static bool tell_drained(struct endpoint *e)
{
    bool waiting = false;
    for (struct endpoint_drain *d = e->drains; d < e->drains + ENDPOINT_DRAINS; d++) {
        void (*told)(struct endpoint *, void *) = d->told;
        if (told && drained(e, d)) {
            d->told = NULL;
            told(e, d->arg);
        }
        waiting = waiting || d->told;
    }
    return waiting;
}

/*
 * Not upgraded yet: as for what still waited to be accepted, often it just did. An upgrade function
 * that waits is waited for, unless it waits for this very drain.
 */
static bool refusable(const struct conn *c)
{
    return c->state == CONN_HEAD || (c->state == CONN_UPGRADE && c->excused);
}

static void close_one(struct conn *c)
{
    static const char reason[] = "server shutting down";
    if (refusable(c))
        conn_http_refuse(c, 503, NULL);
    else if (conn_writable(c))
        conn_close(c, WS_GOING_AWAY, reason, sizeof reason - 1, c->route->config.close_timeout);
}

static bool leaves(const struct conn *c)
{
    return refusable(c) || conn_writable(c);
}

static void close_some(struct endpoint *e)
{
    unsigned left = e->per_step;
    for (struct link *l = e->conns.next; l != &e->conns && left; l = l->next) {
        struct conn *c = LIST_ITEM(l, struct conn, link);
        if (!leaves(c))
            continue;
        close_one(c);
        left--;
    }
}

static void on_step(struct loop_timer *timer)
{
    struct endpoint *e = endpoint_ref(LIST_ITEM(timer, struct endpoint, step));
    if (tell_drained(e)) {
        close_some(e);
        loop_timer_start(e->server->loop, &e->step, STEP_SECONDS);
    }
    endpoint_unref(e);
}

static void on_cut_off(struct loop_job *job)
{
    struct endpoint *e = LIST_ITEM(job, struct endpoint, cut_off);
    endpoint_abort(e);
    endpoint_unref(e);
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
    accept_init(&e->accept, s->loop, fd, on_accept);
    loop_timer_init(&e->step, on_step);
    loop_job_init(&e->cut_off, on_cut_off);
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
    accept_close(&e->accept);
    loop_timer_stop(e->server->loop, &e->step);
    list_remove(&e->link);
    router_deinit(&e->router);
    mem_free(e->per_address);
    mem_free(e->config.server);
    tls_context_unref(e->config.tls);
    mem_free(e);
}

void endpoint_use_tls(struct endpoint *e, struct tls_context *tls)
{
    tls_context_unref(e->config.tls);
    e->config.tls = tls;
}

void endpoint_start(struct endpoint *e)
{
    if (!e->draining)
        accept_start(&e->accept);
}

void endpoint_stop(struct endpoint *e)
{
    if (e->draining)
        return;
    e->draining = true;
    accept_all(&e->accept);
    accept_close(&e->accept);
}

void endpoint_hand_over(struct endpoint *e)
{
    if (e->draining)
        return;
    e->draining = true;
    accept_close(&e->accept);
}

void endpoint_drain(struct endpoint *e, const struct endpoint_drain *who)
{
    endpoint_stop(e);
    e->drains[e->drains[0].told ? 1 : 0] = *who;
    e->per_step = e->count / DRAIN_STEPS + 50;
    loop_timer_start(e->server->loop, &e->step, 0);
}

/* The drain, if there is one, may be over. */
static void tell_soon(struct endpoint *e)
{
    if (e->drains[0].told || e->drains[1].told)
        loop_timer_start(e->server->loop, &e->step, 0);
}

void endpoint_abort(struct endpoint *e)
{
    accept_close(&e->accept);
    e->draining = e->aborted = true;
    for (struct link *l = e->conns.next; l != &e->conns; l = l->next)
        conn_abort(LIST_ITEM(l, struct conn, link));
    tell_soon(e);
}

void endpoint_cut_off(struct endpoint *e)
{
    for (struct link *l = e->conns.next; l != &e->conns; l = l->next) {
        struct conn *c = LIST_ITEM(l, struct conn, link);
        if (leaves(c))
            close_one(c);
    }
    if (!link_empty(&e->cut_off.link))
        return;
    endpoint_ref(e);
    loop_defer(e->server->loop, LOOP_FREE, &e->cut_off);
}

static struct address_count **slot(struct endpoint *e, const struct address *site)
{
    uint64_t hash = address_hash(&e->server->address_seed, site);
    struct address_count **at = &e->per_address[hash % ADDRESS_BUCKETS];
    while (*at && !address_same_host(&(*at)->site, site))
        at = &(*at)->next;
    return at;
}

int endpoint_enter(struct endpoint *e, const struct address *peer)
{
    if (e->draining || (e->config.max_connections && e->count >= e->config.max_connections))
        return 503;
    if (e->per_address) {
        struct address site = address_site(peer);
        struct address_count **at = slot(e, &site);
        if (*at && (*at)->count >= e->config.max_per_address)
            return 429;
        if (!*at) {
            *at = mem_alloc(sizeof **at);
            (*at)->site = site;
        }
        (*at)->count++;
    }
    if (++e->count > e->peak)
        e->peak = e->count;
    return 0;
}

void endpoint_leave(struct endpoint *e, const struct address *peer)
{
    e->count--;
    if (!e->per_address)
        return;
    struct address site = address_site(peer);
    struct address_count **at = slot(e, &site);
    if (!*at || --(*at)->count)
        return;
    struct address_count *gone = *at;
    *at = gone->next;
    mem_free(gone);
}

/*
 * Most of many have gone: what they had is worth giving back. A steady coming and going never does
 * this; a TLS handshake alone has some 60 KB.
 */
static void note_ebb(struct endpoint *e)
{
    if (e->count >= e->peak / 2 || e->peak - e->count < EBB)
        return;
    e->peak = e->count;
    mem_trim();
}

void endpoint_conn_freed(struct endpoint *e)
{
    note_ebb(e);
    if (link_empty(&e->conns))
        tell_soon(e);
}
