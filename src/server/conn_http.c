// SPDX-License-Identifier: MIT
/*
 * The part of a connection before the handshake: reading the request head, finding its route,
 * refusing what is not an acceptable upgrade, answering 101 or what the app's upgrade function
 * said.
 *
 * A refusal always ends the connection: nothing behind a request that we did not accept is ever
 * parsed, so there is nothing to smuggle.
 */
#include "server/conn_private.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/http/uri.h"
#include "proto/ws/deflate_offer.h"
#include "server/group.h"

#include <stdio.h>
#include <string.h>

enum { EARLY_MAX = 4096 };

static struct server *server_of(const struct conn *c)
{
    return c->endpoint->server;
}

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

/* Writes the reply and ends the connection once it is out; without memory it ends at once. */
static void reply(struct conn *c, struct http_reply *r)
{
    struct buf out = {0};
    struct http_str method = c->head ? http_method(c->head) : (struct http_str){"", 0};
    conn_setup_free(c);
    r->close = true;
    r->to_head = method.len == 4 && memcmp(method.s, "HEAD", 4) == 0;
    r->server = c->endpoint->config.server;
    r->now = (int64_t)loop_wall();
    uint8_t *room = NULL;
    if (http_reply_write(r, &out) == 0)
        room = outq_extend(&c->out, &server_of(c)->pool, buf_len(&out));
    if (room)
        memcpy(room, buf_bytes(&out), buf_len(&out));
    buf_free(&out);
    if (!room) {
        conn_gone(c);
        return;
    }
    c->state = CONN_REPLY;
    c->deadline = 0; /* the write clock is enough */
    conn_dirty(c);
}

void conn_http_refuse(struct conn *c, int status, const char *text)
{
    char line[256];
    int len = snprintf(line, sizeof line, "%s\n", text ? text : text_for(status));
    struct http_reply r = {.status = status, .body = {line, (size_t)len}};
    reply(c, &r);
}

static void refuse_handshake(struct conn *c, const struct handshake_refusal *why)
{
    struct http_line lines[3];
    size_t count = 0;
    char line[256];
    int len = snprintf(line, sizeof line, "%s\n", why->reason);
    if (why->allow)
        lines[count++] = (struct http_line){{"Allow", 5}, {why->allow, strlen(why->allow)}};
    if (why->version)
        lines[count++] =
            (struct http_line){{"Sec-WebSocket-Version", 21}, {why->version, strlen(why->version)}};
    if (why->status == 426)
        lines[count++] = (struct http_line){{"Upgrade", 7}, {"websocket", 9}};
    struct http_reply r = {
        .status = why->status, .lines = lines, .line_count = count, .body = {line, (size_t)len}};
    reply(c, &r);
}

/* Where the request goes; NULL when it has been refused. */
static struct route *find_route(struct conn *c)
{
    struct http_str path, query;
    if (!uri_split(http_target(c->head), &path, &query)) {
        conn_http_refuse(c, 400, "malformed request target, or a path with \".\" or \"..\"");
        return NULL;
    }
    struct route *route = router_match(&c->endpoint->router, path);
    if (!route)
        conn_http_refuse(c, 404, NULL);
    return route;
}

static void on_head(struct conn *c)
{
    http_parser_free(c->setup->parser);
    c->setup->parser = NULL;
    c->deadline = 0;
    struct route *route = find_route(c);
    if (!route)
        return;
    struct handshake_refusal why;
    if (!handshake_check(c->head, &why)) {
        refuse_handshake(c, &why);
        return;
    }
    c->route = route_ref(route);
    c->state = CONN_UPGRADE;
    c->answer_due = true;
    server_of(c)->hooks->on_upgrade(c);
}

void conn_http_early(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (buf_append(&c->setup->early, bytes, len) < 0)
        conn_gone(c);
}

/*
 * While an upgrade function waits, its client is read on, for the news that it has gone: nobody is
 * to be told of a session then. A client that talks before it is answered is left alone.
 */
bool conn_http_wants_early(const struct conn *c)
{
    return buf_len(&c->setup->early) < EARLY_MAX;
}

