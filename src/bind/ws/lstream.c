// SPDX-License-Identifier: MIT
/*
 * The life of streams. What one does is in lua/neap/websocket/stream.lua (hooks.stream): it asks
 * for a value, sends it, waits while the client reads too slowly. Here each is a task that belongs
 * to its connection but is no handler of it: messages are dispatched meanwhile, and on_close does
 * not wait.
 *
 *      lstream_start ─▶ task, in lc->streams ──▶ ends by itself
 *                                           ╰──▶ the session ends: lstream_stop_all cancels it for
 *                                                good and lets go; it has no connection any more
 *
 * A client may send a message for every stream that it wants, and never read: so a connection has
 * at most STREAMS_MAX. While it has as many, its messages wait.
 */
#include "bind/ws/lstream.h"

#include "bind/core/lcancel.h"
#include "bind/core/ltask.h"
#include "bind/ws/lcaller.h"
#include "bind/ws/lfail.h"

#include <lauxlib.h>

enum { STREAMS_MAX = 32 };

struct lstreams {
    int hook; /* registry reference: of the hook `stream` */
};

static void stream_finished(struct ltask *t, bool ok)
{
    struct lcaller *lc = session_of(t->conn)->user;
    if (!ok)
        lfail_raised(t, str_of("streaming failed"));
    list_remove(&t->kin);
    lc->stream_count--;
    if (lc->held && lc->stream_count < STREAMS_MAX) {
        lc->held = false;
        session_release(session_of(t->conn));
    }
}

/* Handlers that run in parallel may go past STREAMS_MAX, by as many as there are of them. */
static void count_in(struct lcaller *lc, struct ltask *t)
{
    list_append(&lc->streams, &t->kin);
    session_await_drain(lc->session, true); /* so that lcaller_wake hears when the session ends */
    if (++lc->stream_count < STREAMS_MAX || lc->held)
        return;
    lc->held = true;
    session_hold(lc->session);
}

void lstream_start(struct ltask *from, int source)
{
    struct lcaller *lc = session_of(from->conn)->user;
    struct lvm *vm = from->vm;
    const struct lstreams *s = vm->states[LSTREAM_SLOT];
    if (lc->session->conn.hung_up)
        return; /* its messages are handled still, but it does not listen */
    struct ltask *t = ltask_get(vm, "stream");
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, s->hook);
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, lc->anchor);
    lua_pushvalue(from->co, source);
    lua_xmove(from->co, t->co, 1);
    lua_pushboolean(t->co, from->binary);
    lua_pushstring(t->co, from->name);
    lua_pushfstring(t->co, "stream of %s", from->name);
    t->name = lua_tostring(t->co, -1);
    t->pinned = luaL_ref(t->co, LUA_REGISTRYINDEX);
    t->conn = from->conn;
    t->finish = stream_finished;
    count_in(lc, t);
    ltask_start(t, 4);
}

void lstream_stop_all(struct lcaller *lc)
{
    while (!link_empty(&lc->streams)) {
        struct ltask *t = LIST_ITEM(lc->streams.next, struct ltask, kin);
        list_remove(&t->kin);
        t->conn = NULL;
        t->finish = NULL;
        lcancel_task(t);
    }
    lc->stream_count = 0;
    if (!lc->held)
        return;
    lc->held = false;
    session_release(lc->session);
}

static void module_take(struct lvm *vm, lua_State *L)
{
    struct lstreams *s = vm->states[LSTREAM_SLOT];
    s->hook = lvm_take_hook(L, "stream");
}

const struct lmodule *lstream_module(void)
{
    static const struct lmodule module = {.name = "stream",
                                          .slot = LSTREAM_SLOT,
                                          .size = sizeof(struct lstreams),
                                          .take = module_take};
    return &module;
}
