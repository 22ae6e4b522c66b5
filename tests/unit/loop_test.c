// SPDX-License-Identifier: MIT
/*
 * The event loop: jobs by stage, order, taken back or deferred while others run; timers; watches
 * that change inside callbacks; signals; and that a loop with nothing to do sleeps. What happens
 * is noted as letters, so that a test is a text.
 */
#include "net/loop.h"
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct loop loop;
static char notes[256];

static void note(char letter)
{
    size_t len = strlen(notes);
    if (len + 1 < sizeof notes)
        notes[len] = letter;
}

static struct loop_timer limit;

static void on_limit(struct loop_timer *timer)
{
    (void)timer;
    CHECK(!"the loop was to end by itself");
    loop_stop(&loop);
}

static void begin(void)
{
    memset(notes, 0, sizeof notes);
    loop_init(&loop);
    loop_timer_init(&limit, on_limit);
}

/* Runs until somebody stops the loop, then lets go of it. */
static void run(void)
{
    loop_timer_start(&loop, &limit, 20);
    loop_run(&loop);
    loop_timer_stop(&loop, &limit);
}

static void end(const char *expected)
{
    CHECK_TEXT(notes, expected);
    loop_deinit(&loop);
}

/* --- A timer that begins a test inside the loop, and what it does ---------------------------- */

static struct loop_timer first;
static void (*at_first)(void);

static void on_first(struct loop_timer *timer)
{
    (void)timer;
    at_first();
}

static void run_from(void (*act)(void))
{
    at_first = act;
    loop_timer_init(&first, on_first);
    loop_timer_start(&loop, &first, 0);
    run();
}

/* --- Jobs ------------------------------------------------------------------------------------ */

struct job {
    struct loop_job job;
    char letter;
    void (*act)(void);
};

static struct job a, b, c, d;

static void on_job(struct loop_job *j)
{
    struct job *job = LIST_ITEM(j, struct job, job);
    note(job->letter);
    if (job->act)
        job->act();
}

static void jobs(void)
{
    struct job *all[] = {&a, &b, &c, &d};
    for (int i = 0; i < 4; i++) {
        *all[i] = (struct job){.letter = (char)('a' + i)};
        loop_job_init(&all[i]->job, on_job);
    }
}

static void stop(void)
{
    loop_stop(&loop);
}

static struct loop_job last;

static void on_last(struct loop_job *job)
{
    (void)job;
    loop_stop(&loop);
}

/* Stops the loop at the end of this turn. */
static void stop_at_the_end(void)
{
    loop_job_init(&last, on_last);
    loop_defer(&loop, LOOP_FREE, &last);
}

static void defer_all_stages(void)
{
    loop_defer(&loop, LOOP_FREE, &d.job);
    loop_defer(&loop, LOOP_REST, &c.job);
    loop_defer(&loop, LOOP_FLUSH, &b.job);
    loop_defer(&loop, LOOP_RUN, &a.job);
    note('.');
    stop_at_the_end();
}

static void stages(void)
{
    begin(), jobs();
    run_from(defer_all_stages);
    end(".abcd");
}

static void defer_and_stop(void)
{
    a.act = stop;
    loop_defer(&loop, LOOP_RUN, &a.job);
    loop_defer(&loop, LOOP_RUN, &b.job);
    loop_defer(&loop, LOOP_FREE, &c.job);
}

/* The turn in which a job stops the loop still ends. */
static void stopped_by_a_job(void)
{
    begin(), jobs();
    run_from(defer_and_stop);
    end("abc");
}

static void defer_and_stop_at_once(void)
{
    loop_defer(&loop, LOOP_RUN, &a.job);
    loop_stop(&loop);
}

static void stopped_by_a_callback(void)
{
    begin(), jobs();
    run_from(defer_and_stop_at_once);
    loop_undefer(&a.job);
    end("");
}

