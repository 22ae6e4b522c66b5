// SPDX-License-Identifier: MIT
/*
 * A connection as transport, under a protocol that notes what it is told: reading and not reading,
 * writing once a turn, a peer that does not read, turns of those that have much to do, lingering,
 * and the end. Its clocks are conn_clock_test.c's.
 */
#include "fakeconn.h"

/* --- Reading and writing --------------------------------------------------------------------- */

static void told_in_order(void)
{
    struct fake *f = fake_begin(1);
    fake_say(f, "hello");
    rig_turn();
    rig_notes("input-5 proceed written");
    rig_turn();
    rig_notes("");
    fake_end();
}

static void output_is_held_back(void)
{
    struct fake *f = fake_begin(2);
    fakes[0].echoes = fakes[1].echoes = true;
    fake_say(&fakes[0], "one");
    fake_say(&fakes[1], "two");
    rig_turn();
    CHECK_INT(rig.reads, 2);
    CHECK_INT(rig.writes, 0);
    CHECK_INT(rig.shared.held_back, 6);
    rig_turn();
    CHECK_INT(rig.writes, 2);
    CHECK_INT(rig.shared.held_back, 0);
    fake_check_heard(f, "one");
    fake_check_heard(&fakes[1], "two");
    fake_end();
}

static void written_once_a_turn(void)
{
    struct fake *f = fake_begin(1);
    for (int i = 0; i < 100; i++) {
        CHECK(conn_queue(&f->conn, "x", 1));
        conn_dirty(&f->conn);
    }
    CHECK_INT(rig.writes, 0);
    rig_turns();
    CHECK_INT(rig.writes, 1);
    CHECK_INT(fake_hear(f), 100);
    fake_end();
}

/* Answers of 16 KiB are held back, up to 128 KiB of all connections; larger ones are not. */
static void written_in_runs(void)
{
    enum { HELD = 16 * 1024 };
    static char bytes[HELD + 1];
    fake_begin(10);
    for (unsigned i = 0; i < 10; i++) {
        fakes[i].echoes = true;
        rig_say(fakes[i].peer, bytes, HELD);
    }
    rig_turn();
    CHECK_INT(rig.writes, 8);
    CHECK_INT(rig.reads, 10);
    rig_turn();
    CHECK_INT(rig.writes, 10);
    fake_end();
    struct fake *f = fake_begin(1);
    f->echoes = true;
    rig_say(f->peer, bytes, HELD + 1);
    rig_turn();
    rig_notes("input-16385 proceed write blocked written");
    fake_end();
}

static void not_read_until_wanted(void)
{
    struct fake *f = fake_begin(1);
    f->wants = false;
    conn_proceed(&f->conn);
    CHECK_INT(fake_watched(f), 0);
    fake_say(f, "hello");
    rig_turns();
    CHECK_INT(rig.reads, 0);
    f->wants = true;
    rig_forget();
    conn_proceed(&f->conn);
    CHECK_INT(fake_watched(f), LOOP_READ);
    rig_turn();
    rig_notes("proceed written input-5 proceed written");
    fake_end();
}

/* What a peer has said before it was not to be read any more may be ready already. */
static void not_read_when_ready(void)
{
    struct fake *f = fake_begin(1);
    fake_say(f, "hello");
    f->wants = false; /* but the loop watches */
    rig_turn();
    CHECK_INT(rig.reads, 0);
    fake_end();
}

/* --- A peer that does not read --------------------------------------------------------------- */

static void blocked_and_room_again(void)
{
    enum { MUCH = 1 << 20 };
    struct fake *f = fake_begin(1);
    size_t heard = 0;
    fake_queue(f, MUCH);
    rig_turn();
    rig_notes("proceed write blocked written");
    CHECK_INT(fake_watched(f), LOOP_READ | LOOP_WRITE);
    conn_dirty(&f->conn);
    rig_turns();
    rig_notes("proceed blocked written"); /* and no system call */
    f->when_room = "more";
    rig.on_write = NULL;
    for (int i = 0; i < RIG_TURNS && heard < MUCH + 4; i++) {
        heard += fake_hear(f);
        rig_turn();
    }
    CHECK_INT(heard, MUCH + 4);
    CHECK(strstr(rig.notes, "room written") && !f->when_room);
    CHECK(!f->conn.blocked && !f->conn.told_blocked && !conn_buffered(&f->conn));
    CHECK_INT(fake_watched(f), LOOP_READ);
    fake_end();
}

static void writing_has_to_read_first(void)
{
    struct fake *f = fake_begin(1);
    f->wants = false;
    conn_proceed(&f->conn);
    rig.write_gives = STREAM_WANT_READ;
    fake_queue(f, 3);
    rig_turns();
    CHECK_INT(rig.writes, 1);
    CHECK_INT(fake_watched(f), LOOP_READ);
    rig.write_gives = 0;
    fake_say(f, "x");
    rig_turns();
    CHECK_INT(fake_hear(f), 3);
    CHECK_INT(rig.reads, 0);
    fake_end();
}

