// SPDX-License-Identifier: MIT
/*
 * Invariants as code. CHECK(x) says what must hold at this point whatever a peer or an app does: a
 * fault of ours when it does not, so the process ends at once, with the place, before it does harm
 * that is hard to trace. Only in builds for tests (sanitizers, fuzzing, units): elsewhere it is
 * compiled but never evaluated.
 *
 * A struct whose fields depend on each other has one function that says how, such as conn_check,
 * called at the end of the functions that change it. It costs no more than its caller does: it
 * looks at a bounded part of a list. What is short enough to stand in a header has its check in a
 * .c file even so.
 */
#ifndef NEAP_BASE_CHECK_H
#define NEAP_BASE_CHECK_H

/* Writes the place and what should have held to stderr, and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *what);

/*
 * Used in .c files alone: the unit tests have a macro of the same name. CHECKING is for what a
 * check needs besides, such as a loop.
 */
#ifdef NEAP_CHECKS
#define CHECKING 1
#define CHECK(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))
#else
#define CHECKING 0
#define CHECK(x) ((void)(0 && (x)))
#endif

#endif
