// SPDX-License-Identifier: MIT
/* Streams: a handler returned an iterator or a coroutine, whose values are sent one by one. */
#ifndef NEAP_BIND_WS_LSTREAM_H
#define NEAP_BIND_WS_LSTREAM_H

#include "bind/core/lvm.h"

struct lcaller;

enum { LSTREAM_SLOT = LMODULE_WS + 4 };

/*
 * Starts a stream for what the handler that `from` was has returned at `source` on its stack. Runs
 * it at once, as far as it goes without waiting. What it raises ends the session.
 */
void lstream_start(struct ltask *from, int source);

/* Nothing can be sent any more: stops all streams of a connection, which forgets them. */
void lstream_stop_all(struct lcaller *lc);

const struct lmodule *lstream_module(void);

#endif
