// SPDX-License-Identifier: MIT
/*
 * What every unit test in C needs, and nothing else: named tests and checks that count, input that
 * ends at an unreadable page, input cut in every way, and allocations that fail on demand.
 *
 *      int main(void)
 *      {
 *          test("empty input", empty_input);
 *          return test_end();            // prints `N passed, N failed`
 *      }
 *
 * A failed check prints `file:line: [test, context] what` and lets the test go on, so that one run
 * shows all that is wrong; after twenty failures of one test the rest are only counted. The link
 * wraps malloc, calloc and realloc (-Wl,--wrap=…), which only the program's own objects notice.
 */
#ifndef NEAP_TESTS_UNIT_SUPPORT_H
#define NEAP_TESTS_UNIT_SUPPORT_H

#include "base/str.h"

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs a test. Its name appears in failures; a test that checks nothing has failed. */
void test(const char *name, void (*run)(void));

/* Prints the summary line and returns the exit status: 0 when something ran and nothing failed. */
int test_end(void);

/* What is being tried at the moment ("split at 7"), for the messages; NULL: nothing special. */
void test_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The checks return whether they held, so that a test can stop where going on makes no sense. */
#define CHECK(condition) check_true(condition, #condition, __FILE__, __LINE__)
#define CHECK_INT(actual, expected) \
    check_int((long long)(actual), (long long)(expected), #actual, __FILE__, __LINE__)
#define CHECK_TEXT(actual, expected) check_text(actual, expected, __FILE__, __LINE__)
#define CHECK_BYTES(actual, actual_len, expected, expected_len) \
    check_bytes((struct str){(const void *)(actual), actual_len}, \
                (struct str){(const void *)(expected), expected_len}, __FILE__, __LINE__)

bool check_true(bool held, const char *what, const char *file, int line);
bool check_int(long long actual, long long expected, const char *what, const char *file, int line);
bool check_text(const char *actual, const char *expected, const char *file, int line);
bool check_bytes(struct str actual, struct str expected, const char *file, int line);

/*
 * Memory whose last byte lies before an unreadable page, one block at a time: the copy of `len`
 * bytes is valid until the next call, which fills the old place with 0xDD. So reading past the end
 * faults, and reading a buffer that was given back shows.
 */
uint8_t *guard_copy(const void *bytes, size_t len);

/* Fills the last guarded copy with 0xDD: its owner has taken it back. */
void guard_spoil(void);

/* A way to cut input into pieces: `first` bytes, then `rest` bytes at a time. */
struct cut {
    size_t first, rest;
};

/*
 * Calls `run` with each cutting of `len` bytes: whole, byte by byte, two pieces split at every
 * point. Sets the context.
 */
void each_cut(size_t len, void (*run)(const struct cut *cut, void *arg), void *arg);

/* The length of the piece that starts at `pos`; 0 at the end. */
size_t cut_piece(const struct cut *cut, size_t pos, size_t len);

/* Allocations through malloc, calloc and realloc since the last alloc_watch. */
struct alloc_stats {
    size_t calls, bytes, largest;
    bool failed; /* one was made to fail */
};

/*
 * Starts counting from zero. The `fail_at`-th allocation fails (0: none), and with `and_after` all
 * that follow.
 */
void alloc_watch(size_t fail_at, bool and_after);

/* Ends counting and failing; what there was. */
struct alloc_stats alloc_end(void);

/*
 * Runs a scenario with the n-th allocation failing, n = 1, 2, … until it needs no more, first with
 * that one alone, then with all from the n-th on. `run` calls nothing but the code under test
 * between alloc_watch and alloc_end, which are made here.
 */
void each_alloc_failure(void (*run)(void *arg), void *arg);

/*
 * Reads hex digits, blanks ignored, into `out`; returns the number of bytes. Dies on anything else.
 */
size_t unhex(const char *hex, uint8_t *out, size_t room);

/* A repeatable random number (xorshift); the seed is the state. */
uint64_t random_next(uint64_t *state);

#endif
