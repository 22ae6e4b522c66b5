// SPDX-License-Identifier: MIT
/*
 * The clocks of a connection, on a wheel whose time the test sets: deadlines, the time that stands
 * still while nobody listens, and what a peer takes of our output.
 */
#include "conn/conn_private.h"
#include "fakeconn.h"

#include <math.h>

/* --- Arithmetic ------------------------------------------------------------------------------ */

static void milliseconds(void)
{
    CHECK_INT(conn_ms(0), 0);
    CHECK_INT(conn_ms(-1), 0);
    CHECK_INT(conn_ms(0.0001), 1);
    CHECK_INT(conn_ms(1.5), 1500);
    CHECK_INT(conn_ms(19 * 24 * 3600), 19 * 24 * 3600 * 1000);
    CHECK_INT(conn_ms(20 * 24 * 3600), 0);
    CHECK_INT(conn_ms(INFINITY), 0);
}

static void left_and_out(void)
{
    struct fake *f = fake_begin(1);
    uint32_t since = conn_now(&f->conn);
    CHECK_INT(conn_clock_left(&f->conn, since, 3), 3000);
    CHECK_INT(conn_clock_left(&f->conn, since, 0), CONN_NEVER);
    CHECK(!conn_clock_out(&f->conn, since, 0));
    rig_pass(2.75);
    CHECK_INT(conn_clock_left(&f->conn, since, 3), 250);
    CHECK(!conn_clock_out(&f->conn, since, 3));
    rig_pass(0.25);
    CHECK(conn_clock_out(&f->conn, since, 3));
    rig_pass(1);
    CHECK_INT(conn_clock_left(&f->conn, since, 3), -1000);
    fake_end();
}

/* --- Deadlines ------------------------------------------------------------------------------- */

static void deadline(void)
{
    struct fake *f = fake_begin(1);
    conn_clock_deadline(&f->conn, 3);
    rig_pass(2.75);
    rig_notes("");
    rig_pass(0.5);
    rig_notes("deadline proceed written");
    rig_pass(30);
    rig_notes("");
    conn_clock_deadline(&f->conn, 3);
    conn_clock_deadline(&f->conn, 0);
    rig_pass(30);
    CHECK(!strstr(rig.notes, "deadline"));
    fake_end();
}

/* The entry in the wheel stands too early then: it is looked at, and set again. */
static void later_deadline(void)
{
    struct fake *f = fake_begin(1);
    conn_clock_deadline(&f->conn, 1);
    conn_clock_deadline(&f->conn, 5);
    rig_pass(4.75);
    CHECK(!strstr(rig.notes, "deadline"));
    rig_pass(0.5);
    CHECK(strstr(rig.notes, "deadline"));
    fake_end();
}

static void clock_of_the_protocol(void)
{
    struct fake *f = fake_begin(1);
    f->own_clock = 1000;
    conn_clock_arm(&f->conn);
    rig_pass(0.75);
    rig_notes("");
    rig_pass(0.5);
    rig_notes("clock proceed written");
    rig_pass(30);
    rig_notes("");
    fake_end();
}

static void lingering_ends(void)
{
    struct fake *f = fake_begin(1);
    f->lingers = true;
    conn_proceed(&f->conn);
    rig_notes("proceed written");
    rig_pass(1.75);
    rig_notes("");
    rig_pass(0.5);
    rig_notes("gone proceed written free");
    fake_end();
}

/* --- Time that stands still ------------------------------------------------------------------ */

static void stands_still_while_not_read(void)
{
    struct fake *f = fake_begin(1);
    conn_clock_deadline(&f->conn, 5);
    rig_pass(2);
    f->wants = false;
    conn_proceed(&f->conn);
    uint32_t now = conn_now(&f->conn);
    rig_pass(60);
    CHECK_INT(conn_now(&f->conn) - now, 0);
    CHECK(f->conn.held && !strstr(rig.notes, "deadline"));
    f->wants = true;
    conn_proceed(&f->conn);
    CHECK_INT(conn_now(&f->conn) - now, 0);
    rig_pass(2.75);
    CHECK_INT(conn_now(&f->conn) - now, 2750);
    CHECK(!strstr(rig.notes, "deadline"));
    rig_pass(0.5);
    CHECK(strstr(rig.notes, "deadline"));
    fake_end();
}

/* Not to read need not mean not to listen: when there is nothing to be heard any more, say. */
static void goes_on_while_nothing_is_awaited(void)
{
    struct fake *f = fake_begin(1);
    conn_clock_deadline(&f->conn, 5);
    f->wants = f->listens = false;
    conn_proceed(&f->conn);
    CHECK(!f->conn.held);
    rig_pass(5.25);
    rig_notes("proceed written deadline proceed written");
    fake_end();
}