static void defer_some(void)
{
    loop_defer(&loop, LOOP_RUN, &c.job);
    loop_defer(&loop, LOOP_RUN, &a.job);
    loop_defer(&loop, LOOP_RUN, &b.job);
    loop_defer(&loop, LOOP_RUN, &c.job);
    loop_defer(&loop, LOOP_FREE, &a.job); /* it stays where it was */
    stop_at_the_end();
}

static void order(void)
{
    begin(), jobs();
    run_from(defer_some);
    end("cab");
}

static void defer_to_later_and_same(void)
{
    loop_defer(&loop, LOOP_FLUSH, &b.job); /* of a later stage: in this turn */
    loop_defer(&loop, LOOP_RUN, &c.job);   /* of this one: in the next */
    note('.');
}

static void mark(void)
{
    note('|');
}

static void begin_later_and_same(void)
{
    a.act = defer_to_later_and_same;
    d.act = mark; /* the end of the first turn */
    c.act = stop;
    loop_defer(&loop, LOOP_FREE, &d.job);
    loop_defer(&loop, LOOP_RUN, &a.job);
}

static void deferred_by_jobs(void)
{
    begin(), jobs();
    run_from(begin_later_and_same);
    end("a.bd|c");
}

static void again(void)
{
    static int left;
    if (notes[1] == '\0')
        left = 4;
    if (--left)
        loop_defer(&loop, LOOP_REST, &a.job);
    else
        loop_stop(&loop);
}

static void defer_earlier(void)
{
    a.act = again;
    loop_defer(&loop, LOOP_REST, &a.job);
}

/* What defers itself runs once a turn, and no turn waits for events meanwhile. */
static void deferred_again(void)
{
    begin(), jobs();
    uint64_t beats = loop.pulse->beats;
    run_from(defer_earlier);
    CHECK_INT(loop.pulse->beats - beats, 1 + 4); /* one before the timer */
    end("aaaa");
}

static void take_back_b(void)
{
    loop_undefer(&b.job);
    loop_undefer(&b.job);
    loop_undefer(&d.job); /* was never deferred */
    loop_undefer(&a.job); /* runs at the moment */
}

static void defer_three(void)
{
    a.act = take_back_b;
    loop_defer(&loop, LOOP_RUN, &a.job);
    loop_defer(&loop, LOOP_RUN, &b.job);
    loop_defer(&loop, LOOP_RUN, &c.job);
    stop_at_the_end();
}

static void taken_back(void)
{
    begin(), jobs();
    run_from(defer_three);
    end("ac");
}

static void take_back_and_defer(void)
{
    loop_undefer(&b.job);
    loop_defer(&loop, LOOP_FREE, &b.job);
}

static void defer_moved(void)
{
    a.act = take_back_and_defer;
    loop_defer(&loop, LOOP_RUN, &a.job);
    loop_defer(&loop, LOOP_RUN, &b.job);
    loop_defer(&loop, LOOP_FLUSH, &c.job);
    stop_at_the_end();
}

static void moved(void)
{
    begin(), jobs();
    run_from(defer_moved);
    end("acb");
}

static void free_itself(struct loop_job *job)
{
    note('f');
    free(job);
}

static void defer_freed(void)
{
    for (int i = 0; i < 3; i++) {
        struct loop_job *job = malloc(sizeof *job);
        loop_job_init(job, free_itself);
        loop_defer(&loop, LOOP_FREE, job);
    }
    stop_at_the_end();
}

static void freed(void)
{
    begin();
    run_from(defer_freed);
    end("fff");
}

static void run_ahead(void)
{
    loop_defer(&loop, LOOP_FLUSH, &b.job);
    loop_defer(&loop, LOOP_RUN, &a.job);
    loop_run_stage(&loop, LOOP_FLUSH);
    note('.');
    loop_run_stage(&loop, LOOP_FLUSH);
    loop_defer(&loop, LOOP_FLUSH, &b.job);
    stop_at_the_end();
}

