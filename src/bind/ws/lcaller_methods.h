// SPDX-License-Identifier: MIT
/* The methods of the Caller. */
#ifndef NEAP_BIND_WS_LCALLER_METHODS_H
#define NEAP_BIND_WS_LCALLER_METHODS_H

#include "bind/core/lmodule.h"

/* Has the state of lcaller.h. */
const struct lmodule *lcaller_methods_module(void);

#endif
