// SPDX-License-Identifier: MIT
/*
 * The clocks of a connection. A clock must not judge a peer while we do not listen to it or have
 * not told it anything yet, so each has rules for what starts, feeds, stops and holds it:
 *
 *      clock      starts                   fed by                   ends             past it
 *      head       accept                                            whole head       408, gone
 *      handshake  accept                                            TLS is up        gone
 *      message    its first byte                                    its last byte    1008
 *      closure    our close frame arrived                           the peer's came  gone
 *      failure    close frame queued,                               socket closed    gone
 *                 a fault of the peer's
 *      linger     all is written                                    the peer's end   gone
 *      idle       open                     input, but for pongs     closing          1001
 *      ping       last ping answered                                closing          a ping
 *      pong       our ping left            data; output taken that  pong or message  1001
 *                                          was queued before it
 *      farewell   close(…, -1)             any input                the peer's came  gone
 *      write      output waits             output taken             all written      gone
 *
 * All but the last stand still while we do not read (`held`): the queue is full, a peer that does
 * not read has more answers waiting than we want to add to, or a TLS handshake waits its turn. For
 * that a connection has a time of its own, conn_now, which differs from the wheel's by how long it
 * was held; while it is held we ask now and then whether the peer is still there. The write clock
 * is never held. What the peer has taken is what its system has acknowledged: what ours accepts
 * says nothing of the peer.
 *
 * Traffic only notes the time. When an entry of the wheel is due, we look which clock has really
 * run out, and set the entry for the next: a message touches no timer.
 */
#include "conn/conn_private.h"

#include "base/check.h"
#include "base/log.h"
#include "base/seconds.h"
#include "conn/refusal.h"

enum {
    LOOK_MS = 2000,      /* how often we look after a peer that we do not read */
    CLOSE_LOOK_MS = 500, /* ... whether our close frame has arrived */
    SLACK_MS = 10,       /* the wheel may be early by that */
    LOOKS = 4,           /* at what a peer has taken, within the time that it has */
    MARK_ROOM = 32,      /* more than an encrypted ping takes, which is what is marked */
};

static struct wheel *wheel_of(const struct conn *c)
{
    return &c->shared->wheel;
}

uint32_t conn_now(const struct conn *c)
{
    return c->held ? c->clock : wheel_now(wheel_of(c)) - c->clock;
}

uint32_t conn_ms(double seconds)
{
    if (seconds <= 0 || seconds * MS_PER_SECOND >= WHEEL_SPAN_MS)
        return 0;
    uint32_t ms = (uint32_t)(seconds * MS_PER_SECOND);
    return ms ? ms : 1;
}

int32_t conn_clock_left(const struct conn *c, uint32_t since, double seconds)
{
    uint32_t ms = conn_ms(seconds);
    return ms ? (int32_t)(since + ms - conn_now(c)) : CONN_NEVER;
}

bool conn_clock_out(const struct conn *c, uint32_t since, double seconds)
{
    return conn_clock_left(c, since, seconds) <= SLACK_MS;
}

void conn_clock_deadline(struct conn *c, double seconds)
{
    uint32_t ms = conn_ms(seconds);
    c->closure_due = false;
    c->deadline = ms ? conn_now(c) + ms : 0;
    if (ms && !c->deadline)
        c->deadline = 1; /* 0 means that there is none */
    conn_clock_arm(c);
}

void conn_clock_after_output(struct conn *c, double seconds)
{
    conn_clock_deadline(c, seconds);
    if (!c->deadline || c->proto->write_timeout(c) <= 0)
        return;
    c->deadline = conn_ms(seconds);
    c->closure_due = true;
}

/* --- Output ----------------------------------------------------------------------------------- */

void conn_clock_closure(struct conn *c)
{
    conn_clock_measure(c);
    if (c->acked == c->stream.sent)
        conn_clock_deadline(c, c->deadline / MS_PER_SECOND);
}

/* In milliseconds; 0: for ever. */
static uint32_t write_time(const struct conn *c)
{
    return conn_ms(c->proto->write_timeout(c));
}

void conn_clock_output(struct conn *c, bool waits)
{
    c->stuck = waits;
    if (!waits)
        return;
    c->taken = wheel_now(wheel_of(c));
    conn_clock_arm(c);
}