static void ahead(void)
{
    begin(), jobs();
    run_from(run_ahead);
    end("b.ab");
}

/* --- The loop itself ------------------------------------------------------------------------- */

static void stopped_before(void)
{
    begin();
    loop_stop(&loop);
    loop_run(&loop);
    CHECK_INT(loop.pulse->beats, 0);
    end("");
}

static uint64_t clock_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t turn_ms;

static void look_at_the_clock(void)
{
    uint64_t before = clock_ms();
    turn_ms = loop_ms(&loop);
    CHECK(turn_ms <= clock_ms() && turn_ms + 50 > before); /* the coarse clock lags by a tick */
    while (clock_ms() < before + 30)
        ;
    CHECK_INT(loop_ms(&loop), turn_ms);
    CHECK(loop_now(&loop) * 1e3 - (double)turn_ms < 0.5);
    a.act = stop;
    loop_defer(&loop, LOOP_RUN, &a.job);
}

static void clock_of_a_turn(void)
{
    begin(), jobs();
    run_from(look_at_the_clock);
    CHECK(loop_ms(&loop) >= turn_ms + 20); /* another turn, another time */
    CHECK(loop_wall() > 1.6e9);
    end("a");
}

static void on_stop_timer(struct loop_timer *timer)
{
    (void)timer;
    note('t');
    loop_stop(&loop);
}

static void defer_once_more(void)
{
    if (notes[1] == '\0')
        loop_defer(&loop, LOOP_RUN, &a.job);
}

static void defer_once(void)
{
    a.act = defer_once_more;
    loop_defer(&loop, LOOP_RUN, &a.job);
}

/* When nothing is deferred any more the loop sleeps until its next event. */
static void sleeps(void)
{
    struct loop_timer later;
    begin(), jobs();
    loop_timer_init(&later, on_stop_timer);
    loop_timer_start(&loop, &later, 0.1);
    run_from(defer_once);
    CHECK(loop.pulse->beats <= 6);
    end("aat");
}

static void own_pulse(void)
{
    struct pulse pulse = {0};
    begin(), jobs();
    loop.pulse = &pulse;
    run_from(defer_all_stages);
    CHECK(pulse.beats > 0);
    CHECK_INT(loop.own.beats, 0);
    end(".abcd");
}

/* --- Timers ---------------------------------------------------------------------------------- */

static struct loop_timer t1, t2, t3;

static void on_t1(struct loop_timer *timer)
{
    CHECK(timer == &t1 && !loop_timer_active(timer));
    note('1');
}

static void on_t2(struct loop_timer *timer)
{
    (void)timer;
    note('2');
}

static void timers_in_order(void)
{
    begin();
    loop_timer_init(&t1, on_t1);
    loop_timer_init(&t2, on_t2);
    loop_timer_init(&t3, on_stop_timer);
    CHECK(!loop_timer_active(&t1));
    loop_timer_start(&loop, &t3, 0.06);
    loop_timer_start(&loop, &t2, 0.02);
    loop_timer_start(&loop, &t1, 0);
    CHECK(loop_timer_active(&t1));
    run();
    end("12t");
}

static void timers_again(void)
{
    begin();
    loop_timer_init(&t1, on_t1);
    loop_timer_init(&t2, on_t2);
    loop_timer_init(&t3, on_stop_timer);
    loop_timer_start(&loop, &t1, 0.001);
    loop_timer_start(&loop, &t1, 0.04); /* instead, and once */
    loop_timer_start(&loop, &t2, 0.02);
    loop_timer_start(&loop, &t3, 0.08);
    run();
    end("21t");
}

static void on_stopper(struct loop_timer *timer)
{
    (void)timer;
    note('s');
    loop_timer_stop(&loop, &t1);
    loop_timer_stop(&loop, &t1);
    CHECK(!loop_timer_active(&t1));
}

