// SPDX-License-Identifier: MIT
/*
 * What a handler leaves behind when it has ended: values that are sent to its connection, or an
 * error that ends it.
 */
#ifndef NEAP_BIND_WS_LRESULT_H
#define NEAP_BIND_WS_LRESULT_H

#include "bind/core/lvm.h"
#include "server/conn.h"

struct ltask;

/* The vm whose server has this connection. */
static inline struct lvm *lvm_of_conn(const struct conn *c)
{
    return LIST_ITEM(c->endpoint->server, struct lvm, server);
}

/*
 * Ends the session for an error: close frame with `code` and `reason` (as much of it as is UTF-8 of
 * at most 123 bytes), then onError with the error object at the top of L,
 * which is popped, then onClose. False when the session was over already.
 */
bool lresult_fail(lua_State *L, struct conn *c, unsigned code, struct http_str reason);

/*
 * The same, with 1011, for the error value at the top of vm->L, which stays there: any value, of
 * which an error object is made where it is none.
 */
void lresult_raised(struct ltask *t, struct http_str reason);

/*
 * For the finish function of a handler of t->conn: sends the results that are all on t->co, or,
 * without `ok`, ends the session for the error at the top of vm->L.
 */
void lresult_send(struct ltask *t, bool ok);

#endif