void conn_clock_measure(struct conn *c)
{
    uint32_t before = c->acked;
    c->acked = stream_acked(&c->stream);
    if ((int32_t)(c->acked - before) <= 0)
        return;
    c->taken = wheel_now(wheel_of(c));
    if (!c->marked && (int32_t)(c->mark - before) > 0)
        c->proto->mark_fed(c);
}

void conn_mark(struct conn *c)
{
    c->marked = true;
    c->mark = c->out.len < UINT32_MAX ? (uint32_t)c->out.len : UINT32_MAX;
}

void conn_clock_mark_moved(struct conn *c, size_t written)
{
    if (written < c->mark) {
        c->mark -= (uint32_t)written;
        return;
    }
    c->marked = false;
    c->acked = stream_acked(&c->stream);
    c->mark = c->stream.sent - MARK_ROOM;
    c->proto->mark_left(c);
    conn_clock_arm(c);
}

static bool took_nothing(struct conn *c)
{
    uint32_t time = write_time(c);
    if (!c->stuck || !time)
        return false;
    conn_clock_measure(c);
    return (int32_t)(c->taken + time - wheel_now(wheel_of(c))) <= SLACK_MS;
}

static int32_t write_left(const struct conn *c)
{
    uint32_t time = write_time(c);
    if (!c->stuck || !time)
        return CONN_NEVER;
    int32_t left = (int32_t)(c->taken + time - wheel_now(wheel_of(c)));
    int32_t look = (int32_t)(time / LOOKS + 1);
    return left < look ? left : look;
}

/* --- The entry in the wheel ------------------------------------------------------------------- */

static int32_t next_left(const struct conn *c)
{
    int32_t left = write_left(c), other;
    if (c->held)
        other = LOOK_MS;
    else if (c->closure_due)
        other = CLOSE_LOOK_MS;
    else if (c->deadline)
        other = (int32_t)(c->deadline - conn_now(c));
    else
        other = CONN_NEVER;
    left = other < left ? other : left;
    other = c->held || c->state != CONN_OPEN ? CONN_NEVER : c->proto->clock_left(c);
    return other < left ? other : left;
}

void conn_clock_check(const struct conn *c)
{
    CHECK(c->state == CONN_GONE || next_left(c) == CONN_NEVER ||
          wheel_in_time(wheel_of(c), &c->entry, next_left(c)));
}

void conn_clock_arm(struct conn *c)
{
    int32_t left = c->state == CONN_GONE ? CONN_NEVER : next_left(c);
    if (left != CONN_NEVER)
        wheel_set(wheel_of(c), &c->entry, left > 0 ? (uint32_t)left : 0);
}

void conn_clock_hold(struct conn *c, bool hold)
{
    if (hold == c->held)
        return;
    uint32_t now = conn_now(c);
    c->held = hold;
    c->clock = hold ? now : wheel_now(wheel_of(c)) - now;
    conn_clock_arm(c);
}

/*
 * As long as we do not read, nobody would hear that the peer is gone: a client could leave behind
 * connections that wait for ever. What it sent before it finished is still told.
 */
static void check_peer(struct conn *c)
{
    enum stream_peer peer = stream_peer(&c->stream);
    c->hung_up = c->hung_up || peer == STREAM_PEER_FINISHED;
    if (peer == STREAM_PEER_GONE)
        conn_lost(c);
}

static bool deadline_out(const struct conn *c)
{
    return c->deadline && !c->closure_due && (int32_t)(c->deadline - conn_now(c)) <= SLACK_MS;
}

static void on_deadline(struct conn *c)
{
    if (c->state == CONN_OPEN)
        c->proto->on_deadline(c);
    else
        conn_gone(c);
}

void conn_log_timeout(const struct conn *c, const char *what, double seconds, const char *setting)
{
    if (log_enabled(LOG_INFO) && refusal_may_log(&c->shared->refusals, setting))
        conn_log_refusal(c, "closed: the client %s for %g s (%s)", what, seconds, setting);
}

void conn_clock_on_due(struct wheel_entry *entry)
{
    struct conn *c = LIST_ITEM(entry, struct conn, entry);
    if (took_nothing(c)) {
        conn_log_timeout(c, "took no data", write_time(c) / MS_PER_SECOND, "writeTimeout");
        conn_lost(c);
    } else if (c->held) {
        check_peer(c);
    } else if (deadline_out(c)) {
        on_deadline(c);
    } else if (c->state == CONN_OPEN) {
        c->proto->clock_due(c);
    }
    conn_clock_arm(c);
    conn_proceed(c);
    conn_clock_check(c);
}