static void who_is_not_read_is_looked_after(void)
{
    struct fake *f = fake_begin(1);
    f->wants = false;
    conn_proceed(&f->conn);
    rig_pass(2.25);
    CHECK(!f->conn.hung_up);
    shutdown(f->peer, SHUT_WR);
    rig_pass(2.25);
    CHECK(f->conn.hung_up);
    CHECK_INT(f->conn.state, CONN_OPEN);
    CHECK(!strstr(rig.notes, "lost"));
    fake_end();
}

static void who_is_not_read_resets(void)
{
    struct fake *f = fake_begin(1);
    fake_queue(f, 10);
    rig_turn();
    f->wants = false;
    conn_proceed(&f->conn);
    fake_hang_up(f); /* with our bytes unread: that is a reset */
    rig_forget();
    rig_pass(1.75);
    rig_notes("");
    rig_pass(0.5);
    rig_notes("lost proceed written free");
    fake_end();
}

/* --- The write clock ------------------------------------------------------------------------- */

/* A connection that has more output than its peer takes. */
static struct fake *begin_stuck(double write_timeout)
{
    struct fake *f = fake_begin(1);
    rig.on_write = NULL;
    f->write_timeout = write_timeout;
    fake_queue(f, 1 << 20);
    rig_turn();
    rig_notes("proceed blocked written");
    CHECK(f->conn.stuck);
    return f;
}

static void takes_nothing(void)
{
    struct fake *f = begin_stuck(30);
    rig_pass(29);
    CHECK_INT(f->conn.state, CONN_OPEN);
    rig_pass(1.5);
    CHECK_INT(f->conn.state, CONN_GONE);
    CHECK(strstr(rig.notes, "lost"));
    fake_end();
}

/* What the peer takes is asked for now and then, so a limit may be late by a part of it. */
static void takes_some(void)
{
    struct fake *f = begin_stuck(30);
    char byte[1 << 14];
    for (int i = 0; i < 10; i++) {
        rig_pass(20);
        CHECK(recv(f->peer, byte, sizeof byte, 0) > 0);
    }
    rig_pass(20);
    CHECK_INT(f->conn.state, CONN_OPEN);
    rig_pass(20);
    CHECK_INT(f->conn.state, CONN_GONE);
    fake_end();
}

static void may_take_nothing(void)
{
    struct fake *f = begin_stuck(0);
    rig_pass(300);
    CHECK_INT(f->conn.state, CONN_OPEN);
    fake_end();
}

static void takes_all(void)
{
    struct fake *f = begin_stuck(30);
    for (int i = 0; i < RIG_TURNS && conn_buffered(&f->conn); i++) {
        fake_hear(f);
        rig_turn();
    }
    rig_turns();
    CHECK(!f->conn.stuck);
    rig_pass(60);
    CHECK_INT(f->conn.state, CONN_OPEN);
    fake_end();
}

/* No peer may avoid the write clock by being one that we do not read. */
static void takes_nothing_while_not_read(void)
{
    struct fake *f = begin_stuck(30);
    f->wants = false;
    conn_proceed(&f->conn);
    CHECK(f->conn.held);
    rig_pass(29);
    CHECK_INT(f->conn.state, CONN_OPEN);
    rig_pass(2.5);
    CHECK_INT(f->conn.state, CONN_GONE);
    fake_end();
}

/* The loop had stood still, and the wheel's clock has fallen back: since when lies ahead. */
static void since_when_lies_ahead(void)
{
    struct fake *f = begin_stuck(30);
    f->conn.taken += 700;
    conn_clock_on_due(&f->conn.entry);
    CHECK_INT(f->conn.state, CONN_OPEN);
    f->conn.taken -= 31 * 1000;
    conn_clock_on_due(&f->conn.entry);
    CHECK_INT(f->conn.state, CONN_GONE);
    fake_end();
}

/* --- A phase that begins when our output has arrived ----------------------------------------- */

static void begins_when_output_has_arrived(void)
{
    struct fake *f = fake_begin(1);
    f->write_timeout = 30;
    fake_queue(f, 100);
    conn_clock_after_output(&f->conn, 5);
    rig_pass(20);
    CHECK(f->conn.closure_due && f->conn.stuck);
    CHECK_INT(conn_buffered(&f->conn), 0);
    CHECK_INT(fake_hear(f), 100);
    rig_pass(5);
    CHECK(!f->conn.closure_due);
    CHECK(!strstr(rig.notes, "deadline"));
    rig_pass(1);
    CHECK(strstr(rig.notes, "deadline"));
    fake_end();
}

