// SPDX-License-Identifier: MIT
/* What the parts of HTTP on a connection (http_conn.c, http_upgrade.c) call in each other. */
#ifndef NEAP_HTTP_HTTP_PRIVATE_H
#define NEAP_HTTP_HTTP_PRIVATE_H

#include "http/http_conn.h"

enum http_state { HTTP_HEAD, HTTP_UPGRADE, HTTP_REPLY };

/*
 * A request and its answer. What it has by its state:
 *
 *                    HTTP_HEAD         HTTP_UPGRADE    HTTP_REPLY
 *      counted       yes               yes             when it was
 *      parser        once bytes came   no              no
 *      head          no                yes             if it had come
 *      route         no                yes             if there is one
 *      answer_due    no                until then      until the app knows that it is too late
 *      early         no                yes             no
 */
struct exchange {
    uint8_t state;       /* enum http_state */
    bool counted;        /* by the site; false only for those that it refused at once */
    bool shaken;         /* the TLS handshake was in time: the head has the rest of its own */
    bool answer_due;     /* http_conn_accept or http_conn_refuse has not been called yet */
    struct route *route; /* from HTTP_UPGRADE on */
    struct http_parser *parser; /* while the head is being read */
    struct buf early;           /* bytes after the head, until the session takes them */
};

/* http_conn.c: answers, and ends the connection once that is out, or at once without memory. */
void http_conn_reply(struct http_conn *h, struct http_reply *reply);
/* http_conn.c: frees the exchange's memory. */
void http_conn_end_exchange(struct http_conn *h);
/* http_conn.c: the `free` of both protocols. */
void http_conn_free(struct conn *c);

/* http_upgrade.c: the head is whole: finds its route, and asks the app. */
void http_upgrade(struct http_conn *h);
/* http_upgrade.c: bytes that come while the answer is still due: they wait. */
void http_upgrade_early(struct http_conn *h, const uint8_t *bytes, size_t len);
/* http_upgrade.c: true while more of those are taken. */
bool http_upgrade_wants_early(const struct http_conn *h);

#endif
