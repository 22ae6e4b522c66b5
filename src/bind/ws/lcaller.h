// SPDX-License-Identifier: MIT
/*
 * The Caller of a connection: one userdata, made when the upgrade is accepted, whose environment
 * table is the first argument of the callbacks (the service instance). It outlives the connection
 * when the app keeps it: then `conn` is NULL and every method answers nil and an error.
 */
#ifndef NEAP_BIND_WS_LCALLER_H
#define NEAP_BIND_WS_LCALLER_H

#include "bind/core/lvm.h"
#include "group/group_key.h"
#include "http/http_conn.h"

struct lservice;

enum { LCALLER_SLOT = LMODULE_WS + 2 };

/* What a task in `writers` waits for: ltask.waits_for. */
enum lcaller_wait { LCALLER_WAITS_WRITE, LCALLER_WAITS_CLOSE, LCALLER_WAITS_HANDLER };

struct lcaller {
    struct session *session;
    struct lservice *service;
    /* tasks that wait for output to drain, for the close to complete, or for a handler to end */
    struct link writers;
    struct link streams; /* tasks of lstream.c, by ltask.kin */
    uint32_t stream_count;
    bool held;           /* there are as many as may be: nothing is told (session_hold) */
    bool has_attributes; /* in the table of all callers' attributes */
    /* registry reference that keeps the userdata while the connection lives */
    int anchor;
    int error; /* registry reference of the error object for onError; LUA_NOREF: none */
};

/*
 * Makes the Caller of a connection from the service and the instance table at `self`; sets
 * session->user. Counts the service. Lua owns it; until lcaller_detach it is kept. May raise (no
 * memory).
 */
struct lcaller *lcaller_new(struct lvm *vm, lua_State *L, struct session *s,
                            struct lservice *service, int self);

/*
 * The group that all clients of the service are in, over all workers: named as the service, or
 * after the route where that has no name. Valid as long as the connection, which must be there.
 */
struct group_key lcaller_service_group(const struct lcaller *lc);

/* The Caller at `index`; raises when the value there is none. */
struct lcaller *lcaller_check(lua_State *L, int index);

/* Pushes self and the Caller, which must have a connection. Does not raise. */
void lcaller_push_both(lua_State *L, const struct lcaller *lc);

/*
 * Wakes who waits: writers once output is low, closers once the session is over. What is woken runs
 * later in the turn.
 */
void lcaller_wake(struct lcaller *lc);

/* Whether a task waits, or a stream is sent: the connection tells of its output then. */
bool lcaller_is_waited_for(const struct lcaller *lc);

/* A further handler has ended: wakes who waits for that. */
void lcaller_handler_ended(struct lcaller *lc);

/* The connection is freed: cuts the tie. Never raises. */
void lcaller_detach(struct lvm *vm, struct lcaller *lc);

#endif