/* It does not: then the write clock ends the connection, however long the phase may be. */
static void output_never_arrives(void)
{
    struct fake *f = fake_begin(1);
    f->write_timeout = 30;
    fake_queue(f, 100);
    conn_clock_after_output(&f->conn, 300);
    rig_pass(29);
    CHECK_INT(f->conn.state, CONN_OPEN);
    rig_pass(2);
    CHECK_INT(f->conn.state, CONN_GONE);
    CHECK(strstr(rig.notes, "lost") && !strstr(rig.notes, "deadline"));
    fake_end();
}

/* Without a write clock nothing would end it. */
static void begins_at_once(void)
{
    struct fake *f = fake_begin(1);
    fake_queue(f, 100);
    conn_clock_after_output(&f->conn, 5);
    CHECK(!f->conn.closure_due);
    rig_pass(5.25);
    CHECK(strstr(rig.notes, "deadline"));
    fake_end();
    f = fake_begin(1);
    f->write_timeout = 30;
    conn_clock_after_output(&f->conn, 0);
    CHECK(!f->conn.closure_due && !f->conn.deadline);
    fake_end();
}

/* --- Marks ----------------------------------------------------------------------------------- */

static void mark_leaves_at_once(void)
{
    struct fake *f = fake_begin(1);
    fake_queue(f, 10);
    conn_mark(&f->conn);
    rig_turn();
    rig_notes("proceed write mark_left written");
    fake_queue(f, 10);
    rig_turn();
    rig_notes("proceed write written");
    fake_end();
}

static void mark_leaves_after_what_was_before_it(void)
{
    struct fake *f = begin_stuck(30);
    conn_mark(&f->conn);
    size_t marked = f->conn.stream.sent + conn_buffered(&f->conn);
    fake_queue(f, 1 << 20); /* after it: not waited for */
    CHECK(f->conn.marked);
    for (int i = 0; i < RIG_TURNS && f->conn.marked; i++) {
        CHECK(!strstr(rig.notes, "mark_left"));
        CHECK(f->conn.stream.sent < marked);
        rig_forget();
        fake_hear(f);
        rig_turn();
    }
    CHECK(f->conn.stream.sent >= marked && conn_buffered(&f->conn));
    CHECK(strstr(rig.notes, "mark_left"));
    fake_end();
}

/* It has left, but lies in the kernel after others that the peer goes on taking. */
static void mark_is_fed(void)
{
    struct fake *f = fake_begin(1);
    fake_queue(f, 1000);
    rig_turn();
    fake_queue(f, 1000);
    conn_mark(&f->conn);
    rig_turn();
    rig_forget();
    conn_clock_measure(&f->conn);
    rig_notes("");
    char bytes[1000];
    CHECK_INT(recv(f->peer, bytes, sizeof bytes, 0), 1000);
    conn_clock_measure(&f->conn);
    rig_notes("mark_fed");
    conn_clock_measure(&f->conn);
    rig_notes(""); /* it has taken no more */
    CHECK_INT(fake_hear(f), 1000);
    fake_queue(f, 100);
    rig_turn();
    rig_forget();
    fake_hear(f);
    conn_clock_measure(&f->conn);
    rig_forget();
    fake_queue(f, 100);
    rig_turn();
    rig_forget();
    fake_hear(f);
    conn_clock_measure(&f->conn);
    rig_notes(""); /* past the mark nothing feeds */
    fake_end();
}

int main(void)
{
    test("milliseconds", milliseconds);
    test("left, and out", left_and_out);
    test("deadline", deadline);
    test("later deadline", later_deadline);
    test("clock of the protocol", clock_of_the_protocol);
    test("lingering ends", lingering_ends);
    test("stands still while not read", stands_still_while_not_read);
    test("goes on while nothing is awaited", goes_on_while_nothing_is_awaited);
    test("who is not read is looked after", who_is_not_read_is_looked_after);
    test("who is not read resets", who_is_not_read_resets);
    test("takes nothing", takes_nothing);
    test("takes some", takes_some);
    test("may take nothing", may_take_nothing);
    test("takes all", takes_all);
    test("takes nothing while not read", takes_nothing_while_not_read);
    test("since when lies ahead", since_when_lies_ahead);
    test("begins when output has arrived", begins_when_output_has_arrived);
    test("output never arrives", output_never_arrives);
    test("begins at once", begins_at_once);
    test("mark leaves at once", mark_leaves_at_once);
    test("mark leaves after what was before it", mark_leaves_after_what_was_before_it);
    test("mark is fed", mark_is_fed);
    return test_end();
}
