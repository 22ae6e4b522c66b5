// SPDX-License-Identifier: MIT
/* Listening addresses: who may come in, and how everybody leaves. */
#include "server/listener.h"

#include "base/check.h"
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

static struct listener *of_site(struct http_site *site)
{
    return LIST_ITEM(site, struct listener, site);
}

/* Whoever waits for the end of the connections is told in a step, so that has to be due. */
static void listener_check(const struct listener *l)
{
    bool waits = l->drains[0].on_drained || l->drains[1].on_drained;
    CHECK(l->refs > 0 && l->count <= l->peak && l->count <= l->refs);
    CHECK(l->draining || !(waits || l->aborted));
    CHECK(!waits || (l->per_step > 0 && loop_timer_active(&l->step)));
    CHECK(!l->per_address == !l->limits.max_per_address);
    link_check(&l->site.conns);
    link_check(&l->link);
}

static void on_accept(struct accept *a, int fd, const struct address *peer)
{
    struct listener *listener = LIST_ITEM(a, struct listener, accept);
    http_conn_open(&listener_ref(listener)->site, fd, peer);
}

static bool drained(const struct listener *listener, const struct listener_drain *who)
{
    if (who->for_handlers)
        return link_empty(&listener->site.conns);
    if (listener->aborted)
        return true;
    for (struct link *l = listener->site.conns.next; l != &listener->site.conns; l = l->next) {
        const struct http_conn *h = LIST_ITEM(l, struct http_conn, link);
        if (!http_conn_excused(h) || h->session.conn.state != CONN_GONE)
            return false;
    }
    return true;
}

/* Tells those whose time has come; true when somebody still waits. */
static bool tell_drained(struct listener *listener)
{
    bool waiting = false;
    for (struct listener_drain *d = listener->drains; d < listener->drains + LISTENER_DRAINS; d++) {
        void (*on_drained)(struct listener *, void *) = d->on_drained;
        if (on_drained && drained(listener, d)) {
            d->on_drained = NULL;
            on_drained(listener, d->arg);
        }
        waiting = waiting || d->on_drained;
    }
    return waiting;
}

/* Who has not been upgraded is refused as if it still waited to be accepted; often it just did. */
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

static void close_some(struct listener *listener)
{
    unsigned left = listener->per_step;
    for (struct link *l = listener->site.conns.next; l != &listener->site.conns && left;
         l = l->next) {
        struct http_conn *h = LIST_ITEM(l, struct http_conn, link);
        if (!leaves(h))
            continue;
        close_one(h);
        left--;
    }
}

static void on_step(struct loop_timer *timer)
{
    struct listener *listener = listener_ref(LIST_ITEM(timer, struct listener, step));
    if (tell_drained(listener)) {
        close_some(listener);
        loop_timer_start(listener->server->conns.loop, &listener->step, STEP_SECONDS);
    }
    listener_check(listener);
    listener_unref(listener);
}

static void on_cut_off(struct loop_job *job)
{
    struct listener *listener = LIST_ITEM(job, struct listener, cut_off);
    listener_abort(listener);
    listener_unref(listener);
}

/* The drain, if there is one, may be over. */
static void tell_soon(struct listener *listener)
{
    if (listener->drains[0].on_drained || listener->drains[1].on_drained)
        loop_timer_start(listener->server->conns.loop, &listener->step, 0);
    listener_check(listener);
}

static struct address_count **slot(struct listener *listener, const struct address *site)
{
    uint64_t hash = address_hash(&listener->server->address_seed, site);
    struct address_count **at = &listener->per_address[hash % ADDRESS_BUCKETS];
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
    struct listener *listener = of_site(site);
    if (listener->draining ||
        (listener->limits.max_connections && listener->count >= listener->limits.max_connections))
        return 503;
    if (listener->per_address) {
        struct address host = address_site(peer);
        struct address_count **at = slot(listener, &host);
        if (*at && (*at)->count >= listener->limits.max_per_address)
            return 429;
        if (!*at) {
            *at = mem_alloc(sizeof **at);
            (*at)->site = host;
        }
        (*at)->count++;
    }
    if (++listener->count > listener->peak)
        listener->peak = listener->count;
    listener_check(listener);
    return 0;
}

