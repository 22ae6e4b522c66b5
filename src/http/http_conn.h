// SPDX-License-Identifier: MIT
/*
 * A connection that a listener has accepted: it speaks HTTP until a request becomes a WebSocket
 * session, which is embedded, so that the object stays where it is. What only HTTP needs lies in an
 * exchange on the heap, and is freed when the session begins.
 *
 *      HTTP_HEAD ──▶ HTTP_UPGRADE ──▶ a session: no exchange any more
 *          │ refused       │ refused
 *          ▼               ▼
 *      HTTP_REPLY ───────────▶ lingers, is gone
 *
 * A refusal always ends the connection: nothing after a request that we did not accept is ever
 * parsed, so there is nothing to smuggle.
 */
#ifndef NEAP_HTTP_HTTP_CONN_H
#define NEAP_HTTP_HTTP_CONN_H

#include "http/router.h"
#include "http/settings.h"
#include "proto/http/handshake.h"
#include "session/session.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct http_site;

/* What the connections of a listener need of it. */
struct http_site_hooks {
    /*
     * Counts a peer in: 0, or the HTTP status that refuses it. What was counted in is counted out
     * by `leave`.
     */
    int (*enter)(struct http_site *site, const struct address *peer);
    void (*leave)(struct http_site *site, const struct address *peer);
    /* A connection has gone. The site may be freed by that. */
    void (*freed)(struct http_site *site);
};

struct http_site {
    const struct http_site_hooks *hooks;
    struct conn_shared *conns_shared;
    struct session_shared *sessions;
    struct http_settings settings;
    struct router router;
    struct link conns; /* all of its connections, opened or not */
};

struct http_conn {
    struct session session;
    struct http_site *site;
    struct http_head *head;    /* the request; NULL until it has come whole */
    struct exchange *exchange; /* NULL once a session has begun */
    struct link link;          /* in site->conns */
};

/* Takes over an accepted socket. Frees itself. */
void http_conn_open(struct http_site *site, int fd, const struct address *peer);

/* What was attached to the path of the request, or NULL: it is not known yet, or there is none. */
struct route *http_conn_route(const struct http_conn *h);

/* Answers an upgrade with 101. `lines` are header lines for the response, checked already. */
struct http_accept {
    const struct http_line *lines;
    size_t line_count;
    bool wants_pings, wants_idle; /* as in struct session_config */
};
/*
 * Returns false when the client has gone meanwhile or memory is short: nothing will be told but
 * on_free.
 */
bool http_conn_accept(struct http_conn *h, const struct http_accept *how);

/* Refuses an upgrade with that response; `connection: close` and the Server header are added. */
void http_conn_refuse(struct http_conn *h, struct http_reply *reply);

/*
 * Not answered yet, as far as we know: true while the request has not come, or while an upgrade
 * function waits that http_conn_excuse was called for.
 */
bool http_conn_refusable(const struct http_conn *h);

/* Refuses such a connection with that status, and a sentence in plain text (NULL: the usual). */
void http_conn_refuse_with(struct http_conn *h, int status, const char *text);

/*
 * Its handler waits for the drain, which therefore cannot wait for it: neither for its answer, nor,
 * once its socket is closed, for the rest.
 */
void http_conn_excuse(struct http_conn *h);
bool http_conn_excused(const struct http_conn *h);

/* The sub-protocol of the 101 response, or NULL. */
const char *http_conn_subprotocol(const struct http_conn *h);

static inline struct http_conn *http_conn_of(const struct session *s)
{
    return (struct http_conn *)(uintptr_t)s; /* its first member */
}

#endif
