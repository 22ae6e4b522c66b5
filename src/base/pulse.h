// SPDX-License-Identifier: MIT
/*
 * Signs of life of a process: written by its event loop and by what runs handlers, read by those
 * that judge it, which may be a signal handler or another process that shares the memory.
 *
 *      each turn of the loop, each handler ─▶ beats       the same beats as before although much
 *                                                         processor time was used: it is stuck
 */
#ifndef NEAP_BASE_PULSE_H
#define NEAP_BASE_PULSE_H

#include <stdbool.h>

struct pulse {
    volatile unsigned long beats;
    volatile double excused; /* seconds of processor time so far that do not count */
    volatile bool slow;      /* what it does now may take ten times as long as a handler */
};

enum { PULSE_SLOW = 10 }; /* so many times */

#endif