static void leave(struct http_site *site, const struct address *peer)
{
    struct listener *listener = of_site(site);
    CHECK(listener->count > 0);
    listener->count--;
    if (!listener->per_address)
        return;
    struct address host = address_site(peer);
    struct address_count **at = slot(listener, &host);
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
static void trim_if_quiet(struct listener *listener)
{
    if (listener->count >= listener->peak / 2 || listener->peak - listener->count < TRIM_MIN)
        return;
    listener->peak = listener->count;
    mem_trim();
}

/* One of its connections has gone: the drain may be over. */
static void on_freed(struct http_site *site)
{
    struct listener *listener = of_site(site);
    trim_if_quiet(listener);
    if (link_empty(&site->conns))
        tell_soon(listener);
    listener_unref(listener);
}

struct listener *listener_new(struct server *s, int fd, const struct http_settings *settings,
                              const struct listener_limits *limits)
{
    static const struct http_site_hooks hooks = {enter, leave, on_freed};
    struct listener *listener = mem_alloc(sizeof *listener);
    listener->server = s;
    listener->refs = 1;
    listener->limits = *limits;
    listener->site.hooks = &hooks;
    listener->site.conns_shared = &s->conns;
    listener->site.sessions = &s->sessions;
    listener->site.settings = *settings;
    if (limits->max_per_address)
        listener->per_address = mem_alloc(ADDRESS_BUCKETS * sizeof(struct address_count *));
    link_init(&listener->site.conns);
    link_init(&listener->link);
    list_append(&s->listeners, &listener->link);
    router_init(&listener->site.router);
    accept_init(&listener->accept, s->conns.loop, fd, on_accept);
    loop_timer_init(&listener->step, on_step);
    loop_job_init(&listener->cut_off, on_cut_off);
    return listener;
}

struct listener *listener_ref(struct listener *listener)
{
    listener->refs++;
    return listener;
}

void listener_unref(struct listener *listener)
{
    if (--listener->refs)
        return;
    accept_close(&listener->accept);
    loop_timer_stop(listener->server->conns.loop, &listener->step);
    list_remove(&listener->link);
    router_deinit(&listener->site.router);
    mem_free(listener->per_address);
    mem_free(listener->site.settings.server);
    tls_context_unref(listener->site.settings.tls);
    mem_free(listener);
}

void listener_use_tls(struct listener *listener, struct tls_context *tls)
{
    tls_context_unref(listener->site.settings.tls);
    listener->site.settings.tls = tls;
}

void listener_start(struct listener *listener)
{
    if (!listener->draining)
        accept_start(&listener->accept);
}

void listener_stop(struct listener *listener)
{
    if (listener->draining)
        return;
    listener->draining = true;
    accept_all(&listener->accept);
    accept_close(&listener->accept);
}

void listener_hand_over(struct listener *listener)
{
    if (listener->draining)
        return;
    listener->draining = true;
    accept_close(&listener->accept);
}

void listener_drain(struct listener *listener, const struct listener_drain *who)
{
    listener_stop(listener);
    struct listener_drain *free_one = &listener->drains[listener->drains[0].on_drained ? 1 : 0];
    CHECK(who->on_drained && !free_one->on_drained);
    *free_one = *who;
    listener->per_step = listener->count / DRAIN_STEPS + 50;
    loop_timer_start(listener->server->conns.loop, &listener->step, 0);
    listener_check(listener);
}

void listener_abort(struct listener *listener)
{
    accept_close(&listener->accept);
    listener->draining = listener->aborted = true;
    for (struct link *l = listener->site.conns.next; l != &listener->site.conns; l = l->next)
        conn_gone(&LIST_ITEM(l, struct http_conn, link)->session.conn);
    tell_soon(listener);
}

void listener_cut_off(struct listener *listener)
{
    for (struct link *l = listener->site.conns.next; l != &listener->site.conns; l = l->next) {
        struct http_conn *h = LIST_ITEM(l, struct http_conn, link);
        if (leaves(h))
            close_one(h);
    }
    if (!link_empty(&listener->cut_off.link))
        return;
    listener_ref(listener);
    loop_defer(listener->server->conns.loop, LOOP_FREE, &listener->cut_off);
}
