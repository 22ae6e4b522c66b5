// SPDX-License-Identifier: MIT
/* An error ends a session: close frame, onError with the error object, onClose. */
#ifndef NEAP_BIND_WS_LFAIL_H
#define NEAP_BIND_WS_LFAIL_H

#include "base/str.h"
#include "bind/core/lvm.h"
#include "http/http_conn.h"

/* The reason that tells a client nothing: "internal error". */
struct str lfail_reason(void);

/*
 * Ends the session: close frame with `code` and `reason` (as much of it as is UTF-8 of at most
 * FRAME_REASON_MAX bytes), then onError with the error object at the top of L, which is popped,
 * then onClose. False when the session was over already.
 */
bool lfail_session(lua_State *L, struct session *s, unsigned code, struct str reason);

/*
 * The same, with 1011, for the error value at the top of vm->L, which stays there: any value, of
 * which an error object is made where it is none.
 */
void lfail_raised(struct ltask *t, struct str reason);

#endif
