// SPDX-License-Identifier: MIT
/*
 * A service as C sees it: references to its callbacks, looked up once when it is declared, so that
 * a message costs no table look-up by name. Counted: connections keep the service they were opened
 * with.
 */
#ifndef NEAP_BIND_WS_LSERVICE_H
#define NEAP_BIND_WS_LSERVICE_H

#include "bind/core/lvm.h"

enum { LSERVICE_SLOT = LMODULE_WS + 1 };

enum lservice_callback {
    LSERVICE_OPEN,
    LSERVICE_MESSAGE,
    LSERVICE_TEXT,
    LSERVICE_BINARY,
    LSERVICE_PING,
    LSERVICE_PONG,
    LSERVICE_IDLE,
    LSERVICE_CLOSE,
    LSERVICE_ERROR,
    LSERVICE_CALLBACKS
};

struct lservice {
    struct link link; /* in lservices.all */
    uint32_t refs;
    struct lvm *vm;
    char *name;                        /* or NULL: a plain table */
    int callbacks[LSERVICE_CALLBACKS]; /* registry references, LUA_NOREF where there is none */
};

/* One more user, who gives it up by lservice_unref; with the last one it goes. Neither raises. */
struct lservice *lservice_ref(struct lservice *s);
void lservice_unref(struct lservice *s);

/* The service userdata at `index`, which has it; NULL when it is none. Does not raise. */
struct lservice *lservice_test(lua_State *L, int index);

/* The name of a callback ("onOpen"), static. */
const char *lservice_callback_name(enum lservice_callback callback);

const struct lmodule *lservice_module(void);

#endif
