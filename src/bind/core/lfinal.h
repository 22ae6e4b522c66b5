// SPDX-License-Identifier: MIT
/*
 * Finalizers of the app. The collector runs wherever memory is asked for: in the middle of
 * anything, on any stack, where no hook is called and nothing catches an error. So what it calls
 * there only queues the object; at the end of the turn the app's function runs in a task, watched
 * as all are. It cannot wait.
 *
 *      collector ─▶ on_collected ─▶ queue ─▶ end of the turn: a task each, "a finalizer"
 *                                     ▲
 *      the worker ends ─▶ objects that live, in `living`
 *
 * lua/neap/runtime/protect.lua sees to it that newproxy, ffi.gc, ffi.metatype and
 * debug.setmetatable set such ones. Finalizers of C modules, and functions of C given to ffi.gc,
 * run in the collector. Queued objects are on the heap, and count for its limit.
 */
#ifndef NEAP_BIND_CORE_LFINAL_H
#define NEAP_BIND_CORE_LFINAL_H

#include "bind/core/lvm.h"

enum { LFINAL_SLOT = LMODULE_CORE + 5 };

/*
 * Before the state is closed, once nothing of the app is to run any more but its finalizers: runs
 * what is queued and those of all that still lives, for so many seconds at most. Sets vm->closing.
 */
void lfinal_finish(struct lvm *vm, double seconds);

const struct lmodule *lfinal_module(void);

#endif
