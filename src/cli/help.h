// SPDX-License-Identifier: MIT
/* What `neap --help` and `neap help COMMAND` print. */
#ifndef NEAP_CLI_HELP_H
#define NEAP_CLI_HELP_H

/*
 * Prints the overview, or the page of one command. Returns the exit status: 2 when there is no such
 * command.
 */
int help_command(const char *command);

#endif
