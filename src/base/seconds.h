// SPDX-License-Identifier: MIT
/* Seconds, as we count them nearly everywhere, and the units of the system. */
#ifndef NEAP_BASE_SECONDS_H
#define NEAP_BASE_SECONDS_H

#include <math.h>
#include <stdint.h>
#include <time.h>

#define MS_PER_SECOND 1e3
#define US_PER_SECOND 1e6
#define NS_PER_SECOND 1e9
enum { NS_PER_MS = 1000000 };

static inline double seconds_from(const struct timespec *t)
{
    return (double)t->tv_sec + (double)t->tv_nsec / NS_PER_SECOND;
}

/* The same in whole milliseconds, rounded down. */
static inline uint64_t seconds_ms(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * (uint64_t)MS_PER_SECOND + (uint64_t)(t->tv_nsec / NS_PER_MS);
}

/* Of at least 0 seconds. */
static inline struct timespec seconds_to(double seconds)
{
    double whole = floor(seconds);
    return (struct timespec){(time_t)whole, (long)((seconds - whole) * NS_PER_SECOND)};
}

#endif
