// SPDX-License-Identifier: MIT
/*
 * The Lua state: made, filled with the core functions that lua/neap stands on, and run. The core is
 * preloaded as the module "neap.core"; lua/neap/runtime/main.lua answers with the functions that C
 * calls.
 */
#include "bind/core/lvm.h"

#include "base/log.h"
#include "base/mem.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(offsetof(struct lvm, states[1]) <= 64, "what a callback touches is one cache line");

void lvm_register(struct lvm *vm, lua_State *L, const struct luaL_Reg *functions)
{
    lua_pushlightuserdata(L, vm);
    luaL_setfuncs(L, functions, 1);
}

static void on_idle_job(struct loop_job *job)
{
    struct lvm *vm = LIST_ITEM(job, struct lvm, idle_job);
    if (vm->tasks == 0 && vm->sources == 0 && vm->on_idle)
        vm->on_idle(vm);
}

void lvm_went(struct lvm *vm)
{
    loop_defer(vm->loop, LOOP_FREE, &vm->idle_job);
}

/* --- Opening ---------------------------------------------------------------------------------- */

static void die(const char *what)
{
    log_error("%s", what);
    log_close(LOG_CLOSE_SECONDS);
    exit(1);
}

/* The library stops the program when it cannot start: it is part of it. */
static void must(lua_State *L, int status)
{
    if (status != 0)
        die(lua_tostring(L, -1));
}

static void set_path(lua_State *L, const char *library)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", library, library, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_pop(L, 2);
}

static int preload_core(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

static void add_state(struct lvm *vm, const struct lmodule *m)
{
    char text[128];
    if (m->size == 0)
        return;
    if (vm->states[m->slot]) {
        snprintf(text, sizeof text, "slot %u is %s's, and another module has it", m->slot, m->name);
        die(text);
    }
    vm->states[m->slot] = mem_alloc(m->size);
}

/* Each finds the core table at the top of the stack, whatever the one before has left there. */
static void open_modules(struct lvm *vm, int core)
{
    for (const struct lmodule *const *m = vm->modules; *m; m++) {
        add_state(vm, *m);
        if ((*m)->open)
            (*m)->open(vm, vm->L);
        lua_settop(vm->L, core);
    }
}

static void open_core(struct lvm *vm)
{
    lua_State *L = vm->L;
    lua_newtable(L);
    int core = lua_gettop(L);
    lua_newtable(L);
    lua_setfield(L, core, "hooks");
    lua_pushstring(L, vm->check ? "check" : "run");
    lua_setfield(L, core, "mode");
    open_modules(vm, core);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushvalue(L, core);
    lua_pushcclosure(L, preload_core, 1);
    lua_setfield(L, -2, "neap.core");
    lua_settop(L, 0);
}

static void require(lua_State *L, const char *module)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    must(L, lua_pcall(L, 1, 1, 0));
}

int lvm_take_hook(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void take_hooks(struct lvm *vm)
{
    lua_State *L = vm->L;
    require(L, "neap.core");
    lua_getfield(L, -1, "hooks");
    for (const struct lmodule *const *m = vm->modules; *m; m++)
        if ((*m)->take)
            (*m)->take(vm, L);
    lua_settop(L, 0);
}

struct lvm *lvm_new(struct loop *loop, const char *library, const struct lmodule *const *modules,
                    bool check)
{
    struct lvm *vm = mem_alloc(sizeof *vm);
    vm->loop = loop;
    vm->library = library;
    vm->modules = modules;
    vm->check = check;
    vm->L = luaL_newstate();
    if (!vm->L) {
        fprintf(stderr, "neap: no memory for Lua\n");
        exit(1);
    }
    luaL_openlibs(vm->L);
    loop_job_init(&vm->idle_job, on_idle_job);
    set_path(vm->L, library);
    open_core(vm);
    require(vm->L, "neap.runtime.main");
    lua_settop(vm->L, 0);
    take_hooks(vm);
    return vm;
}

/* --- Closing ---------------------------------------------------------------------------------- */

void lvm_check_open(const struct lvm *vm, lua_State *L)
{
    if (vm->closing)
        luaL_error(L, "the worker has ended: nothing can be started any more");
}

/* From the end of the list. */
static void close_modules(struct lvm *vm)
{
    size_t count = 0;
    while (vm->modules[count])
        count++;
    while (count-- > 0) {
        const struct lmodule *m = vm->modules[count];
        if (m->close)
            m->close(vm);
        if (m->size)
            mem_free(vm->states[m->slot]);
    }
}

void lvm_free(struct lvm *vm)
{
    for (const struct lmodule *const *m = vm->modules; *m; m++)
        if ((*m)->stop)
            (*m)->stop(vm);
    lua_close(vm->L);
    close_modules(vm);
    loop_undefer(&vm->idle_job); /* what finalizers have deferred while the state was closed */
    mem_free(vm);
}
