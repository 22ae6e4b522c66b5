// SPDX-License-Identifier: MIT
/* Loading: see lload.h. The guard gives this task more time than others (ltask.loads). */
#include "bind/core/lload.h"

#include "bind/core/ltask.h"

#include <lauxlib.h>

struct lload {
    int load, check; /* registry references: the hooks of these names */
    int status;      /* of `neap check` */
};

static struct lload *state_of(const struct lvm *vm)
{
    return vm->states[LLOAD_SLOT];
}

/* A task for the hook(app, args). */
static struct ltask *begin(struct lvm *vm, int hook, const char *app, char *const *args)
{
    struct ltask *t = ltask_get(vm, "load");
    t->loads = true;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, hook);
    lua_pushstring(t->co, app);
    lua_newtable(t->co);
    for (int i = 0; args[i]; i++) {
        lua_pushstring(t->co, args[i]);
        lua_rawseti(t->co, -2, i + 1);
    }
    return t;
}

static void load_finished(struct ltask *t, bool ok)
{
    struct lvm *vm = t->vm;
    vm->loaded = ok;
    for (const struct lmodule *const *m = vm->modules; ok && *m; m++)
        if ((*m)->loaded)
            (*m)->loaded(vm);
    vm->on_loaded(vm, ok);
}

void lload_app(struct lvm *vm, const char *app, char *const *args)
{
    struct ltask *t = begin(vm, state_of(vm)->load, app, args);
    t->finish = load_finished;
    ltask_start(t, 2);
}

static void check_finished(struct ltask *t, bool ok)
{
    t->vm->checked = true;
    state_of(t->vm)->status = ok ? (int)lua_tointeger(t->co, 1) : 1;
    loop_stop(t->vm->loop);
}

int lload_check(struct lvm *vm, const char *app, char *const *args)
{
    struct ltask *t = begin(vm, state_of(vm)->check, app, args);
    t->finish = check_finished;
    if (ltask_start(t, 2))
        loop_run(vm->loop);
    return state_of(vm)->status;
}

/* checked(): all has been told of the app, which ends the program itself */
static int core_checked(lua_State *L)
{
    lvm_of(L)->checked = true;
    return 0;
}

static const struct luaL_Reg functions[] = {{"checked", core_checked}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    lvm_register(vm, L, functions);
}

static void module_take(struct lvm *vm, lua_State *L)
{
    state_of(vm)->load = lvm_take_hook(L, "load");
    state_of(vm)->check = lvm_take_hook(L, "check");
}

const struct lmodule *lload_module(void)
{
    static const struct lmodule module = {.name = "load",
                                          .slot = LLOAD_SLOT,
                                          .size = sizeof(struct lload),
                                          .open = module_open,
                                          .take = module_take};
    return &module;
}
