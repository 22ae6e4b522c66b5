// SPDX-License-Identifier: MIT
/*
 * Error objects, and their logging. The kinds are those of the source documents: "ConnectionError",
 * … A mistake of the programmer raises a plain message; what the world does comes back as nil and
 * one of these.
 */
#ifndef NEAP_BIND_CORE_LERROR_H
#define NEAP_BIND_CORE_LERROR_H

#include "base/log.h"
#include "bind/core/lvm.h"
#include "proto/http/http.h"

struct ltask;

/* Pushes an error object { kind, message }. */
void lerror_push(struct lvm *vm, lua_State *L, const char *kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Pushes nil and the error object for a negative enum err of conn_send and its like; returns 2. */
int lerror_return(struct lvm *vm, lua_State *L, int err);

/* The kind that stands for an enum err: "CorruptedFrameError", "PayloadTooLargeError", … */
const char *lerror_kind(int err);

/*
 * Whether the value at `index` is an error object, of this kind where one is given. Never calls
 * into the app: safe where nothing would catch what its metamethods raise.
 */
bool lerror_is(const struct lvm *vm, lua_State *L, int index, const char *kind);

/*
 * What is said of an error value, by the hook `tell`: lua/neap/message/tell.lua. The texts are on
 * the stack of vm->L until lerror_told_end.
 */
struct lerror_told {
    struct http_str log;     /* for the log */
    struct http_str message; /* of an error object that is made of it */
    struct http_str public;  /* what a client may read; without it, .s is NULL */
    int top;                 /* of vm->L as it was */
};

/*
 * Asks for what is said of the error value at the top of vm->L. Metamethods of the app's are called
 * for it, on vm->L, since the task's own stack may be full: protected, watched by the guard, and
 * unable to wait.
 */
void lerror_tell(struct ltask *t, struct lerror_told *told);

/* Pushes on vm->L the error object that the value is, or one that is made of it. */
void lerror_push_told(const struct ltask *t, const struct lerror_told *told);

/* Gives the texts up. The error value is at the top of vm->L again. */
void lerror_told_end(struct ltask *t, const struct lerror_told *told);

/* Replaces the error value at the top of vm->L by an error object. */
void lerror_take_object(struct ltask *t);

/*
 * Logs one event of the task and of its connection: "error in onMessage: no luck", where `what` is
 * all before the text.
 */
void lerror_line(enum log_level level, const struct ltask *t, const char *what,
                 struct http_str text);

/*
 * Pushes the text and the traceback of another coroutine, from `level` on, as far as there are any.
 * Nothing happens to that one: it may have failed and have no room left; luaL_traceback needs some.
 */
void lerror_traceback(lua_State *L, lua_State *co, struct http_str text, int level);

/* Logs what has ended a task, with its traceback. The error stays at the top of vm->L. */
void lerror_log(struct ltask *t);

#endif
