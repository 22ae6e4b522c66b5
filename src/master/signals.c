// SPDX-License-Identifier: MIT
/*
 * Two descriptors: what asks to stop is read a little later than it comes, so that the kernel
 * merges what the same sender sends twice at one moment, and the rest at once.
 */
#include "master/signals.h"

#include "base/log.h"
#include "base/quiet.h"
#include "master/heartbeat.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Requests of different senders are one for so long. */
#define ECHO_SECONDS 0.5
/* timeout(1) sends its two within microseconds; nobody asks twice within so many seconds. */
#define GATHER_SECONDS 0.05
/* What the kernel sends, as for a key of the terminal: no process has this id. */
#define KERNEL ((pid_t)-1)

static const int requests[] = {SIGTERM, SIGINT, SIGQUIT, 0};
static const int others[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, HEARTBEAT_SIGNAL, 0};

static int listen_to(const int *numbers)
{
    sigset_t set;
    sigemptyset(&set);
    for (; *numbers; numbers++) {
        quiet_signal(*numbers); /* ignored ones, which we may have inherited, leave no dead child */
        sigaddset(&set, *numbers);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd >= 0)
        return fd;
    log_error("cannot listen to signals: %s", strerror(errno));
    log_close(LOG_CLOSE_SECONDS);
    exit(1);
}

/* The next one. False when there is none. */
static bool take(const struct loop_io *io, struct signalfd_siginfo *info)
{
    return read(io->ev.fd, info, sizeof *info) == (ssize_t)sizeof *info;
}

static void on_told(struct loop_io *io, int events)
{
    (void)events;
    struct signals *s = LIST_ITEM(io, struct signals, notices);
    struct signalfd_siginfo info;
    while (take(io, &info))
        s->on_signal(s, (int)info.ssi_signo);
}

/* --- Requests to stop ----------------------------------------------------------------------- */

/* Notes the sender; false when it is known, or when there are too many to believe in. */
static bool new_sender(struct signals *s, pid_t sender)
{
    for (int i = 0; i < s->sender_count; i++)
        if (s->senders[i] == sender)
            return false;
    if (s->sender_count == SIGNALS_SENDERS)
        return false;
    s->senders[s->sender_count++] = sender;
    return true;
}

static void request(struct signals *s, pid_t sender)
{
    double now = loop_now(s->loop);
    bool first = s->since == 0;
    if (first)
        s->since = now;
    bool same = now - s->since < ECHO_SECONDS && new_sender(s, sender);
    if (first || !same)
        s->on_stop(s, !first);
    else
        log_debug("one more signal to stop, from process %d: the same request", (int)sender);
}

static void on_gathered(struct loop_timer *timer)
{
    struct signals *s = LIST_ITEM(timer, struct signals, gather);
    struct signalfd_siginfo info;
    while (take(&s->requests, &info))
        request(s, info.ssi_code > 0 ? KERNEL : (pid_t)info.ssi_pid);
    loop_io_watch(s->loop, &s->requests, LOOP_READ);
}

static void on_asked(struct loop_io *io, int events)
{
    (void)events;
    struct signals *s = LIST_ITEM(io, struct signals, requests);
    loop_io_watch(s->loop, io, 0);
    loop_timer_start(s->loop, &s->gather, GATHER_SECONDS);
}

void signals_note_stop(struct signals *s)
{
    if (s->since == 0)
        s->since = loop_now(s->loop);
}

/* --- Beginning and end ---------------------------------------------------------------------- */

void signals_start(struct signals *s, struct loop *loop,
                   void (*on_signal)(struct signals *s, int number),
                   void (*on_stop)(struct signals *s, bool again))
{
    *s = (struct signals){.loop = loop, .on_signal = on_signal, .on_stop = on_stop};
    loop_io_init(&s->notices, listen_to(others), on_told);
    loop_io_init(&s->requests, listen_to(requests), on_asked);
    loop_timer_init(&s->gather, on_gathered);
    loop_io_watch(loop, &s->notices, LOOP_READ);
    loop_io_watch(loop, &s->requests, LOOP_READ);
}

void signals_close(struct signals *s)
{
    loop_timer_stop(s->loop, &s->gather);
    loop_io_watch(s->loop, &s->notices, 0);
    loop_io_watch(s->loop, &s->requests, 0);
    close(s->notices.ev.fd);
    close(s->requests.ev.fd);
}
