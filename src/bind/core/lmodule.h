// SPDX-License-Identifier: MIT
/*
 * What the binding is made of. A module adds its functions to the core table that lua/neap stands
 * on, and keeps what it knows in a state of its own, which is found in the vm by the module's slot:
 * so the vm knows no module, and a module no other but those that it includes. bind/lmodules.c
 * lists them.
 *
 *      lvm_new     open    in the order of the list, with the core table at the top of the stack
 *                  take    the library is loaded: out of the table of hooks at the top of the stack
 *      (load)      loaded  the app's top level has ended well
 *      lvm_free    stop    in the order of the list, while the Lua state is there and nothing of
 *                          the app runs but finalizers; tasks come first, so that none is left
 *                          that waits for what another module drops
 *                  close   from the end of the list, once the Lua state has been closed
 */
#ifndef NEAP_BIND_CORE_LMODULE_H
#define NEAP_BIND_CORE_LMODULE_H

#include <lua.h>
#include <stddef.h>

struct lvm;

/*
 * The slots of each folder's modules begin here; a module's header has its own, as `LTIMER_SLOT`.
 * lvm_new ends the program when two modules have the same one.
 */
enum {
    LMODULE_CORE = 0,
    LMODULE_DATA = 10,
    LMODULE_HTTP = 14,
    LMODULE_WS = 22,
    LMODULE_SLOTS = 32
};

/*
 * Functions that a module does not need are NULL. `open` and `take` may raise for lack of memory.
 */
struct lmodule {
    const char *name;
    unsigned slot;
    size_t size; /* of its state, which is zero before `open`; 0: it has none, and no slot */
    void (*open)(struct lvm *vm, lua_State *L);
    void (*take)(struct lvm *vm, lua_State *L);
    void (*loaded)(struct lvm *vm);
    void (*stop)(struct lvm *vm);
    void (*close)(struct lvm *vm);
};

#endif
