// SPDX-License-Identifier: MIT
/*
 * Error objects made by C look exactly like those of lua/neap/message/error.lua: a table with kind
 * and message, and its metatable.
 */
#include "bind/core/lerror.h"

#include "base/err.h"
#include "bind/core/ltask.h"
#include "server/conn.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a traceback tells of a deep stack: where it was, and where it came from. */
enum { FIRST_FRAMES = 12, LAST_FRAMES = 10 };

/* Replaces the message at the top by an error object of that kind. */
static void push_object(const struct lvm *vm, lua_State *L, const char *kind)
{
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, kind);
    lua_setfield(L, -2, "kind");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->error_meta);
    lua_setmetatable(L, -2);
}

void lerror_push(struct lvm *vm, lua_State *L, const char *kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    push_object(vm, L, kind);
}

const char *lerror_kind(int err)
{
    switch (err) {
    case ERR_PROTOCOL:
    case ERR_UTF8: return "CorruptedFrameError";
    case ERR_CONTINUATION: return "InvalidContinuationFrameError";
    case ERR_TOO_BIG: return "PayloadTooLargeError";
    case ERR_POLICY:
    case ERR_CLOSED: return "ConnectionError";
    default: return "Error";
    }
}

int lerror_return(struct lvm *vm, lua_State *L, int err)
{
    lua_pushnil(L);
    lerror_push(vm, L, lerror_kind(err), "%s", err_text(err));
    return 2;
}

bool lerror_is(const struct lvm *vm, lua_State *L, int index, const char *kind)
{
    lua_pushvalue(L, index);
    if (!lua_istable(L, -1) || !lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->error_meta);
    lua_pushliteral(L, "kind");
    lua_rawget(L, -4);
    bool ours = lua_rawequal(L, -2, -3);
    bool same = !kind || (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), kind) == 0);
    lua_pop(L, 4);
    return ours && same;
}

static struct http_str text_at(lua_State *L, int index)
{
    struct http_str text = {0};
    text.s = lua_tolstring(L, index, &text.len);
    return text;
}

/* Texts and numbers are what they are; most errors are, and C must be able to tell of no memory. */
static bool is_text(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER;
}

void lerror_tell(struct ltask *t, struct lerror_told *told)
{
    static const char cannot[] = "an error value of which nothing can be told";
    struct lvm *vm = t->vm;
    lua_State *L = vm->L;
    told->top = lua_gettop(L) - 1;
    if (is_text(L, -1)) {
        lua_pushvalue(L, -1);
        told->log = told->message = told->public = text_at(L, -1);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->hooks[LVM_TELL]);
    lua_pushvalue(L, -2);
    if (ltask_ask(t, 1, 3) == 0) {
        told->log = text_at(L, -3);
        told->message = text_at(L, -2);
        told->public = text_at(L, -1);
    } else {
        told->log = told->message = (struct http_str){cannot, sizeof cannot - 1};
        told->public = (struct http_str){0};
    }
}

void lerror_told_end(struct ltask *t, const struct lerror_told *told)
{
    lua_settop(t->vm->L, told->top + 1);
}

void lerror_push_told(const struct ltask *t, const struct lerror_told *told)
{
    lua_State *L = t->vm->L;
    if (lerror_is(t->vm, L, told->top + 1, NULL)) {
        lua_pushvalue(L, told->top + 1);
        return;
    }
    lua_pushlstring(L, told->message.s, told->message.len);
    push_object(t->vm, L, "Error");
}

void lerror_take_object(struct ltask *t)
{
    struct lerror_told told;
    lerror_tell(t, &told);
    lerror_push_told(t, &told);
    lua_replace(t->vm->L, told.top + 1);
    lua_settop(t->vm->L, told.top + 1);
}

void lerror_line(enum log_level level, const struct ltask *t, const char *what,
                 struct http_str text)
{
    lua_State *L = t->vm->L;
    char id[CONN_ID_SIZE + 1];
    struct log_field field = {.key = "connection"};
    if (t->conn) {
        conn_id_text(t->conn, id);
        field.value = id;
    }
    size_t len;
    lua_pushstring(L, what);
    lua_pushlstring(L, text.s, text.len);
    lua_concat(L, 2);
    const char *line = lua_tolstring(L, -1, &len);
    log_bytes(level, &field, 1, line, len);
    lua_pop(L, 1);
}

/* The function of a frame, as luaL_traceback tells it. */
static void add_frame(luaL_Buffer *b, const lua_Debug *ar)
{
    char line[LUA_IDSIZE + 64];
    luaL_addstring(b, "\n\t");
    luaL_addstring(b, ar->short_src);
    luaL_addchar(b, ':');
    if (ar->currentline > 0) {
        snprintf(line, sizeof line, "%d:", ar->currentline);
        luaL_addstring(b, line);
    }
    if (*ar->namewhat) {
        luaL_addstring(b, " in function '");
        luaL_addstring(b, ar->name);
        luaL_addchar(b, '\'');
        return;
    }
    if (*ar->what == 'm')
        snprintf(line, sizeof line, " in main chunk");
    else if (*ar->what == 'C')
        snprintf(line, sizeof line, " in a function of C");
    else
        snprintf(line, sizeof line, " in function <%s:%d>", ar->short_src, ar->linedefined);
    luaL_addstring(b, line);
}

/* How deep the stack is: found by doubling, as each look walks it from the top. */
static int depth(lua_State *co)
{
    lua_Debug ar;
    int low = 0, high = 1;
    while (lua_getstack(co, high, &ar)) {
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (lua_getstack(co, middle, &ar))
            low = middle;
        else
            high = middle;
    }
    return high;
}

void lerror_traceback(lua_State *L, lua_State *co, struct http_str text, int level)
{
    lua_Debug ar;
    int end = depth(co), cut = level + FIRST_FRAMES, resume = end - LAST_FRAMES;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    if (text.s)
        luaL_addlstring(&b, text.s, text.len);
    if (lua_getstack(co, level, &ar))
        luaL_addstring(&b, text.s ? "\nstack traceback:" : "stack traceback:");
    for (int i = level; lua_getstack(co, i, &ar); i++) {
        if (i == cut && resume > cut) {
            luaL_addstring(&b, "\n\t...");
            i = resume - 1;
        } else if (lua_getinfo(co, "Snl", &ar)) {
            add_frame(&b, &ar);
        }
    }
    luaL_pushresult(&b);
}

void lerror_log(struct ltask *t)
{
    lua_State *L = t->vm->L;
    struct lerror_told told;
    lerror_tell(t, &told);
    const char *what = lua_pushfstring(L, "error in %s: ", t->name);
    lerror_traceback(L, t->co, told.log, 0);
    lerror_line(LOG_ERROR, t, what, text_at(L, -1));
    lerror_told_end(t, &told);
}
