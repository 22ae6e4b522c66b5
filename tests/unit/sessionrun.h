// SPDX-License-Identifier: MIT
/*
 * For tests of sessions: one on a socket pair, without any handshake, whose hooks note what they
 * are told, and whose handlers wait when the test says so. On connrun.h's loop and clock.
 *
 *      struct session *s = talk_begin();
 *      talk_say(FRAME_TEXT, "hello");                  as a client does
 *      rig_turns();
 *      rig_notes("begins open text:hello");
 *      talk_heard("T:hello C:1000:bye end");           frames, and whether the stream has ended
 *      talk_end();
 */
#ifndef NEAP_TESTS_UNIT_SESSIONRUN_H
#define NEAP_TESTS_UNIT_SESSIONRUN_H

#include "base/err.h"
#include "connrun.h"
#include "proto/ws/frame.h"
#include "session/session.h"

static struct {
    struct session_shared sessions;
    struct session_settings settings;
    struct session_config config;
    struct session *s; /* NULL: it has been freed */
    int peer;
    bool refused;                    /* by hooks->begins */
    const char *waits;               /* the first letters of events whose handlers wait: "to" */
    void (*then)(const char *event); /* called inside each handler, after the note */
} talk;

/* --- The layer above ------------------------------------------------------------------------- */

static inline bool talk_told(const char *event)
{
    if (talk.then)
        talk.then(event);
    return strchr(talk.waits, *event);
}

static inline bool talk_begins(struct session *s)
{
    (void)s;
    rig_note("begins");
    return !talk.refused;
}

static inline void talk_ends(struct session *s)
{
    (void)s;
    rig_note("ends");
}

static inline bool talk_on_open(struct session *s)
{
    CHECK(s == talk.s);
    rig_note("open");
    return talk_told("open");
}

static inline bool talk_on_event(struct session *s, const struct ws_event *ev)
{
    static const char *const names[] = {
        [WS_TEXT] = "text", [WS_BINARY] = "binary", [WS_PING] = "ping", [WS_PONG] = "pong"};
    CHECK(s == talk.s);
    if (ev->len > 32)
        rig_note("%s:(%zu)", names[ev->type], ev->len);
    else
        rig_note("%s:%.*s", names[ev->type], (int)ev->len, (const char *)ev->data);
    return talk_told(names[ev->type]);
}

static inline bool talk_on_idle(struct session *s)
{
    CHECK(s == talk.s);
    rig_note("idle");
    return talk_told("idle");
}

static inline bool talk_on_error(struct session *s)
{
    rig_note("error:%s", session_why(s));
    return talk_told("error");
}

static inline bool talk_on_close(struct session *s, unsigned code, const char *reason, size_t len)
{
    CHECK(s == talk.s);
    rig_note("close:%u:%.*s", code, (int)len, reason);
    return talk_told("close");
}

static inline void talk_on_drain(struct session *s)
{
    CHECK(s == talk.s);
    rig_note("drain");
    talk_told("drain");
}

static inline void talk_free(struct conn *c)
{
    struct session *s = session_of(c);
    rig_note("free");
    session_deinit(s);
    conn_deinit(c);
    free(s);
    talk.s = NULL;
}

/* --- A session ------------------------------------------------------------------------------- */

static const struct session_hooks talk_hooks = {talk_begins,   talk_ends,    talk_on_open,
                                                talk_on_event, talk_on_idle, talk_on_error,
                                                talk_on_close, talk_on_drain};

/* Settings to begin with, which a test may change before talk_open. */
static inline void talk_prepare(void)
{
    rig_begin();
    memset(&talk, 0, sizeof talk);
    session_shared_init(&talk.sessions, &rig.shared);
    talk.settings = (struct session_settings){
        .ws = {1 << 20, 1 << 20, 100, 1 << 16},
        .close_timeout = 5,
        .write_timeout = 30,
        .max_buffered = 1 << 16,
        .hooks = &talk_hooks,
    };
    talk.config = (struct session_config){WS_SERVER, &talk.settings, false, false};
    talk.waits = "";
}

