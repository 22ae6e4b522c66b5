// SPDX-License-Identifier: MIT
/*
 * For tests of groups: some workers in one process, joined by a bus whose messages arrive when the
 * test says so, and connections that have no socket. No loop runs: the end of a turn and the time
 * of a timer are calls.
 *
 *      struct run_worker *w = run_worker_new(0);            without a bus
 *      run_start(3); run_connect(0, 1);                     run[0], run[1], run[2] with one
 *      run_turn(run[0]); run_deliver(0, 1, 1);              one message on its way
 *      run_settle();                                        all of them
 *      struct session *s = run_conn(run[0]);
 *      run_taken(s, text)                                   what it was sent: "one two"
 */
#ifndef NEAP_TESTS_UNIT_GROUPRUN_H
#define NEAP_TESTS_UNIT_GROUPRUN_H

#include "conn/conn.h"
#include "group/group.h"
#include "group/group_ask.h"
#include "group/group_private.h"
#include "group/group_push.h"
#include "group/group_wire.h"
#include "group/groups.h"
#include "session/session.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { RUN_WORKERS = 4, RUN_LINE = 1 << 16, RUN_TEXT = 1 << 12 };

/* Messages from one worker to another. */
struct run_line {
    struct chunk *messages[RUN_LINE];
    unsigned first, count;
    unsigned limit; /* so many and it is full */
    bool up, wants_room;
    int error; /* what the next sends return */
};

struct run_worker {
    struct conn_shared conns;
    struct session_shared sessions;
    struct groups *groups;
    struct session_settings settings;
    struct bus bus;
    bool on_bus;
    struct run_line lines[RUN_WORKERS];
};

static struct loop run_loop;
static struct run_worker *run[RUN_WORKERS];

static struct run_worker *run_of_bus(struct bus *bus)
{
    return (struct run_worker *)(void *)((char *)bus - offsetof(struct run_worker, bus));
}

static int run_send(struct bus *bus, unsigned other, struct chunk *message)
{
    struct run_line *line = &run_of_bus(bus)->lines[other];
    if (!line->up)
        return ERR_CLOSED;
    if (line->error)
        return line->error;
    if (line->count >= line->limit || line->first + line->count == RUN_LINE) {
        line->wants_room = true;
        return ERR_POLICY;
    }
    line->messages[line->first + line->count++] = chunk_ref(message);
    return 0;
}

/* The worker that a session was made by run_conn for. */
static struct run_worker *run_of(const struct session *s)
{
    uintptr_t settings = (uintptr_t)session_settings_of(s);
    return (struct run_worker *)(settings - offsetof(struct run_worker, settings));
}

static bool run_begins(struct session *s)
{
    (void)s;
    return true;
}

static void run_ends(struct session *s)
{
    group_leave_all(run_of(s)->groups, s);
}

static bool run_event(struct session *s, const struct ws_event *ev)
{
    (void)s, (void)ev;
    return false;
}

static bool run_told(struct session *s)
{
    (void)s;
    return false;
}

static bool run_closed(struct session *s, unsigned code, const char *reason, size_t len)
{
    (void)s, (void)code, (void)reason, (void)len;
    return false;
}

static inline struct run_worker *run_worker_new(unsigned number)
{
    static const struct session_hooks hooks = {.begins = run_begins,
                                               .ends = run_ends,
                                               .on_open = run_told,
                                               .on_event = run_event,
                                               .on_idle = run_told,
                                               .on_error = run_told,
                                               .on_close = run_closed};
    static const struct bus_ops ops = {run_send};
    if (!run_loop.ev)
        loop_init(&run_loop);
    struct run_worker *w = mem_alloc(sizeof *w);
    conn_shared_init(&w->conns, &run_loop);
    session_shared_init(&w->sessions, &w->conns);
    w->groups = groups_new(&run_loop, &w->conns.entropy);
    w->settings.hooks = &hooks;
    w->settings.ws.out_frame = 1 << 16;
    w->settings.max_buffered = 1 << 16;
    w->bus = (struct bus){.ops = &ops, .self = number};
    return w;
}

static inline void run_worker_free(struct run_worker *w)
{
    groups_free(w->groups);
    session_shared_deinit(&w->sessions);
    conn_shared_deinit(&w->conns);
    mem_free(w);
}

/* The end of a turn, as far as groups are concerned. */
static inline void run_turn(struct run_worker *w)
{
    if (!link_empty(&w->groups->bus->tell.link))
        w->groups->bus->tell.run(&w->groups->bus->tell);
}

/* The time of this timer has come; false when it does not run. */
static inline bool run_time(struct loop_timer *timer)
{
    if (!loop_timer_active(timer))
        return false;
    loop_timer_stop(&run_loop, timer);
    timer->on_time(timer);
    return true;
}

static inline void run_drop(struct run_line *line)
{
    while (line->count) {
        chunk_unref(line->messages[line->first++]);
        line->count--;
    }
    line->first = 0;
}

/* The lines between two workers are there. */
static inline void run_connect(unsigned a, unsigned b)
{
    run[a]->lines[b].up = run[b]->lines[a].up = true;
    run[a]->lines[b].limit = run[b]->lines[a].limit = RUN_LINE;
    run[a]->bus.hooks->on_other(run[a]->bus.arg, b);
    run[b]->bus.hooks->on_other(run[b]->bus.arg, a);
}

/* One end of a line sees that the other one has gone. */
static inline void run_gone(unsigned who, unsigned other)
{
    struct run_line *line = &run[who]->lines[other];
    if (!line->up)
        return;
    run_drop(line);
    line->up = line->wants_room = false;
    line->error = 0;
    run[who]->bus.hooks->on_gone(run[who]->bus.arg, other);
}

