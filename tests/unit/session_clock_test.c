// SPDX-License-Identifier: MIT
/*
 * The clocks of a session, on a wheel whose time the test sets: heartbeat, idle time, unfinished
 * messages, and a peer that may take its time to close but has to be heard of.
 */
#include "sessionrun.h"

/* With these settings; what is 0 does not run. */
static struct session *begin_with(double ping, double pong, double idle, double message)
{
    talk_prepare();
    talk.settings.ping_interval = ping;
    talk.settings.pong_timeout = pong;
    talk.settings.idle_timeout = idle;
    talk.settings.message_timeout = message;
    CHECK(talk_open());
    rig_turns();
    rig_notes("begins open");
    return talk.s;
}

/* --- Heartbeat ------------------------------------------------------------------------------- */

/* How long it is, in seconds, until our next ping leaves. */
static double next_ping(const struct session *s)
{
    double seconds = 0;
    for (; !s->pong_due && seconds < 60; seconds += 0.25)
        rig_pass(0.25);
    rig_turns();
    talk_heard("P:");
    return seconds;
}

static void answered_pings(void)
{
    struct session *s = begin_with(10, 5, 0, 0);
    for (int i = 0; i < 5; i++) {
        double seconds = next_ping(s);
        CHECK(seconds >= 9.75 && seconds <= 11.25);
        talk_say(FRAME_PONG, "");
        rig_turns();
        rig_notes("pong:");
        CHECK(!s->pong_due);
    }
    talk_end();
}

/*
 * While it is unanswered no other follows. (A peer that takes the ping from a Unix socket would
 * have longer: what the kernel tells of those is not exact.)
 */
static void no_pong(void)
{
    begin_with(2, 20, 0, 0);
    rig_pass(21);
    rig_notes("");
    rig_pass(3);
    rig_notes("ends close:1006: free");
    talk_heard("P: C:1001:no pong end");
    talk_end();
}

static void pings_without_a_timeout(void)
{
    begin_with(10, 0, 0, 0);
    rig_pass(35);
    talk_heard("P: P: P:");
    rig_notes("");
    talk_end();
}

/* A message is life as a pong is; a ping of the peer's is not. */
static void what_is_life(void)
{
    struct session *s = begin_with(10, 5, 0, 0);
    s->ws.auto_pong = false; /* told, too, as with wants_pings */
    rig_pass(11.25);
    CHECK(s->pong_due);
    talk_say(FRAME_PING, "");
    rig_turns();
    rig_notes("ping:");
    CHECK(s->pong_due);
    talk_say(FRAME_TEXT, "one");
    rig_turns();
    CHECK(!s->pong_due);
    rig_pass(8);
    rig_notes("text:one");
    talk_end();
}

/* A message so long that its pieces are all that comes for a while. */
static void data_puts_the_answer_off(void)
{
    struct session *s = begin_with(10, 5, 0, 0);
    rig_pass(11.25);
    for (int i = 0; i < 5; i++) {
        talk_say(i ? FRAME_CONTINUATION | 128 : FRAME_TEXT | 128, "piece");
        rig_pass(4);
        CHECK(s->pong_due);
    }
    rig_notes("");
    rig_pass(3);
    rig_notes("ends close:1006: free");
    talk_end();
}

/* Until it has left, behind output that the peer does not take, the write clock judges. */
static void answer_is_due_once_the_ping_has_left(void)
{
    static char bytes[1 << 17];
    struct session *s = begin_with(10, 5, 0, 0);
    CHECK_INT(session_send(s, WS_BINARY, bytes, 1 << 15), 0);
    rig_pass(20);
    CHECK(s->pong_due && s->conn.marked && session_running(s));
    for (int i = 0; i < RIG_TURNS && s->conn.marked; i++) {
        rig_hear(talk.peer, bytes, sizeof bytes);
        rig_turn();
    }
    CHECK(!s->conn.marked);
    CHECK_INT(s->beat, conn_now(&s->conn));
    talk_end();
}

/* It has left, but the peer goes on taking what was sent before it. */
static void answer_is_put_off_by_what_comes_before_the_ping(void)
{
    static char bytes[1004];
    struct session *s = begin_with(10, 5, 0, 0);
    CHECK_INT(session_send(s, WS_BINARY, bytes, sizeof bytes - 4), 0);
    rig_pass(11.25);
    CHECK(s->pong_due && !s->conn.marked);
    rig_pass(3);
    CHECK_INT(recv(talk.peer, bytes, sizeof bytes, 0), sizeof bytes);
    rig_pass(4);
    rig_notes("");
    rig_pass(3);
    rig_notes("ends close:1006: free");
    talk_end();
}

/* --- Idle time ------------------------------------------------------------------------------- */

static void closed_when_idle(void)
{
    begin_with(0, 0, 10, 0);
    rig_pass(8);
    talk_say(FRAME_TEXT, "one");
    rig_pass(9.75);
    rig_notes("text:one");
    talk_heard("");
    rig_pass(1.5);
    rig_notes("ends");
    talk_heard("C:1001:idle timeout");
    talk_end();
}

/* An answer to our ping, or one that nobody has asked for, is no reason to stay. */
static void pongs_are_no_input(void)
{
    begin_with(0, 0, 10, 0);
    rig_pass(8);
    talk_say(FRAME_PONG, "");
    rig_pass(3.5);
    rig_notes("pong: ends");
    talk_end();
}

