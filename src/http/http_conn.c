// SPDX-License-Identifier: MIT
/* The life of a connection that speaks HTTP: from accept to its answer, or to a session. */
#include "http/http_private.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { LINGER_MAX = 64 * 1024 }; /* of what a peer goes on sending while it is refused */

static struct http_conn *of(const struct conn *c)
{
    return http_conn_of(session_of(c));
}

_Static_assert(offsetof(struct http_conn, session) == 0, "http_conn_of is a cast");

static void exchange_check(const struct http_conn *h)
{
    const struct exchange *x = h->exchange;
    CHECK((x == NULL) == (h->session.state != SESSION_NEW));
    CHECK(!x || x->state != HTTP_UPGRADE || (x->route && h->head));
    CHECK(!x || x->counted || x->state == HTTP_REPLY);
    CHECK(!x || !x->parser || x->state == HTTP_HEAD);
    CHECK(!x || !x->answer_due || x->route);
    CHECK(!x || x->state == HTTP_UPGRADE || !x->early.cap);
}

/* --- Answers ---------------------------------------------------------------------------------- */

static const char *text_for(int status)
{
    switch (status) {
    case 404: return "nothing is attached to this path";
    case 408: return "the request took too long";
    case 426: return "this path speaks WebSocket";
    case 429: return "too many connections from this address";
    case 500: return "internal error";
    case 503: return "the server takes no more connections at the moment";
    default: return http_reason(status);
    }
}

static void drop_input(struct exchange *x)
{
    if (x->parser)
        http_parser_free(x->parser);
    x->parser = NULL;
    buf_free(&x->early);
}

void http_conn_reply(struct http_conn *h, struct http_reply *r)
{
    struct buf out = {0};
    struct conn *c = &h->session.conn;
    struct str method = h->head ? http_method(h->head) : (struct str){"", 0};
    drop_input(h->exchange);
    r->close = true;
    r->to_head = str_is(method, "HEAD");
    r->server = h->site->settings.server;
    r->now = (int64_t)loop_wall();
    bool queued = http_reply_write(r, &out) == 0 && conn_queue(c, buf_bytes(&out), buf_len(&out));
    buf_free(&out);
    if (!queued) {
        conn_gone(c);
        return;
    }
    h->exchange->state = HTTP_REPLY;
    c->deadline = 0; /* the write clock is enough */
    conn_dirty(c);
    exchange_check(h);
}

void http_conn_refuse_with(struct http_conn *h, int status, const char *text)
{
    char line[256];
    int len = snprintf(line, sizeof line, "%s\n", text ? text : text_for(status));
    struct http_reply r = {.status = status, .body = {line, (size_t)len}};
    http_conn_reply(h, &r);
}

/* --- The head --------------------------------------------------------------------------------- */

/* Bytes after the head belong to the session. */
static void input_after_head(struct http_conn *h, uint8_t *bytes, size_t len)
{
    if (len == 0)
        return;
    if (!h->exchange)
        session_input(&h->session.conn, bytes, len);
    else if (h->exchange->state == HTTP_UPGRADE)
        http_upgrade_early(h, bytes, len);
}

static void input_head(struct http_conn *h, uint8_t *bytes, size_t len)
{
    struct exchange *x = h->exchange;
    if (!x->parser)
        x->parser = http_parser_new(HTTP_REQUEST, &h->site->settings.limits);
    if (!x->parser) {
        conn_gone(&h->session.conn);
        return;
    }
    size_t used;
    int r = http_feed(x->parser, bytes, len, &used);
    if (r < 0) {
        char text[200];
        snprintf(text, sizeof text, "%s", http_error(x->parser));
        http_conn_refuse_with(h, -r, text);
    } else if (r > 0) {
        h->head = http_take_head(x->parser);
        http_parser_free(x->parser);
        x->parser = NULL;
        h->session.conn.deadline = 0;
        http_upgrade(h);
        input_after_head(h, bytes + used, len - used);
    }
}

static void on_input(struct conn *c, uint8_t *bytes, size_t len)
{
    struct http_conn *h = of(c);
    if (h->exchange->state == HTTP_HEAD)
        input_head(h, bytes, len);
    else if (h->exchange->state == HTTP_UPGRADE)
        http_upgrade_early(h, bytes, len);
    exchange_check(h);
}

static bool wants_input(const struct conn *c)
{
    const struct http_conn *h = of(c);
    switch (h->exchange->state) {
    case HTTP_HEAD: return true;
    case HTTP_UPGRADE: return http_upgrade_wants_early(h);
    default: return false;
    }
}

static bool listens(const struct conn *c)
{
    return of(c)->exchange->state == HTTP_UPGRADE;
}

static bool on_written(struct conn *c)
{
    if (c->state == CONN_OPEN && c->out.len == 0 && of(c)->exchange->state == HTTP_REPLY)
        conn_linger(c, LINGER_MAX);
    return wants_input(c);
}

/* Somebody wrote http:// for https://: is told so, in the open. */
static bool on_broken(struct conn *c)
{
    struct http_conn *h = of(c);
    if (!c->stream.plain_http || h->exchange->state != HTTP_HEAD)
        return false;
    stream_become_plain(&c->stream);
    http_conn_refuse_with(h, 400, "this port speaks TLS: use https:// or wss://");
    return true;
}

