// SPDX-License-Identifier: MIT
/*
 * Who is in which group: joining, leaving, and the end of a group.
 */
#ifndef NEAP_GROUP_GROUP_H
#define NEAP_GROUP_GROUP_H

#include "group/group_key.h"
#include "session/session.h"

struct groups;

enum { GROUP_PER_CONN = 10000 }; /* groups and names that one connection may be in */

/*
 * Puts the connection into the group; harmless when it is there. For GROUP_STORED: it becomes the
 * holder of the name, in the place of whoever was. Others hear of it at the end of the turn, and
 * before any push of this worker that follows. Returns 0, ERR_CLOSED when session_writable says no,
 * ERR_ARGUMENT for GROUP_SERVICE and for a name that is empty or too long, ERR_POLICY when it is in
 * GROUP_PER_CONN, ERR_NOMEM.
 */
int group_join(struct groups *g, const struct group_key *key, struct session *s);

/* Takes the connection out; false when it was not in. Not for GROUP_STORED: see group_dissolve. */
bool group_leave(struct groups *g, const struct group_key *key, struct session *s);

/*
 * For session_hooks.begins: the session opens, as a client of that service; it is in none yet. 0,
 * ERR_ARGUMENT for a bad name, ERR_NOMEM.
 */
int group_join_service(struct groups *g, struct session *s, const char *name, size_t len);

/* For session_hooks.ends: takes the session out of everything. Harmless when it is in nothing. */
void group_leave_all(struct groups *g, struct session *s);

/*
 * Empties the group, or takes the name from its holder, in all workers; the connections stay open.
 * False when it had no members as far as is known here, and for GROUP_SERVICE.
 */
bool group_dissolve(struct groups *g, const struct group_key *key);

#endif
