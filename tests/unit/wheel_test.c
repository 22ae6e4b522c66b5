// SPDX-License-Identifier: MIT
/* The timing wheel on a loop whose time the test sets: what is told when, and when it wakes up. */
#include "net/wheel.h"
#include "support.h"

#include <math.h>

enum { ENTRIES = 2000 };

struct item {
    struct wheel_entry entry;
    double due;     /* when it was to be told */
    unsigned told;  /* how often it was */
    uint32_t again; /* set again by that when it is told; 0: not */
};

static struct loop loop;
static struct wheel wheel;
static struct item items[ENTRIES];
static double at; /* the time that was set last */

static void set_time(double now)
{
    loop.now = (uint64_t)(now * 1e3 + 0.5);
    at = (double)loop.now / 1e3;
}

static void on_due(struct wheel_entry *entry)
{
    struct item *item = LIST_ITEM(entry, struct item, entry);
    item->told++;
    if (item->again)
        wheel_set(&wheel, entry, item->again);
}

static void begin(void)
{
    loop_init(&loop);
    set_time(1000);
    wheel_init(&wheel, &loop, on_due);
    for (int i = 0; i < ENTRIES; i++) {
        items[i] = (struct item){0};
        wheel_entry_init(&items[i].entry);
    }
}

static void end(void)
{
    wheel_deinit(&wheel);
    loop_deinit(&loop);
}

static void set(struct item *item, uint32_t delay)
{
    item->due = at + delay / 1e3;
    wheel_set(&wheel, &item->entry, delay);
}

/* What the loop does when the wheel's timer is due, `late` seconds after that. False: it sleeps. */
static bool wake(double late)
{
    if (!loop_timer_active(&wheel.timer))
        return false;
    set_time((double)wheel.expected / 1e3 + late);
    loop_timer_stop(&loop, &wheel.timer);
    wheel.timer.on_time(&wheel.timer);
    loop_run_stage(&loop, LOOP_RUN);
    set_time(at); /* the stage is within the turn */
    return true;
}

static void near_and_far(void)
{
    static const uint32_t delays[] = {0, 1, 64, 500, 6143, 6145, 9000, 30000, 60000, 119000};
    enum { COUNT = sizeof delays / sizeof *delays };
    begin();
    for (int i = 0; i < COUNT; i++)
        set(&items[i], delays[i]);
    while (wake(0))
        for (int i = 0; i < COUNT; i++) {
            test_context("%u ms at %.3f", delays[i], at - 1000);
            if (items[i].told && items[i].due) {
                double allowed = delays[i] <= 6144 ? 0.130 : 1.2;
                CHECK(at >= items[i].due - 0.011 && at <= items[i].due + allowed);
                items[i].due = 0;
            }
        }
    test_context(NULL);
    for (int i = 0; i < COUNT; i++)
        CHECK_INT(items[i].told, 1);
    end();
}

static void past_the_last_slot_it_is_told_early(void)
{
    begin();
    set(&items[0], 1000 * 1000);
    CHECK(wake(0));
    CHECK_INT(items[0].told, 1);
    CHECK(at - 1000 > 115 && at - 1000 < 130);
    CHECK(!wake(0));
    end();
}

static void later_costs_nothing_and_earlier_moves(void)
{
    begin();
    set(&items[0], 1000);
    uint32_t tick = items[0].entry.tick;
    set(&items[0], 5000);
    CHECK_INT(items[0].entry.tick, tick);
    set(&items[0], 100);
    CHECK(items[0].entry.tick < tick);
    CHECK(wake(0));
    CHECK_INT(items[0].told, 1);
    CHECK(at - 1000 < 0.25);
    end();
}

static void removed_is_not_told(void)
{
    begin();
    set(&items[0], 300);
    set(&items[1], 20000);
    wheel_remove(&items[0].entry);
    wheel_remove(&items[0].entry);
    for (int i = 0; i < 10 && wake(0); i++)
        ;
    CHECK_INT(items[0].told, 0);
    CHECK_INT(items[1].told, 1);
    end();
}

/* Thousands at random delays: never early by more than the slack, never lost. */
static void random_delays(void)
{
    uint64_t seed = 42;
    begin();
    for (int i = 0; i < ENTRIES; i++)
        set(&items[i], (uint32_t)(random_next(&seed) % 100000));
    int left = ENTRIES;
    bool held = true;
    unsigned wakes = 0;
    for (; left && wake(0.003 * (double)(random_next(&seed) % 5)); wakes++)
        for (int i = 0; i < ENTRIES; i++)
            if (items[i].told == 1 && items[i].due) {
                held = held && at >= items[i].due - 0.011 && at <= items[i].due + 1.2;
                items[i].due = 0;
                left--;
            }
    CHECK(held);
    CHECK_INT(left, 0);
    CHECK(wakes < 300); /* 96 near slots, and one a second */
    CHECK(!wake(0));
    end();
}

static void set_again_while_it_is_told(void)
{
    begin();
    items[0].again = 1;
    items[1].again = 2000;
    set(&items[0], 1);
    set(&items[1], 2000);
    for (int i = 0; i < 100; i++)
        CHECK(wake(0));
    CHECK(items[0].told == 100 || items[1].told > 0);
    CHECK(items[0].told > 90);
    CHECK_INT(items[1].told, (unsigned)floor((at - 1000) / 2.03));
    end();
}

/* Stopped for a minute: nobody's time went on, and there is a second to hear what came. */
static void stopped(void)
{
    begin();
    set(&items[0], 1000);
    set(&items[1], 3000);
    uint32_t before = wheel_now(&wheel);
    CHECK(wake(60));
    CHECK((int32_t)(wheel_now(&wheel) - before) < 300);
    CHECK_INT(items[0].told, 0);
    CHECK(wake(0));
    CHECK_INT(items[0].told, 1);
    CHECK_INT(items[1].told, 0);
    CHECK(at - 1000 > 61.9 && at - 1000 < 62.2);
    CHECK(wake(0));
    CHECK_INT(items[1].told, 1);
    CHECK(at - 1000 > 63.9 && at - 1000 < 64.2);
    end();
}

/* A loop that is always late is slow, and gets nowhere near standing still. */
static void always_late(void)
{
    begin();
    items[0].again = 64;
    set(&items[0], 64);
    uint32_t before = wheel_now(&wheel);
    for (int i = 0; i < 200; i++)
        CHECK(wake(0.3));
    CHECK(items[0].told > 100);
    CHECK((int32_t)(wheel_now(&wheel) - before) > 5000);
    end();
}

/* A few milliseconds are the loop's own. */
static void a_little_late(void)
{
    begin();
    set(&items[0], 1000);
    uint32_t before = wheel_now(&wheel);
    CHECK(wake(0.1));
    CHECK(wheel_now(&wheel) - before >= 1100);
    end();
}

int main(void)
{
    test("near and far", near_and_far);
    test("past the last slot it is told early", past_the_last_slot_it_is_told_early);
    test("later costs nothing, earlier moves", later_costs_nothing_and_earlier_moves);
    test("removed is not told", removed_is_not_told);
    test("random delays", random_delays);
    test("set again while it is told", set_again_while_it_is_told);
    test("stopped", stopped);
    test("always late", always_late);
    test("a little late", a_little_late);
    return test_end();
}