/* False when it was refused; then it is over. */
static inline bool talk_open(void)
{
    static const struct conn_proto proto = {SESSION_PROTO, .free = talk_free};
    int fd;
    talk.peer = rig_pair(&fd);
    talk.s = calloc(1, sizeof *talk.s);
    struct conn *c = &talk.s->conn;
    CHECK(conn_init(c, &rig.shared, &proto,
                    &(struct conn_socket){.fd = fd, .peer = &(struct address){.local = true}}));
    rig_wrap(c);
    session_init(talk.s, &talk.sessions, &talk.config);
    if (!session_open(talk.s, &proto))
        return false;
    conn_dirty(c);
    return true;
}

/* With the usual settings, and on_open told. */
static inline struct session *talk_begin(void)
{
    talk_prepare();
    CHECK(talk_open());
    rig_turn();
    rig_notes("begins open");
    return talk.s;
}

static inline void talk_hang_up(void)
{
    close(talk.peer);
    talk.peer = -1;
}

/* Ends what has not ended, and gives everything back. */
static inline void talk_end(void)
{
    talk.then = NULL;
    talk.waits = "";
    if (talk.s)
        conn_gone(&talk.s->conn);
    rig_turns();
    CHECK(!talk.s);
    if (talk.peer >= 0)
        talk_hang_up();
    session_shared_deinit(&talk.sessions);
    rig_end();
}

/* --- The peer -------------------------------------------------------------------------------- */

/* Encodes a client's frame; its length. */
static inline size_t talk_frame(uint8_t *out, unsigned opcode, const void *bytes, size_t len)
{
    struct frame f = {.length = len,
                      .opcode = (uint8_t)(opcode & 15),
                      .fin = !(opcode & 128), /* with 128 more fragments follow */
                      .masked = true,
                      .mask = {1, 2, 3, 4}};
    size_t head = frame_encode(&f, out);
    frame_mask(out + head, bytes, len, f.mask, 0);
    return head + len;
}

static inline void talk_say_bytes(unsigned opcode, const void *bytes, size_t len)
{
    static uint8_t wire[1 << 20];
    rig_say(talk.peer, wire, talk_frame(wire, opcode, bytes, len));
}

static inline void talk_say(unsigned opcode, const char *text)
{
    talk_say_bytes(opcode, text, strlen(text));
}

static inline void talk_say_close(unsigned code, const char *reason)
{
    char bytes[FRAME_CONTROL_MAX];
    int len = snprintf(bytes, sizeof bytes, "%c%c%s", (int)(code >> 8), (int)(code & 255), reason);
    talk_say_bytes(FRAME_CLOSE, bytes, code ? (size_t)len : 0);
}

/* The frame at `bytes` as a word; its length. */
static inline size_t talk_word(const uint8_t *bytes, size_t len, char *out, size_t room)
{
    struct frame f;
    int head = frame_decode(&f, bytes, len);
    if (head <= 0 || f.length > len - (size_t)head)
        abort();
    const char *payload = (const char *)bytes + head;
    int n = (int)f.length;
    char letter = "KTB     CPO     "[f.opcode];
    if (f.opcode == FRAME_CLOSE && n >= 2)
        snprintf(out, room, "C:%d:%.*s", bytes[head] << 8 | bytes[head + 1], n - 2, payload + 2);
    else if (n > 32)
        snprintf(out, room, "%c:(%d)", letter, n);
    else
        snprintf(out, room, "%c:%.*s", letter, n, payload);
    return (size_t)head + (size_t)n;
}

/* What the peer has heard since the last time. */
static inline bool talk_check_heard(const char *expected, const char *file, int line)
{
    static uint8_t bytes[1 << 20];
    char words[1024] = "";
    size_t len = rig_hear(talk.peer, bytes, sizeof bytes), used = 0;
    for (size_t at = 0; at < len;) {
        char word[160];
        at += talk_word(bytes + at, len - at, word, sizeof word);
        used += (size_t)snprintf(words + used, sizeof words - used, "%s%s", used ? " " : "", word);
    }
    if (rig_finished(talk.peer))
        snprintf(words + used, sizeof words - used, "%send", used ? " " : "");
    return check_text(words, expected, file, line);
}
#define talk_heard(expected) talk_check_heard(expected, __FILE__, __LINE__)

#endif
