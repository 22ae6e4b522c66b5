// SPDX-License-Identifier: MIT
/*
 * Fields of a table at the absolute index `table`, by their names. The stack is left as it was.
 * None of these raises, as long as the table has no metamethods.
 */
#ifndef NEAP_BIND_CORE_LFIELD_H
#define NEAP_BIND_CORE_LFIELD_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* A number; 0 when there is none. */
double lfield_number(lua_State *L, int table, const char *key);

/* A number as a count: negative ones are 0, larger ones UINT32_MAX. */
uint32_t lfield_count(lua_State *L, int table, const char *key);

/* Whether the field is true. */
bool lfield_flag(lua_State *L, int table, const char *key);

/* A text, which lives as long as the table has it; NULL when there is none. */
const char *lfield_text(lua_State *L, int table, const char *key);

/* Whether the field is this text. */
bool lfield_is(lua_State *L, int table, const char *key, const char *value);

#endif
