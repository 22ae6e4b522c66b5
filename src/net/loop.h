// SPDX-License-Identifier: MIT
/*
 * The event loop of a process: libev behind names that fit us, and the end-of-turn step.
 *
 *   ┌─▶ wait for events ─▶ callbacks of io, timers ─▶ end of the turn: run · flush · rest · free ─┐
 *   └─────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * What must not happen inside a callback is deferred to the end of the turn: tasks that became
 * ready run first, then each connection with output is flushed once, then who had more to do than
 * fits into a turn goes on, then closed objects are freed.
 * A job that is deferred again while its stage runs waits for the next turn, which then does not
 * wait for events: so a task that never rests cannot starve the sockets.
 */
#ifndef NEAP_NET_LOOP_H
#define NEAP_NET_LOOP_H

#include "base/list.h"
#include "base/pulse.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

enum loop_stage { LOOP_RUN, LOOP_FLUSH, LOOP_REST, LOOP_FREE, LOOP_STAGES };

struct loop {
    struct ev_loop *ev;
    ev_prepare turn_end;
    ev_idle hurry; /* active while deferred jobs must not wait for events */
    struct link jobs[LOOP_STAGES];
    bool stopped;
    struct pulse *pulse; /* beats at the end of each turn; loop_init sets its own */
    struct pulse own;
    uint64_t now; /* of this turn; 0: not asked for yet */
};

/* Prepares a loop on epoll; dies when the system has none. */
void loop_init(struct loop *loop);
void loop_deinit(struct loop *loop);

/*
 * Runs until loop_stop, not at all when that was called before. The turn in which a job calls it
 * still ends; when another callback does, what is deferred is left.
 */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Monotonic milliseconds, the same for the whole turn. */
uint64_t loop_ms(struct loop *loop);
/* The same in seconds. */
double loop_now(struct loop *loop);
/* Wall-clock seconds since the epoch, now. */
double loop_wall(void);

/*
 * A descriptor that is watched. Embedded in its owner; `on_ready` gets LOOP_READ | LOOP_WRITE bits.
 */
enum { LOOP_READ = EV_READ, LOOP_WRITE = EV_WRITE };
struct loop_io {
    ev_io ev;
    void (*on_ready)(struct loop_io *io, int events);
};
void loop_io_init(struct loop_io *io, int fd, void (*on_ready)(struct loop_io *io, int events));
/* Watches for exactly these events; 0 stops. Cheap when nothing changes. */
void loop_io_watch(struct loop *loop, struct loop_io *io, int events);

/* A one-shot timer. Embedded in its owner. */
struct loop_timer {
    ev_timer ev;
    void (*on_time)(struct loop_timer *timer);
};
void loop_timer_init(struct loop_timer *timer, void (*on_time)(struct loop_timer *timer));
/* (Re)starts: fires once, `seconds` (>= 0) after loop_now. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, double seconds);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);
static inline bool loop_timer_active(const struct loop_timer *timer)
{
    return timer->ev.active != 0; /* ev_is_active would cast the const away */
}

/* A signal that is delivered as an event. */
struct loop_signal {
    ev_signal ev;
    void (*on_signal)(struct loop_signal *signal);
};
void loop_signal_start(struct loop *loop, struct loop_signal *signal, int number,
                       void (*on_signal)(struct loop_signal *signal));
void loop_signal_stop(struct loop *loop, struct loop_signal *signal);

/* Work for the end of the turn. Embedded in its owner; deferred twice it runs once. */
struct loop_job {
    struct link link;
    void (*run)(struct loop_job *job);
};
void loop_job_init(struct loop_job *job, void (*run)(struct loop_job *job));
void loop_defer(struct loop *loop, enum loop_stage stage, struct loop_job *job);
/* Runs the jobs of a stage ahead of the turn's end: from callbacks of the loop, not from a job. */
void loop_run_stage(struct loop *loop, enum loop_stage stage);
/* Takes a job back; harmless when it is not deferred. */
void loop_undefer(struct loop_job *job);

#endif
