// SPDX-License-Identifier: MIT
/*
 * What a handler leaves behind when it has ended: values that are sent to its connection, or an
 * error that ends it.
 */
#ifndef NEAP_BIND_LRESULT_H
#define NEAP_BIND_LRESULT_H

#include "bind/lvm.h"
#include "server/conn.h"

struct ltask;

/* The vm whose server has this connection. */
static inline struct lvm *lvm_of_conn(const struct conn *c)
{
    return LIST_ITEM(c->endpoint->server, struct lvm, server);
}

/*
 * For the finish function of a handler of t->conn: sends the results that are all on t->co, or,
 * without `ok`, ends the session for the error at its top.
 */
void lresult_send(struct ltask *t, bool ok);

#endif
