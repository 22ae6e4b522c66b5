// SPDX-License-Identifier: MIT
/*
 * Results of handlers become messages. A string is sent from here; everything else is asked of
 * hooks.convert (lua/neap/websocket/convert.lua), which says what it is on the wire.
 *
 *      string                     text, or binary or a pong, as the handler answers
 *      nil, err                   the session ends: 1011, err's message as reason where it has one,
 *                                 without CR, LF and NUL
 *      any other value            hooks.convert: bytes, a close frame, nothing, an error, or a
 *                                 stream (lstream.c)
 *      (raised)                   the session ends: 1011, "internal error"
 *
 * Once a close frame has been queued nothing is sent any more.
 */
#include "bind/ws/lresult.h"

#include "base/err.h"
#include "base/log.h"
#include "bind/core/lerror.h"
#include "bind/core/ltask.h"
#include "bind/core/ltell.h"
#include "bind/ws/lfail.h"
#include "bind/ws/lgroup.h"
#include "bind/ws/lmessage.h"
#include "bind/ws/lservice.h"
#include "bind/ws/lstream.h"
#include "proto/ws/frame.h"
#include "session/session.h"

#include <stdio.h>

static void fail(struct ltask *t)
{
    lfail_raised(t, lfail_reason());
}

/* One line about the connection: "onMessage", `what`, `text`. */
static void log_line(enum log_level level, const struct ltask *t, const char *what, struct str text)
{
    lua_State *L = t->vm->L;
    ltell_line(level, t, lua_pushfstring(L, "%s %s", t->name, what), text);
    lua_pop(L, 1);
}

/* Whether the error at the top of vm->L says that a connection is gone, or closing. */
static bool tells_gone(const struct lvm *vm)
{
    return lerror_is(vm, vm->L, -1, "ConnectionError") ||
           lerror_is(vm, vm->L, -1, "ConnectionClosureError");
}

/* The error that a handler returned is at the top of vm->L. */
static void tell_returned(struct ltask *t)
{
    struct ltell said;
    bool writable = session_writable(session_of(t->conn));
    if (!writable && tells_gone(t->vm))
        return;
    ltell_begin(t, &said);
    log_line(LOG_WARN, t, "returned an error: ", said.log);
    if (writable) {
        ltell_push_object(t, &said);
        lfail_session(t->vm->L, session_of(t->conn), WS_INTERNAL_ERROR,
                      said.public.s ? said.public : lfail_reason());
    }
    ltell_end(t, &said);
}

/*
 * `return nil, err`: err's message is the reason, where it has one. When this very connection is
 * gone, that is not news; anything else is for the log, at least.
 */
static void returned_error(struct ltask *t, int index)
{
    if (lua_isnoneornil(t->co, index))
        return;
    lua_settop(t->co, index);
    lua_xmove(t->co, t->vm->L, 1);
    tell_returned(t);
    lua_pop(t->vm->L, 1);
}

/*
 * What the handler returned cannot be sent, for the reason at the top of vm->L, which is popped:
 * that is for the log only.
 */
static void fail_saying(struct ltask *t, const char *what)
{
    struct ltell said;
    ltell_begin(t, &said);
    log_line(LOG_ERROR, t, what, said.message);
    ltell_end(t, &said);
    fail(t);
    lua_pop(t->vm->L, 1);
}

static void send_message(struct ltask *t, const struct lmessage *m)
{
    if (!lmessage_is_sendable(m)) {
        lua_pushliteral(t->vm->L, "returned text that is not valid UTF-8: return "
                                  "websocket.bytes(…) for bytes");
        fail_saying(t, "");
    } else if (session_send(session_of(t->conn), lmessage_type(m), m->bytes, m->len) == ERR_NOMEM) {
        lua_pushstring(t->vm->L, err_text(ERR_NOMEM));
        fail_saying(t, "cannot send what it returned: ");
    }
}

static void send_string(struct ltask *t)
{
    size_t len;
    const char *bytes = lua_tolstring(t->co, 1, &len);
    struct lmessage m = {
        .kind = t->binary ? LMESSAGE_BINARY : LMESSAGE_TEXT, .bytes = bytes, .len = len};
    send_message(t, &m);
}

/* What cannot be sent, for the reason at 3, which names the app's fields: not for the client. */
static void refused(struct ltask *t)
{
    if (lerror_is(t->vm, t->co, 1, NULL)) {
        returned_error(t, 3);
        return;
    }
    lua_settop(t->co, 3);
    lua_xmove(t->co, t->vm->L, 1);
    fail_saying(t, "returned what cannot be sent: ");
}

/* Any value but a string: what it is on the wire is at 2, 3, 4. */
static void send_converted(struct ltask *t)
{
    lua_State *co = t->co;
    lua_settop(co, 1);
    lmessage_push_convert(t->vm, co, 1, t->binary);
    if (ltask_call(t, LMESSAGE_ARGS, LMESSAGE_RESULTS) != 0) {
        ltell_raised(t);
        fail(t);
        lua_pop(t->vm->L, 1);
        return;
    }
    struct lmessage m = lmessage_read(co, 2);
    switch (m.kind) {
    case LMESSAGE_NOTHING: break;
    case LMESSAGE_REFUSED: refused(t); break;
    case LMESSAGE_STREAM: lstream_start(t, 2); break;
    case LMESSAGE_CLOSE: lmessage_close(session_of(t->conn), &m); break;
    default: send_message(t, &m);
    }
}

/* A string that onPing returns is the pong's data, as much as a pong can carry (RFC 6455 §5.5). */
static void send_pong(struct ltask *t)
{
    size_t len;
    const char *bytes = lua_tolstring(t->co, 1, &len);
    if (len > FRAME_CONTROL_MAX) {
        char why[80];
        int n =
            snprintf(why, sizeof why, "a pong carries at most %d bytes, what it returned has %zu",
                     FRAME_CONTROL_MAX, len);
        log_line(LOG_WARN, t, "cut its answer: ", (struct str){why, (size_t)n});
        len = FRAME_CONTROL_MAX;
    }
    session_pong(session_of(t->conn), bytes, len);
}

static void send_values(struct ltask *t)
{
    lua_State *co = t->co;
    switch (lua_type(co, 1)) {
    case LUA_TNONE: return;
    case LUA_TNIL: returned_error(t, 2); return;
    case LUA_TSTRING:
        if (t->what == LSERVICE_PING)
            send_pong(t);
        else if (session_writable(session_of(t->conn)))
            send_string(t);
        return;
    default: /* `return websocket.pushTextToGroup(…)` is harmless, and frequent */
        if (session_writable(session_of(t->conn)) && !lgroup_is_result(t->vm, co, 1))
            send_converted(t);
    }
}

void lresult_send(struct ltask *t, bool ok)
{
    if (!ok)
        fail(t);
    else if (lua_gettop(t->co) > 0)
        send_values(t);
}