static void timers_stopped(void)
{
    begin();
    loop_timer_init(&t1, on_t1);
    loop_timer_init(&t2, on_stopper);
    loop_timer_init(&t3, on_stop_timer);
    loop_timer_start(&loop, &t1, 0.01);
    loop_timer_start(&loop, &t2, 0);
    loop_timer_start(&loop, &t3, 0.05);
    run();
    end("st");
}

static void on_repeat(struct loop_timer *timer)
{
    note('r');
    if (strlen(notes) < 4)
        loop_timer_start(&loop, timer, 0.001);
    else
        loop_stop(&loop);
}

static void timers_repeated(void)
{
    begin();
    loop_timer_init(&t1, on_repeat);
    loop_timer_start(&loop, &t1, 0);
    run();
    CHECK(!loop_timer_active(&t1));
    end("rrrr");
}

/* --- Descriptors ----------------------------------------------------------------------------- */

struct watch {
    struct loop_io io;
    int other; /* the other end */
    char letter;
    void (*act)(struct watch *w, int events);
};

static struct watch left, right;

static void on_ready(struct loop_io *io, int events)
{
    struct watch *w = LIST_ITEM(io, struct watch, io);
    note(w->letter);
    w->act(w, events);
}

static void watch_init(struct watch *w, char letter, void (*act)(struct watch *w, int events))
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0)
        abort();
    *w = (struct watch){.other = pair[1], .letter = letter, .act = act};
    loop_io_init(&w->io, pair[0], on_ready);
}

static void watch_deinit(struct watch *w)
{
    loop_io_watch(&loop, &w->io, 0);
    close(w->io.ev.fd);
    close(w->other);
}

static void tell(struct watch *w)
{
    CHECK_INT(write(w->other, "x", 1), 1);
}

static void take(struct watch *w)
{
    char byte;
    CHECK_INT(read(w->io.ev.fd, &byte, 1), 1);
}

/* Reads; then waits for room to write, which there is; then stops. */
static void read_then_write(struct watch *w, int events)
{
    if (strlen(notes) == 1) {
        CHECK_INT(events, LOOP_READ);
        take(w);
        loop_io_watch(&loop, &w->io, LOOP_WRITE);
        return;
    }
    CHECK_INT(events, LOOP_WRITE);
    loop_io_watch(&loop, &w->io, 0);
    loop_timer_init(&t3, on_stop_timer);
    loop_timer_start(&loop, &t3, 0.03); /* nothing more comes meanwhile */
}

static void watch_changes(void)
{
    begin();
    watch_init(&left, 'l', read_then_write);
    loop_io_watch(&loop, &left.io, LOOP_READ);
    loop_io_watch(&loop, &left.io, 0);
    loop_io_watch(&loop, &left.io, LOOP_READ); /* the same as before, but it is off */
    loop_io_watch(&loop, &left.io, LOOP_READ); /* nothing changes */
    tell(&left);
    run();
    watch_deinit(&left);
    end("llt");
}

/* Both are ready; who comes first stops the other, which is not called any more. */
static void stop_the_other(struct watch *w, int events)
{
    (void)events;
    loop_io_watch(&loop, &(w == &left ? &right : &left)->io, 0);
    take(w);
    loop_stop(&loop);
}

static void watch_stopped_while_ready(void)
{
    begin();
    watch_init(&left, 'w', stop_the_other);
    watch_init(&right, 'w', stop_the_other);
    loop_io_watch(&loop, &left.io, LOOP_READ);
    loop_io_watch(&loop, &right.io, LOOP_READ);
    tell(&left), tell(&right);
    run();
    watch_deinit(&left), watch_deinit(&right);
    end("w");
}

static void both_ways(struct watch *w, int events)
{
    CHECK_INT(events, LOOP_READ | LOOP_WRITE);
    take(w);
    loop_stop(&loop);
}

