// SPDX-License-Identifier: MIT
/*
 * The Caller's methods that send and close. Each checks its arguments, makes one call into the
 * server, and pushes the result: the Caller itself, or nil and an error object.
 *
 * A write is queued first and waits then, while more than max_buffered is queued: LuaJIT cannot
 * come back into a C function that has yielded, so there is no "after" in which it could be queued.
 */
#include "bind/ws/lcaller_private.h"

#include "base/err.h"
#include "bind/core/lcancel.h"
#include "bind/core/lerror.h"
#include "bind/core/ltask.h"
#include "bind/core/ltext.h"
#include "bind/ws/lgroup.h"
#include "bind/ws/lmessage.h"
#include "bind/ws/lservice.h"
#include "proto/ws/frame.h"
#include "proto/ws/utf8.h"

#define TIMEOUT_MAX_SECONDS 1e9

/* The connection behind argument 1, or NULL when it is gone: then `return lcaller_gone(L)`. */
static struct session *check_session(lua_State *L)
{
    return lcaller_self(L)->session;
}

/* As check_session, for a method that may wait: raises in a cancelled task. */
static struct session *enter(lua_State *L)
{
    lcancel_check(L, lvm_of(L)->running);
    return check_session(L);
}

static int gone_in_wait(lua_State *L)
{
    lcancel_check(L, lvm_of(L)->running);
    return lcaller_gone(L);
}

/* Waits on the connection; lcaller_wake goes on with the results. */
static int wait_for(lua_State *L, struct session *s, enum lcaller_wait what)
{
    struct lcaller *lc = s->user;
    struct ltask *t = lvm_of(L)->running;
    t->waits_for = (uint8_t)what;
    list_append(&lc->writers, &t->waiting);
    session_await_drain(s, true);
    return lcancel_wait(L);
}

/* The Caller itself, after waiting for the output to drain where it is over the limit. */
static int sent(lua_State *L, struct session *s)
{
    lua_settop(L, 1);
    if (conn_buffered(&s->conn) <= session_settings_of(s)->max_buffered || !ltask_can_wait(L))
        return 1;
    return wait_for(L, s, LCALLER_WAITS_WRITE);
}

static int result(lua_State *L, struct session *s, int err)
{
    return err == 0 ? sent(L, s) : lerror_return(lvm_of(L), L, err);
}

/* What a push to one client came to: the Caller, or nil and an error. */
static int pushed(lua_State *L, struct session *s, int err)
{
    if (err == ERR_POLICY) {
        lua_pushnil(L);
        lerror_push(lvm_of(L), L, "ConnectionError", "the client reads too slowly: %s",
                    session_settings_of(s)->drop_slow ? "the message was dropped"
                                                      : "the connection was closed");
        return 2;
    }
    if (err < 0)
        return lerror_return(lvm_of(L), L, err);
    lua_settop(L, 1);
    return 1;
}

/* How a message goes to one client, and what the call returns then. */
struct way {
    int (*gone)(lua_State *L);
    int (*send)(struct session *s, enum ws_type type, const void *bytes, size_t len);
    int (*outcome)(lua_State *L, struct session *s, int err);
};
static const struct way writing = {gone_in_wait, session_send, result};
/* A push never waits: a peer that does not read is dealt with as the route says. */
static const struct way pushing = {lcaller_gone, session_push, pushed};

/* Raises in a cancelled task where the way may wait, whether it would have to or not. */
static inline void check_cancelled(lua_State *L, const struct lcaller *lc, const struct way *way)
{
    if (way == &writing)
        lcancel_check(L, lc->service->vm->running);
}

/* The two kinds are compiled apart: this is what a message costs. */
#define APART static inline __attribute__((always_inline))

APART int send_message(lua_State *L, struct session *s, const struct way *way,
                       const struct lmessage *m)
{
    if (!lmessage_is_sendable(m))
        return lmessage_return_invalid(L, lvm_of(L), "use writeBinaryMessage for bytes");
    return way->outcome(L, s, way->send(s, lmessage_type(m), m->bytes, m->len));
}

APART int send_string(lua_State *L, const struct way *way, enum lmessage_kind kind)
{
    const struct lcaller *lc = lcaller_self(L);
    struct lmessage m = lmessage_check(L, 2, kind);
    if (!lc->session)
        return way->gone(L);
    check_cancelled(L, lc, way);
    return send_message(L, lc->session, way, &m);
}

