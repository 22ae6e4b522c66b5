// SPDX-License-Identifier: MIT
/*
 * The request object: a userdata that holds the parsed head and the route, so that an app may keep
 * it longer than the connection. Its fields are computed in lua/neap/http/request.lua when they are
 * asked for.
 */
#ifndef NEAP_BIND_HTTP_LREQUEST_H
#define NEAP_BIND_HTTP_LREQUEST_H

#include "bind/http/lserver.h"

enum { LREQUEST_SLOT = LMODULE_HTTP + 2 };

struct lrequest {
    struct http_head *head;
    struct route *route;
    struct address peer;
    bool secure;
    struct tls_cert *cert;   /* the client's; NULL when there is none that verified */
    bool answering;          /* response headers may still be set */
    struct http_line *lines; /* those headers; owned, as are their strings */
    size_t line_count;
};

/* Pushes a new request object for the connection, which Lua owns. May raise (no memory). */
struct lrequest *lrequest_new(struct lvm *vm, lua_State *L, struct http_conn *h);

const struct lmodule *lrequest_module(void);

#endif
