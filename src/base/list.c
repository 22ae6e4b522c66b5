// SPDX-License-Identifier: MIT
/* The check of list.h, whose functions are all in the header. */
#include "base/list.h"

#include "base/check.h"

#ifdef NEAP_CHECKS
void link_check(const struct link *l)
{
    CHECK(l->next && l->next->prev == l);
    CHECK(l->prev && l->prev->next == l);
}
#endif
