// SPDX-License-Identifier: MIT
/*
 * JSON (RFC 8259) between strings and Lua values: the functions under lua/neap/json.lua. Strict in
 * both directions: valid UTF-8 only, no lone surrogates, no numbers out of range, 128 levels deep.
 *
 *     core.jsonDecode(text)   value, or nil and a message that begins with line and column
 *     core.jsonEncode(value)  string, or nil and a message that begins with the path ($.a[2])
 *     core.jsonArray          the metatable that marks a table as an array, also an empty one
 *     core.jsonNull           what `null` decodes to: the light userdata NULL
 */
#ifndef NEAP_BIND_DATA_LJSON_H
#define NEAP_BIND_DATA_LJSON_H

#include "bind/core/lmodule.h"

/*
 * Adds the fields above to the table at `core_index`; leaves the stack as it was. Nothing of ours
 * is held outside the Lua heap, so there is nothing to close. May raise (no memory).
 */
void ljson_open(lua_State *L, int core_index);

const struct lmodule *ljson_module(void);

#endif