static int send_text(lua_State *L, const struct way *way)
{
    return send_string(L, way, LMESSAGE_TEXT);
}

static int send_binary(lua_State *L, const struct way *way)
{
    return send_string(L, way, LMESSAGE_BINARY);
}

static int caller_write_text(lua_State *L)
{
    return send_text(L, &writing);
}

static int caller_write_binary(lua_State *L)
{
    return send_binary(L, &writing);
}

static int caller_push_text(lua_State *L)
{
    return send_text(L, &pushing);
}

static int caller_push_binary(lua_State *L)
{
    return send_binary(L, &pushing);
}

/* --- Values ----------------------------------------------------------------------------------- */

/* The value at 2 is written: what the conversion said is at 3, 4, 5. */
static struct lmessage convert(lua_State *L)
{
    lua_settop(L, 2);
    lmessage_push_convert(lvm_of(L), L, 2, false);
    lua_call(L, LMESSAGE_ARGS, LMESSAGE_RESULTS);
    return lmessage_read(L, 3);
}

/* The same for a value that a push carries: no close frame, no stream, and never nothing. */
static struct lmessage convert_payload(lua_State *L)
{
    lua_settop(L, 2);
    lmessage_push_payload(lvm_of(L), L, 2);
    lua_call(L, LMESSAGE_ARGS, LMESSAGE_RESULTS);
    return lmessage_read(L, 3);
}

/* Returns nil and the error at 4, for a value that cannot be sent. */
static int refuse(lua_State *L)
{
    lua_settop(L, 4);
    return 2;
}

/* It would have to wait for the stream's end: who wants that can say so in a loop. */
static int refuse_stream(lua_State *L)
{
    lua_pushnil(L);
    lerror_push(lvm_of(L), L, "Error",
                "a stream cannot be written: return it from the callback, or write its values in a "
                "loop");
    return 2;
}

/* The Caller itself. */
static int itself(lua_State *L)
{
    lua_settop(L, 1);
    return 1;
}

static int send_converted(lua_State *L, struct session *s, const struct way *way,
                          const struct lmessage *m)
{
    return send_message(L, s, way, m);
}

static int close_by_value(lua_State *L, struct session *s, const struct lmessage *m)
{
    int err = lmessage_close(s, m);
    return err < 0 ? lerror_return(lvm_of(L), L, err) : itself(L);
}

static int caller_write(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING)
        return caller_write_text(L);
    struct session *s = enter(L);
    luaL_checkany(L, 2);
    if (!s)
        return lcaller_gone(L);
    struct lmessage m = convert(L);
    switch (m.kind) {
    case LMESSAGE_NOTHING: return itself(L);
    case LMESSAGE_REFUSED: return refuse(L);
    case LMESSAGE_CLOSE: return close_by_value(L, s, &m);
    case LMESSAGE_STREAM: return refuse_stream(L);
    default: return send_converted(L, s, &writing, &m);
    }
}

static int caller_push(lua_State *L)
{
    struct session *s = check_session(L);
    if (lua_type(L, 2) == LUA_TSTRING)
        return caller_push_text(L);
    luaL_checkany(L, 2);
    if (!s)
        return lcaller_gone(L);
    struct lmessage m = convert_payload(L);
    return m.kind == LMESSAGE_REFUSED ? refuse(L) : send_converted(L, s, &pushing, &m);
}

/* --- To all clients of the service ------------------------------------------------------------ */

static int broadcast(lua_State *L, const struct lcaller *lc, const struct lmessage *m)
{
    struct lgroup_push push = {.key = lcaller_service_group(lc), .message = *m};
    return lgroup_push(L, lvm_of(L), &push);
}

static int broadcast_string(lua_State *L, enum lmessage_kind kind)
{
    const struct lcaller *lc = lcaller_self(L);
    struct lmessage m = lmessage_check(L, 2, kind);
    return lc->session ? broadcast(L, lc, &m) : lcaller_gone(L);
}

static int caller_broadcast_text(lua_State *L)
{
    return broadcast_string(L, LMESSAGE_TEXT);
}

static int caller_broadcast_binary(lua_State *L)
{
    return broadcast_string(L, LMESSAGE_BINARY);
}

