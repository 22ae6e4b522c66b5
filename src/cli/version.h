// SPDX-License-Identifier: MIT
/* The version, known to one object alone so that a commit rebuilds only that. */
#ifndef NEAP_CLI_VERSION_H
#define NEAP_CLI_VERSION_H

/* "neap 0.1.0 (1a2b3c4)" or "neap 0.1.0"; static. */
const char *version_text(void);

/* "0.1.0", which the Lua library must have, too; static. */
const char *version_number(void);

#endif
