// SPDX-License-Identifier: MIT
/* All modules of the binding. */
#ifndef NEAP_BIND_LMODULES_H
#define NEAP_BIND_LMODULES_H

#include "bind/core/lmodule.h"

/* For lvm_new: up to a NULL, static. */
const struct lmodule *const *lmodules(void);

#endif
