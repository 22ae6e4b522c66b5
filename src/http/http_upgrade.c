// SPDX-License-Identifier: MIT
/*
 * From a request to a session: finding its route, refusing what is not an acceptable upgrade,
 * answering 101 or what the app's upgrade function said.
 */
#include "http/http_private.h"

#include "proto/http/uri.h"
#include "proto/ws/deflate_offer.h"

#include <stdio.h>
#include <string.h>

enum { EARLY_MAX = 4096 };

static void refuse_handshake(struct http_conn *h, const struct handshake_refusal *why)
{
    struct http_line lines[3];
    size_t count = 0;
    char line[256];
    int len = snprintf(line, sizeof line, "%s\n", why->reason);
    if (why->allow)
        lines[count++] = (struct http_line){str_of("Allow"), str_of(why->allow)};
    if (why->version)
        lines[count++] = (struct http_line){str_of("Sec-WebSocket-Version"), str_of(why->version)};
    if (why->status == 426)
        lines[count++] = (struct http_line){{"Upgrade", 7}, {"websocket", 9}};
    struct http_reply r = {
        .status = why->status, .lines = lines, .line_count = count, .body = {line, (size_t)len}};
    http_conn_reply(h, &r);
}

/* Where the request goes; NULL when it has been refused. */
static struct route *find_route(struct http_conn *h)
{
    struct str path, query;
    if (!uri_split(http_target(h->head), &path, &query)) {
        http_conn_refuse_with(h, 400, "malformed request target, or a path with \".\" or \"..\"");
        return NULL;
    }
    struct route *route = router_match(&h->site->router, path);
    if (!route)
        http_conn_refuse_with(h, 404, NULL);
    return route;
}

void http_upgrade(struct http_conn *h)
{
    struct route *route = find_route(h);
    if (!route)
        return;
    struct handshake_refusal why;
    if (!handshake_check(h->head, &why)) {
        refuse_handshake(h, &why);
        return;
    }
    h->exchange->route = route_ref(route);
    h->exchange->state = HTTP_UPGRADE;
    h->exchange->answer_due = true;
    h->site->settings.hooks->on_upgrade(h);
}

void http_upgrade_early(struct http_conn *h, const uint8_t *bytes, size_t len)
{
    if (buf_append(&h->exchange->early, bytes, len) < 0)
        conn_gone(&h->session.conn);
}

/*
 * While an upgrade function waits, its client is read on, for the news that it has gone: nobody is
 * to be told of a session then. A client that talks before it is answered is left alone.
 */
bool http_upgrade_wants_early(const struct http_conn *h)
{
    return buf_len(&h->exchange->early) < EARLY_MAX;
}

/*
 * Compression, when the client offers it in a way that suits us. Returns what the response has to
 * say, NULL when there is none.
 */
static const char *agree_deflate(struct http_conn *h, struct deflate_answer *answer)
{
    const struct http_settings *settings = &h->site->settings;
    if (!settings->compress || !deflate_accept(h->head, &settings->deflate, answer))
        return NULL;
    struct deflate *deflate = deflate_new(&settings->deflate, &answer->params, true);
    ws_take_deflate(&h->session.ws, deflate);
    return deflate ? answer->text : NULL;
}

static bool write_accept(struct http_conn *h, const struct http_accept *how)
{
    struct buf out = {0};
    struct deflate_answer answer;
    struct handshake_response r = {
        .subprotocol = http_conn_subprotocol(h),
        .extensions = agree_deflate(h, &answer),
        .server = h->site->settings.server,
        .lines = how->lines,
        .line_count = how->line_count,
    };
    bool queued = handshake_write_response(h->head, &r, &out) == 0 &&
                  conn_queue(&h->session.conn, buf_bytes(&out), buf_len(&out));
    buf_free(&out);
    return queued;
}

static const struct conn_proto *upgraded_proto(void)
{
    static const struct conn_proto proto = {SESSION_PROTO, .free = http_conn_free};
    return &proto;
}

/*
 * The session begins. Bytes that came early are fed from a buffer that ends here: the session keeps
 * what it needs.
 */
static bool open_session(struct http_conn *h)
{
    struct conn *c = &h->session.conn;
    if (!session_open(&h->session, upgraded_proto()))
        return false;
    struct buf early = h->exchange->early;
    h->exchange->early = (struct buf){0};
    http_conn_end_exchange(h);
    if (buf_len(&early))
        session_input(c, buf_bytes(&early), buf_len(&early));
    buf_free(&early);
    conn_dirty(c);
    return true;
}

/* True when the client still waits for the answer. */
static bool awaited(struct http_conn *h)
{
    h->exchange->answer_due = false;
    return h->exchange->state == HTTP_UPGRADE && h->session.conn.state == CONN_OPEN;
}

bool http_conn_accept(struct http_conn *h, const struct http_accept *how)
{
    if (!awaited(h)) {
        conn_proceed_soon(&h->session.conn);
        return false;
    }
    const struct session_config config = {
        .role = WS_SERVER,
        .settings = &h->exchange->route->config.session,
        .wants_pings = how->wants_pings,
        .wants_idle = how->wants_idle,
    };
    session_init(&h->session, h->site->sessions, &config);
    if (write_accept(h, how) && open_session(h))
        return true;
    conn_gone(&h->session.conn);
    return false;
}

void http_conn_refuse(struct http_conn *h, struct http_reply *reply)
{
    if (awaited(h))
        http_conn_reply(h, reply);
    else
        conn_proceed_soon(&h->session.conn);
}

const char *http_conn_subprotocol(const struct http_conn *h)
{
    const struct route_config *config = &http_conn_route(h)->config;
    return handshake_subprotocol(h->head, (const char *const *)config->subprotocols,
                                 config->subprotocol_count);
}
