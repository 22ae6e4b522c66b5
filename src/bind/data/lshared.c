// SPDX-License-Identifier: MIT
/*
 * Shared dictionaries for Lua: values become bytes on their way in (lshared_pack.h) and are made
 * again on their way out, so what an app gets is its own. A dictionary lives until the state has
 * been closed, because LMDB wants a file opened once only, and any finalizer may use it until then.
 *
 * A change in memory is made at once. One on disk is made by a thread (store/store_queue.h), and
 * the task that asked for it waits.
 *
 * The buffer for the bytes belongs to the dictionary. Making values of it allocates, which may run
 * a finalizer that uses the same dictionary: so a read takes the buffer away while it does that. It
 * does so protected, and puts it back whatever happens.
 *
 *      store ─▶ d->bytes ─▶ taken ─▶ values ─▶ back in d->bytes
 *                                      ╰─ a finalizer ─▶ d->bytes, another one meanwhile
 */
#include "bind/data/lshared.h"

#include "base/mem.h"
#include "bind/core/ltask.h"
#include "bind/data/lshared_pack.h"
#include "store/store_queue.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CLASS "neap.SharedDict"
#define BUFFER_KEPT ((size_t)64 * 1024)

enum { STRING_COPIED = 512 };

struct lshared {
    struct link dicts;
};

struct ldict {
    struct link link; /* in lshared.dicts */
    struct lvm *vm;
    struct store *store;
    struct store_queue *queue; /* on disk only */
    struct buf bytes;
    size_t size;
    char name[80];
};

static struct ldict *check_dict(lua_State *L)
{
    return *(struct ldict **)luaL_checkudata(L, 1, CLASS);
}

static struct store_key check_key(lua_State *L, int index)
{
    struct store_key key;
    key.bytes = luaL_checklstring(L, index, &key.len);
    return key;
}

/* An empty buffer for the bytes of one value. */
static struct buf *fresh(struct ldict *d)
{
    if (d->bytes.cap > BUFFER_KEPT)
        buf_free(&d->bytes);
    buf_consume(&d->bytes, buf_len(&d->bytes));
    return &d->bytes;
}

/* Takes the buffer away; the next call makes another. */
static struct buf take(struct ldict *d)
{
    struct buf bytes = d->bytes;
    d->bytes = (struct buf){0};
    return bytes;
}

static void put_back(struct ldict *d, struct buf bytes)
{
    buf_free(&d->bytes);
    d->bytes = bytes;
}

/* Pushes nil and what an enum store_result means; returns 2. `why` is that of STORE_BROKEN. */
static int failed(lua_State *L, const struct ldict *d, int result, const char *why)
{
    lua_pushnil(L);
    switch (result) {
    case STORE_FULL:
        lua_pushfstring(L, "%s is full (maxSize %d MiB)", d->name, (int)(d->size >> 20));
        break;
    case STORE_ARGUMENT:
        lua_pushfstring(L, "%s: a key has 1 to %d bytes, a value at most %d", d->name,
                        STORE_KEY_MAX, STORE_VALUE_MAX);
        break;
    case STORE_KIND: lua_pushfstring(L, "%s: what is stored there is no number", d->name); break;
    case STORE_RANGE: lua_pushfstring(L, "%s: the sum is too large", d->name); break;
    case STORE_NOMEM: lua_pushfstring(L, "%s: no memory", d->name); break;
    default: lua_pushfstring(L, "%s: %s", d->name, why);
    }
    return 2;
}

/* --- Reading -------------------------------------------------------------------------------- */

/* Upvalues of all functions. */
enum { VM = 1, MAKE_VALUE, MAKE_KEYS, ARRAY };

/* Bytes of which values are to be made. */
struct found {
    struct buf bytes;
    uint8_t kind;
    bool damaged; /* they are none */
};

/*
 * Pushes what the function at an upvalue makes of d->bytes: one value, nil where they are damaged.
 * Raises what that function raises.
 */
