// SPDX-License-Identifier: MIT
/*
 * Groups for Lua. Arguments have been checked in lua/neap/websocket/group.lua; what is checked here
 * again keeps memory safe whatever calls.
 *
 *      groupJoin(kind, name, caller)            true, or nil, err
 *      groupLeave(name, caller)                 whether it was in
 *      groupDissolve(kind, name)                whether it had members
 *      groupPush(kind, name, bytes, binary, except)   a PushResult, or nil, err; nothing at all
 *                                               when that is a stored name which nobody has
 *      groupAsk(name, wantIds)                  waits: a number or an array of ids; or nil, err
 *      isPushResult(value)
 *
 * A PushResult is a userdata of four numbers and nothing else, so a push makes one small object.
 */
#include "bind/ws/lgroup.h"

#include "base/err.h"
#include "base/mem.h"
#include "bind/core/lerror.h"
#include "bind/core/ltask.h"
#include "bind/http/lserver.h"
#include "bind/ws/lcaller.h"
#include "group/group.h"
#include "group/group_ask.h"
#include "group/group_push.h"
#include "group/groups.h"

#include <lauxlib.h>
#include <string.h>

struct lgroups {
    struct groups *groups;
    int metatable; /* registry reference: of PushResults */
    struct link questions;
};

static struct lgroups *state_of(const struct lvm *vm)
{
    return vm->states[LGROUP_SLOT];
}

struct groups *lgroup_groups(const struct lvm *vm)
{
    return state_of(vm)->groups;
}

static struct groups *groups_of(lua_State *L)
{
    return lgroup_groups(lvm_of(L));
}

/* --- Results of pushes ------------------------------------------------------------------------ */

/* The fields of a PushResult, by name. */
static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    {"members", offsetof(struct group_pushed, members)},
    {"delivered", offsetof(struct group_pushed, delivered)},
    {"dropped", offsetof(struct group_pushed, dropped)},
    {"closed", offsetof(struct group_pushed, closed)},
};

bool lgroup_is_result(const struct lvm *vm, lua_State *L, int index)
{
    if (!lua_touserdata(L, index) || !lua_getmetatable(L, index))
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(vm)->metatable);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

static const struct group_pushed *check_result(lua_State *L)
{
    return luaL_checkudata(L, 1, "neap.PushResult");
}

static int result_index(lua_State *L)
{
    const struct group_pushed *r = check_result(L);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(key, fields[i].name) == 0) {
            lua_pushnumber(L, *(const uint32_t *)((const char *)r + fields[i].offset));
            return 1;
        }
    return 0;
}

static int result_tostring(lua_State *L)
{
    const struct group_pushed *r = check_result(L);
    lua_pushfstring(L, "PushResult (members %f, delivered %f, dropped %f, closed %f)",
                    (lua_Number)r->members, (lua_Number)r->delivered, (lua_Number)r->dropped,
                    (lua_Number)r->closed);
    return 1;
}

static int core_is_result(lua_State *L)
{
    lua_pushboolean(L, lgroup_is_result(lvm_of(L), L, 1));
    return 1;
}

/* --- Pushing ---------------------------------------------------------------------------------- */

/*
 * The result's memory is there before anything is sent: a push that raises for lack of it has not
 * happened.
 */
int lgroup_push(lua_State *L, struct lvm *vm, const struct lgroup_push *push)
{
    const struct lmessage *m = &push->message;
    struct group_push how = {.key = push->key,
                             .type = lmessage_type(m),
                             .bytes = (const uint8_t *)m->bytes,
                             .len = m->len,
                             .except = push->except};
    if (!lmessage_is_sendable(m))
        return lmessage_return_invalid(L, vm, "push it as binary");
    struct group_pushed *r = lua_newuserdata(L, sizeof *r);
    *r = (struct group_pushed){0};
    lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(vm)->metatable);
    lua_setmetatable(L, -2);
    group_push(lgroup_groups(vm), &how, r);
    return 1;
}

static enum group_kind check_kind(lua_State *L, int index)
{
    lua_Integer kind = luaL_checkinteger(L, index);
    luaL_argcheck(L, kind >= 0 && kind < GROUP_KINDS, index, "no such kind");
    return (enum group_kind)kind;
}

static struct group_key check_key(lua_State *L, enum group_kind kind, int index)
{
    struct group_key key = {.kind = kind};
    key.name = luaL_checklstring(L, index, &key.len);
    luaL_argcheck(L, key.len >= 1 && key.len <= GROUP_NAME_MAX, index, "a name has 1 to 255 bytes");
    return key;
}

static int core_push(lua_State *L)
{
    struct lgroup_push push = {.key = check_key(L, check_kind(L, 1), 2)};
    push.message = lmessage_check(L, 3, lua_toboolean(L, 4) ? LMESSAGE_BINARY : LMESSAGE_TEXT);
    if (!lua_isnoneornil(L, 5))
        push.except = lcaller_check(L, 5)->session; /* who is gone is in no group */
    int results = lgroup_push(L, lvm_of(L), &push);
    if (results > 1 || push.key.kind != GROUP_STORED)
        return results;
    return ((struct group_pushed *)lua_touserdata(L, -1))->members ? 1 : 0;
}

/* --- Members ---------------------------------------------------------------------------------- */