static void reading_has_to_write_first(void)
{
    struct fake *f = fake_begin(1);
    rig.read_gives = STREAM_WANT_WRITE;
    fake_say(f, "x");
    rig_turn();
    CHECK_INT(rig.reads, 1);
    CHECK_INT(fake_watched(f), LOOP_WRITE);
    rig_notes("proceed written");
    rig.read_gives = 0;
    rig_turn();
    rig_notes("input-1 proceed written");
    CHECK_INT(fake_watched(f), LOOP_READ);
    fake_end();
}

static void no_memory_for_output(void)
{
    struct fake *f = fake_begin(1);
    alloc_watch(1, true);
    CHECK(!conn_queue(&f->conn, "hello", 5));
    CHECK(alloc_end().failed);
    CHECK_INT(conn_buffered(&f->conn), 0);
    CHECK(conn_queue(&f->conn, "world", 5));
    conn_flush(&f->conn);
    fake_check_heard(f, "world");
    fake_end();
}

/* --- Turns ----------------------------------------------------------------------------------- */

/* Of what has been decrypted no descriptor tells. */
static void pending_input_is_read_on(void)
{
    struct fake *f = fake_begin(1);
    rig.decrypted = "bc";
    fake_say(f, "a");
    rig_turn();
    rig_notes("input-1 proceed written");
    f->left = true;
    rig_turn();
    rig_notes(""); /* that was its share of the turn */
    rig_turn();
    rig_notes("proceed written"); /* what is left of that comes first */
    f->left = false;
    rig_turn();
    rig_notes("input-1 proceed written");
    rig_turn();
    rig_notes("input-1 proceed written");
    CHECK(!f->conn.stream.pending);
    fake_end();
}

static void begin_crowd(size_t unit_work)
{
    fake_begin(3);
    for (int i = 0; i < 3; i++) {
        fakes[i].units = 4;
        fakes[i].unit_work = unit_work;
        conn_dirty(&fakes[i].conn);
    }
}

/* Whose units there were in this turn: the letters. */
static void check_units(const char *expected)
{
    char served[32];
    size_t len = 0;
    rig_forget();
    rig_turn();
    for (const char *at = rig.notes; (at = strstr(at, ":unit")) && len < sizeof served - 1; at++)
        served[len++] = at[-1];
    served[len] = '\0';
    CHECK_TEXT(served, expected);
}

static void a_share_each_in_turn(void)
{
    begin_crowd(CONN_TURN_WORK);
    check_units("ABC"); /* when they are flushed: that was their share */
    for (int i = 0; i < 3; i++) {
        check_units("A");
        check_units("B");
        check_units("C");
    }
    check_units("");
    fake_end();
    begin_crowd(CONN_TURN_WORK / 2);
    check_units("ABC");
    check_units("AB");
    check_units("CA");
    check_units("BC");
    check_units("AB");
    check_units("C");
    check_units("");
    fake_end();
    begin_crowd(1); /* all, but nobody twice */
    for (int i = 0; i < 4; i++)
        check_units("ABC");
    check_units("");
    fake_end();
}

static void who_waits_is_written_to(void)
{
    begin_crowd(CONN_TURN_WORK);
    rig_turn();
    fake_queue(&fakes[2], 3); /* A comes before it */
    check_units("A");
    CHECK_INT(fake_hear(&fakes[2]), 3);
    CHECK_INT(fakes[2].units, 3);
    CHECK(fakes[2].conn.rest);
    fake_end();
}

static void who_is_gone_rests_no_more(void)
{
    begin_crowd(CONN_TURN_WORK);
    rig_turn();
    conn_lost(&fakes[0].conn);
    fakes[0].units = 0;
    check_units("B");
    CHECK(fakes[0].freed);
    check_units("C");
    fake_end();
}

/* How many wait, with clocks that stand still: they are not to be judged. */
static int count_held(void)
{
    int count = 0;
    for (unsigned i = 0; i < fake_count; i++)
        count += fakes[i].conn.held;
    return count;
}

static void few_handshakes_a_turn(void)
{
    fake_begin(5);
    for (int i = 0; i < 5; i++) {
        fakes[i].conn.stream.handshaking = true;
        fake_say(&fakes[i], "x");
    }
    rig_turn();
    CHECK_INT(rig.reads, 2);
    CHECK_INT(count_held(), 3);
    rig_turn();
    CHECK_INT(rig.reads, 4);
    CHECK_INT(count_held(), 1);
    rig_turn();
    CHECK_INT(rig.reads, 5);
    CHECK_INT(count_held(), 0);
    rig_turn();
    CHECK(conn_may_shake(&rig.shared) && conn_may_shake(&rig.shared));
    CHECK(!conn_may_shake(&rig.shared));
    fake_end();
}

/* --- Lingering ------------------------------------------------------------------------------- */

static struct fake *begin_linger(void)
{
    struct fake *f = fake_begin(1);
    f->lingers = true;
    f->most = 16;
    CHECK(conn_queue(&f->conn, "bye", 3));
    conn_dirty(&f->conn);
    rig_turn();
    rig_notes("proceed write written");
    CHECK_INT(f->conn.state, CONN_LINGER);
    f->wants = false; /* it is read all the same */
    return f;
}

