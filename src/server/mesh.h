// SPDX-License-Identifier: MIT
/*
 * The bus over Unix stream sockets: one socket pair between any two workers, made by the master
 * when the later of them starts. So no message goes through a third process, and the death of a
 * worker is an end of file that all others see at once.
 *
 *      u32 length, little endian │ message │ u32 length │ message │ …
 *
 * What is queued in a turn is written at its end, in one system call for each peer that something
 * was queued for. A peer that does not read makes its queue grow to BUS_QUEUE_MAX; after that
 * messages to it are refused, and the log says so once a second.
 */
#ifndef NEAP_SERVER_MESH_H
#define NEAP_SERVER_MESH_H

#include "server/bus.h"
#include "server/server.h"

struct mesh;

/* A mesh without peers; `self` is this worker's number. */
struct mesh *mesh_new(struct server *s, unsigned self);
/* Closes all lines; nobody is told. */
void mesh_free(struct mesh *m);

/* The bus, for groups_use_bus; valid as long as the mesh is. */
struct bus *mesh_bus(struct mesh *m);

/*
 * Takes over a connected socket to that worker and tells on_peer, at the end of this turn. A line
 * that the same number had before is read to its end first, and gone.
 */
void mesh_add(struct mesh *m, unsigned peer, int fd);

#endif
