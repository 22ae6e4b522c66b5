// SPDX-License-Identifier: MIT
/*
 * How a session ends: by the peer, by us, by an error, and while a handler runs; what is told of
 * it, and what becomes of the socket. Once on_close has been told nothing is.
 */
#include "sessionrun.h"

/* --- The closing handshake ------------------------------------------------------------------- */

static void closed_by_the_peer(void)
{
    talk_begin();
    CHECK_INT(session_send(talk.s, WS_TEXT, "last", 4), 0);
    talk_say_close(4000, "enough");
    rig_turn();
    CHECK(session_over(talk.s) && session_closed_by_peer(talk.s));
    rig_turns();
    rig_notes("ends close:4000:enough free");
    talk_heard("T:last C:4000:enough end");
    talk_end();
}

static void closed_without_a_code(void)
{
    talk_begin();
    talk_say_close(0, "");
    rig_turns();
    rig_notes("ends close:1005: free");
    talk_heard("C: end");
    talk_end();
}

static void closed_by_us(void)
{
    struct session *s = talk_begin();
    CHECK_INT(session_close(s, 1000, "bye", 3, 5), 0);
    rig_notes("ends"); /* at once: it is nobody's member any more */
    CHECK(!session_writable(s) && session_running(s) && !session_over(s));
    CHECK_INT(session_send(s, WS_TEXT, "a", 1), ERR_CLOSED);
    CHECK_INT(session_ping(s, "a", 1), ERR_CLOSED);
    CHECK_INT(session_close(s, 1000, "", 0, 5), ERR_CLOSED);
    talk_say(FRAME_TEXT, "crossed");
    rig_turns();
    talk_heard("C:1000:bye");
    rig_notes("");
    talk_say_close(1000, "bye");
    rig_turns();
    rig_notes("ends close:1000:bye free");
    CHECK(rig_finished(talk.peer));
    talk_end();
}

static void bad_code(void)
{
    struct session *s = talk_begin();
    CHECK_INT(session_close(s, 1005, "", 0, 5), ERR_ARGUMENT);
    CHECK(session_writable(s));
    rig_notes("");
    talk_end();
}

static void peer_does_not_answer(void)
{
    struct session *s = talk_begin();
    CHECK_INT(session_close(s, 1001, "", 0, 5), 0);
    rig_turns();
    talk_heard("C:1001:");
    rig_pass(4.75);
    CHECK_INT(s->state, SESSION_CLOSING);
    rig_forget();
    rig_pass(1.5);
    rig_notes("ends close:1006: free");
    CHECK(rig_finished(talk.peer));
    talk_end();
}

/* With 0 the stream is finished once the close frame is written, and the peer has two seconds. */
static void closed_at_once(void)
{
    struct session *s = talk_begin();
    CHECK_INT(session_close(s, 1001, "", 0, 0), 0);
    rig_turns();
    CHECK_INT(s->conn.state, CONN_LINGER);
    talk_heard("C:1001: end");
    talk_say_close(1001, "");
    rig_turns();
    rig_notes("ends ends close:1001:");
    talk_hang_up();
    rig_turns();
    rig_notes("free");
    talk_end();
    s = talk_begin();
    CHECK_INT(session_close(s, 1001, "", 0, 0), 0);
    rig_pass(1.75);
    rig_notes("ends");
    CHECK_INT(s->conn.state, CONN_LINGER);
    rig_pass(0.5);
    rig_notes("ends close:1006: free");
    talk_end();
}

/* Who has answered, and keeps its side open, has those two seconds, too. */
static void answers_and_stays(void)
{
    CHECK_INT(session_close(talk_begin(), 1001, "", 0, 0), 0);
    rig_turns();
    talk_say_close(1001, "");
    rig_pass(1.5);
    rig_notes("ends ends close:1001:");
    rig_pass(1);
    rig_notes("free");
    talk_end();
}

/* For ever, that is; but the write clock and the heartbeat go on. */
static void closed_without_a_limit(void)
{
    struct session *s = talk_begin();
    CHECK_INT(session_close(s, 1001, "", 0, -1), 0);
    rig_turns();
    talk_heard("C:1001:");
    rig_pass(300);
    CHECK_INT(s->state, SESSION_CLOSING);
    talk_say_close(1001, "x");
    rig_turns();
    rig_notes("ends ends close:1001:x free");
    talk_end();
}

static void what_waits_is_dropped_by_closing(void)
{
    struct session *s = talk_begin();
    talk.waits = "t";
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "two");
    rig_turns();
    CHECK(s->queue);
    CHECK_INT(session_close(s, 1000, "", 0, 5), 0);
    CHECK(!s->queue && !s->queued);
    session_done(s);
    talk_say_close(1000, "");
    rig_turns();
    rig_notes("text:one ends ends close:1000: free");
    talk_end();
}

