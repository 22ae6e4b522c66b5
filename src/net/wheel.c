// SPDX-License-Identifier: MIT
/*
 * Slots are lists, found by the tick of an entry modulo their number; a bit for each says whether
 * it may have entries. An entry that lands in the wrong round of the wheel is told too early, which
 * its owner expects.
 */
#include "net/wheel.h"

#include "base/check.h"
#include "base/seconds.h"

#include <string.h>

enum {
    TICK_MS = 64,
    FAR_TICKS = 16,             /* ticks in a far slot */
    NEAR_MS = 6 * 1024,         /* delays up to this go to the near slots: 96 of them */
    FAR_MS = 120 * 1024,        /* longer delays are cut to this */
    SLACK_MS = 10,              /* the loop's timers and its clock differ by some milliseconds */
    LATE_MS = 250,              /* the timer is later than that: the loop had stopped */
    GRACE_MS = 1000,            /* for hearing what came meanwhile, before anybody is judged */
    GRACE_APART_MS = 10 * 1000, /* not more often, lest a busy loop's clock stands still */
};

static uint64_t now_ms(const struct wheel *w)
{
    return loop_ms(w->loop) - w->zero;
}

uint32_t wheel_now(const struct wheel *w)
{
    return (uint32_t)now_ms(w);
}

static void mark(uint64_t *used, uint32_t slot)
{
    used[slot / 64] |= UINT64_C(1) << slot % 64;
}

/* Slots from `from` to the first one in use; WHEEL_SLOTS when there is none. */
static uint32_t distance(const uint64_t *used, uint32_t from)
{
    for (uint32_t i = 0; i < WHEEL_SLOTS;) {
        uint32_t slot = (from + i) % WHEEL_SLOTS;
        uint64_t rest = used[slot / 64] >> slot % 64;
        if (rest)
            return i + (uint32_t)__builtin_ctzll(rest);
        i += 64 - slot % 64;
    }
    return WHEEL_SLOTS;
}

/* The first tick with entries after those that were told; false when there are none. */
static bool first_tick(const struct wheel *w, uint32_t *tick)
{
    uint32_t near = distance(w->near_used, w->passed + 1);
    uint32_t far_from = w->passed / FAR_TICKS + 1;
    uint32_t far = distance(w->far_used, far_from);
    uint32_t far_tick = (far_from + far) * FAR_TICKS;
    *tick = w->passed + 1 + near;
    if (near == WHEEL_SLOTS || (far < WHEEL_SLOTS && (int32_t)(far_tick - *tick) < 0))
        *tick = far_tick;
    return near < WHEEL_SLOTS || far < WHEEL_SLOTS;
}

static void arm(struct wheel *w, uint32_t tick)
{
    uint64_t now = loop_ms(w->loop), at = w->zero + (uint64_t)tick * TICK_MS;
    w->armed = tick;
    w->waiting = true;
    w->expected = at > now ? at : now;
    loop_timer_start(w->loop, &w->timer, (double)(w->expected - now) / MS_PER_SECOND);
}

/* A slot without its bit is empty, or its entries would never be told. */
static void slots_check(const struct link *slots, const uint64_t *used)
{
    for (uint32_t i = 0; i < WHEEL_SLOTS; i++)
        CHECK(used[i / 64] >> i % 64 & 1 || link_empty(&slots[i]));
}

/* What an entry that was just set, or stands as it was, relies on. */
static void entry_check(const struct wheel *w, const struct wheel_entry *e)
{
    CHECK(!link_empty(&e->link));
    CHECK((int32_t)(e->tick - w->passed) > 0);
    CHECK(w->waiting == loop_timer_active(&w->timer));
    link_check(&e->link);
}

/* At rest the timer is set for the first entry. */
static void wheel_check(const struct wheel *w)
{
    uint32_t tick;
    CHECK(w->waiting == loop_timer_active(&w->timer));
    CHECK(!first_tick(w, &tick) || (w->waiting && (int32_t)(tick - w->armed) >= 0));
    if (!CHECKING)
        return;
    slots_check(w->near, w->near_used);
    slots_check(w->far, w->far_used);
}

