// SPDX-License-Identifier: MIT
/*
 * A session needs somebody who writes its output: for tests, an output queue of its own, and a pool
 * of its own for those that share a struct ws_shared. They come from an allocation that tests do
 * not count, and that does not fail: those are the session's.
 */
#ifndef NEAP_TESTS_UNIT_WSOUT_H
#define NEAP_TESTS_UNIT_WSOUT_H

#include "proto/ws/ws.h"

#include <stdlib.h>
#include <string.h>

static inline void *wsout_zeroes(size_t size)
{
    void *p = aligned_alloc(16, (size + 15) / 16 * 16);
    return memset(p, 0, size);
}

/* As ws_init. */
static inline void wsout_init(struct ws *ws, enum ws_role role, const struct ws_limits *limits,
                              struct ws_shared *shared)
{
    if (!shared->pool)
        shared->pool = wsout_zeroes(sizeof *shared->pool);
    ws_init(ws, role, limits, shared, wsout_zeroes(sizeof *ws->out));
}

/* As ws_deinit; the output goes, too. */
static inline void wsout_deinit(struct ws *ws)
{
    ws_deinit(ws);
    outq_clear(ws->out, ws->shared->pool);
    free(ws->out);
}

/* As ws_shared_deinit; the pool goes, too. */
static inline void wsout_shared_deinit(struct ws_shared *shared)
{
    ws_shared_deinit(shared);
    if (shared->pool)
        outpool_deinit(shared->pool);
    free(shared->pool);
    shared->pool = NULL;
}

#endif
