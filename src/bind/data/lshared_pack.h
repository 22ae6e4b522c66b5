// SPDX-License-Identifier: MIT
/*
 * Lua values as bytes, for the shared dictionaries. What comes back is equal to what was stored:
 *
 *      kind  bytes that follow          kind  bytes that follow
 *      'n'   8: a double                'T'   1: 1 for json.array, else 0; how many stand at 1..n;
 *      's'   the string                       these; then key and value in turn; 'e'
 *      'B'   none: true                 'N'   none: json.null
 *      'b'   none: false
 *
 * Inside a table there are two more: 'i' and a count is a whole number from 0 to 2^53, and 's' has
 * its length in front, a count. Counts have seven bits a byte, the lowest first; the eighth bit
 * says that more follow.
 */
#ifndef NEAP_BIND_DATA_LSHARED_PACK_H
#define NEAP_BIND_DATA_LSHARED_PACK_H

#include "base/buf.h"

#include <lua.h>
#include <stdbool.h>

enum { LSHARED_DEPTH = 128 }; /* of tables in tables */

enum lshared_packed {
    LSHARED_PACKED,
    LSHARED_CANNOT,  /* a value of a kind that cannot be stored is in it: the app's mistake */
    LSHARED_TOO_BIG, /* nested too deeply, or too many bytes */
    LSHARED_NOMEM,
};

struct lshared_pack {
    struct buf *out;
    size_t limit;      /* most bytes */
    const void *array; /* the metatable of json.array */
    char error[160];   /* what is wrong and where: "list[2]: a function cannot be stored" */
    char path[96];     /* of it; filled from the end */
    size_t path_at;
    int depth;
    uint8_t kind; /* out: of the value */
};

/* Appends the value at the top of the stack, which stays as it was. */
enum lshared_packed lshared_pack(lua_State *L, struct lshared_pack *p);

/*
 * Pushes the value of that kind and bytes; false (and nothing pushed) when they are not one: the
 * file is damaged. Raises when Lua has no memory. `array` is the stack index of json.array's
 * metatable.
 */
bool lshared_unpack(lua_State *L, uint8_t kind, const struct buf *bytes, int array);

#endif