void wheel_set(struct wheel *w, struct wheel_entry *e, uint32_t delay)
{
    bool near = delay <= NEAR_MS;
    uint64_t at = now_ms(w) + (delay > FAR_MS ? FAR_MS : delay);
    uint32_t tick = (uint32_t)((at + TICK_MS - 1) / TICK_MS);
    if ((int32_t)(tick - w->passed) <= 0)
        tick = w->passed + 1;
    if (!near)
        tick = (tick + FAR_TICKS - 1) / FAR_TICKS * FAR_TICKS;
    if (!link_empty(&e->link) && (int32_t)(e->tick - tick) <= 0)
        return;
    list_remove(&e->link);
    e->tick = tick;
    uint32_t slot = (near ? tick : tick / FAR_TICKS) % WHEEL_SLOTS;
    list_append(near ? &w->near[slot] : &w->far[slot], &e->link);
    mark(near ? w->near_used : w->far_used, slot);
    if (!w->waiting || (int32_t)(tick - w->armed) < 0)
        arm(w, tick);
    entry_check(w, e);
    CHECK(w->waiting && (int32_t)(tick - w->armed) >= 0);
}

bool wheel_in_time(const struct wheel *w, const struct wheel_entry *e, int32_t delay)
{
    int64_t at = (int64_t)now_ms(w) + (delay > 0 ? delay : 0);
    uint32_t tick = (uint32_t)((at + TICK_MS - 1) / TICK_MS) + FAR_TICKS;
    if ((int32_t)(tick - w->passed) <= 0)
        tick = w->passed + 1;
    return !link_empty(&e->link) && (int32_t)(e->tick - tick) <= 0;
}

void wheel_remove(struct wheel_entry *e)
{
    list_remove(&e->link);
}

void wheel_entry_init(struct wheel_entry *e)
{
    link_init(&e->link);
}

/* Moves the entries of slots from..to (at most a round of them) behind those of `due`. */
static void take(struct link *slots, uint64_t *used, uint32_t from, uint32_t to, struct link *due)
{
    if ((int32_t)(to - from) >= WHEEL_SLOTS)
        to = from + WHEEL_SLOTS - 1;
    for (uint32_t i = from + distance(used, from); (int32_t)(to - i) >= 0;
         i += 1 + distance(used, i + 1)) {
        uint32_t slot = i % WHEEL_SLOTS;
        used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
        while (!link_empty(&slots[slot])) {
            struct link *l = slots[slot].next;
            list_remove(l);
            list_append(due, l);
        }
    }
}

static void tell(struct wheel *w, uint32_t tick)
{
    struct link due;
    link_init(&due);
    take(w->near, w->near_used, w->passed + 1, tick, &due);
    take(w->far, w->far_used, w->passed / FAR_TICKS + 1, tick / FAR_TICKS, &due);
    w->passed = tick;
    while (!link_empty(&due)) {
        struct wheel_entry *e = LIST_ITEM(due.next, struct wheel_entry, link);
        list_remove(&e->link);
        w->on_due(e);
    }
}

/*
 * The loop had stopped before the timer was due, or after it: when is not known. What came
 * meanwhile may not have been read yet.
 */
static void stand_still(struct wheel *w, uint64_t late)
{
    uint64_t now = loop_ms(w->loop);
    w->zero += late;
    if (now - w->graced < GRACE_APART_MS)
        return;
    w->graced = now;
    w->zero += GRACE_MS;
}

static void on_turn_end(struct loop_job *job)
{
    struct wheel *w = LIST_ITEM(job, struct wheel, job);
    int64_t late = (int64_t)(loop_ms(w->loop) - w->expected);
    if (late > LATE_MS)
        stand_still(w, (uint64_t)late);
    uint32_t tick = (uint32_t)((now_ms(w) + SLACK_MS) / TICK_MS);
    if ((int32_t)(tick - w->passed) > 0)
        tell(w, tick);
    if (first_tick(w, &tick) && (!w->waiting || (int32_t)(tick - w->armed) < 0))
        arm(w, tick);
    wheel_check(w);
}

static void on_time(struct loop_timer *timer)
{
    struct wheel *w = LIST_ITEM(timer, struct wheel, timer);
    w->waiting = false;
    loop_defer(w->loop, LOOP_RUN, &w->job);
}

void wheel_init(struct wheel *w, struct loop *loop, void (*on_due)(struct wheel_entry *))
{
    *w = (struct wheel){.loop = loop, .on_due = on_due, .zero = loop_ms(loop)};
    loop_timer_init(&w->timer, on_time);
    loop_job_init(&w->job, on_turn_end);
    for (int i = 0; i < WHEEL_SLOTS; i++) {
        link_init(&w->near[i]);
        link_init(&w->far[i]);
    }
}

void wheel_deinit(struct wheel *w)
{
    loop_timer_stop(w->loop, &w->timer);
    loop_undefer(&w->job);
}