static void push_made(lua_State *L, struct ldict *d, int make, struct found *f)
{
    lua_pushvalue(L, lua_upvalueindex(make));
    lua_pushlightuserdata(L, f);
    f->bytes = take(d);
    int status = lua_pcall(L, 1, 1, 0);
    put_back(d, f->bytes);
    if (status != 0)
        lua_error(L);
}

/* Upvalue: json.array's metatable. */
static int make_value(lua_State *L)
{
    struct found *f = lua_touserdata(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    f->damaged = !lshared_unpack(L, f->kind, &f->bytes, 2);
    return f->damaged ? 0 : 1;
}

/*
 * Most values need no such care: a short string is copied first, and what is neither a string nor a
 * table allocates nothing. False, and nothing pushed, for all others.
 */
static bool push_simple(lua_State *L, const struct ldict *d, struct found *f)
{
    char copy[STRING_COPIED];
    size_t len = buf_len(&d->bytes);
    f->damaged = false;
    if (f->kind == 's' && len > 0 && len <= sizeof copy) {
        memcpy(copy, buf_bytes(&d->bytes), len);
        lua_pushlstring(L, copy, len);
        return true;
    }
    if (f->kind == 's' || f->kind == 'T')
        return false;
    f->damaged = !lshared_unpack(L, f->kind, &d->bytes, 0);
    if (f->damaged)
        lua_pushnil(L);
    return true;
}

static int shared_get(lua_State *L)
{
    struct ldict *d = check_dict(L);
    struct store_key key = check_key(L, 2);
    struct found f;
    int result = store_get(d->store, &key, fresh(d), &f.kind);
    if (result < 0)
        return failed(L, d, result, store_error(d->store));
    if (f.kind == 0)
        return 0;
    if (!push_simple(L, d, &f))
        push_made(L, d, MAKE_VALUE, &f);
    if (!f.damaged)
        return 1;
    lua_pushfstring(L, "%s: the file is damaged: what is stored there has no meaning", d->name);
    return 2;
}

static int shared_ttl(lua_State *L)
{
    struct ldict *d = check_dict(L);
    struct store_key key = check_key(L, 2);
    double seconds;
    int result = store_ttl(d->store, &key, &seconds);
    if (result < 0)
        return failed(L, d, result, store_error(d->store));
    if (seconds < 0)
        return 0;
    lua_pushnumber(L, seconds);
    return 1;
}

/* Keys one after the other, each with its length in front. */
static void on_key(void *arg, const void *key, size_t len)
{
    struct buf *b = arg;
    uint16_t length = (uint16_t)len;
    if (buf_reserve(b, sizeof length + len) < 0)
        return; /* the count that lacks is noticed */
    (void)buf_append(b, &length, sizeof length);
    (void)buf_append(b, key, len);
}

static int make_keys(lua_State *L)
{
    const struct buf *b = &((struct found *)lua_touserdata(L, 1))->bytes;
    const uint8_t *p = b->data ? buf_bytes(b) : NULL, *end = p ? p + buf_len(b) : NULL;
    lua_newtable(L);
    for (int i = 1; p < end; i++) {
        uint16_t length;
        memcpy(&length, p, sizeof length);
        lua_pushlstring(L, (const char *)p + sizeof length, length);
        lua_rawseti(L, -2, i);
        p += sizeof length + length;
    }
    return 1;
}

static int shared_keys(lua_State *L)
{
    struct ldict *d = check_dict(L);
    struct store_keys query = {
        .prefix = check_key(L, 2),
        .limit = (unsigned)luaL_checkinteger(L, 3),
        .found = on_key,
    };
    struct found f;
    query.arg = fresh(d);
    int result = store_keys(d->store, &query);
    if (result < 0)
        return failed(L, d, result, store_error(d->store));
    push_made(L, d, MAKE_KEYS, &f);
    lua_pushboolean(L, query.more);
    return 2;
}

/* --- Changing ------------------------------------------------------------------------------- */

/* A change that a task waits for. Its key and value follow in the same block. */
struct waiting {
    struct store_job job;
    struct ldict *dict;
    struct link task; /* of the task, by its `waiting`; empty when it was cancelled */
    uint8_t bytes[];
};

/* Pushes what came of a change. */
static int push_result(lua_State *L, const struct ldict *d, const struct store_write *w, int result)
{
    if (result < 0)
        return failed(L, d, result, store_reason(w->why));
    if (w->what == STORE_INCR)
        lua_pushnumber(L, w->sum);
    else
        lua_pushboolean(L, w->done);
    return 1;
}

static void on_done(struct store_job *job)
{
    struct waiting *w = LIST_ITEM(job, struct waiting, job);
    if (!link_empty(&w->task)) {
        struct ltask *t = LIST_ITEM(w->task.next, struct ltask, waiting);
        ltask_wake(t, push_result(t->vm->L, w->dict, &job->write, job->result));
    }
    mem_free(w);
}

/* A copy of a change that may wait; NULL when there is no memory. */
static struct waiting *waiting_new(struct ldict *d, const struct store_write *write)
{
    size_t key = write->key.len, value = write->value.len;
    struct waiting *w = mem_try(sizeof *w + key + value);
    if (!w)
        return NULL;
    w->dict = d;
    w->job = (struct store_job){.write = *write, .done = on_done};
    memcpy(w->bytes, write->key.bytes, key);
    if (value)
        memcpy(w->bytes + key, write->value.bytes, value);
    w->job.write.key.bytes = w->bytes;
    w->job.write.value.bytes = w->bytes + key;
    link_init(&w->task);
    return w;
}

/*
 * Makes a change: in memory at once; on disk the task waits for it, and where it cannot, the whole
 * worker does.
 */
static int make_change(lua_State *L, struct ldict *d, struct store_write *write)
{
    if (!d->queue || !ltask_can_wait(L))
        return push_result(L, d, write, store_write(d->store, write));
    struct waiting *w = waiting_new(d, write);
    if (!w)
        return failed(L, d, STORE_NOMEM, NULL);
    list_append(&w->task, &d->vm->running->waiting);
    store_queue_add(d->queue, &w->job);
    return ltask_wait(L);
}

/* What lshared_pack says of a value that cannot be stored. */
static int refused(lua_State *L, struct ldict *d, const struct lshared_pack *p,
                   enum lshared_packed result)
{
    if (result == LSHARED_NOMEM)
        return failed(L, d, STORE_NOMEM, NULL);
    lua_pushnil(L);
    lua_pushstring(L, p->error);
    lua_pushboolean(L, result == LSHARED_CANNOT);
    return 3;
}

static int shared_set(lua_State *L)
{
    struct ldict *d = check_dict(L);
    struct store_write w = {
        .what = lua_toboolean(L, 5) ? STORE_ADD : STORE_SET,
        .key = check_key(L, 2), /* before the buffer is fresh: a number becomes a string here */
        .ttl = luaL_checknumber(L, 4),
    };
    struct lshared_pack pack = {.out = fresh(d), .limit = STORE_VALUE_MAX};
    pack.array = lua_topointer(L, lua_upvalueindex(ARRAY));
    lua_pushvalue(L, 3);
    enum lshared_packed result = lshared_pack(L, &pack);
    if (result != LSHARED_PACKED)
        return refused(L, d, &pack, result);
    w.value = (struct store_value){pack.kind, buf_bytes(&d->bytes), buf_len(&d->bytes)};
    return make_change(L, d, &w);
}

static int shared_incr(lua_State *L)
{
    struct ldict *d = check_dict(L);
    struct store_write w = {
        .what = STORE_INCR,
        .key = check_key(L, 2),
        .number = luaL_checknumber(L, 3),
        .initial = luaL_checknumber(L, 4),
    };
    return make_change(L, d, &w);
}

static int shared_delete(lua_State *L)
{
    struct ldict *d = check_dict(L);
    struct store_write w = {.what = STORE_DELETE, .key = check_key(L, 2)};
    return make_change(L, d, &w);
}

/* --- Opening -------------------------------------------------------------------------------- */

/* Who has that file open already; NULL: nobody. */
static const struct ldict *holder_of(struct lvm *vm, const char *path)
{
    const struct lshared *s = vm->states[LSHARED_SLOT];
    for (struct link *l = s->dicts.next; l != &s->dicts; l = l->next) {
        const struct ldict *d = LIST_ITEM(l, struct ldict, link);
        if (store_is(d->store, path))
            return d;
    }
    return NULL;
}

/* Where the file is: as asked for, or in the folder for files in memory. `neap check` touches no
 * file of the app's. */
static bool choose_path(lua_State *L, struct lvm *vm, struct store_config *config)
{
    config->disk = !lua_isnil(L, 2) && !vm->check;
    if (config->disk)
        config->path = luaL_checkstring(L, 2);
    else if (vm->scratch)
        config->path = lua_pushfstring(L, "%s/%s.dict", vm->scratch, lua_tostring(L, 1));
    return config->path != NULL;
}

static int shared_open(lua_State *L)
{
    struct lvm *vm = lvm_of(L);
    struct lshared *s = vm->states[LSHARED_SLOT];
    struct store_config config = {.size = (size_t)luaL_checknumber(L, 3)};
    const char *name = luaL_checkstring(L, 1);
    char error[256] = "there is no place for files in memory: neither /dev/shm nor TMPDIR is one";
    const struct ldict *other = NULL;
    lua_settop(L, 3);
    bool place = choose_path(L, vm, &config);
    struct ldict **handle = lua_newuserdata(L, sizeof(struct ldict *));
    struct ldict *d = mem_alloc(sizeof *d);
    d->size = config.size;
    snprintf(d->name, sizeof d->name, "shared.dict \"%s\"", name);
    if (place && (other = holder_of(vm, config.path)))
        snprintf(error, sizeof error, "%.150s: %s has that file", config.path, other->name);
    else if (place)
        d->store = store_open(&config, error);
    if (!d->store) {
        mem_free(d);
        lua_pushnil(L);
        lua_pushstring(L, error);
        return 2;
    }
    d->vm = vm;
    if (config.disk)
        d->queue = store_queue_new(d->store, vm->loop);
    list_append(&s->dicts, &d->link);
    *handle = d;
    luaL_getmetatable(L, CLASS);
    lua_setmetatable(L, -2);
    return 1;
}

static const luaL_Reg functions[] = {
    {"sharedOpen", shared_open},     {"sharedGet", shared_get},
    {"sharedSet", shared_set},       {"sharedIncr", shared_incr},
    {"sharedDelete", shared_delete}, {"sharedKeys", shared_keys},
    {"sharedTtl", shared_ttl},       {NULL, NULL},
};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lshared *s = vm->states[LSHARED_SLOT];
    int core = lua_gettop(L);
    link_init(&s->dicts);
    luaL_newmetatable(L, CLASS);
    lua_pop(L, 1);
    lua_pushlightuserdata(L, vm);
    lua_getfield(L, core, "jsonArray");
    lua_pushcclosure(L, make_value, 1);
    lua_pushcfunction(L, make_keys);
    lua_getfield(L, core, "jsonArray");
    luaL_setfuncs(L, functions, ARRAY);
}

static void dict_free(struct ldict *d)
{
    list_remove(&d->link);
    if (d->queue)
        store_queue_free(d->queue);
    store_close(d->store);
    buf_free(&d->bytes);
    mem_free(d);
}

/* Nobody can use them any more. */
static void module_close(struct lvm *vm)
{
    struct lshared *s = vm->states[LSHARED_SLOT];
    while (!link_empty(&s->dicts))
        dict_free(LIST_ITEM(s->dicts.next, struct ldict, link));
}

const struct lmodule *lshared_module(void)
{
    static const struct lmodule module = {.name = "shared",
                                          .slot = LSHARED_SLOT,
                                          .size = sizeof(struct lshared),
                                          .open = module_open,
                                          .close = module_close};
    return &module;
}