static int caller_broadcast(lua_State *L)
{
    const struct lcaller *lc = lcaller_self(L);
    luaL_checkany(L, 2);
    if (!lc->session)
        return lcaller_gone(L);
    struct lmessage m = convert_payload(L);
    return m.kind == LMESSAGE_REFUSED ? refuse(L) : broadcast(L, lc, &m);
}

/* --- Control frames --------------------------------------------------------------------------- */

static int control(lua_State *L, int (*send)(struct session *, const void *, size_t))
{
    struct session *s = enter(L);
    size_t len;
    const char *bytes = luaL_optlstring(L, 2, "", &len);
    if (!s)
        return lcaller_gone(L);
    if (len > FRAME_CONTROL_MAX) {
        lua_pushnil(L);
        lerror_push(lvm_of(L), L, "Error", "a ping or pong carries at most %d bytes, this has %d",
                    FRAME_CONTROL_MAX, (int)len);
        return 2;
    }
    return result(L, s, send(s, bytes, len));
}

static int caller_ping(lua_State *L)
{
    return control(L, session_ping);
}

static int caller_pong(lua_State *L)
{
    return control(L, session_pong);
}

static int refuse_close(lua_State *L, const char *kind, const char *what, int index)
{
    lua_pushnil(L);
    lua_pushvalue(L, index);
    lerror_push(lvm_of(L), L, kind, "%s: %s", what, lua_tostring(L, -1));
    lua_remove(L, -2);
    return 2;
}

/* close() on a connection that is closing or gone */
static int closed_already(lua_State *L)
{
    lua_pushnil(L);
    lerror_push(lvm_of(L), L, "ConnectionClosureError", "the connection is closed already");
    return 2;
}

/*
 * Whether an app may close with this code. 1012 to 1014 may travel (peers send them, and a server
 * that cannot keep up uses 1013) but are reserved like the rest up to 2999, as in CloseFrame.
 */
static bool app_may_send(double code)
{
    return code >= 0 && code <= 65535 && code == (double)(unsigned)code &&
           ws_code_valid((unsigned)code) && !(code >= 1012 && code <= 2999);
}

/* close([statusCode [, reason [, timeout]]]) */
static int caller_close(lua_State *L)
{
    struct session *s = check_session(L);
    double code = luaL_optnumber(L, 2, WS_NORMAL);
    size_t len;
    const char *reason = luaL_optlstring(L, 3, "", &len);
    luaL_argcheck(L, ltext_is_line(reason, len), 3, "a reason must not contain CR, LF or NUL");
    if (luaL_optnumber(L, 4, 1) != 0) /* with 0 it never waits: also clean-up may call it */
        lcancel_check(L, lvm_of(L)->running);
    if (!s)
        return closed_already(L);
    double timeout = luaL_optnumber(L, 4, session_settings_of(s)->close_timeout);
    if (!app_may_send(code))
        return refuse_close(L, "ConnectionClosureError",
                            "Failed to execute close. Invalid status code", 2);
    if ((timeout < 0 && timeout != -1) || timeout > TIMEOUT_MAX_SECONDS || timeout != timeout)
        return refuse_close(L, "Error", "Invalid timeout value", 4);
    if (len > FRAME_REASON_MAX || !utf8_valid((const uint8_t *)reason, len)) {
        lua_pushnil(L);
        lerror_push(lvm_of(L), L, "ConnectionClosureError",
                    "Failed to execute close. The reason must be UTF-8 of at most %d bytes",
                    FRAME_REASON_MAX);
        return 2;
    }
    if (session_close(s, (unsigned)code, reason, len, timeout) < 0)
        return closed_already(L);
    lua_settop(L, 1);
    if (timeout == 0 || !ltask_can_wait(L))
        return 1;
    return wait_for(L, s, LCALLER_WAITS_CLOSE);
}

static const struct luaL_Reg methods[] = {
    {"writeTextMessage", caller_write_text},
    {"writeBinaryMessage", caller_write_binary},
    {"writeMessage", caller_write},
    {"pushText", caller_push_text},
    {"pushBinary", caller_push_binary},
    {"push", caller_push},
    {"broadcastText", caller_broadcast_text},
    {"broadcastBinary", caller_broadcast_binary},
    {"broadcast", caller_broadcast},
    {"ping", caller_ping},
    {"pong", caller_pong},
    {"close", caller_close},
    {NULL, NULL},
};

const struct luaL_Reg *lcaller_sending(void)
{
    return methods;
}
