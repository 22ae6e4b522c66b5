// SPDX-License-Identifier: MIT
/* Where the Lua library is: beside the program, in the source tree as well as installed. */
#ifndef NEAP_WORKER_LIBRARY_H
#define NEAP_WORKER_LIBRARY_H

/*
 * The folder that holds neap/: <program's folder>/../lua (build/neap), …/../../lua
 * (build/asan/neap), or …/../share/neap/lua (installed). Ends the program with a message and status
 * 1 when there is none. Static.
 */
const char *library_path(void);

#endif
