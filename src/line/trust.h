// SPDX-License-Identifier: MIT
/*
 * Whom a server and those who talk to it on its control socket believe: this user and root, and
 * nobody else. /tmp is everybody's, and so may be a folder or socket of ours by its name.
 */
#ifndef NEAP_LINE_TRUST_H
#define NEAP_LINE_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum { TRUST_WHY = 64 };

/*
 * Whether only this user or root can have put there what `st` describes, and can change it: its
 * owner is one of them and nobody else may write to it. If not, `why` says it: "it belongs to user
 * 65534".
 */
bool trust_file(const struct stat *st, char why[TRUST_WHY]);

/*
 * Opens a folder for reading, which is not reached by a symbolic link, and of which trust_file
 * holds. Returns the descriptor; -1 with `why` filled, or empty when there is no such folder.
 */
int trust_open_folder(const char *path, char why[TRUST_WHY]);

/*
 * Whether the process at the other end of a Unix socket is this user's or root's, by the kernel's
 * word; to who connects, of the one that listens. If not, `why` says it.
 */
bool trust_peer(int fd, char why[TRUST_WHY]);

#endif
