// SPDX-License-Identifier: MIT
/*
 * Values of shared dictionaries as bytes: a file on a disk may hold anything. The first byte of the
 * input is the kind, the second one says which allocation of a second reading fails; the rest are
 * the bytes. Beyond crashes:
 *
 *      - what is no value pushes nothing;
 *      - what was read is written, and reads back as as many bytes, but for nan, which is refused;
 *      - memory stays in proportion to the bytes;
 *      - without memory it raises and nothing is lost.
 */
#include "bind/data/lshared_pack.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_BYTE = 100, BESIDE = 2 << 20, LIMIT = 1 << 20 };

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static struct {
    size_t used, most;
    long left; /* allocations until one fails; negative: none does */
} memory;

static struct {
    uint8_t kind;
    struct buf in, out, again;
} input;

static void *allocate(void *ud, void *old, size_t old_size, size_t size)
{
    (void)ud;
    if (size == 0) {
        free(old);
        memory.used -= old ? old_size : 0;
        return NULL;
    }
    if (size > old_size && memory.left >= 0 && memory.left-- == 0)
        return NULL;
    void *p = realloc(old, size);
    MUST(p);
    memory.used += size - (old ? old_size : 0);
    if (memory.used > memory.most)
        memory.most = memory.used;
    return p;
}

/* Packs the value at the top; false when there is a nan in it. */
static bool pack(lua_State *L, struct buf *out, uint8_t *kind)
{
    struct lshared_pack p = {.out = out, .limit = LIMIT, .array = lua_topointer(L, 1)};
    enum lshared_packed result = lshared_pack(L, &p);
    *kind = p.kind;
    MUST(result == LSHARED_PACKED || (result == LSHARED_CANNOT && strstr(p.error, "nan cannot")));
    return result == LSHARED_PACKED;
}

static int read_and_write(lua_State *L)
{
    uint8_t kind;
    lua_newtable(L);
    if (!lshared_unpack(L, input.kind, &input.in, 1)) {
        MUST(lua_gettop(L) == 1);
        return 0;
    }
    MUST(lua_gettop(L) == 2);
    if (!pack(L, &input.out, &kind))
        return 0;
    MUST(kind == input.kind && buf_len(&input.out) <= buf_len(&input.in) + 16);
    MUST(lshared_unpack(L, kind, &input.out, 1) && lua_gettop(L) == 3);
    MUST(pack(L, &input.again, &kind));
    MUST(kind == input.kind && buf_len(&input.again) == buf_len(&input.out));
    return 0;
}

static void run(size_t size, long left)
{
    memory.left = -1;
    lua_State *L = lua_newstate(allocate, NULL);
    MUST(L);
    lua_pushcfunction(L, read_and_write);
    memory.most = memory.used;
    size_t before = memory.used;
    memory.left = left;
    int status = lua_pcall(L, 0, 0, 0);
    memory.left = -1;
    MUST(status == 0 || (status == LUA_ERRMEM && left >= 0));
    MUST(memory.most - before <= PER_BYTE * size + BESIDE);
    lua_close(L);
    MUST(memory.used == 0);
    buf_free(&input.out);
    buf_free(&input.again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    input.kind = data[0];
    MUST(buf_append(&input.in, data + 2, size - 2) == 0);
    run(size, -1);
    run(size, data[1] % 64);
    buf_free(&input.in);
    return 0;
}
