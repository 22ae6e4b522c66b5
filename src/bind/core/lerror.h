// SPDX-License-Identifier: MIT
/*
 * Error objects: made and recognized. The kinds are those of the source documents:
 * "ConnectionError", … A mistake of the programmer raises a plain message; what the world does
 * comes back as nil and one of these. What is told of them: ltell.h.
 */
#ifndef NEAP_BIND_CORE_LERROR_H
#define NEAP_BIND_CORE_LERROR_H

#include "bind/core/lvm.h"

enum { LERROR_SLOT = LMODULE_CORE + 1 };

/*
 * Pushes an error object { kind, message }. `kind` is a name of ours; the format is
 * lua_pushfstring's. May raise (no memory).
 */
void lerror_push(struct lvm *vm, lua_State *L, const char *kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Replaces the message at the top of L by an error object of that kind. May raise (no memory). */
void lerror_make(const struct lvm *vm, lua_State *L, const char *kind);

/*
 * Pushes nil and the error object for a negative enum err of session_send and its like; returns 2.
 * May raise (no memory).
 */
int lerror_return(struct lvm *vm, lua_State *L, int err);

/*
 * The kind that stands for an enum err: "CorruptedFrameError", "PayloadTooLargeError", …; static.
 */
const char *lerror_kind(int err);

/*
 * Whether the value at `index` is an error object, of this kind where one is given. Never calls
 * into the app: safe where nothing would catch what its metamethods raise.
 */
bool lerror_is(const struct lvm *vm, lua_State *L, int index, const char *kind);

const struct lmodule *lerror_module(void);

#endif
