// SPDX-License-Identifier: MIT
/* The command that the master starts workers with (birth.h). */
#ifndef NEAP_CLI_WORK_H
#define NEAP_CLI_WORK_H

/*
 * `argv`: the number of the descriptor that is the line to the master, and what follows `neap run`.
 * Returns the exit status: 2 when somebody has typed it by hand, else the worker's.
 */
int work_command(char **argv);

#endif
