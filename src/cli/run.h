// SPDX-License-Identifier: MIT
/* `neap run`. */
#ifndef NEAP_CLI_RUN_H
#define NEAP_CLI_RUN_H

#include "cli/options.h"

/* Serves the app until it is stopped; returns the exit status. */
int run_command(const struct options *o);

#endif
