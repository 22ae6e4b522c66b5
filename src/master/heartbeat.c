// SPDX-License-Identifier: MIT
/*
 * A timer on the clock of another process is made like one on our own: timer_create(2) takes the
 * clock that clock_getcpuclockid(3) names. It measures the whole process; the time of the main
 * thread alone is in /proc. What cannot be measured is not judged.
 */
#include "master/heartbeat.h"

#include "base/log.h"
#include "base/pulse.h"
#include "base/seconds.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Past the limit: the worker ends itself after 2, and knows best what it was about. */
#define LOST_SECONDS 2.2
/* Looks in the time that ends with a judgement: it may come so much too late. */
enum { LOOKS = 24 };
/* What it has for its last words. */
#define LAST_WORDS_SECONDS 0.5

static double time_limit(const struct heartbeat *h)
{
    return (h->pulse->slow ? h->limit * PULSE_SLOW : h->limit) + LOST_SECONDS;
}

bool heartbeat_lost(struct heartbeat *h, double used)
{
    double counted = used - h->pulse->excused;
    unsigned long beats = h->pulse->beats;
    if (beats != h->seen) {
        h->seen = beats;
        h->since = counted;
    }
    return counted - h->since >= time_limit(h);
}

/* Processor time of its main thread, in seconds (proc(5), stat: 14 and 15); -1: unknown. */
static double measure(pid_t pid)
{
    char path[64], text[512];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    const char *after_name = strrchr(text, ')');
    if (!after_name || sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                              &user, &system) != 2)
        return -1;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

void heartbeat_look(struct heartbeat *h)
{
    if (!h->pid || loop_timer_active(&h->patience))
        return;
    double used = measure(h->pid);
    if (used < 0 || !heartbeat_lost(h, used))
        return;
    kill(h->pid, SIGXCPU);
    loop_timer_start(h->loop, &h->patience, LAST_WORDS_SECONDS);
}

static void on_silence(struct loop_timer *timer)
{
    struct heartbeat *h = LIST_ITEM(timer, struct heartbeat, patience);
    char number[16];
    snprintf(number, sizeof number, "%d", h->worker);
    struct log_field field = {.key = "worker", .value = number};
    log_event(LOG_ERROR, &field, 1,
              "the worker's event loop does not turn although it uses processor time, and it does "
              "not answer: it is killed");
    h->silenced = true;
    kill(h->pid, SIGKILL);
}

void heartbeat_init(struct heartbeat *h, struct loop *loop, int worker, double limit)
{
    *h = (struct heartbeat){.loop = loop, .worker = worker, .limit = limit};
    loop_timer_init(&h->patience, on_silence);
}

static bool start_timer(struct heartbeat *h)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = HEARTBEAT_SIGNAL};
    clockid_t clock;
    if ((errno = clock_getcpuclockid(h->pid, &clock)) || timer_create(clock, &event, &h->timer) < 0)
        return false;
    double period = (h->limit + LOST_SECONDS) / LOOKS;
    struct timespec t = seconds_to(period);
    struct itimerspec both = {.it_interval = t, .it_value = t};
    timer_settime(h->timer, 0, &both, NULL);
    return true;
}

void heartbeat_start(struct heartbeat *h, pid_t pid, const struct pulse *pulse)
{
    if (h->limit <= 0)
        return;
    h->pulse = pulse;
    h->pid = pid;
    h->seen = pulse->beats;
    h->since = 0;
    h->silenced = false;
    h->timed = start_timer(h);
    if (!h->timed)
        log_warn("the master cannot watch the processor time of workers: %s", strerror(errno));
}

void heartbeat_stop(struct heartbeat *h)
{
    if (h->timed)
        timer_delete(h->timer);
    h->timed = false;
    h->pid = 0;
    loop_timer_stop(h->loop, &h->patience);
}