static void no_memory_to_close(void)
{
    struct session *s = talk_begin();
    outpool_deinit(&rig.shared.pool);
    rig.shared.pool = (struct outpool){0};
    alloc_watch(1, true);
    CHECK_INT(session_close(s, 1000, "bye", 3, 5), ERR_NOMEM);
    CHECK(alloc_end().failed);
    rig_turns();
    talk_say_close(1000, "");
    rig_turns();
    CHECK(strstr(rig.notes, "close:1000:"));
    rig_forget();
    talk_end();
}

/* --- Ends without a handshake ---------------------------------------------------------------- */

static void peer_only_hangs_up(void)
{
    talk_begin();
    talk_say(FRAME_TEXT, "one");
    talk_hang_up();
    rig_turns();
    rig_notes("text:one ends close:1006: free");
    talk_end();
}

/* We failed: told by a close frame, then as an error. Only the first end counts. */
static void failed_by_us(void)
{
    struct session *s = talk_begin();
    session_fail(s, ERR_HANDLER, WS_INTERNAL_ERROR, "handler failed");
    rig_notes("ends");
    session_fail(s, ERR_NOMEM, WS_NORMAL, "again");
    CHECK_INT(session_error(s), ERR_HANDLER);
    CHECK_INT(session_close(s, 1000, "", 0, 5), ERR_CLOSED);
    rig_turns();
    rig_notes("error:internal error close:1011:handler failed");
    talk_heard("C:1011:handler failed end");
    CHECK_INT(s->conn.state, CONN_LINGER);
    talk_say_close(1011, "");
    talk_hang_up();
    rig_turns();
    rig_notes("free");
    talk_end();
}

/* A peer that broke a rule and does not take our close frame has five seconds. */
static void a_fault_has_a_limit(void)
{
    static char bytes[1 << 17];
    struct session *s = talk_begin();
    talk.settings.max_buffered = 1 << 20;
    CHECK_INT(session_send(s, WS_BINARY, bytes, sizeof bytes), 0);
    memcpy(bytes, "\x81", 2); /* not masked */
    session_input(&s->conn, (uint8_t *)bytes, 2);
    rig_turns();
    CHECK(session_over(s) && conn_buffered(&s->conn));
    rig_pass(4.5);
    CHECK_INT(s->conn.state, CONN_OPEN);
    rig_forget();
    rig_pass(1);
    CHECK(!talk.s);
    rig_notes("free");
    talk_end();
}

static void no_memory_for_a_reason(void)
{
    struct session *s = talk_begin();
    static uint8_t wire[64];
    static const char payload[] = "\x03\xE8why";
    size_t len = talk_frame(wire, FRAME_CLOSE, payload, 5);
    CHECK_INT(session_send(s, WS_TEXT, "", 0), 0); /* room for the answer */
    alloc_watch(1, true);
    session_input(&s->conn, wire, len);
    CHECK(alloc_end().failed);
    rig_notes("ends close:1000:");
    rig_turns();
    talk_heard("T: C:1000:why end");
    talk_end();
}

static void say_much(void)
{
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT | 128, "tw");
    rig_turns();
    talk_say(FRAME_CONTINUATION, "o");
    talk_say(FRAME_PING, "three");
    rig_turns();
    session_send(talk.s, WS_TEXT, "four", 4);
    session_done(talk.s);
    talk_say_close(1000, "bye");
    rig_turns();
}

/* Whatever cannot be had: it ends, and is told to have ended, once. */
static bool ends_once(size_t fail_at, bool and_after)
{
    talk_begin();
    outpool_deinit(&rig.shared.pool);
    rig.shared.pool = (struct outpool){0};
    talk.waits = "t";
    test_context("allocation %zu fails%s", fail_at, and_after ? ", and all after it" : "");
    alloc_watch(fail_at, and_after);
    say_much();
    bool failed = alloc_end().failed;
    talk.waits = "";
    if (talk.s && talk.s->busy)
        session_done(talk.s);
    if (talk.s && talk.s->conn.state != CONN_GONE)
        conn_gone(&talk.s->conn);
    rig_turns();
    CHECK(!talk.s);
    const char *close = strstr(rig.notes, "close:");
    CHECK(close && !strstr(close + 1, "close:"));
    talk_end();
    test_context(NULL);
    return failed;
}

static void no_memory(void)
{
    size_t n = 1;
    while (ends_once(n, false))
        n++;
    CHECK(n > 5);
    while (--n)
        ends_once(n, true);
}

/* --- While a handler runs -------------------------------------------------------------------- */

static struct session *begin_waiting(void)
{
    struct session *s = talk_begin();
    talk.waits = "t";
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "two");
    rig_turns();
    rig_notes("text:one");
    return s;
}

/* It has said all that it had to say: that is told. */
static void peer_hangs_up_meanwhile(void)
{
    struct session *s = begin_waiting();
    talk_hang_up();
    rig_turns();
    rig_notes("ends");
    CHECK_INT(s->conn.state, CONN_GONE);
    session_done(s);
    rig_notes("text:two");
    session_done(s);
    rig_notes("close:1006:");
    rig_turns();
    rig_notes("free");
    talk_end();
}

