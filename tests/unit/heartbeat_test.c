// SPDX-License-Identifier: MIT
/*
 * The heartbeat: whom it judges stuck, by given times; and real processes that use processor time
 * without a beat, end when asked to or do not, wait, are stopped, or have threads that work.
 */
#include "master/heartbeat.h"

#include "base/log.h"
#include "base/pulse.h"
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- The judgement -------------------------------------------------------------------------- */

static struct heartbeat judge_of(struct pulse *pulse, double limit)
{
    struct heartbeat h;
    heartbeat_init(&h, NULL, 0, limit);
    h.pulse = pulse;
    return h;
}

static void judges_by_beats(void)
{
    struct pulse pulse = {0};
    struct heartbeat h = judge_of(&pulse, 1);
    CHECK(!heartbeat_lost(&h, 0));
    CHECK(!heartbeat_lost(&h, 3));
    pulse.beats++;
    CHECK(!heartbeat_lost(&h, 100)); /* it took long, but it is past */
    CHECK(!heartbeat_lost(&h, 103));
    CHECK(heartbeat_lost(&h, 103.3));
    pulse.beats++;
    CHECK(!heartbeat_lost(&h, 110));
}

static void waiting_is_no_use(void)
{
    struct pulse pulse = {0};
    struct heartbeat h = judge_of(&pulse, 1);
    for (int looks = 0; looks < 1000; looks++)
        CHECK(!heartbeat_lost(&h, 3));
}

static void excused_time(void)
{
    struct pulse pulse = {.beats = 7};
    struct heartbeat h = judge_of(&pulse, 1);
    CHECK(!heartbeat_lost(&h, 10));
    pulse.excused = 5;
    CHECK(!heartbeat_lost(&h, 18));
    CHECK(heartbeat_lost(&h, 18.5));
    pulse.beats++;
    CHECK(!heartbeat_lost(&h, 30));
    CHECK(!heartbeat_lost(&h, 33));
    CHECK(heartbeat_lost(&h, 33.5));
}

static void slow_ones_have_longer(void)
{
    struct pulse pulse = {.slow = true};
    struct heartbeat h = judge_of(&pulse, 1);
    CHECK(!heartbeat_lost(&h, 12));
    CHECK(heartbeat_lost(&h, 12.5));
    pulse.slow = false;
    CHECK(heartbeat_lost(&h, 12));
}

static void limits(void)
{
    struct pulse pulse = {0};
    struct heartbeat h = judge_of(&pulse, 60);
    CHECK(!heartbeat_lost(&h, 62));
    CHECK(heartbeat_lost(&h, 62.5));
    h = judge_of(&pulse, 0.01);
    CHECK(!heartbeat_lost(&h, 2.2));
    CHECK(heartbeat_lost(&h, 2.3));
}

/* --- Real processes ------------------------------------------------------------------------- */

enum life { SPINS, SPINS_DEAF, BEATS, WAITS, THREAD_SPINS };

struct watch {
    struct loop loop;
    struct loop_signal signal;
    struct loop_timer end;
    struct heartbeat heart;
    struct pulse *pulse;
    pid_t pid;
    int looks;
};

static void *spin(void *arg)
{
    for (volatile bool *forever = arg; *forever;)
        ;
    return NULL;
}

static _Noreturn void live(enum life life, struct pulse *pulse)
{
    static volatile bool forever = true;
    sigset_t set;
    pthread_t thread;
    sigfillset(&set);
    if (life == SPINS_DEAF)
        sigprocmask(SIG_BLOCK, &set, NULL);
    if (life == THREAD_SPINS)
        pthread_create(&thread, NULL, spin, (void *)(uintptr_t)&forever);
    if (life == THREAD_SPINS || life == WAITS)
        for (;;)
            pause();
    while (forever)
        pulse->beats += life == BEATS;
    _exit(0);
}

static void on_signal(struct loop_signal *signal)
{
    struct watch *w = LIST_ITEM(signal, struct watch, signal);
    w->looks++;
    heartbeat_look(&w->heart);
}

static void on_end(struct loop_timer *timer)
{
    loop_stop(&LIST_ITEM(timer, struct watch, end)->loop);
}

static double used(pid_t pid)
{
    clockid_t clock;
    struct timespec t = {0};
    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool gone(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == pid;
}

/*
 * Watches one until it is gone, or has used more than the judgement takes, or three seconds have
 * passed without that. Returns its status; -1: it still lived.
 */
static int watch(struct watch *w, enum life life)
{
    int status = -1;
    *w = (struct watch){.pid = 0};
    w->pulse =
        mmap(NULL, sizeof *w->pulse, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    loop_init(&w->loop);
    loop_signal_start(&w->loop, &w->signal, HEARTBEAT_SIGNAL, on_signal);
    loop_timer_init(&w->end, on_end);
    heartbeat_init(&w->heart, &w->loop, 3, 0.01);
    w->pid = fork();
    if (w->pid == 0)
        live(life, w->pulse);
    heartbeat_start(&w->heart, w->pid, w->pulse);
    double begun = loop_wall();
    while (!gone(w->pid) && used(w->pid) < 3.2 && (loop_wall() - begun < 3 || used(w->pid) > 0.1)) {
        loop_timer_start(&w->loop, &w->end, 0.05);
        w->loop.stopped = false;
        loop_run(&w->loop);
    }
    bool lived = !gone(w->pid);
    if (lived)
        kill(w->pid, SIGKILL);
    waitpid(w->pid, &status, 0);
    heartbeat_stop(&w->heart);
    loop_signal_stop(&w->loop, &w->signal);
    loop_deinit(&w->loop);
    munmap(w->pulse, sizeof *w->pulse);
    return lived ? -1 : status;
}

static void one_that_spins(void)
{
    struct watch w;
    int status = watch(&w, SPINS);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
    CHECK(w.looks >= 20);
}

static void one_that_spins_and_hears_nothing(void)
{
    struct watch w;
    int status = watch(&w, SPINS_DEAF);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(w.heart.silenced);
}

static void one_that_works(void)
{
    struct watch w;
    CHECK_INT(watch(&w, BEATS), -1);
    CHECK(w.looks >= 20);
}

static void one_that_waits(void)
{
    struct watch w;
    CHECK_INT(watch(&w, WAITS), -1);
    CHECK_INT(w.looks, 0);
}

static void one_whose_thread_works(void)
{
    struct watch w;
    CHECK_INT(watch(&w, THREAD_SPINS), -1);
    CHECK(w.looks >= 20);
}

int main(void)
{
    log_open(LOG_ERROR, false);
    test("judged by beats", judges_by_beats);
    test("waiting", waiting_is_no_use);
    test("excused time", excused_time);
    test("slow ones", slow_ones_have_longer);
    test("limits", limits);
    test("one that spins", one_that_spins);
    test("one that spins and hears nothing", one_that_spins_and_hears_nothing);
    test("one that works", one_that_works);
    test("one that waits", one_that_waits);
    test("one whose thread works", one_whose_thread_works);
    return test_end();
}
