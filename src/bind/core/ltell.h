// SPDX-License-Identifier: MIT
/*
 * What is told of error values: to the log, to an error object, to a client. Texts and numbers are
 * what they are; of anything else the hook `tell` is asked: lua/neap/message/tell.lua.
 */
#ifndef NEAP_BIND_CORE_LTELL_H
#define NEAP_BIND_CORE_LTELL_H

#include "base/log.h"
#include "base/str.h"
#include "bind/core/lvm.h"

enum { LTELL_SLOT = LMODULE_CORE + 2 };

/* What is said of an error value. The texts are on the stack of vm->L until ltell_end. */
struct ltell {
    struct str log;     /* for the log */
    struct str message; /* of an error object that is made of it */
    struct str public;  /* what a client may read; without it, .s is NULL */
    int top;            /* of vm->L as it was */
};

/*
 * Asks for what is said of the error value at the top of vm->L. Metamethods of the app's are called
 * for it, on vm->L, since the task's own stack may be full: protected, watched by the guard, and
 * unable to wait. Never raises.
 */
void ltell_begin(struct ltask *t, struct ltell *said);

/* Pushes on vm->L the error object that the value is, or one that is made of it. */
void ltell_push_object(const struct ltask *t, const struct ltell *said);

/* Gives the texts up. The error value is at the top of vm->L again. */
void ltell_end(struct ltask *t, const struct ltell *said);

/* Replaces the error value at the top of vm->L by an error object. */
void ltell_take_object(struct ltask *t);

/*
 * Logs one event of the task and of its connection: "error in onMessage: no luck", where `what` is
 * all before the text. Uses vm->L, and leaves it as it was.
 */
void ltell_line(enum log_level level, const struct ltask *t, const char *what, struct str text);

/*
 * Pushes the text and the traceback of another coroutine, from `level` on, as far as there are any.
 * Nothing happens to that one: it may have failed and have no room left; luaL_traceback needs some.
 * May raise on L (no memory).
 */
void ltell_traceback(lua_State *L, lua_State *co, struct str text, int level);

/*
 * Logs the error at the top of vm->L, where it stays, as what has ended a task, with its traceback:
 * vm->log_raised.
 */
void ltell_raised(struct ltask *t);

/* The hook `tell`, as a registry reference: (value) → texts for the log, an object, a client. */
int ltell_hook(const struct lvm *vm);

const struct lmodule *ltell_module(void);

#endif