/* A reset: nobody wants to know what it had said. */
static void peer_resets_meanwhile(void)
{
    struct session *s = begin_waiting();
    CHECK_INT(session_send(s, WS_TEXT, "unread", 6), 0);
    rig_turn();
    talk_hang_up();
    rig_turns();
    rig_notes("ends");
    CHECK(!s->queue);
    session_done(s);
    rig_notes("close:1006:");
    rig_turns();
    rig_notes("free");
    talk_end();
}

static void peer_closes_meanwhile(void)
{
    struct session *s = begin_waiting();
    talk_say_close(1000, "bye");
    rig_turns();
    rig_notes("ends");
    talk_heard("C:1000:bye end"); /* answered although the handler runs */
    CHECK_INT(s->conn.state, CONN_GONE);
    session_fail(s, ERR_HANDLER, WS_INTERNAL_ERROR, "late"); /* it is over already */
    CHECK_INT(session_error(s), 0);
    session_done(s);
    session_done(s);
    rig_turns();
    rig_notes("text:two close:1000:bye free");
    talk_end();
}

static void peer_breaks_a_rule_meanwhile(void)
{
    struct session *s = begin_waiting();
    talk_say(FRAME_TEXT, "\xFF");
    rig_turns();
    rig_notes("ends");
    session_done(s);
    session_done(s);
    rig_notes("text:two error:text is not UTF-8 close:1007:text is not UTF-8");
    talk_end();
}

static void failed_meanwhile(void)
{
    struct session *s = begin_waiting();
    session_fail(s, ERR_HANDLER, WS_INTERNAL_ERROR, "x");
    session_done(s);
    rig_notes("ends error:internal error close:1011:x"); /* what waited is nobody's */
    talk_end();
}

static void close_inside(const char *event)
{
    if (strcmp(event, "text") == 0)
        CHECK_INT(session_close(talk.s, 1000, "", 0, 5), 0);
}

static void closed_inside_a_handler(void)
{
    talk_begin();
    talk.then = close_inside;
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "two");
    rig_turns();
    rig_notes("text:one ends");
    talk_say_close(1000, "");
    rig_turns();
    rig_notes("ends close:1000: free");
    talk_end();
}

static void lose_inside(const char *event)
{
    if (strcmp(event, "text") == 0)
        conn_lost(&talk.s->conn);
}

static void lost_inside_a_handler(void)
{
    talk_begin();
    talk.then = lose_inside;
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_TEXT, "two");
    rig_turns();
    rig_notes("text:one ends close:1006: free");
    talk_end();
}

/* --- After on_close -------------------------------------------------------------------------- */

static void nothing_after_the_end(void)
{
    struct session *s = talk_begin();
    session_fail(s, ERR_POLICY, WS_POLICY_VIOLATION, "no");
    rig_turns();
    rig_notes("ends error:a limit was exceeded close:1008:no");
    CHECK_INT(s->conn.state, CONN_LINGER);
    talk_say(FRAME_TEXT, "one");
    talk_say(FRAME_PING, "two");
    talk_say_close(1000, "three");
    rig_turns();
    s->idle_due = s->wants_idle = true;
    conn_proceed(&s->conn);
    session_fail(s, ERR_NOMEM, WS_INTERNAL_ERROR, "four");
    CHECK_INT(session_send(s, WS_TEXT, "five", 4), ERR_CLOSED);
    rig_turns();
    rig_notes("");
    talk_heard("C:1008:no end");
    conn_lost(&s->conn);
    rig_turns();
    rig_notes("free");
    talk_end();
}

int main(void)
{
    test("closed by the peer", closed_by_the_peer);
    test("closed without a code", closed_without_a_code);
    test("closed by us", closed_by_us);
    test("bad code", bad_code);
    test("peer does not answer", peer_does_not_answer);
    test("closed at once", closed_at_once);
    test("answers and stays", answers_and_stays);
    test("closed without a limit", closed_without_a_limit);
    test("what waits is dropped by closing", what_waits_is_dropped_by_closing);
    test("no memory to close", no_memory_to_close);
    test("peer only hangs up", peer_only_hangs_up);
    test("failed by us", failed_by_us);
    test("a fault has a limit", a_fault_has_a_limit);
    test("no memory for a reason", no_memory_for_a_reason);
    test("no memory", no_memory);
    test("peer hangs up meanwhile", peer_hangs_up_meanwhile);
    test("peer resets meanwhile", peer_resets_meanwhile);
    test("peer closes meanwhile", peer_closes_meanwhile);
    test("peer breaks a rule meanwhile", peer_breaks_a_rule_meanwhile);
    test("failed meanwhile", failed_meanwhile);
    test("closed inside a handler", closed_inside_a_handler);
    test("lost inside a handler", lost_inside_a_handler);
    test("nothing after the end", nothing_after_the_end);
    return test_end();
}
