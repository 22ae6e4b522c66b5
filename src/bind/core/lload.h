// SPDX-License-Identifier: MIT
/*
 * The app is loaded, or checked, in the first task: lua/neap/app/loader.lua,
 * lua/neap/app/check.lua.
 */
#ifndef NEAP_BIND_CORE_LLOAD_H
#define NEAP_BIND_CORE_LLOAD_H

#include "bind/core/lvm.h"

enum { LLOAD_SLOT = LMODULE_CORE + 3 };

/*
 * Loads the app (file or folder) with its arguments (up to a NULL) in the first task; vm->on_loaded
 * tells how it went, now or later. The texts are copied.
 */
void lload_app(struct lvm *vm, const char *app, char *const *args);

/* Runs `neap check`, and the loop as long as the app needs it. Returns the exit status. */
int lload_check(struct lvm *vm, const char *app, char *const *args);

const struct lmodule *lload_module(void);

#endif
