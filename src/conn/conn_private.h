// SPDX-License-Identifier: MIT
/* What the parts of a connection (conn.c, conn_clock.c, conn_rest.c) call in each other. */
#ifndef NEAP_CONN_CONN_PRIVATE_H
#define NEAP_CONN_CONN_PRIVATE_H

#include "conn/conn.h"

/* conn.c: the turn of a connection that had to rest has come. */
void conn_go_on(struct conn *c);

/* conn_clock.c: we do not listen to the peer from now on (or do again). */
void conn_clock_hold(struct conn *c, bool hold) RARE;
/* There is output that the peer has to take before we can go on (or all has been taken). */
void conn_clock_output(struct conn *c, bool waits) RARE;
/* `written` bytes of the queue have left, while marked. */
void conn_clock_mark_moved(struct conn *c, size_t written) RARE;
/* What the wheel calls. */
void conn_clock_on_due(struct wheel_entry *entry);

/* conn.c: dies when the flags are not as conn.h's table has them (in builds for tests). */
void conn_check(const struct conn *c);
/*
 * conn_clock.c: the same for what the wheel has to know: whenever the connection has been dealt
 * with, by whatever the loop called.
 */
void conn_clock_check(const struct conn *c);

#endif