static void lingers_until_the_peer_closes(void)
{
    struct fake *f = begin_linger();
    fake_check_heard(f, "bye");
    CHECK(rig_finished(f->peer));
    fake_say(f, "0123456789");
    rig_turn();
    rig_notes("input-10 proceed written");
    CHECK_INT(f->conn.linger_left, 6);
    conn_proceed(&f->conn);
    CHECK_INT(fake_watched(f), LOOP_READ);
    rig_notes("proceed written");
    fake_hang_up(f);
    rig_turn();
    rig_notes("gone proceed written");
    rig_turn();
    rig_notes("free");
    fake_end();
}

static void lingers_for_so_much(void)
{
    struct fake *f = begin_linger();
    fake_say(f, "0123456789abcdef");
    rig_turn();
    rig_notes("input-16 proceed written");
    fake_say(f, "g");
    rig_turn();
    rig_notes("gone proceed written");
    fake_end();
}

static void cannot_linger(void)
{
    struct fake *f = fake_begin(1);
    f->lingers = true;
    rig.finish_gives = STREAM_ERROR;
    conn_dirty(&f->conn);
    rig_turns();
    rig_notes("proceed written gone free");
    fake_end();
}

/* --- The end --------------------------------------------------------------------------------- */

static void peer_closes(void)
{
    struct fake *f = fake_begin(1);
    fake_hang_up(f);
    rig_turn();
    rig_notes("gone proceed written");
    rig_turn();
    rig_notes("free");
    fake_end();
}

static void stream_breaks(void)
{
    struct fake *f = fake_begin(1);
    rig.read_gives = STREAM_ERROR;
    f->survives = true;
    fake_say(f, "x");
    rig_turn();
    rig_notes("broken proceed written");
    CHECK_INT(f->conn.state, CONN_OPEN);
    f->survives = false;
    rig_turn();
    rig_notes("broken lost proceed written");
    fake_end();
}

/* Without a close_notify: what came before it is still told. */
static void stream_is_cut_off(void)
{
    struct fake *f = fake_begin(1);
    rig.read_gives = STREAM_ERROR;
    f->conn.stream.cut_off = true;
    fake_say(f, "x");
    rig_turn();
    rig_notes("broken gone proceed written");
    fake_end();
}

static void writing_breaks(void)
{
    struct fake *f = fake_begin(1);
    fake_queue(f, 100);
    fake_hang_up(f);
    rig_turns();
    rig_notes("proceed write lost written free");
    fake_end();
}

static void gone_once(void)
{
    struct fake *f = fake_begin(1);
    fake_queue(f, 100);
    f->kept = true;
    conn_gone(&f->conn);
    conn_lost(&f->conn);
    rig_notes("gone");
    CHECK_INT(conn_buffered(&f->conn), 0);
    CHECK(rig_finished(f->peer));
    rig_turns();
    rig_notes("proceed written"); /* what is due is told */
    CHECK(!f->freed);
    conn_dirty(&f->conn); /* there is nothing to write to */
    rig_turns();
    rig_notes("");
    conn_proceed_soon(&f->conn);
    rig_turns();
    rig_notes("proceed written");
    f->kept = false;
    conn_proceed(&f->conn);
    rig_notes("proceed written"); /* not inside a callback */
    CHECK(!f->freed);
    conn_proceed(&f->conn);
    rig_turns();
    rig_notes("proceed written free");
    fake_end();
}

static void ids(void)
{
    struct fake *f = fake_begin(2);
    char id[CONN_ID_SIZE + 1];
    CHECK(memcmp(f->conn.id, fakes[1].conn.id, sizeof f->conn.id) != 0);
    memcpy(f->conn.id, "\x00\x10\x83\x10\x51\x87\xF7\xEF\xBE\xFF\xFF\xFF", sizeof f->conn.id);
    conn_id_text(&f->conn, id);
    CHECK_TEXT(id, "ABCDEFGH9---____");
    fake_end();
}

int main(void)
{
    test("told in order", told_in_order);
    test("output is held back", output_is_held_back);
    test("written once a turn", written_once_a_turn);
    test("written in runs", written_in_runs);
    test("not read until wanted", not_read_until_wanted);
    test("not read when ready", not_read_when_ready);
    test("blocked, and room again", blocked_and_room_again);
    test("writing has to read first", writing_has_to_read_first);
    test("reading has to write first", reading_has_to_write_first);
    test("no memory for output", no_memory_for_output);
    test("pending input is read on", pending_input_is_read_on);
    test("a share each, in turn", a_share_each_in_turn);
    test("who waits is written to", who_waits_is_written_to);
    test("who is gone rests no more", who_is_gone_rests_no_more);
    test("few handshakes a turn", few_handshakes_a_turn);
    test("lingers until the peer closes", lingers_until_the_peer_closes);
    test("lingers for so much", lingers_for_so_much);
    test("cannot linger", cannot_linger);
    test("peer closes", peer_closes);
    test("stream breaks", stream_breaks);
    test("stream is cut off", stream_is_cut_off);
    test("writing breaks", writing_breaks);
    test("gone once", gone_once);
    test("ids", ids);
    return test_end();
}
