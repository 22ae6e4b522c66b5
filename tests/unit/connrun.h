// SPDX-License-Identifier: MIT
/*
 * For tests of what speaks on connections: a real loop whose time the test sets, socket pairs, and
 * the connection's system calls, counted and made to fail. What happens is noted as words.
 *
 *      rig_begin();
 *      int peer = rig_pair(&fd);       fd is for conn_init, whose stream rig_wrap takes
 *      rig_turn();                     what was deferred, then what is ready
 *      rig_pass(2.5);                  so many seconds, clocks included
 *      rig_notes("input proceed");     what was noted since the last time
 *      rig_end();
 */
#ifndef NEAP_TESTS_UNIT_CONNRUN_H
#define NEAP_TESTS_UNIT_CONNRUN_H

#include "base/log.h"
#include "conn/conn.h"
#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { RIG_NOTES = 4096, RIG_STEP_MS = 250, RIG_TURNS = 1000 };

static struct {
    struct loop loop;
    struct conn_shared shared;
    ev_check clock;
    uint64_t ms;
    char notes[RIG_NOTES];
    size_t noted;

    const struct stream_ops *plain;
    int reads, writes;
    int read_gives, write_gives, finish_gives; /* a status in place of the call; 0: the call */
    const char *decrypted;                     /* what further reads give, a byte each, or NULL */
    void (*on_write)(struct stream *s);
} rig;

static inline void rig_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void rig_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (rig.noted && rig.noted + 1 < RIG_NOTES)
        rig.notes[rig.noted++] = ' ';
    rig.noted += (size_t)vsnprintf(rig.notes + rig.noted, RIG_NOTES - rig.noted, format, args);
    va_end(args);
    if (rig.noted >= RIG_NOTES)
        abort();
}

static inline void rig_forget(void)
{
    rig.noted = 0;
    rig.notes[0] = '\0';
}

static inline bool rig_check_notes(const char *expected, const char *file, int line)
{
    bool same = check_text(rig.notes, expected, file, line);
    rig_forget();
    return same;
}
#define rig_notes(expected) rig_check_notes(expected, __FILE__, __LINE__)

/* --- Streams --------------------------------------------------------------------------------- */

static inline ssize_t rig_read(struct stream *s, void *out, size_t len)
{
    rig.reads++;
    if (rig.read_gives)
        return rig.read_gives;
    ssize_t n = s->pending ? 1 : rig.plain->read(s, out, len);
    if (s->pending)
        *(char *)out = *rig.decrypted++;
    s->pending = rig.decrypted && *rig.decrypted;
    return n;
}

static inline ssize_t rig_write(struct stream *s, const struct iovec *iov, int count)
{
    rig.writes++;
    if (rig.on_write)
        rig.on_write(s);
    return rig.write_gives ? rig.write_gives : rig.plain->write(s, iov, count);
}

static inline int rig_finish(struct stream *s)
{
    return rig.finish_gives ? rig.finish_gives : rig.plain->finish(s);
}

static inline void rig_close(struct stream *s)
{
    rig.plain->close(s);
}

/* Has the connection's system calls pass here. */
static inline void rig_wrap(struct conn *c)
{
    static const struct stream_ops ops = {rig_read, rig_write, rig_finish, rig_close};
    rig.plain = c->stream.ops;
    c->stream.ops = &ops;
}

/* --- The loop and its time ------------------------------------------------------------------- */

/* The first thing in a turn, before any descriptor that is ready. */
static inline void rig_on_clock(struct ev_loop *ev, ev_check *w, int events)
{
    (void)ev, (void)w, (void)events;
    rig.loop.now = rig.ms;
}

static inline void rig_begin(void)
{
    memset(&rig, 0, sizeof rig);
    loop_init(&rig.loop);
    rig.loop.now = rig.ms = 100 * 1000;
    log_open(LOG_ERROR, false);
    conn_shared_init(&rig.shared, &rig.loop);
    ev_check_init(&rig.clock, rig_on_clock);
    ev_set_priority(&rig.clock, EV_MAXPRI);
    ev_check_start(rig.loop.ev, &rig.clock);
}

static inline void rig_end(void)
{
    conn_shared_deinit(&rig.shared);
    loop_deinit(&rig.loop);
}

/* What was deferred in the turn before, by stage; then what is ready now. Waits for nothing. */
static inline void rig_turn(void)
{
    ev_run(rig.loop.ev, EVRUN_NOWAIT);
    rig.loop.now = rig.ms;
}

/* Until nothing is deferred and nothing is ready: so many turns are enough for every test. */
static inline void rig_turns(void)
{
    for (int i = 0; i < 12; i++)
        rig_turn();
}

/* The wheel tells what is due, turn by turn; it does not notice that no time passes outside. */
static inline void rig_pass(double seconds)
{
    for (double ms = seconds * 1e3; ms > 0; ms -= RIG_STEP_MS) {
        rig.ms += ms < RIG_STEP_MS ? (uint64_t)ms : RIG_STEP_MS;
        rig.loop.now = rig.shared.wheel.expected = rig.ms;
        loop_defer(&rig.loop, LOOP_RUN, &rig.shared.wheel.job);
        rig_turn();
        rig_turn();
    }
}

/* --- The peer -------------------------------------------------------------------------------- */

/* Returns the peer's end of a pair; ours is *fd. Both have small buffers. */
static inline int rig_pair(int *fd)
{
    int fds[2], small = 4096;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    *fd = fds[0];
    return fds[1];
}

static inline void rig_say(int peer, const void *bytes, size_t len)
{
    CHECK_INT(send(peer, bytes, len, MSG_NOSIGNAL), len);
}

/* What has arrived at the peer; its number of bytes. 0: nothing, or the end. */
static inline size_t rig_hear(int peer, void *out, size_t room)
{
    size_t len = 0;
    for (ssize_t n; len < room && (n = recv(peer, (char *)out + len, room - len, 0)) > 0;)
        len += (size_t)n;
    return len;
}

/* True once the peer has been told that no more comes (after all has been heard). */
static inline bool rig_finished(int peer)
{
    char byte;
    return recv(peer, &byte, 1, 0) == 0;
}

#endif
