// SPDX-License-Identifier: MIT
/*
 * How a worker's process begins. The master forks, and the fork runs the program once more, so that
 * each life of a worker has a memory layout of its own: what a crash has told about the addresses
 * of one life says nothing about the next.
 *
 *      master                                     worker
 *      pair, page ─▶ BEGIN, LOCK into the pair
 *      fork ────────────────▶ exec "neap: worker 1" _worker FD, and the words of `neap run`
 *                                                 signals ─▶ takes BEGIN and LOCK ─▶ loads the app
 *
 * Of all descriptors only the end of the pair survives the exec; the others come through it. The
 * program that runs is the file that was started, while it has its name (which valgrind needs, and
 * `ps -o comm` shows); after that what the kernel keeps of it, /proc/self/exe.
 */
#ifndef NEAP_LINE_BIRTH_H
#define NEAP_LINE_BIRTH_H

#include <stdbool.h>

enum { BIRTH_WHY = 256 };

/* The command that makes a process a worker. It is in no help, since nobody should type it. */
#define BIRTH_COMMAND "_worker"

struct scratch;
struct watchdog;
struct line;

/* What the master says first. */
struct birth {
    const char *program; /* its version */
    int seat, workers;
    int page;                      /* a descriptor, of watchdog_new */
    const struct scratch *scratch; /* or NULL */
};

/*
 * Learns which file this program is, before any worker is started. False when the system does not
 * tell: there is no /proc. See errno.
 */
bool birth_learn_program(void);

/* Puts the first messages into the master's end of a line. Returns 0, or -1 with errno. */
int birth_announce(int line, const struct birth *b);

/*
 * In the master's fork, with all signals blocked: becomes worker `number` at that end of the line.
 * `words` are those of the command line after `run`. Returns only when that fails, with errno.
 */
void birth_exec(int line, int number, char *const *words);

/*
 * In the worker, first of all: what the master listens to does nothing here, SIGCHLD and SIGALRM
 * have their defaults, and no signal is blocked any more. The programs that an app starts inherit
 * nothing odd then. And it has the program's name.
 */
void birth_begin(void);

/* Whether the descriptor can be a worker's end of a line. */
bool birth_is_line(int fd);

/*
 * Takes what the master has said first; `program` is this program's version. The line, which owns
 * the descriptor from now on, or NULL: `why` says why this process cannot be a worker, or is empty
 * when the master is gone.
 */
struct line *birth_take(int fd, const char *program, char why[BIRTH_WHY]);

/* Tells the master why this process cannot be a worker; it ends then. */
void birth_refuse(int line, const char *why);

#endif
