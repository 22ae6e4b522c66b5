// SPDX-License-Identifier: MIT
/* Where the Lua library is: beside the program, in the source tree as well as installed. */
#ifndef NEAP_WORKER_LIBRARY_H
#define NEAP_WORKER_LIBRARY_H

#include <stddef.h>

enum { LIBRARY_WHY = 256 };

/*
 * The folder that holds neap/: <program's folder>/../lua (build/neap), …/../../lua
 * (build/asan/neap), or …/../share/neap/lua (installed). It must be of that version: a library that
 * was replaced under a running server fits another program. Static; NULL with one line in `why`.
 */
const char *library_find(const char *version, char *why, size_t size);

#endif
