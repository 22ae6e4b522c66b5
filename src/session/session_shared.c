// SPDX-License-Identifier: MIT
/* Memory of large messages is kept as long as such come: see mem_keep_large. */
#include "session/session_shared.h"

#include "base/mem.h"

#define LARGE_KEPT_SECONDS 3.0

static void on_large_rest(struct loop_timer *timer)
{
    struct session_shared *shared = LIST_ITEM(timer, struct session_shared, large_rests);
    if (shared->large_again)
        loop_timer_start(shared->loop, timer, LARGE_KEPT_SECONDS);
    else
        mem_trim();
    shared->large_again = false;
}

static void on_large(struct ws_shared *ws)
{
    struct session_shared *shared = LIST_ITEM(ws, struct session_shared, ws);
    shared->large_again = true;
    if (!loop_timer_active(&shared->large_rests))
        loop_timer_start(shared->loop, &shared->large_rests, LARGE_KEPT_SECONDS);
}

void session_shared_init(struct session_shared *shared, struct conn_shared *conns)
{
    *shared = (struct session_shared){.loop = conns->loop};
    shared->ws.pool = &conns->pool;
    shared->ws.on_large = on_large;
    loop_timer_init(&shared->large_rests, on_large_rest);
    mem_keep_large();
}

void session_shared_deinit(struct session_shared *shared)
{
    loop_timer_stop(shared->loop, &shared->large_rests);
    ws_shared_deinit(&shared->ws);
}