static int cannot_join(lua_State *L, int err)
{
    struct lvm *vm = lvm_of(L);
    if (err != ERR_POLICY)
        return lerror_return(vm, L, err);
    lua_pushnil(L);
    lerror_push(vm, L, "Error", "the connection is in %d groups, which is the most",
                GROUP_PER_CONN);
    return 2;
}

static int core_join(lua_State *L)
{
    struct group_key key = check_key(L, check_kind(L, 1), 2);
    struct session *s = lcaller_check(L, 3)->session;
    int err = s ? group_join(groups_of(L), &key, s) : ERR_CLOSED;
    if (err < 0)
        return cannot_join(L, err);
    lua_pushboolean(L, true);
    return 1;
}

static int core_leave(lua_State *L)
{
    struct group_key key = check_key(L, GROUP_JOINED, 1);
    struct session *s = lcaller_check(L, 2)->session;
    lua_pushboolean(L, s && group_leave(groups_of(L), &key, s));
    return 1;
}

static int core_dissolve(lua_State *L)
{
    struct group_key key = check_key(L, check_kind(L, 1), 2);
    lua_pushboolean(L, group_dissolve(groups_of(L), &key));
    return 1;
}

/* --- Questions -------------------------------------------------------------------------------- */

/* A question that a task waits for. */
struct question {
    struct group_ask ask;
    struct link link; /* in lgroups.questions */
    struct lvm *vm;
    struct link task; /* of the task, by its `waiting`; empty when it was cancelled */
    bool asked;       /* group_ask has returned */
    bool answered;
    int err;
};

static void question_free(struct question *q)
{
    group_ask_end(&q->ask);
    list_remove(&q->link);
    mem_free(q);
}

static void push_ids(lua_State *L, const struct buf *ids)
{
    size_t count = buf_len(ids) / CONN_ID_SIZE;
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(L, (const char *)buf_bytes(ids) + i * CONN_ID_SIZE, CONN_ID_SIZE);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static int push_answer(lua_State *L, const struct question *q)
{
    if (q->err < 0 && q->err != ERR_IO)
        return lerror_return(q->vm, L, q->err);
    if (q->err < 0) {
        lua_pushnil(L);
        lerror_push(q->vm, L, "Timeout", "not all workers have told their members within %d s",
                    (int)GROUP_ASK_SECONDS);
        return 2;
    }
    if (q->ask.want_ids)
        push_ids(L, &q->ask.ids);
    else
        lua_pushnumber(L, (lua_Number)q->ask.count);
    return 1;
}

static void on_answer(struct group_ask *ask, int err)
{
    struct question *q = LIST_ITEM(ask, struct question, ask);
    q->answered = true;
    q->err = err;
    if (!q->asked)
        return; /* inside group_ask: who has asked looks */
    if (!link_empty(&q->task)) {
        struct ltask *t = LIST_ITEM(q->task.next, struct ltask, waiting);
        ltask_wake(t, push_answer(q->vm->L, q));
    }
    question_free(q);
}

static struct question *question_new(struct lvm *vm, const struct group_key *key, bool want_ids)
{
    struct question *q = mem_alloc(sizeof *q);
    q->vm = vm;
    q->ask = (struct group_ask){.key = *key, .want_ids = want_ids, .on_answer = on_answer};
    link_init(&q->task);
    list_append(&state_of(vm)->questions, &q->link);
    return q;
}

/*
 * Asks first whether the task can wait, although it need not with one worker: an app that works
 * with one should work with many.
 */
static int core_ask(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    struct group_key key = check_key(L, GROUP_JOINED, 1);
    if (!ltask_can_wait(L))
        return ltask_wait(L);
    struct question *q = question_new(vm, &key, lua_toboolean(L, 2));
    int err = group_ask(groups_of(L), &q->ask);
    q->asked = true;
    if (err == 0 && !q->answered) {
        list_append(&q->task, &vm->running->waiting);
        return ltask_wait(L);
    }
    int results = err < 0 ? lerror_return(vm, L, err) : push_answer(L, q);
    question_free(q);
    return results;
}

static const struct luaL_Reg functions[] = {
    {"groupJoin", core_join},
    {"groupLeave", core_leave},
    {"groupDissolve", core_dissolve},
    {"groupPush", core_push},
    {"groupAsk", core_ask},
    {"isPushResult", core_is_result},
    {NULL, NULL},
};

static void module_open(struct lvm *vm, lua_State *L)
{
    state_of(vm)->groups = groups_new(vm->loop, &lserver_of(vm)->conns.entropy);
    link_init(&state_of(vm)->questions);
    lvm_register(vm, L, functions);
    luaL_newmetatable(L, "neap.PushResult");
    lua_pushcfunction(L, result_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, result_tostring);
    lua_setfield(L, -2, "__tostring");
    state_of(vm)->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void module_close(struct lvm *vm)
{
    groups_free(state_of(vm)->groups);
}

/* Who asked is gone: the tasks have been freed. */
static void module_stop(struct lvm *vm)
{
    struct link *questions = &state_of(vm)->questions;
    while (!link_empty(questions))
        question_free(LIST_ITEM(questions->next, struct question, link));
}

const struct lmodule *lgroup_module(void)
{
    static const struct lmodule module = {.name = "group",
                                          .slot = LGROUP_SLOT,
                                          .size = sizeof(struct lgroups),
                                          .open = module_open,
                                          .stop = module_stop,
                                          .close = module_close};
    return &module;
}
