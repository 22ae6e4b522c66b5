// SPDX-License-Identifier: MIT
/*
 * Preloaded into a server under callgrind, so that it does the same in every run:
 *
 *   - Random bytes come from a generator with a fixed seed (GUARD_SEED): the hash tables of LuaJIT
 *     and Neap look the same, and the compiler's dice fall the same.
 *   - Between guard_begin and guard_end the clocks stand still and nobody is woken by a timeout:
 *     how many timers fire meanwhile is a matter of how busy the machine is.
 *
 * The app calls guard_begin and guard_end; what is between them becomes one dump of callgrind's.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

enum { CLOCKS = 16 };

void guard_begin(void);
void guard_end(const char *name);

static bool stopped;
static struct timespec shown[CLOCKS];
static uint64_t random_state;

static int real_clock(clockid_t id, struct timespec *out)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    return real(id, out);
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    if (!stopped || id < 0 || id >= CLOCKS)
        return real_clock(id, out);
    *out = shown[id];
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int epoll_wait(int fd, struct epoll_event *events, int most, int milliseconds)
{
    static int (*real)(int, struct epoll_event *, int, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
    return real(fd, events, most, stopped && milliseconds > 0 ? -1 : milliseconds);
}

/* xorshift64*, which is enough for seeds. */
static uint8_t random_byte(void)
{
    if (!random_state) {
        const char *seed = getenv("GUARD_SEED");
        random_state = 88172645463325252u + (seed ? strtoull(seed, NULL, 10) : 0);
    }
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint8_t)((random_state * 2685821657736338717u) >> 56);
}

ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = random_byte();
    return (ssize_t)len;
}

int getentropy(void *out, size_t len)
{
    getrandom(out, len, 0);
    return 0;
}

/* LuaJIT and OpenSSL ask the kernel for random bytes by this. */
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_getrandom)
        return getrandom((void *)a[0], (size_t)a[1], 0);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void guard_begin(void)
{
    for (clockid_t id = 0; id < CLOCKS; id++)
        real_clock(id, &shown[id]);
    stopped = true;
    /* Setting the counters to zero would leave some calls of the system as they are. */
    CALLGRIND_DUMP_STATS_AT("before");
}

void guard_end(const char *name)
{
    CALLGRIND_DUMP_STATS_AT(name);
    stopped = false;
}
