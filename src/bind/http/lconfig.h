// SPDX-License-Identifier: MIT
/*
 * Settings from Lua to C. The tables are complete and checked by lua/neap/config/, which has
 * all defaults: a key that is not there is 0, false or nothing here. What cannot be set is in
 * lconfig.c.
 */
#ifndef NEAP_BIND_HTTP_LCONFIG_H
#define NEAP_BIND_HTTP_LCONFIG_H

#include "http/settings.h"
#include "server/listener.h"

#include <lua.h>

/*
 * The settings at the absolute index `table`. What they own (texts, lists) passes to the caller,
 * who hands it on to listener_new or route_new. Neither raises.
 */
struct http_settings lconfig_listener(lua_State *L, int table);
struct listener_limits lconfig_limits(lua_State *L, int table);
struct route_config lconfig_route(lua_State *L, int table);

#endif
