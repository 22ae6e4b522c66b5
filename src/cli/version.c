// SPDX-License-Identifier: MIT
/*
 * NEAP_VERSION and NEAP_COMMIT come from the Makefile; the commit is empty when the sources are no
 * checkout.
 */
#include "cli/version.h"

#include <stdio.h>

const char *version_text(void)
{
    static char text[96];
    const char *commit = NEAP_COMMIT;
    snprintf(text, sizeof text, *commit ? "neap %s (%s)" : "neap %s", NEAP_VERSION, commit);
    return text;
}

const char *version_number(void)
{
    return NEAP_VERSION;
}
