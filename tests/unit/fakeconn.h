// SPDX-License-Identifier: MIT
/*
 * For tests of the transport alone: connections on which nothing speaks but a protocol that notes
 * what it is told, and does what the test has set. Of several, each has a letter in the notes.
 */
#ifndef NEAP_TESTS_UNIT_FAKECONN_H
#define NEAP_TESTS_UNIT_FAKECONN_H

#include "connrun.h"

enum { FAKES = 12 };

struct fake {
    struct conn conn;
    int peer; /* -1: it has closed */
    bool wants, listens, left, kept, survives, freed;
    bool echoes;             /* what it reads */
    bool lingers;            /* once all is written */
    const char *when_room;   /* queued when output is not blocked any more */
    size_t units, unit_work; /* of work that is left, one a turn */
    double write_timeout;    /* seconds */
    int32_t own_clock;       /* milliseconds left */
    uint32_t most;           /* bytes thrown away while it lingers */
};

static struct fake fakes[FAKES];
static unsigned fake_count;

static inline struct fake *fake_of(const struct conn *c)
{
    return (struct fake *)(uintptr_t)c;
}

static inline void fake_note(const struct conn *c, const char *what)
{
    if (fake_count > 1)
        rig_note("%c:%s", (char)('A' + (fake_of(c) - fakes)), what);
    else
        rig_note("%s", what);
}

static inline void fake_input(struct conn *c, uint8_t *bytes, size_t len)
{
    char text[32];
    snprintf(text, sizeof text, "input-%zu", len);
    fake_note(c, text);
    if (fake_of(c)->echoes)
        CHECK(conn_queue(c, bytes, len));
}

static inline bool fake_wants_input(const struct conn *c)
{
    return fake_of(c)->wants;
}

static inline bool fake_listens(const struct conn *c)
{
    return fake_of(c)->listens;
}

static inline bool fake_has_left(const struct conn *c)
{
    return fake_of(c)->left || fake_of(c)->units;
}

static inline void fake_proceed(struct conn *c)
{
    struct fake *f = fake_of(c);
    fake_note(c, "proceed");
    if (!f->units || c->rest)
        return;
    f->units--;
    c->shared->work += f->unit_work;
    c->rest = f->units > 0;
    fake_note(c, "unit");
}

static inline bool fake_written(struct conn *c)
{
    struct fake *f = fake_of(c);
    fake_note(c, "written");
    if (c->state == CONN_OPEN && !c->out.len && f->lingers)
        conn_linger(c, f->most);
    else if (c->state == CONN_OPEN && !c->out.len && c->closure_due)
        conn_clock_closure(c);
    return f->wants;
}

static inline void fake_blocked(struct conn *c, bool blocked)
{
    struct fake *f = fake_of(c);
    fake_note(c, blocked ? "blocked" : "room");
    if (!blocked && f->when_room) {
        CHECK(conn_queue(c, f->when_room, strlen(f->when_room)));
        f->when_room = NULL;
    }
}

static inline void fake_mark_left(struct conn *c)
{
    fake_note(c, "mark_left");
}

static inline void fake_mark_fed(struct conn *c)
{
    fake_note(c, "mark_fed");
}

static inline bool fake_broken(struct conn *c)
{
    fake_note(c, "broken");
    return fake_of(c)->survives;
}

static inline void fake_gone(struct conn *c, bool lost)
{
    CHECK(c->state == CONN_GONE && c->stream.fd < 0 && !c->out.len);
    fake_note(c, lost ? "lost" : "gone");
}

static inline bool fake_may_free(const struct conn *c)
{
    return !fake_of(c)->kept;
}

static inline void fake_free(struct conn *c)
{
    fake_note(c, "free");
    CHECK(!fake_of(c)->freed);
    conn_deinit(c);
    fake_of(c)->freed = true;
}

static inline void fake_on_deadline(struct conn *c)
{
    fake_note(c, "deadline");
    c->deadline = 0;
}

static inline int32_t fake_clock_left(const struct conn *c)
{
    return fake_of(c)->own_clock;
}

static inline void fake_clock_due(struct conn *c)
{
    fake_note(c, "clock");
    fake_of(c)->own_clock = CONN_NEVER;
}

static inline double fake_write_timeout(const struct conn *c)
{
    return fake_of(c)->write_timeout;
}

static inline const char *fake_path(const struct conn *c)
{
    (void)c;
    return "/fake";
}

static inline void fake_on_write(struct stream *s)
{
    fake_note(LIST_ITEM(s, struct conn, stream), "write");
}

static inline void fake_open(struct fake *f)
{
    static const struct conn_proto proto = {
        fake_input,     fake_wants_input,   fake_listens,   fake_has_left,    fake_proceed,
        fake_written,   fake_blocked,       fake_mark_left, fake_mark_fed,    fake_broken,
        fake_gone,      fake_may_free,      fake_free,      fake_on_deadline, fake_clock_left,
        fake_clock_due, fake_write_timeout, fake_path};
    int fd;
    *f = (struct fake){.wants = true, .listens = true, .own_clock = CONN_NEVER, .most = 64};
    f->peer = rig_pair(&fd);
    CHECK(conn_init(&f->conn, &rig.shared, &proto,
                    &(struct conn_socket){.fd = fd, .peer = &(struct address){.local = true}}));
    rig_wrap(&f->conn);
    conn_proceed(&f->conn);
}

/* So many connections, read, with nothing noted. The first one is returned. */
static inline struct fake *fake_begin(unsigned count)
{
    rig_begin();
    fake_count = count;
    for (unsigned i = 0; i < count; i++)
        fake_open(&fakes[i]);
    rig_forget();
    rig.on_write = fake_on_write;
    return &fakes[0];
}

static inline void fake_hang_up(struct fake *f)
{
    close(f->peer);
    f->peer = -1;
}

/* Ends those that are left, each of which has to be freed then. */
static inline void fake_end(void)
{
    for (unsigned i = 0; i < fake_count; i++) {
        fakes[i].kept = false;
        fakes[i].units = 0;
        conn_gone(&fakes[i].conn);
        if (!fakes[i].freed)
            conn_proceed_soon(&fakes[i].conn);
    }
    rig_turns();
    for (unsigned i = 0; i < fake_count; i++) {
        CHECK(fakes[i].freed);
        if (fakes[i].peer >= 0)
            fake_hang_up(&fakes[i]);
    }
    rig_end();
}

/* Queues so many bytes, to be written at the end of the turn. */
static inline void fake_queue(struct fake *f, size_t len)
{
    static char bytes[1 << 20];
    memset(bytes, 'x', len);
    CHECK(conn_queue(&f->conn, bytes, len));
    conn_dirty(&f->conn);
}

/* The peer takes what has arrived. */
static inline size_t fake_hear(const struct fake *f)
{
    static char bytes[1 << 20];
    return rig_hear(f->peer, bytes, sizeof bytes);
}

static inline void fake_check_heard(const struct fake *f, const char *expected)
{
    char bytes[256];
    size_t len = rig_hear(f->peer, bytes, sizeof bytes);
    CHECK_BYTES(bytes, len, expected, strlen(expected));
}

static inline void fake_say(const struct fake *f, const char *text)
{
    rig_say(f->peer, text, strlen(text));
}

/* What the loop watches it for. */
static inline int fake_watched(const struct fake *f)
{
    const struct loop_io *io = &f->conn.io;
    return io->ev.active ? io->ev.events & (LOOP_READ | LOOP_WRITE) : 0;
}

#endif