static void told_when_idle(void)
{
    talk_prepare();
    talk.settings.idle_timeout = 10;
    talk.config.wants_idle = true;
    CHECK(talk_open());
    rig_pass(11.5);
    rig_notes("begins open idle");
    rig_pass(8);
    rig_notes("");
    rig_pass(3.5);
    rig_notes("idle"); /* once a period */
    CHECK(session_writable(talk.s));
    talk_end();
}

static void not_idle_while_a_handler_runs(void)
{
    struct session *s = begin_with(0, 0, 10, 0);
    session_hold(s);
    rig_pass(30);
    session_release(s);
    session_parallel_begin(s);
    rig_pass(30);
    session_parallel_end(s);
    rig_notes("");
    rig_pass(12);
    rig_notes("ends");
    talk_end();
}

/* --- An unfinished message ------------------------------------------------------------------- */

static void message_takes_too_long(void)
{
    struct session *s = begin_with(0, 0, 0, 10);
    talk_say(FRAME_TEXT | 128, "one");
    rig_turns();
    CHECK(s->assembly);
    for (int i = 0; i < 3; i++) {
        rig_pass(3);
        talk_say(FRAME_CONTINUATION | 128, "more");
    }
    rig_notes("");
    rig_pass(2.5);
    rig_notes("ends error:message took too long close:1008:message took too long");
    talk_heard("C:1008:message took too long end");
    talk_end();
}

/* Each has its own time, also when the pieces that come always end inside of some. */
static void messages_are_timed_one_by_one(void)
{
    struct session *s = begin_with(0, 0, 0, 10);
    talk_say(FRAME_TEXT | 128, "a");
    for (int i = 0; i < 6; i++) {
        static uint8_t wire[64];
        rig_pass(6);
        size_t len = talk_frame(wire, FRAME_CONTINUATION, "b", 1);
        len += talk_frame(wire + len, FRAME_TEXT | 128, "a", 1);
        rig_say(talk.peer, wire, len);
        rig_turns();
        rig_notes("text:ab");
    }
    talk_say(FRAME_CONTINUATION, "b");
    rig_turns();
    CHECK(!s->assembly);
    rig_pass(20);
    rig_notes("text:ab");
    talk_end();
}

/* While a handler runs and the queue is full, the peer cannot go on. */
static void stalled_time_does_not_count(void)
{
    static char message[100 * 1024];
    static uint8_t wire[128 * 1024];
    struct session *s = begin_with(0, 0, 0, 10);
    talk.waits = "b";
    size_t len = talk_frame(wire, FRAME_BINARY, "", 0);
    len += talk_frame(wire + len, FRAME_BINARY, message, sizeof message);
    len += talk_frame(wire + len, FRAME_TEXT | 128, "half", 4);
    session_input(&s->conn, wire, len);
    conn_proceed(&s->conn);
    CHECK(s->stalled && s->conn.held);
    rig_pass(60);
    rig_notes("binary:");
    talk.waits = "";
    session_done(s);
    rig_turns();
    rig_notes("binary:(102400)");
    talk_say(FRAME_CONTINUATION, " way");
    rig_turns();
    rig_notes("text:half way");
    talk_end();
}

/* --- After our close frame ------------------------------------------------------------------- */

/* A peer that may answer when it likes has to be heard of as often as one that is pinged. */
static void heard_of_while_closing(void)
{
    struct session *s = begin_with(10, 5, 0, 0);
    CHECK_INT(session_close(s, 1000, "", 0, -1), 0);
    rig_turns();
    for (int i = 0; i < 4; i++) {
        rig_pass(13);
        talk_say(FRAME_PONG, "");
        rig_turns();
    }
    CHECK_INT(s->state, SESSION_CLOSING);
    talk_heard("C:1000:"); /* and no ping, which must not follow it */
    rig_forget();
    rig_pass(17);
    rig_notes("ends close:1006: free");
    talk_end();
}

/* No session is left that could wish that a peer may take nothing for ever. */
static void write_time_after_the_end(void)
{
    struct session *s = begin_with(0, 0, 0, 0);
    talk.settings.write_timeout = 0;
    CHECK(session_write_timeout(&s->conn) <= 0);
    session_fail(s, ERR_POLICY, WS_POLICY_VIOLATION, "x");
    CHECK(session_write_timeout(&s->conn) == CONN_WRITE_SECONDS);
    talk.settings.write_timeout = 7;
    CHECK(session_write_timeout(&s->conn) == 7);
    talk_end();
}

int main(void)
{
    test("answered pings", answered_pings);
    test("no pong", no_pong);
    test("pings without a timeout", pings_without_a_timeout);
    test("what is life", what_is_life);
    test("data puts the answer off", data_puts_the_answer_off);
    test("answer is due once the ping has left", answer_is_due_once_the_ping_has_left);
    test("answer is put off by what comes before the ping",
         answer_is_put_off_by_what_comes_before_the_ping);
    test("closed when idle", closed_when_idle);
    test("pongs are no input", pongs_are_no_input);
    test("told when idle", told_when_idle);
    test("not idle while a handler runs", not_idle_while_a_handler_runs);
    test("message takes too long", message_takes_too_long);
    test("messages are timed one by one", messages_are_timed_one_by_one);
    test("stalled time does not count", stalled_time_does_not_count);
    test("heard of while closing", heard_of_while_closing);
    test("write time after the end", write_time_after_the_end);
    return test_end();
}
