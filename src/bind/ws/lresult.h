// SPDX-License-Identifier: MIT
/*
 * What a handler leaves behind when it has ended: values that are sent to its connection, or an
 * error that ends it.
 */
#ifndef NEAP_BIND_WS_LRESULT_H
#define NEAP_BIND_WS_LRESULT_H

#include <stdbool.h>

struct ltask;

/*
 * For the finish function of a handler of t->conn: sends the results that are all on t->co, or,
 * without `ok`, ends the session for the error at the top of vm->L, which stays there. Never
 * raises.
 */
void lresult_send(struct ltask *t, bool ok);

#endif
