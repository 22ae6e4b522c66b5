// SPDX-License-Identifier: MIT
/* `neap check`. */
#ifndef NEAP_CLI_CHECK_H
#define NEAP_CLI_CHECK_H

#include "cli/options.h"

/*
 * Loads the app without opening a port and prints what is wrong with it; returns the exit status.
 */
int check_command(const struct options *o);

#endif
