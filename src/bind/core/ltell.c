// SPDX-License-Identifier: MIT
/* Errors for people: see ltell.h. */
#include "bind/core/ltell.h"

#include "bind/core/lerror.h"
#include "bind/core/ltask.h"

#include <lauxlib.h>
#include <stdio.h>

/* What a traceback tells of a deep stack: where it was, and where it came from. */
enum { FIRST_FRAMES = 12, LAST_FRAMES = 10 };

struct ltells {
    int hook; /* registry reference */
};

int ltell_hook(const struct lvm *vm)
{
    return ((const struct ltells *)vm->states[LTELL_SLOT])->hook;
}

static struct str text_at(lua_State *L, int index)
{
    struct str text = {0};
    text.s = lua_tolstring(L, index, &text.len);
    return text;
}

/* Texts and numbers are what they are; most errors are, and C must be able to tell of no memory. */
static bool is_text(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER;
}

void ltell_begin(struct ltask *t, struct ltell *said)
{
    struct lvm *vm = t->vm;
    lua_State *L = vm->L;
    said->top = lua_gettop(L) - 1;
    if (is_text(L, -1)) {
        lua_pushvalue(L, -1);
        said->log = said->message = said->public = text_at(L, -1);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, ltell_hook(vm));
    lua_pushvalue(L, -2);
    if (ltask_ask(t, 1, 3) == 0) {
        said->log = text_at(L, -3);
        said->message = text_at(L, -2);
        said->public = text_at(L, -1);
    } else {
        said->log = said->message = str_of("an error value of which nothing can be told");
        said->public = (struct str){0};
    }
}

void ltell_end(struct ltask *t, const struct ltell *said)
{
    lua_settop(t->vm->L, said->top + 1);
}

void ltell_push_object(const struct ltask *t, const struct ltell *said)
{
    lua_State *L = t->vm->L;
    if (lerror_is(t->vm, L, said->top + 1, NULL)) {
        lua_pushvalue(L, said->top + 1);
        return;
    }
    lua_pushlstring(L, said->message.s, said->message.len);
    lerror_make(t->vm, L, "Error");
}

void ltell_take_object(struct ltask *t)
{
    struct ltell said;
    ltell_begin(t, &said);
    ltell_push_object(t, &said);
    lua_replace(t->vm->L, said.top + 1);
    lua_settop(t->vm->L, said.top + 1);
}

void ltell_line(enum log_level level, const struct ltask *t, const char *what, struct str text)
{
    lua_State *L = t->vm->L;
    char id[LVM_CONN_ID];
    struct log_field field = {.key = "connection"};
    if (t->conn) {
        t->vm->conn_id(t->conn, id);
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

void ltell_traceback(lua_State *L, lua_State *co, struct str text, int level)
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

void ltell_raised(struct ltask *t)
{
    lua_State *L = t->vm->L;
    struct ltell said;
    ltell_begin(t, &said);
    const char *what = lua_pushfstring(L, "error in %s: ", t->name);
    ltell_traceback(L, t->co, said.log, 0);
    ltell_line(LOG_ERROR, t, what, text_at(L, -1));
    ltell_end(t, &said);
}

static void module_open(struct lvm *vm, lua_State *L)
{
    (void)L;
    vm->log_raised = ltell_raised;
}

static void module_take(struct lvm *vm, lua_State *L)
{
    struct ltells *s = vm->states[LTELL_SLOT];
    s->hook = lvm_take_hook(L, "tell");
}

const struct lmodule *ltell_module(void)
{
    static const struct lmodule module = {.name = "tell",
                                          .slot = LTELL_SLOT,
                                          .size = sizeof(struct ltells),
                                          .open = module_open,
                                          .take = module_take};
    return &module;
}
