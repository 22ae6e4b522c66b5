// SPDX-License-Identifier: MIT
/*
 * What a session tells, one thing at a time and in order: events, the queue behind a handler that
 * has not finished, holds and parallel handlers, and sending to a peer that does not read. How it
 * ends is session_end_test.c's, and its clocks are session_clock_test.c's.
 */
#include "sessionrun.h"

/* --- Order ----------------------------------------------------------------------------------- */

static void a_whole_life(void)
{
    talk_prepare();
    CHECK(talk_open());
    rig_notes("begins"); /* nothing is told inside of that */
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_BINARY, "two");
    talk_say(FRAME_PONG, "three");
    talk_say_close(1000, "bye");
    rig_turn();
    rig_notes("open text:one binary:two pong:three ends close:1000:bye");
    rig_turns();
    rig_notes("free");
    talk_heard("C:1000:bye end");
    talk_end();
}

static void an_error_is_told_first(void)
{
    talk_begin();
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "\xFF");
    talk_say(FRAME_TEXT, "three");
    rig_turns();
    rig_notes("text:one ends error:text is not UTF-8 close:1007:text is not UTF-8");
    CHECK_INT(session_error(talk.s), ERR_UTF8);
    rig_turns();
    talk_heard("C:1007:text is not UTF-8 end");
    talk_end();
    rig_notes("free");
}

static void pings(void)
{
    talk_begin();
    talk_say(FRAME_PING, "a");
    rig_turns();
    rig_notes("");
    talk_heard("O:a");
    talk_end();
    talk_prepare();
    talk.config.wants_pings = true;
    CHECK(talk_open());
    talk_say(FRAME_PING, "a");
    rig_turns();
    rig_notes("begins open ping:a");
    talk_heard("");
    CHECK_INT(session_pong(talk.s, "b", 1), 0);
    CHECK_INT(session_ping(talk.s, "c", 1), 0);
    rig_turns();
    talk_heard("O:b P:c");
    talk_end();
}

/* The layer above had no memory for it: what it may have begun with is undone, and that is all. */
static void refused(void)
{
    talk_prepare();
    talk.refused = true;
    CHECK(!talk_open());
    rig_notes("begins ends");
    CHECK_INT(talk.s->state, SESSION_NEW);
    rig.plain->close(&talk.s->conn.stream);
    session_deinit(talk.s);
    free(talk.s);
    talk.s = NULL;
    talk_end();
}

/* --- A handler that waits -------------------------------------------------------------------- */

static void one_at_a_time(void)
{
    talk_prepare();
    talk.waits = "to";
    CHECK(talk_open());
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_PING, "still here?");
    talk_say(FRAME_TEXT, "two");
    rig_turns();
    rig_notes("begins open");
    talk_heard("O:still here?");
    session_done(talk.s);
    rig_notes("text:one");
    talk_say_close(1000, "");
    rig_turns();
    rig_notes("ends");
    session_done(talk.s);
    rig_notes("text:two");
    session_done(talk.s);
    rig_notes("close:1000:");
    talk_end();
}

/* Its handler has finished before it returns: told on, but not from inside. */
static void done_inside(const char *event)
{
    if (strcmp(event, "text") != 0)
        return;
    rig.writes = 0;
    CHECK_INT(session_send(talk.s, WS_TEXT, "x", 1), 0);
    session_hold(talk.s);
    session_done(talk.s);
    CHECK_INT(rig.writes, 0);
    conn_proceed(&talk.s->conn);
    CHECK(!talk.s->queue); /* the message that is told lies where it came */
    rig_note("returns");
}

static void done_before_it_returns(void)
{
    talk_begin();
    talk.then = done_inside;
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "two");
    rig_turns();
    rig_notes("text:one returns text:two returns");
    talk_end();
}

/* A peer that goes on sending is read until 64 KiB wait, and again when some of it is told. */
static void stalled_and_read_on(void)
{
    static char message[8 * 1024];
    talk_begin();
    talk.waits = "b";
    for (int i = 0; i < 16; i++) {
        talk_say_bytes(FRAME_BINARY, message, sizeof message);
        rig_turns();
    }
    rig_notes("binary:(8192)");
    CHECK(talk.s->stalled);
    CHECK(talk.s->queued > 64 * 1024 && talk.s->queued < 74 * 1024);
    CHECK(!talk.s->conn.io.ev.active);
    int unread = rig.reads;
    rig_turns();
    CHECK_INT(rig.reads, unread);
    session_done(talk.s);
    rig_notes("binary:(8192)");
    CHECK(!talk.s->stalled && talk.s->conn.io.ev.active);
    talk.waits = "";
    session_done(talk.s);
    rig_turns();
    CHECK_INT(talk.s->queued, 0);
    rig_forget();
    talk_say(FRAME_TEXT, "after");
    rig_turns();
    rig_notes("text:after");
    talk_end();
}

