// SPDX-License-Identifier: MIT
/*
 * The workings of support.h. One test runs at a time in one thread, so its state is a few statics.
 */
#include "support.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

enum { FAILURES_SHOWN = 20, GUARD_SIZE = 8 << 20 };

static struct {
    unsigned passed, failed; /* tests */
    const char *name;
    char context[160];
    unsigned long checks, failures; /* of the running test */
} now;

void test(const char *name, void (*run)(void))
{
    now.name = name;
    now.context[0] = '\0';
    now.checks = now.failures = 0;
    run();
    if (now.checks == 0)
        printf("[%s] checks nothing\n", name);
    if (now.failures > FAILURES_SHOWN)
        printf("[%s] %lu checks failed in all\n", name, now.failures);
    if (now.failures || now.checks == 0)
        now.failed++;
    else
        now.passed++;
}

int test_end(void)
{
    printf("%u passed, %u failed\n", now.passed, now.failed);
    return now.failed || now.passed == 0;
}

void test_context(const char *format, ...)
{
    va_list args;
    if (!format) {
        now.context[0] = '\0';
        return;
    }
    va_start(args, format);
    vsnprintf(now.context, sizeof now.context, format, args);
    va_end(args);
}

/* Counts a failed check; true when it is to be described, its place being printed already. */
static bool failure(const char *file, int line)
{
    if (++now.failures > FAILURES_SHOWN)
        return false;
    printf("%s:%d: [%s%s%s] ", file, line, now.name, now.context[0] ? ", " : "", now.context);
    return true;
}

bool check_true(bool held, const char *what, const char *file, int line)
{
    now.checks++;
    if (!held && failure(file, line))
        printf("does not hold: %s\n", what);
    return held;
}

bool check_int(long long actual, long long expected, const char *what, const char *file, int line)
{
    now.checks++;
    if (actual != expected && failure(file, line))
        printf("%s is %lld, expected %lld\n", what, actual, expected);
    return actual == expected;
}

bool check_text(const char *actual, const char *expected, const char *file, int line)
{
    bool same = strcmp(actual, expected) == 0;
    now.checks++;
    if (!same && failure(file, line))
        printf("got\n    %s\nexpected\n    %s\n", actual, expected);
    return same;
}

bool check_bytes(struct str actual, struct str expected, const char *file, int line)
{
    size_t i = 0;
    now.checks++;
    while (i < actual.len && i < expected.len && actual.s[i] == expected.s[i])
        i++;
    if (i == actual.len && i == expected.len)
        return true;
    if (failure(file, line))
        printf("%zu bytes, expected %zu; they differ from byte %zu on\n", actual.len, expected.len,
               i);
    return false;
}

static struct {
    uint8_t *end, *last;
    size_t last_len;
} guard;

static void guard_open(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *base = mmap(NULL, GUARD_SIZE + page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED || mprotect(base + GUARD_SIZE, page, PROT_NONE) < 0) {
        perror("guard page");
        exit(1);
    }
    guard.end = guard.last = base + GUARD_SIZE;
}

void guard_spoil(void)
{
    if (guard.last_len > 0)
        memset(guard.last, 0xDD, guard.last_len);
}

uint8_t *guard_copy(const void *bytes, size_t len)
{
    if (!guard.end)
        guard_open();
    if (len > GUARD_SIZE) {
        printf("guard_copy: %zu bytes are too many\n", len);
        exit(1);
    }
    guard_spoil();
    guard.last = guard.end - len;
    guard.last_len = len;
    if (len > 0)
        memcpy(guard.last, bytes, len);
    return guard.last;
}

size_t cut_piece(const struct cut *cut, size_t pos, size_t len)
{
    size_t piece = pos == 0 ? cut->first : cut->rest;
    return piece < len - pos ? piece : len - pos;
}

void each_cut(size_t len, void (*run)(const struct cut *cut, void *arg), void *arg)
{
    test_context("whole");
    run(&(struct cut){len, len}, arg);
    test_context("byte by byte");
    run(&(struct cut){1, 1}, arg);
    for (size_t at = 1; at < len; at++) {
        test_context("split at %zu", at);
        run(&(struct cut){at, len}, arg);
    }
    test_context(NULL);
}

static struct {
    bool on, and_after;
    size_t fail_at;
    struct alloc_stats stats;
} watch;

void alloc_watch(size_t fail_at, bool and_after)
{
    watch.stats = (struct alloc_stats){0};
    watch.fail_at = fail_at;
    watch.and_after = and_after;
    watch.on = true;
}

struct alloc_stats alloc_end(void)
{
    watch.on = false;
    return watch.stats;
}

/* True when this allocation has to fail. */
static bool count_alloc(size_t size)
{
    if (!watch.on)
        return false;
    size_t n = ++watch.stats.calls;
    watch.stats.bytes += size;
    if (size > watch.stats.largest)
        watch.stats.largest = size;
    bool fails = watch.fail_at && (n == watch.fail_at || (watch.and_after && n > watch.fail_at));
    watch.stats.failed |= fails;
    return fails;
}

void *__wrap_malloc(size_t size)
{
    return count_alloc(size) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return count_alloc(count * size) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return count_alloc(size) ? NULL : __real_realloc(p, size);
}

void each_alloc_failure(void (*run)(void *arg), void *arg)
{
    char outer[sizeof now.context];
    memcpy(outer, now.context, sizeof outer);
    for (int and_after = 0; and_after <= 1; and_after++) {
        struct alloc_stats stats;
        size_t n = 0;
        do {
            test_context("%s%sallocation %zu%s fails", outer, outer[0] ? ", " : "", ++n,
                         and_after ? " and all after it" : "");
            alloc_watch(n, and_after);
            run(arg);
            stats = alloc_end();
        } while (stats.failed);
    }
    memcpy(now.context, outer, sizeof outer);
}

size_t unhex(const char *hex, uint8_t *out, size_t room)
{
    size_t len = 0;
    for (; *hex; hex++) {
        unsigned byte;
        if (isspace((unsigned char)*hex))
            continue;
        if (len == room || sscanf(hex, "%2x", &byte) != 1 || !isxdigit((unsigned char)hex[1])) {
            printf("unhex: bad or too long: %s\n", hex);
            exit(1);
        }
        out[len++] = (uint8_t)byte;
        hex++;
    }
    return len;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}
