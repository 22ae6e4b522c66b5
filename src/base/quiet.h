// SPDX-License-Identifier: MIT
/*
 * Signals that do nothing here. They have a handler that does nothing, because SIG_IGN is inherited
 * through exec(3): a program that an app starts would ignore them, too, and `while :; do echo y;
 * done | head -1` never ends when the shell ignores SIGPIPE. A handler becomes the default.
 */
#ifndef NEAP_BASE_QUIET_H
#define NEAP_BASE_QUIET_H

/* From now on the signal does nothing; system calls that it interrupts go on, where they can. */
void quiet_signal(int number);

#endif
