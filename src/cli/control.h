// SPDX-License-Identifier: MIT
/* `neap status`, `neap stop` and `neap reload`: the client of a running server's control socket. */
#ifndef NEAP_CLI_CONTROL_H
#define NEAP_CLI_CONTROL_H

/*
 * Sends the command ("status", "stop", "reload") to the server whose control socket is at `path`,
 * or to the only running server of this user when that is NULL, and prints its answer. Returns the
 * exit status: 0; 1 when no server runs or it refused; 2 when several run, whose sockets are listed
 * then.
 */
int control_command(const char *command, const char *path);

#endif
