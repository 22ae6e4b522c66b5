// SPDX-License-Identifier: MIT
/*
 * Error objects, and their logging. The kinds are those of the source documents: "ConnectionError",
 * … A mistake of the programmer raises a plain message; what the world does comes back as nil and
 * one of these.
 */
#ifndef NEAP_BIND_LERROR_H
#define NEAP_BIND_LERROR_H

#include "bind/lvm.h"

struct conn;

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
 * The text of any error value at `index`, as a NUL-terminated string with its length: objects
 * through their message, others as tostring says. Leaves it pushed on the stack.
 */
const char *lerror_text(lua_State *L, int index, size_t *len);

/*
 * Logs what has ended a task: its name, the connection, the message and the traceback of `co`. The
 * error is at the top of `co`.
 */
void lerror_log(struct lvm *vm, lua_State *co, const char *name, const struct conn *c);

#endif
