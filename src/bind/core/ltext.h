// SPDX-License-Identifier: MIT
/* Questions about text: the library's about whole messages, too long for Lua; and the binding's. */
#ifndef NEAP_BIND_CORE_LTEXT_H
#define NEAP_BIND_CORE_LTEXT_H

#include "bind/core/lvm.h"

#include <stdbool.h>
#include <stddef.h>

/* True when the text has no CR, LF or NUL, which would make two lines of it in a log. */
bool ltext_is_line(const char *s, size_t len);

const struct lmodule *ltext_module(void);

#endif