/* --- Clocks ----------------------------------------------------------------------------------- */

/* What a new connection has for its head; as long as a TLS handshake goes on, for that. */
static double head_seconds(const struct http_conn *h)
{
    const struct http_settings *settings = &h->site->settings;
    double head = settings->head_timeout, shake = settings->handshake_timeout;
    bool shaking = settings->tls && !h->exchange->shaken && shake > 0;
    return shaking && (head <= 0 || shake < head) ? shake : head;
}

/* The handshake was finished in its time: what is left of the head's begins. */
static bool extend(struct http_conn *h)
{
    struct conn *c = &h->session.conn;
    if (h->exchange->state != HTTP_HEAD || h->exchange->shaken || c->stream.handshaking)
        return false;
    uint32_t had = conn_ms(head_seconds(h));
    h->exchange->shaken = true;
    uint32_t has = conn_ms(head_seconds(h));
    c->deadline = has ? c->deadline + has - had : 0;
    return !has || has > had;
}

static void on_deadline(struct conn *c)
{
    struct http_conn *h = of(c);
    if (extend(h))
        return;
    const struct exchange *x = h->exchange;
    if (x->state == HTTP_HEAD && x->parser && http_begun(x->parser))
        http_conn_refuse_with(h, 408, NULL);
    else
        conn_gone(c);
}

static int32_t clock_left(const struct conn *c)
{
    (void)c;
    return CONN_NEVER;
}

/* An answer that nobody takes is never waited for without a limit. */
static double write_timeout(const struct conn *c)
{
    const struct route *route = http_conn_route(of(c));
    double seconds = route ? route->config.session.write_timeout : 0;
    return seconds > 0 ? seconds : CONN_WRITE_SECONDS;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void nothing(struct conn *c)
{
    (void)c;
}

static void nothing_of(struct conn *c, bool of_it)
{
    (void)c;
    (void)of_it;
}

static bool has_left(const struct conn *c)
{
    (void)c;
    return false;
}

static bool may_free(const struct conn *c)
{
    return !of(c)->exchange->answer_due;
}

static const char *path_of(const struct conn *c)
{
    const struct route *route = http_conn_route(of(c));
    return route ? route->pattern : NULL;
}

struct route *http_conn_route(const struct http_conn *h)
{
    if (h->exchange)
        return h->exchange->route;
    uintptr_t settings = (uintptr_t)session_settings_of(&h->session);
    return (struct route *)(settings - offsetof(struct route, config.session));
}

void http_conn_end_exchange(struct http_conn *h)
{
    drop_input(h->exchange);
    mem_free(h->exchange);
    h->exchange = NULL;
}

void http_conn_free(struct conn *c)
{
    struct http_conn *h = of(c);
    struct http_site *site = h->site;
    struct route *route = http_conn_route(h);
    bool counted = !h->exchange || h->exchange->counted;
    site->settings.hooks->on_free(h);
    session_deinit(&h->session);
    if (h->exchange)
        http_conn_end_exchange(h);
    if (route)
        route_unref(route);
    if (h->head)
        http_head_unref(h->head);
    list_remove(&h->link);
    conn_deinit(c);
    if (counted) /* until now: what waits to be told is a burden as a socket is */
        site->hooks->leave(site, &c->peer);
    mem_free(h);
    site->hooks->freed(site);
}

static const struct conn_proto *exchange_proto(void)
{
    static const struct conn_proto proto = {
        .input = on_input,
        .wants_input = wants_input,
        .listens = listens,
        .has_left = has_left,
        .proceed = nothing,
        .written = on_written,
        .blocked = nothing_of,
        .mark_left = nothing,
        .mark_fed = nothing,
        .broken = on_broken,
        .gone = nothing_of,
        .may_free = may_free,
        .free = http_conn_free,
        .on_deadline = on_deadline,
        .clock_left = clock_left,
        .clock_due = nothing,
        .write_timeout = write_timeout,
        .path = path_of,
    };
    return &proto;
}

void http_conn_open(struct http_site *site, int fd, const struct address *peer)
{
    struct http_conn *h = mem_alloc(sizeof *h);
    struct conn *c = &h->session.conn;
    const struct conn_socket socket = {fd, peer, site->settings.tls};
    if (!conn_init(c, site->conns_shared, exchange_proto(), &socket)) {
        mem_free(h);
        site->hooks->freed(site);
        return;
    }
    h->site = site;
    h->exchange = mem_alloc(sizeof *h->exchange);
    link_init(&h->link);
    list_append(&site->conns, &h->link);
    int refusal = site->hooks->enter(site, peer);
    h->exchange->counted = refusal == 0;
    if (refusal)
        http_conn_refuse_with(h, refusal, NULL);
    else
        conn_clock_deadline(c, head_seconds(h));
    exchange_check(h);
    conn_proceed(c);
}

bool http_conn_refusable(const struct http_conn *h)
{
    const struct exchange *x = h->exchange;
    if (!x || h->session.conn.state != CONN_OPEN)
        return false;
    return x->state == HTTP_HEAD || (x->state == HTTP_UPGRADE && http_conn_excused(h));
}

void http_conn_excuse(struct http_conn *h)
{
    h->session.conn.excused = true;
}

bool http_conn_excused(const struct http_conn *h)
{
    return h->session.conn.excused;
}
