// SPDX-License-Identifier: MIT
/*
 * The Lua state: made, filled with the core functions that lua/neap stands on, and run. The core is
 * preloaded as the module "neap.core"; lua/neap/runtime/main.lua answers with the functions that C
 * calls.
 */
#include "bind/core/lvm.h"

#include "base/log.h"
#include "base/mem.h"
#include "bind/core/lcancel.h"
#include "bind/core/lerror.h"
#include "bind/core/llog.h"
#include "bind/core/lstack.h"
#include "bind/core/ltask.h"
#include "bind/core/ltext.h"
#include "bind/core/ltimer.h"
#include "bind/data/ljson.h"
#include "bind/data/lshared.h"
#include "bind/http/llistener.h"
#include "bind/http/lrequest.h"
#include "bind/ws/lcaller.h"
#include "bind/ws/lconn.h"
#include "bind/ws/lgroup.h"
#include "bind/ws/lhandler.h"
#include "bind/ws/lservice.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

void lvm_register(struct lvm *vm, lua_State *L, const struct luaL_Reg *functions)
{
    lua_pushlightuserdata(L, vm);
    luaL_setfuncs(L, functions, 1);
}

static void on_idle_job(struct loop_job *job)
{
    struct lvm *vm = LIST_ITEM(job, struct lvm, idle_job);
    if (vm->tasks == 0 && vm->timers == 0 && link_empty(&vm->listeners) && vm->on_idle)
        vm->on_idle(vm);
}

void lvm_went(struct lvm *vm)
{
    loop_defer(vm->loop, LOOP_FREE, &vm->idle_job);
}

/* The library stops the program when it cannot start: it is part of it. */
static void must(lua_State *L, int status)
{
    if (status == 0)
        return;
    log_error("%s", lua_tostring(L, -1));
    log_close(1);
    exit(1);
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

/* checked(): all has been told of the app, which ends the program itself */
static int core_checked(lua_State *L)
{
    lvm_of(L)->checked = true;
    return 0;
}

static void open_core(struct lvm *vm)
{
    static const struct luaL_Reg functions[] = {{"checked", core_checked}, {NULL, NULL}};
    lua_State *L = vm->L;
    lua_newtable(L);
    int core = lua_gettop(L);
    luaL_newmetatable(L, "neap.Error");
    lua_pushvalue(L, -1);
    lua_setfield(L, core, "errorMetatable");
    vm->error_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_setfield(L, core, "hooks");
    lua_pushstring(L, vm->check ? "check" : "run");
    lua_setfield(L, core, "mode");
    lvm_register(vm, L, functions);
    ltask_open(vm, L);
    lcancel_open(vm, L);
    lguard_open(vm, L);
    lfinal_open(vm, L);
    lstack_open(vm, L);
    ltimer_open(vm, L);
    llog_open(vm, L);
    ljson_open(L, core);
    lshared_open(vm, L);
    lservice_open(vm, L);
    lcaller_open(vm, L);
    lgroup_open(vm, L);
    lhandler_open(vm, L);
    lrequest_open(vm, L);
    ltext_open(vm, L);
    llistener_open(vm, L);
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

static void take_hooks(struct lvm *vm)
{
    static const char *const names[LVM_HOOKS] = {"upgrade", "convert", "requestIndex", "load",
                                                 "check",   "stream",  "payload",      "tell"};
    lua_State *L = vm->L;
    require(L, "neap.core");
    lua_getfield(L, -1, "hooks");
    for (int i = 0; i < LVM_HOOKS; i++) {
        lua_getfield(L, -1, names[i]);
        vm->hooks[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_settop(L, 0);
}

struct lvm *lvm_new(struct loop *loop, const char *library, bool check)
{
    struct lvm *vm = mem_alloc(sizeof *vm);
    vm->loop = loop;
    vm->check = check;
    vm->L = luaL_newstate();
    if (!vm->L) {
        fprintf(stderr, "neap: no memory for Lua\n");
        exit(1);
    }
    luaL_openlibs(vm->L);
    loop_job_init(&vm->idle_job, on_idle_job);
    server_init(&vm->server, loop, lconn_hooks());
    snprintf(vm->guard.spare, sizeof vm->guard.spare, "@%s/neap/", library);
    set_path(vm->L, library);
    open_core(vm);
    require(vm->L, "neap.runtime.main");
    lua_settop(vm->L, 0);
    take_hooks(vm);
    return vm;
}

void lvm_finish(struct lvm *vm, double seconds)
{
    lfinal_finish(vm, seconds);
}

void lvm_check_open(const struct lvm *vm, lua_State *L)
{
    if (vm->final.closing)
        luaL_error(L, "the worker has ended: nothing can be started any more");
}

/* What finalizers have deferred while the state was closed. */
static void undefer_all(struct lvm *vm)
{
    loop_undefer(&vm->idle_job);
    loop_undefer(&vm->run_ready);
    loop_undefer(&vm->start_listeners);
    loop_undefer(&vm->final.run);
}

void lvm_free(struct lvm *vm)
{
    lguard_stop(vm);
    llistener_close_all(vm);
    ltask_close(vm);
    ltimer_close(vm);
    lgroup_close(vm);
    lua_close(vm->L);
    undefer_all(vm);
    lshared_close(vm);
    lservice_close(vm);
    server_deinit(&vm->server);
    mem_free(vm);
}

/* A task for hooks[hook](app, args). */
static struct ltask *begin(struct lvm *vm, enum lvm_hook hook, const char *app, char *const *args)
{
    struct ltask *t = ltask_get(vm, "load");
    t->loads = true;
    lua_rawgeti(t->co, LUA_REGISTRYINDEX, vm->hooks[hook]);
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
    if (ok)
        llistener_start_all(vm);
    vm->on_loaded(vm, ok);
}

void lvm_load(struct lvm *vm, const char *app, char *const *args)
{
    struct ltask *t = begin(vm, LVM_LOAD, app, args);
    t->finish = load_finished;
    ltask_start(t, 2);
}

static void check_finished(struct ltask *t, bool ok)
{
    t->vm->checked = true;
    t->vm->check_status = ok ? (int)lua_tointeger(t->co, 1) : 1;
    loop_stop(t->vm->loop);
}

int lvm_check(struct lvm *vm, const char *app, char *const *args)
{
    struct ltask *t = begin(vm, LVM_CHECK, app, args);
    t->finish = check_finished;
    if (ltask_start(t, 2))
        loop_run(vm->loop);
    return vm->check_status;
}