static inline void run_start_one(unsigned number)
{
    run[number] = run_worker_new(number);
    groups_use_bus(run[number]->groups, &run[number]->bus);
    run[number]->on_bus = true;
}

/* Workers 0 to count - 1, all connected. */
static inline void run_start(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        run_start_one(i);
        for (unsigned k = 0; k < i; k++)
            run_connect(k, i);
    }
}

/* Up to `count` messages arrive. Returns how many; the line ends when one is refused. */
static inline unsigned run_deliver(unsigned from, unsigned to, unsigned count)
{
    struct run_line *line = &run[from]->lines[to];
    unsigned done = 0;
    for (; done < count && line->up && line->count; done++) {
        struct chunk *message = line->messages[line->first++];
        if (--line->count == 0)
            line->first = 0;
        int err =
            run[to]->bus.hooks->on_message(run[to]->bus.arg, from, message->bytes, message->len);
        chunk_unref(message);
        if (err < 0) {
            run_gone(to, from);
            run_gone(from, to);
        }
    }
    if (line->up && line->wants_room && line->count <= line->limit / 2) {
        line->wants_room = false;
        run[from]->bus.hooks->on_room(run[from]->bus.arg, to);
    }
    return done;
}

/* All ends of turns and messages, until nothing is left. Returns how many messages there were. */
static inline unsigned run_settle(void)
{
    unsigned all = 0, more;
    bool due;
    do {
        more = 0;
        due = false;
        for (unsigned i = 0; i < RUN_WORKERS; i++) {
            if (!run[i] || !run[i]->on_bus)
                continue;
            run_turn(run[i]);
            run_time(&run[i]->groups->bus->later);
            for (unsigned k = 0; k < RUN_WORKERS; k++)
                if (run[k] && k != i)
                    more += run_deliver(i, k, RUN_LINE);
            due = due || !link_empty(&run[i]->groups->bus->tell.link);
        }
        all += more;
    } while (more || due);
    return all;
}

static void run_close(struct stream *s)
{
    s->fd = -1;
}

static ssize_t run_write(struct stream *s, const struct iovec *iov, int count)
{
    (void)s, (void)iov, (void)count;
    return STREAM_WANT_WRITE; /* nobody reads but run_taken */
}

static void run_flushed(struct loop_job *job)
{
    (void)job; /* output stays where the test looks for it */
}

static void run_kept(struct conn *c)
{
    (void)c; /* the test frees it */
}

/* A session that is open, for messages that are read by run_taken. */
static inline struct session *run_conn(struct run_worker *w)
{
    static const struct stream_ops ops = {.write = run_write, .close = run_close};
    static const struct conn_proto proto = {SESSION_PROTO, .free = run_kept};
    const struct session_config config = {WS_SERVER, &w->settings, false, false};
    const struct conn_socket socket = {
        .fd = 1 << 20, .peer = &(struct address){.local = true}}; /* no such descriptor */
    struct session *s = mem_alloc(sizeof *s);
    conn_init(&s->conn, &w->conns, &proto, &socket);
    s->conn.stream.ops = &ops;
    s->conn.job.run = run_flushed;
    session_init(s, &w->sessions, &config);
    session_open(s, &proto);
    s->open_due = false;
    return s;
}

static inline void run_conn_free(struct session *s)
{
    conn_gone(&s->conn);
    loop_undefer(&s->conn.job);
    session_deinit(s);
    mem_free(s);
}

/* The short messages that it was sent since it was last asked, with blanks between; not "". */
static inline const char *run_taken(struct session *s, char text[RUN_TEXT])
{
    struct iovec iov[64];
    size_t used = 0;
    *text = '\0';
    while (s->conn.out.len) {
        uint8_t bytes[RUN_TEXT];
        size_t len = 0;
        int count = outq_iovec(&s->conn.out, iov, 64);
        for (int i = 0; i < count && len + iov[i].iov_len <= sizeof bytes; i++) {
            memcpy(bytes + len, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
        if (len == 0)
            abort(); /* longer than these tests have them */
        for (size_t at = 0; at + 2 + bytes[at + 1] <= len; at += 2 + bytes[at + 1])
            used += (size_t)snprintf(text + used, RUN_TEXT - used, "%s%.*s", used ? " " : "",
                                     bytes[at + 1], bytes + at + 2);
        outq_consume(&s->conn.out, s->ws.shared->pool, len);
    }
    return text;
}

static inline struct group_key run_key(enum group_kind kind, const char *name)
{
    return (struct group_key){kind, name, strlen(name)};
}

static inline int run_join(struct session *s, enum group_kind kind, const char *name)
{
    struct group_key key = run_key(kind, name);
    return group_join(run_of(s)->groups, &key, s);
}

static inline bool run_leave(struct session *s, enum group_kind kind, const char *name)
{
    struct group_key key = run_key(kind, name);
    return group_leave(run_of(s)->groups, &key, s);
}

static inline bool run_dissolve(struct run_worker *w, enum group_kind kind, const char *name)
{
    struct group_key key = run_key(kind, name);
    return group_dissolve(w->groups, &key);
}

static inline struct group_pushed run_push(struct run_worker *w, enum group_kind kind,
                                           const char *name, const char *text)
{
    struct group_pushed out;
    const struct group_push push = {.key = run_key(kind, name),
                                    .type = WS_TEXT,
                                    .bytes = (const uint8_t *)text,
                                    .len = strlen(text)};
    group_push(w->groups, &push, &out);
    return out;
}

#endif
