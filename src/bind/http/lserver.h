// SPDX-License-Identifier: MIT
/*
 * The server under the Lua state: what all listeners and connections of this worker share. Whoever
 * speaks on connections gives it its hooks (bind/ws/lconn.c).
 */
#ifndef NEAP_BIND_HTTP_LSERVER_H
#define NEAP_BIND_HTTP_LSERVER_H

#include "bind/core/lvm.h"
#include "http/http_conn.h"
#include "server/server.h"

enum { LSERVER_SLOT = LMODULE_HTTP };

struct lserver {
    struct server server;
    struct lvm *vm;
    /* whom routes and listeners tell: bind/ws/lconn.c sets them */
    const struct session_hooks *session_hooks;
    const struct http_hooks *http_hooks;
};

/* The server of a vm, which owns it. */
static inline struct server *lserver_of(const struct lvm *vm)
{
    return &((struct lserver *)vm->states[LSERVER_SLOT])->server;
}

/* The vm of a server. */
static inline struct lvm *lserver_vm(struct server *s)
{
    return LIST_ITEM(s, struct lserver, server)->vm;
}

/* The vm whose server has this connection. */
static inline struct lvm *lserver_vm_of_conn(const struct conn *c)
{
    return lserver_vm(LIST_ITEM(c->shared, struct server, conns));
}

/* Closes last but for what holds nothing of it: its listeners must be gone. */
const struct lmodule *lserver_module(void);

#endif
