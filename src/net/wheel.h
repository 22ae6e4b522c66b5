// SPDX-License-Identifier: MIT
/*
 * Deadlines by the thousand: a timing wheel on one timer of the loop. An entry costs a link and a
 * number, setting one later again costs nothing (it fires at the earlier time, and its owner looks
 * what is due), and the loop wakes up for those slots alone that have entries.
 *
 *      near   128 slots of 64 ms     what is due within seconds, nearly to the moment
 *      far    128 slots of 1,024 ms  what is due later; past the last slot: looked at again there
 *
 * The wheel has a clock of its own, in milliseconds, which stands still while the process does not
 * run its loop (it was stopped, or a handler kept it busy): a peer must not be judged by time in
 * which nobody listened to it. Entries are told at the end of a turn of the loop, after all sockets
 * that were ready in that turn.
 */
#ifndef NEAP_NET_WHEEL_H
#define NEAP_NET_WHEEL_H

#include "base/list.h"
#include "net/loop.h"

#include <stdint.h>

enum { WHEEL_SLOTS = 128 };

struct wheel_entry {
    struct link link;
    uint32_t tick; /* of 64 ms, since the wheel began: where it stands */
};

struct wheel {
    struct loop *loop;
    void (*on_due)(struct wheel_entry *entry);
    struct loop_timer timer;
    struct loop_job job;
    uint64_t zero;     /* loop_ms at which its clock began, and what it stood still since */
    uint64_t expected; /* loop_ms at which the timer should fire */
    uint64_t graced;   /* loop_ms at which time for hearing was given last */
    uint32_t passed;   /* entries up to this tick have been told */
    uint32_t armed;    /* tick that the timer waits for */
    bool waiting;      /* ... if it does */
    uint64_t near_used[WHEEL_SLOTS / 64], far_used[WHEEL_SLOTS / 64]; /* slots that have entries */
    struct link near[WHEEL_SLOTS], far[WHEEL_SLOTS];
};

/* `on_due` is called for each entry whose time has come; it is off the wheel then. */
void wheel_init(struct wheel *wheel, struct loop *loop, void (*on_due)(struct wheel_entry *entry));
/* Stops the timer. Entries need not be removed before. */
void wheel_deinit(struct wheel *wheel);

void wheel_entry_init(struct wheel_entry *entry);

/*
 * Milliseconds on the clock of the wheel, modulo 2^32: to be compared by signed differences, for
 * spans of at most WHEEL_SPAN_MS. It may fall back when it turns out that the loop had stopped.
 */
uint32_t wheel_now(const struct wheel *wheel);

/* The longest span in milliseconds that differences tell: some 20 days. */
#define WHEEL_SPAN_MS (UINT32_C(20) * 24 * 3600 * 1000)

/*
 * Has the entry told in `delay` milliseconds, rounded up to its slot, or earlier when it stands
 * earlier already. For delays of minutes, too, it may be told earlier: the owner looks what is due.
 */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint32_t delay);

/*
 * True when it stands where wheel_set with such a delay (or one that is over) would have it, or
 * earlier: for checks.
 */
bool wheel_in_time(const struct wheel *wheel, const struct wheel_entry *entry, int32_t delay);

/* Takes an entry off; harmless when it is on none. */
void wheel_remove(struct wheel_entry *entry);

#endif
