// SPDX-License-Identifier: MIT
/*
 * The lines between the workers: a connected pair of Unix stream sockets for any two that are
 * alive, each of which is sent its end (WIRE_OTHER). The master keeps none of them, so the death of
 * a worker is the end of file of its lines.
 *
 *      worker 0 ────── pair ────── worker 1          a new life of worker 1: new pairs with
 *          └── pair ── worker 2 ── pair ──┘          0 and 2; the pair of 0 and 2 stays
 *
 * A pair that cannot be made or sent now (no descriptor left, a worker that does not read its
 * line) is tried again ten times a second, until it works or one of the two has died.
 */
#ifndef NEAP_MASTER_PAIRS_H
#define NEAP_MASTER_PAIRS_H

#include "net/loop.h"

struct pairs;

struct pairs *pairs_new(struct loop *loop, int workers);
/* Also in a forked worker: no descriptor is kept that would have to be closed. */
void pairs_free(struct pairs *p);

/* That worker lives, and `line` is the master's end of its line: connects it to all others. */
void pairs_worker_started(struct pairs *p, int worker, int line);

/* It has died; `line` is about to be closed. */
void pairs_worker_ended(struct pairs *p, int worker);

/*
 * A worker asks for a new line to that other one; it gets one after a second, so that a fault that
 * comes again and again does not keep both busy. Whatever it asks for is harmless.
 */
void pairs_lost(struct pairs *p, int worker, int other);

#endif
