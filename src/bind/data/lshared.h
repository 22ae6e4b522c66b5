// SPDX-License-Identifier: MIT
/*
 * Shared dictionaries, each of them a store (store/store.h), for lua/neap/shared.lua, which has
 * checked the arguments:
 *
 *     core.sharedOpen(name, path, size)               dict, or nil and a message
 *     core.sharedGet(dict, key)                       value, or nil
 *     core.sharedSet(dict, key, value, ttl, add)      true, or false: `add`, and it was there
 *     core.sharedIncr(dict, key, n, initial)          the sum
 *     core.sharedDelete(dict, key)                    whether it was there
 *     core.sharedKeys(dict, prefix, limit)            an array, whether there may be more
 *     core.sharedTtl(dict, key)                       seconds, or nil
 *
 * What fails returns nil and a message; sharedSet of what cannot be stored has `true` as third.
 */
#ifndef NEAP_BIND_DATA_LSHARED_H
#define NEAP_BIND_DATA_LSHARED_H

#include "bind/core/lvm.h"

enum { LSHARED_SLOT = LMODULE_DATA };

/* To be opened after ljson. */
const struct lmodule *lshared_module(void);

#endif