static void watch_both(void)
{
    begin();
    watch_init(&left, 'l', both_ways);
    tell(&left);
    loop_io_watch(&loop, &left.io, LOOP_READ);
    loop_io_watch(&loop, &left.io, LOOP_READ | LOOP_WRITE);
    run();
    watch_deinit(&left);
    end("l");
}

/* The end of the stream is something to read; a descriptor of the same number may follow. */
static void see_the_end(struct watch *w, int events)
{
    char byte;
    CHECK_INT(events, LOOP_READ);
    CHECK_INT(read(w->io.ev.fd, &byte, 1), 0);
    loop_io_watch(&loop, &w->io, 0);
    loop_stop(&loop);
}

static void watch_same_number(void)
{
    begin();
    for (int i = 0; i < 2; i++) {
        loop.stopped = false;
        watch_init(&left, 'e', see_the_end);
        loop_io_watch(&loop, &left.io, LOOP_READ);
        close(left.other);
        run();
        close(left.io.ev.fd);
    }
    end("ee");
}

static void defer_itself(void)
{
    loop_defer(&loop, LOOP_RUN, &a.job);
}

static void read_and_stop(struct watch *w, int events)
{
    (void)events;
    take(w);
    loop_stop(&loop);
}

/* A job that never rests keeps nobody from being heard. */
static void watch_beside_jobs(void)
{
    begin(), jobs();
    a.act = defer_itself;
    watch_init(&left, 'l', read_and_stop);
    loop_io_watch(&loop, &left.io, LOOP_READ);
    tell(&left);
    run_from(defer_itself);
    CHECK(strchr(notes, 'l') != NULL);
    loop_undefer(&a.job);
    watch_deinit(&left);
    loop_deinit(&loop);
}

/* --- Signals --------------------------------------------------------------------------------- */

static void on_usr1(struct loop_signal *signal)
{
    (void)signal;
    note('u');
    loop_stop(&loop);
}

static void raise_usr1(void)
{
    note('.');
    raise(SIGUSR1);
    note('.'); /* it does not come in between */
}

static void signals_are_events(void)
{
    struct loop_signal one;
    begin();
    loop_signal_start(&loop, &one, SIGUSR1, on_usr1);
    run_from(raise_usr1);
    loop_signal_stop(&loop, &one);
    end("..u");
}

/* Signals count for nothing in the loop, whether watched or not any more. */
static void signals_stopped(void)
{
    struct loop_signal one;
    for (int rounds = 1; rounds <= 4; rounds++) {
        begin();
        for (int i = 0; i < rounds; i++) {
            loop_signal_start(&loop, &one, SIGUSR1, on_usr1);
            loop_signal_stop(&loop, &one);
        }
        loop_timer_init(&t3, on_stop_timer);
        loop_timer_start(&loop, &t3, 0.01);
        run();
        end("t");
    }
}

int main(void)
{
    test("stages", stages);
    test("stopped by a job", stopped_by_a_job);
    test("stopped by a callback", stopped_by_a_callback);
    test("order", order);
    test("deferred by jobs", deferred_by_jobs);
    test("deferred again", deferred_again);
    test("taken back", taken_back);
    test("moved", moved);
    test("freed", freed);
    test("ahead", ahead);
    test("stopped before", stopped_before);
    test("the clock of a turn", clock_of_a_turn);
    test("sleeps", sleeps);
    test("another's pulse", own_pulse);
    test("timers in order", timers_in_order);
    test("timers again", timers_again);
    test("timers stopped", timers_stopped);
    test("timers repeated", timers_repeated);
    test("watch changes", watch_changes);
    test("watch stopped while ready", watch_stopped_while_ready);
    test("watch both", watch_both);
    test("watch of the same number", watch_same_number);
    test("watch beside jobs", watch_beside_jobs);
    test("signals", signals_are_events);
    test("signals stopped", signals_stopped);
    return test_end();
}