static void no_memory_for_the_queue(void)
{
    talk_begin();
    talk.waits = "t";
    talk_say(FRAME_TEXT, "one");
    rig_turns();
    talk_say(FRAME_TEXT, "two");
    alloc_watch(1, false);
    rig_turns();
    CHECK(alloc_end().failed);
    rig_notes("text:one ends");
    talk_heard("C:1011:out of memory end");
    session_done(talk.s);
    rig_notes("error:out of memory close:1011:out of memory");
    talk_end();
}

static void a_hold(void)
{
    talk_begin();
    session_hold(talk.s);
    talk_say(FRAME_TEXT, "one");
    talk_say_close(1000, "");
    rig_turns();
    rig_notes("ends");
    session_release(talk.s);
    rig_notes(""); /* at the end of the turn */
    rig_turn();
    rig_notes("text:one close:1000: free");
    talk_end();
}

/* What comes before on_open could be told waits behind it. */
static void a_hold_from_the_beginning(void)
{
    talk_prepare();
    CHECK(talk_open());
    session_hold(talk.s);
    talk_say(FRAME_TEXT, "one");
    rig_turns();
    CHECK(talk.s->queue);
    rig_notes("begins");
    session_release(talk.s);
    rig_turns();
    rig_notes("open text:one");
    talk_end();
}

static void parallel_handlers(void)
{
    talk_begin();
    session_parallel_begin(talk.s);
    session_parallel_begin(talk.s);
    CHECK_INT(session_parallel(talk.s), 2);
    talk_say(FRAME_TEXT, "one");
    talk_say_close(1000, "");
    rig_turns();
    rig_notes("text:one ends"); /* but on_close waits */
    session_parallel_end(talk.s);
    rig_turns();
    rig_notes("");
    session_parallel_end(talk.s);
    rig_notes("");
    rig_turns();
    rig_notes("close:1000: free");
    talk_end();
}

/* The object outlives its socket as long as something runs that belongs to it. */
static void freed_last(void)
{
    struct session *s = talk_begin();
    talk.waits = "c";
    talk_hang_up();
    rig_turns();
    rig_notes("ends close:1006:");
    CHECK(talk.s == s);
    session_parallel_begin(s);
    session_done(s);
    rig_turns();
    CHECK(talk.s == s);
    session_parallel_end(s);
    rig_turns();
    rig_notes("free");
    talk_end();
}

/* A peer that has much to say has a share of a turn: others come between. */
static void much_is_told_in_shares(void)
{
    talk_begin();
    enum { MESSAGES = 1000, SHARE = CONN_TURN_WORK / CONN_MESSAGE_WORK };
    static uint8_t wire[MESSAGES * 8];
    size_t len = 0;
    for (int i = 0; i < MESSAGES; i++)
        len += talk_frame(wire + len, FRAME_TEXT, "", 0);
    session_input(&talk.s->conn, wire, len);
    CHECK_INT(rig.noted, SHARE * strlen("text: ") - 1);
    CHECK(talk.s->conn.rest && session_has_left(&talk.s->conn));
    CHECK(!session_wants_input(&talk.s->conn));
    rig_forget();
    conn_dirty(&talk.s->conn);
    rig_turns();
    CHECK_INT(rig.noted, (MESSAGES - SHARE) * strlen("text: ") - 1);
    rig_forget();
    talk_end();
}

/* --- Output ---------------------------------------------------------------------------------- */

static void answers_are_written_once(void)
{
    talk_begin();
    rig.writes = 0;
    for (int i = 0; i < 10; i++)
        CHECK_INT(session_send(talk.s, WS_TEXT, "a", 1), 0);
    CHECK_INT(rig.writes, 0);
    rig_turn();
    CHECK_INT(rig.writes, 1);
    talk_heard("T:a T:a T:a T:a T:a T:a T:a T:a T:a T:a");
    talk_end();
}

static void fill(void)
{
    static char bytes[16 * 1024];
    for (int i = 0; i < 8; i++)
        CHECK_INT(session_send(talk.s, WS_BINARY, bytes, sizeof bytes), 0);
    rig_turns();
    CHECK(conn_buffered(&talk.s->conn) > talk.settings.max_buffered);
}

static void hear_all(void)
{
    static char bytes[1 << 20];
    for (int i = 0; i < RIG_TURNS && conn_buffered(&talk.s->conn); i++) {
        rig_hear(talk.peer, bytes, sizeof bytes);
        rig_turn();
    }
    rig_hear(talk.peer, bytes, sizeof bytes);
}

/* Who does not read its answers is not asked for more, and is once it has. */
static void not_read_while_output_is_full(void)
{
    talk_begin();
    fill();
    talk_say(FRAME_TEXT, "one");
    rig_turns();
    rig_notes("");
    hear_all();
    rig_turns();
    rig_notes("text:one");
    talk_end();
}