/* Bytes behind the head belong to the session. */
static void input_behind(struct conn *c, uint8_t *bytes, size_t len)
{
    if (len == 0)
        return;
    if (c->state == CONN_OPEN)
        conn_ws_input(c, bytes, len);
    else if (c->state == CONN_UPGRADE)
        conn_http_early(c, bytes, len);
}

static bool begin(struct conn *c)
{
    if (c->setup)
        return true;
    c->setup = mem_alloc(sizeof *c->setup);
    c->setup->parser = http_parser_new(HTTP_REQUEST, &c->endpoint->config.http);
    return c->setup->parser;
}

void conn_http_input(struct conn *c, uint8_t *bytes, size_t len)
{
    if (!begin(c)) {
        conn_gone(c);
        return;
    }
    size_t used;
    int r = http_feed(c->setup->parser, bytes, len, &used);
    if (r < 0) {
        char text[200];
        snprintf(text, sizeof text, "%s", http_error(c->setup->parser));
        conn_http_refuse(c, -r, text);
    } else if (r > 0) {
        c->head = http_take_head(c->setup->parser);
        on_head(c);
        input_behind(c, bytes + used, len - used);
    }
}

/*
 * Compression, when the client offers it in a way that suits us. Returns what the response has to
 * say, NULL when there is none.
 */
static const char *agree_deflate(struct conn *c, struct deflate_answer *answer)
{
    const struct listener_config *config = &c->endpoint->config;
    if (!config->compress || !deflate_accept(c->head, &config->deflate, answer))
        return NULL;
    struct deflate *deflate = deflate_new(&config->deflate, &answer->params, true);
    ws_take_deflate(&c->ws, deflate);
    return deflate ? answer->text : NULL;
}

static bool write_accept(struct conn *c, const struct conn_accept *how)
{
    struct buf out = {0};
    struct deflate_answer answer;
    struct handshake_response r = {
        .subprotocol = conn_subprotocol(c),
        .extensions = agree_deflate(c, &answer),
        .server = c->endpoint->config.server,
        .lines = how->lines,
        .line_count = how->line_count,
    };
    uint8_t *room = NULL;
    if (handshake_write_response(c->head, &r, &out) == 0)
        room = outq_extend(&c->out, &server_of(c)->pool, buf_len(&out));
    if (room)
        memcpy(room, buf_bytes(&out), buf_len(&out));
    buf_free(&out);
    return room;
}

/*
 * The session begins. Bytes that came early are fed from a buffer that ends here: the session keeps
 * what it needs.
 */
static void open_session(struct conn *c)
{
    struct buf early = c->setup->early;
    c->setup->early = (struct buf){0};
    conn_setup_free(c);
    c->state = CONN_OPEN;
    c->opened = c->open_due = true;
    c->deadline = 0;
    c->last_input = c->beat = conn_now(c);
    conn_clock_arm(c);
    if (buf_len(&early))
        conn_ws_input(c, buf_bytes(&early), buf_len(&early));
    buf_free(&early);
    conn_dirty(c);
}

/* Before its first event, so that whoever is told of it finds it among the service's clients. */
static bool enter_service(struct conn *c, const struct conn_accept *how)
{
    return !how->service || group_join_service(c, how->service, how->service_len) == 0;
}

bool conn_accept(struct conn *c, const struct conn_accept *how)
{
    c->answer_due = false;
    if (c->state == CONN_UPGRADE) {
        ws_init(&c->ws, WS_SERVER, &c->route->config.ws, &server_of(c)->shared, &c->out);
        c->ws.auto_pong = !how->wants_pings;
        c->wants_pings = how->wants_pings;
        c->wants_idle = how->wants_idle;
        if (enter_service(c, how) && write_accept(c, how)) {
            open_session(c);
            return true;
        }
        group_leave_all(c);
        conn_gone(c);
    }
    loop_defer(server_of(c)->loop, LOOP_FLUSH, &c->job);
    return false;
}

void conn_refuse(struct conn *c, struct http_reply *r)
{
    c->answer_due = false;
    if (c->state == CONN_UPGRADE)
        reply(c, r);
    else
        loop_defer(server_of(c)->loop, LOOP_FLUSH, &c->job);
}

const char *conn_subprotocol(const struct conn *c)
{
    const struct route_config *config = &c->route->config;
    return handshake_subprotocol(c->head, (const char *const *)config->subprotocols,
                                 config->subprotocol_count);
}
