// SPDX-License-Identifier: MIT
/*
 * The bus over Unix stream sockets: one socket pair between any two workers, made by the master
 * when the later of them starts. So no message goes through a third process, and the death of a
 * worker is an end of file that all others see at once.
 *
 *      u32 length, little endian │ message │ u32 length │ message │ …
 *
 * What is queued in a turn is written at its end, in one system call for each worker that something
 * was queued for. A worker that does not read makes its queue grow to BUS_QUEUE_MAX; after that
 * messages to it are refused until half of the queue is free again, and the log says so, at most
 * once a second. Of what comes in, each worker has one read a turn, so that a talkative one starves
 * neither clients nor the other workers.
 */
#ifndef NEAP_BUS_MESH_H
#define NEAP_BUS_MESH_H

#include "bus/bus.h"
#include "net/loop.h"

#include <stdint.h>

struct mesh;

/*
 * A mesh without workers; `self` is this worker's number. Until somebody uses its bus, messages are
 * dropped. Lives as long as the loop and the buffer of MESH_READ_SIZE bytes, which it uses only
 * while it reads: others may do so, too.
 */
enum { MESH_READ_SIZE = 64 * 1024 }; /* a turn, of messages that may each fan out to thousands */
struct mesh *mesh_new(struct loop *loop, uint8_t *read_buffer, unsigned self);
/* Closes all lines; nobody is told. */
void mesh_free(struct mesh *m);

/* The bus, for groups_use_bus; valid as long as the mesh is. */
struct bus *mesh_bus(struct mesh *m);

/*
 * Takes over a connected socket to that worker and tells on_other, at the end of this turn. A line
 * that the same number had before is read to its end first, and gone: what its worker has written
 * before it died counts. A socket for a number that cannot be a worker is closed.
 */
void mesh_add(struct mesh *m, unsigned other, int fd);

/*
 * Has `fn` called when a line had to be ended although its worker is alive: a malformed message, or
 * no memory for one. A new line to that worker is wanted then. At the end of file nobody is told.
 */
void mesh_on_lost(struct mesh *m, void (*fn)(void *arg, unsigned other), void *arg);

#endif
