// SPDX-License-Identifier: MIT
/* Listening addresses: who may come in, and how everybody leaves. */
#include "server/endpoint.h"

#include "base/mem.h"
#include "net/tls.h"

enum { ADDRESS_BUCKETS = 1024, TRIM_MIN = 64 };

#define STEP_SECONDS 0.05
#define DRAIN_STEPS 20

struct address_count {
    struct address_count *next;
    struct address site;
    uint32_t count;
};

static struct endpoint *of_site(struct http_site *site)
{
    return LIST_ITEM(site, struct endpoint, site);
}

static void on_accept(struct accept *a, int fd, const struct address *peer)
{
    struct endpoint *e = LIST_ITEM(a, struct endpoint, accept);
    http_conn_open(&endpoint_ref(e)->site, fd, peer);
}

static bool drained(const struct endpoint *e, const struct endpoint_drain *who)
{
    if (who->for_handlers)
        return link_empty(&e->site.conns);
    if (e->aborted)
        return true;
    for (struct link *l = e->site.conns.next; l != &e->site.conns; l = l->next) {
        const struct http_conn *h = LIST_ITEM(l, struct http_conn, link);
        if (!http_conn_excused(h) || h->session.conn.state != CONN_GONE)
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
static void close_one(struct http_conn *h)
{
    static const char reason[] = "server shutting down";
    struct session *s = &h->session;
    if (http_conn_refusable(h))
        http_conn_refuse_with(h, 503, NULL);
    else if (session_writable(s))
        session_close(s, WS_GOING_AWAY, reason, sizeof reason - 1,
                      session_settings_of(s)->close_timeout);
}

static bool leaves(const struct http_conn *h)
{
    return http_conn_refusable(h) || session_writable(&h->session);
}

static void close_some(struct endpoint *e)
{
    unsigned left = e->per_step;
    for (struct link *l = e->site.conns.next; l != &e->site.conns && left; l = l->next) {
        struct http_conn *h = LIST_ITEM(l, struct http_conn, link);
        if (!leaves(h))
            continue;
        close_one(h);
        left--;
    }
}

static void on_step(struct loop_timer *timer)
{
    struct endpoint *e = endpoint_ref(LIST_ITEM(timer, struct endpoint, step));
    if (tell_drained(e)) {
        close_some(e);
        loop_timer_start(e->server->conns.loop, &e->step, STEP_SECONDS);
    }
    endpoint_unref(e);
}

static void on_cut_off(struct loop_job *job)
{
    struct endpoint *e = LIST_ITEM(job, struct endpoint, cut_off);
    endpoint_abort(e);
    endpoint_unref(e);
}

/* The drain, if there is one, may be over. */
static void tell_soon(struct endpoint *e)
{
    if (e->drains[0].told || e->drains[1].told)
        loop_timer_start(e->server->conns.loop, &e->step, 0);
}

static struct address_count **slot(struct endpoint *e, const struct address *site)
{
    uint64_t hash = address_hash(&e->server->address_seed, site);
    struct address_count **at = &e->per_address[hash % ADDRESS_BUCKETS];
    while (*at && !address_same_host(&(*at)->site, site))
        at = &(*at)->next;
    return at;
}

/*
 * 0, or the status that refuses it: 503 (draining, or at max_connections), 429 (its address, or of
 * IPv6 its /64, is at max_per_address).
 */
static int enter(struct http_site *site, const struct address *peer)
{
    struct endpoint *e = of_site(site);
    if (e->draining || (e->limits.max_connections && e->count >= e->limits.max_connections))
        return 503;
    if (e->per_address) {
        struct address host = address_site(peer);
        struct address_count **at = slot(e, &host);
        if (*at && (*at)->count >= e->limits.max_per_address)
            return 429;
        if (!*at) {
            *at = mem_alloc(sizeof **at);
            (*at)->site = host;
        }
        (*at)->count++;
    }
    if (++e->count > e->peak)
        e->peak = e->count;
    return 0;
}

static void leave(struct http_site *site, const struct address *peer)
{
    struct endpoint *e = of_site(site);
    e->count--;
    if (!e->per_address)
        return;
    struct address host = address_site(peer);
    struct address_count **at = slot(e, &host);
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
static void trim_if_quiet(struct endpoint *e)
{
    if (e->count >= e->peak / 2 || e->peak - e->count < TRIM_MIN)
        return;
    e->peak = e->count;
    mem_trim();
}

/* One of its connections has gone: the drain may be over. */
static void on_freed(struct http_site *site)
{
    struct endpoint *e = of_site(site);
    trim_if_quiet(e);
    if (link_empty(&site->conns))
        tell_soon(e);
    endpoint_unref(e);
}

struct endpoint *endpoint_new(struct server *s, int fd, const struct http_settings *settings,
                              const struct endpoint_limits *limits)
{
    static const struct http_site_hooks hooks = {enter, leave, on_freed};
    struct endpoint *e = mem_alloc(sizeof *e);
    e->server = s;
    e->refs = 1;
    e->limits = *limits;
    e->site.hooks = &hooks;
    e->site.conns_shared = &s->conns;
    e->site.sessions = &s->sessions;
    e->site.settings = *settings;
    if (limits->max_per_address)
        e->per_address = mem_alloc(ADDRESS_BUCKETS * sizeof(struct address_count *));
    link_init(&e->site.conns);
    link_init(&e->link);
    list_append(&s->endpoints, &e->link);
    router_init(&e->site.router);
    accept_init(&e->accept, s->conns.loop, fd, on_accept);
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
    loop_timer_stop(e->server->conns.loop, &e->step);
    list_remove(&e->link);
    router_deinit(&e->site.router);
    mem_free(e->per_address);
    mem_free(e->site.settings.server);
    tls_context_unref(e->site.settings.tls);
    mem_free(e);
}

void endpoint_use_tls(struct endpoint *e, struct tls_context *tls)
{
    tls_context_unref(e->site.settings.tls);
    e->site.settings.tls = tls;
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
    loop_timer_start(e->server->conns.loop, &e->step, 0);
}

void endpoint_abort(struct endpoint *e)
{
    accept_close(&e->accept);
    e->draining = e->aborted = true;
    for (struct link *l = e->site.conns.next; l != &e->site.conns; l = l->next)
        conn_gone(&LIST_ITEM(l, struct http_conn, link)->session.conn);
    tell_soon(e);
}

void endpoint_cut_off(struct endpoint *e)
{
    for (struct link *l = e->site.conns.next; l != &e->site.conns; l = l->next) {
        struct http_conn *h = LIST_ITEM(l, struct http_conn, link);
        if (leaves(h))
            close_one(h);
    }
    if (!link_empty(&e->cut_off.link))
        return;
    endpoint_ref(e);
    loop_defer(e->server->conns.loop, LOOP_FREE, &e->cut_off);
}
