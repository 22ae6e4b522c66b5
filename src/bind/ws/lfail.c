// SPDX-License-Identifier: MIT
/* Ending sessions: see lfail.h. */
#include "bind/ws/lfail.h"

#include "base/err.h"
#include "bind/core/ltask.h"
#include "bind/core/ltell.h"
#include "bind/core/ltext.h"
#include "bind/ws/lcaller.h"
#include "proto/ws/frame.h"
#include "proto/ws/utf8.h"

#include <lauxlib.h>
#include <string.h>

struct str lfail_reason(void)
{
    return str_of("internal error");
}

bool lfail_session(lua_State *L, struct session *s, unsigned code, struct str reason)
{
    if (!session_running(s)) {
        lua_pop(L, 1);
        return false;
    }
    if (!ltext_is_line(reason.s, reason.len))
        reason = lfail_reason();
    char text[FRAME_REASON_MAX + 1];
    size_t len = utf8_cut((const uint8_t *)reason.s, reason.len, sizeof text - 1);
    while (!utf8_valid((const uint8_t *)reason.s, len))
        len--;
    memcpy(text, reason.s, len);
    text[len] = '\0';
    struct lcaller *lc = s->user;
    luaL_unref(L, LUA_REGISTRYINDEX, lc->error);
    lc->error = luaL_ref(L, LUA_REGISTRYINDEX);
    session_fail(s, ERR_HANDLER, code, text);
    return true;
}

void lfail_raised(struct ltask *t, struct str reason)
{
    lua_pushvalue(t->vm->L, -1);
    ltell_take_object(t);
    lfail_session(t->vm->L, session_of(t->conn), WS_INTERNAL_ERROR, reason);
}