static void fill_inside(const char *event)
{
    if (strcmp(event, "text") == 0)
        fill();
}

/* The rest of a batch waits, too. */
static void output_fills_inside(void)
{
    talk_begin();
    talk.then = fill_inside;
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "two");
    rig_turn();
    rig_notes("text:one");
    CHECK(talk.s->output_full);
    rig_turns();
    rig_notes("");
    talk.then = NULL;
    hear_all();
    rig_turns();
    rig_notes("text:two");
    talk_end();
}

static void answer_at_length(const char *event)
{
    static char bytes[2000];
    if (strcmp(event, "text") == 0)
        CHECK_INT(session_send(talk.s, WS_BINARY, bytes, sizeof bytes), 0);
}

/* It is written in one go: no event tells of room. */
static void full_output_leaves_at_once(void)
{
    talk_begin();
    talk.settings.max_buffered = 1000;
    talk.then = answer_at_length;
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "two");
    rig_turn();
    rig_notes("text:one");
    rig_turns();
    rig_notes("text:two");
    talk_heard("B:(2000) B:(2000)");
    talk_end();
}

static void told_to_drain(void)
{
    talk_begin();
    fill();
    session_await_drain(talk.s, true);
    conn_proceed(&talk.s->conn);
    rig_notes("");
    hear_all();
    rig_turns();
    rig_notes("drain");
    fill();
    session_await_drain(talk.s, true);
    session_await_drain(talk.s, false);
    hear_all();
    rig_notes("");
    fill();
    session_await_drain(talk.s, true);
    talk_hang_up();
    rig_turns();
    rig_notes("ends drain close:1006: free"); /* the end, too, is what they wait for */
    talk_end();
}

static void pushes_are_dropped(void)
{
    struct session *s = talk_begin();
    talk.settings.drop_slow = true;
    fill();
    size_t buffered = conn_buffered(&s->conn);
    CHECK_INT(session_push(s, WS_TEXT, "a", 1), ERR_POLICY);
    CHECK_INT(conn_buffered(&s->conn), buffered);
    struct ws_broadcast b = {.type = WS_TEXT, .bytes = (const uint8_t *)"b", .len = 1};
    CHECK_INT(session_push_broadcast(s, &b), ERR_POLICY);
    CHECK_INT(session_send(s, WS_TEXT, "c", 1), 0); /* an answer is no push */
    CHECK(session_writable(s));
    hear_all();
    CHECK_INT(session_push(s, WS_TEXT, "d", 1), 0);
    CHECK_INT(session_push_broadcast(s, &b), 0);
    ws_broadcast_deinit(&b);
    rig_turns();
    talk_heard("T:d T:b");
    rig_notes("");
    talk_end();
}

static void slow_peer_is_closed(void)
{
    struct session *s = talk_begin();
    fill();
    CHECK_INT(session_push(s, WS_TEXT, "a", 1), ERR_POLICY);
    rig_notes("ends");
    CHECK_INT(session_push(s, WS_TEXT, "a", 1), ERR_CLOSED);
    rig_turns();
    rig_notes("error:a limit was exceeded close:1013:too slow");
    talk_end();
}

/* Much was pushed in this turn: whether the peer is slow is known only once it was written to. */
static void not_slow_but_not_written_to(void)
{
    static char bytes[1024];
    struct session *s = talk_begin();
    talk.settings.max_buffered = sizeof bytes;
    CHECK_INT(session_push(s, WS_BINARY, bytes, sizeof bytes), 0);
    rig.writes = 0;
    CHECK_INT(session_push(s, WS_TEXT, "a", 1), 0);
    CHECK_INT(rig.writes, 1);
    rig_turns();
    talk_heard("B:(1024) T:a");
    talk_end();
}

int main(void)
{
    test("a whole life", a_whole_life);
    test("an error is told first", an_error_is_told_first);
    test("pings", pings);
    test("refused", refused);
    test("one at a time", one_at_a_time);
    test("done before it returns", done_before_it_returns);
    test("stalled, and read on", stalled_and_read_on);
    test("no memory for the queue", no_memory_for_the_queue);
    test("a hold", a_hold);
    test("a hold from the beginning", a_hold_from_the_beginning);
    test("parallel handlers", parallel_handlers);
    test("freed last", freed_last);
    test("much is told in shares", much_is_told_in_shares);
    test("answers are written once", answers_are_written_once);
    test("not read while output is full", not_read_while_output_is_full);
    test("output fills inside", output_fills_inside);
    test("full output leaves at once", full_output_leaves_at_once);
    test("told to drain", told_to_drain);
    test("pushes are dropped", pushes_are_dropped);
    test("slow peer is closed", slow_peer_is_closed);
    test("not slow, but not written to", not_slow_but_not_written_to);
    return test_end();
}
