// SPDX-License-Identifier: MIT
/* Groups over several workers, joined by a bus on which messages arrive when the test says so. */
#include "grouprun.h"
#include "support.h"

static char text[RUN_TEXT];

static struct groups *groups(unsigned worker)
{
    return run[worker]->groups;
}

static struct group *group_at(unsigned worker, enum group_kind kind, const char *name)
{
    struct group_key key = run_key(kind, name);
    return group_table_find(groups(worker), &key);
}

/* What a worker thinks that another one has; 0 when it has heard of nothing. */
static unsigned share(unsigned worker, unsigned other, enum group_kind kind, const char *name)
{
    const struct group *group = group_at(worker, kind, name);
    const struct group_share *s = group ? group_share_of(group, other) : NULL;
    return s ? s->count : 0;
}

/* Everything that is known anywhere is gone; and so are the workers. */
static void end(void)
{
    run_settle();
    for (unsigned i = 0; i < RUN_WORKERS; i++) {
        if (!run[i])
            continue;
        CHECK_INT(groups(i)->names.count, 0);
        CHECK_INT(groups(i)->bus->questions.count, 0);
    }
    for (unsigned i = 0; i < RUN_WORKERS; i++) {
        if (!run[i])
            continue;
        for (unsigned k = 0; k < RUN_WORKERS; k++)
            run_drop(&run[i]->lines[k]);
        run_worker_free(run[i]);
        run[i] = NULL;
    }
}

static void start(unsigned count)
{
    run_start(count);
    run_settle();
}

static void a_push_reaches_all_workers(void)
{
    start(3);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]), *c = run_conn(run[1]);
    run_join(a, GROUP_JOINED, "blue");
    run_join(b, GROUP_JOINED, "blue");
    run_join(c, GROUP_JOINED, "blue");
    run_settle();
    CHECK_INT(share(0, 1, GROUP_JOINED, "blue"), 2);
    CHECK_INT(share(2, 1, GROUP_JOINED, "blue"), 2);
    struct group_pushed p = run_push(run[0], GROUP_JOINED, "blue", "one");
    CHECK(p.members == 3 && p.delivered == 3 && p.dropped == 0);
    p = run_push(run[2], GROUP_JOINED, "blue", "two");
    CHECK(p.members == 3 && p.delivered == 3);
    CHECK_INT(run[0]->lines[2].count, 0); /* it has no members: it gets nothing */
    CHECK_INT(run_settle(), 3);
    CHECK_TEXT(run_taken(a, text), "one two");
    CHECK_TEXT(run_taken(b, text), "one two");
    CHECK_TEXT(run_taken(c, text), "one two");
    run_conn_free(a);
    run_conn_free(b);
    run_conn_free(c);
    end();
}

/* A join is told before a push of the same turn, so that the answer to the push finds it. */
static void state_goes_before_pushes(void)
{
    start(2);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
    run_join(b, GROUP_JOINED, "all");
    run_settle();
    run_join(a, GROUP_JOINED, "answers");
    CHECK_INT(run[0]->lines[1].count, 0);
    run_push(run[0], GROUP_JOINED, "all", "question");
    CHECK_INT(run[0]->lines[1].count, 2);
    run_deliver(0, 1, 1);
    CHECK_INT(share(1, 0, GROUP_JOINED, "answers"), 1);
    run_deliver(0, 1, 1);
    CHECK_TEXT(run_taken(b, text), "question");
    run_push(run[1], GROUP_JOINED, "answers", "answer");
    run_settle();
    CHECK_TEXT(run_taken(a, text), "answer");
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* Numbers that change are told now and then, all changes in one message. */
static void numbers_can_wait(void)
{
    enum { CONNS = 500 };
    static struct session *c[CONNS];
    start(2);
    for (int i = 0; i < CONNS; i++)
        c[i] = run_conn(run[0]);
    run_join(c[0], GROUP_JOINED, "x");
    run_settle();
    for (int i = 1; i < CONNS; i++)
        run_join(c[i], GROUP_JOINED, "x");
    run_turn(run[0]);
    CHECK_INT(run[0]->lines[1].count, 0);
    CHECK(run_time(&groups(0)->bus->later));
    CHECK_INT(run[0]->lines[1].count, 1);
    run_settle();
    CHECK_INT(share(1, 0, GROUP_JOINED, "x"), CONNS);
    for (int i = 0; i < CONNS; i++)
        run_conn_free(c[i]);
    run_turn(run[0]);
    CHECK_INT(run[0]->lines[1].count, 1); /* nobody is left: this is told at once */
    end();
}

static void many_groups_in_few_messages(void)
{
    char name[32];
    start(2);
    struct session *c = run_conn(run[0]);
    for (int i = 0; i < 8000; i++) {
        snprintf(name, sizeof name, "a group with number %d", i);
        run_join(c, GROUP_JOINED, name);
    }
    run_turn(run[0]);
    CHECK(run[0]->lines[1].count >= 3 && run[0]->lines[1].count <= 6);
    run_settle();
    CHECK_INT(groups(1)->names.count, 8000);
    run_conn_free(c);
    end();
}

/* --- Workers that are full, come late, or go -------------------------------------------------- */

static void a_full_worker(void)
{
    start(2);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
    run_join(b, GROUP_JOINED, "x");
    run_settle();
    run[0]->lines[1].limit = 4;
    for (int i = 0; i < 4; i++)
        CHECK_INT(run_push(run[0], GROUP_JOINED, "x", "m").delivered, 1);
    struct group_pushed p = run_push(run[0], GROUP_JOINED, "x", "lost");
    CHECK(p.members == 1 && p.delivered == 0 && p.dropped == 1 && p.closed == 0);
    run_join(a, GROUP_JOINED, "y"); /* cannot be told now */
    run_turn(run[0]);
    run_deliver(0, 1, 1); /* there is room for one, but it is less than half empty */
    CHECK_INT(run_push(run[0], GROUP_JOINED, "x", "lost").dropped, 1);
    run_join(a, GROUP_STORED, "z");
    run_settle();
    CHECK_INT(share(1, 0, GROUP_JOINED, "y"), 1);
    CHECK_INT(share(1, 0, GROUP_STORED, "z"), 1);
    CHECK_INT(run_push(run[0], GROUP_JOINED, "x", "after").delivered, 1);
    run_settle();
    CHECK_TEXT(run_taken(b, text), "m m m m after");
    CHECK_INT(groups(0)->trouble.unsent, 2);
    CHECK(run_time(&groups(0)->trouble.timer) && groups(0)->trouble.unsent == 0);
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* What came and went while it was full is not told, but what it knew before is corrected. */
static void what_a_full_worker_missed(void)
{
    char name[32];
    start(2);
    struct session *a = run_conn(run[0]), *b = run_conn(run[0]);
    run_join(a, GROUP_JOINED, "before");
    run_settle();
    run[0]->lines[1].limit = 1;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "group %d", i);
        run_join(b, GROUP_JOINED, name);
        run_turn(run[0]);
        run_leave(b, GROUP_JOINED, name);
        run_turn(run[0]);
    }
    run_leave(a, GROUP_JOINED, "before");
    run_join(a, GROUP_JOINED, "after");
    CHECK(groups(0)->names.count > 100); /* until the worker knows */
    run_settle();
    CHECK_INT(share(1, 0, GROUP_JOINED, "before"), 0);
    CHECK_INT(share(1, 0, GROUP_JOINED, "after"), 1);
    CHECK_INT(groups(0)->names.count, 1);
    CHECK_INT(groups(1)->names.count, 1);
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* Until it has told all, a worker that just came gets every push. */
static void a_worker_comes_late(void)
{
    start(2);
    struct session *a = run_conn(run[0]);
    run_join(a, GROUP_JOINED, "x");
    run_settle();
    run_start_one(2);
    struct session *c = run_conn(run[2]);
    run_join(c, GROUP_JOINED, "x");
    run_connect(0, 2);
    struct group_pushed p = run_push(run[0], GROUP_JOINED, "x", "early");
    CHECK(p.members == 1 && p.delivered == 1); /* of the new one's members nothing is known */
    run_turn(run[2]);
    run_deliver(0, 2, 100);
    CHECK_TEXT(run_taken(c, text), "early");
    CHECK_INT(share(2, 0, GROUP_JOINED, "x"), 1);
    run_settle();
    CHECK_INT(share(0, 2, GROUP_JOINED, "x"), 1);
    CHECK_INT(groups(0)->bus->unsure, 0);
    run_push(run[0], GROUP_JOINED, "other", "nobody");
    CHECK_INT(run_settle(), 0);
    run_connect(1, 2);
    run_conn_free(a);
    run_conn_free(c);
    end();
}

/* The last change was that of a group which all who were there know to be gone. */
static void a_worker_comes_after_a_group_has_gone(void)
{
    start(2);
    struct session *a = run_conn(run[0]);
    run_join(a, GROUP_JOINED, "stays");
    run_join(a, GROUP_JOINED, "goes");
    run_settle();
    run_leave(a, GROUP_JOINED, "goes");
    run_settle();
    CHECK_INT(groups(0)->names.count, 1);
    run_start_one(2);
    run_connect(0, 2);
    run_connect(1, 2);
    run_turn(run[0]);
    CHECK(run[0]->lines[2].count <= 2); /* what there is, and that this was all */
    run_settle();
    CHECK_INT(share(2, 0, GROUP_JOINED, "stays"), 1);
    CHECK_INT(share(2, 0, GROUP_JOINED, "goes"), 0);
    run_conn_free(a);
    end();
}

static void groups_from_before_the_bus(void)
{
    start(1);
    run[1] = run_worker_new(1);
    struct session *c = run_conn(run[1]);
    run_join(c, GROUP_JOINED, "x");
    run_join(c, GROUP_STORED, "y");
    groups_use_bus(groups(1), &run[1]->bus);
    run[1]->on_bus = true;
    run_connect(0, 1);
    run_settle();
    CHECK_INT(share(0, 1, GROUP_JOINED, "x"), 1);
    CHECK_INT(share(0, 1, GROUP_STORED, "y"), 1);
    run_conn_free(c);
    end();
}

/* The last change of all may be of a group that is gone: nobody waits for it. */
static void a_worker_comes_to_an_empty_one(void)
{
    start(1);
    struct session *c = run_conn(run[0]);
    run_join(c, GROUP_JOINED, "x");
    run_turn(run[0]);
    run_leave(c, GROUP_JOINED, "x");
    run_turn(run[0]);
    CHECK_INT(groups(0)->names.count, 0);
    run_start_one(1);
    run_connect(0, 1);
    run_turn(run[0]);
    CHECK_INT(run[0]->lines[1].count, 1); /* the end of nothing */
    run_conn_free(c);
    end();
}

static void a_worker_dies_and_returns(void)
{
    start(3);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
    run_join(a, GROUP_JOINED, "x");
    run_join(b, GROUP_JOINED, "x");
    run_join(b, GROUP_JOINED, "only there");
    run_join(b, GROUP_STORED, "name");
    run_settle();
    run_gone(0, 1);
    CHECK_INT(groups(0)->names.count, 1);
    struct group_pushed p = run_push(run[0], GROUP_JOINED, "x", "1");
    CHECK(p.members == 1 && p.delivered == 1);
    CHECK_INT(run_push(run[0], GROUP_STORED, "name", "1").members, 0);
    CHECK_INT(run_push(run[2], GROUP_JOINED, "x", "2").members, 2); /* has not seen it yet */
    run_gone(2, 1);
    run_gone(1, 0);
    run_gone(1, 2);
    run_connect(0, 1); /* for the others, this is a new one */
    run_connect(1, 2);
    run_settle();
    CHECK_INT(share(0, 1, GROUP_JOINED, "only there"), 1);
    CHECK_INT(share(2, 1, GROUP_STORED, "name"), 1);
    CHECK_INT(share(1, 0, GROUP_JOINED, "x"), 1);
    CHECK_INT(run_push(run[2], GROUP_JOINED, "x", "3").delivered, 2);
    run_settle();
    CHECK_TEXT(run_taken(a, text), "1 2 3");
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* --- Stored connections ----------------------------------------------------------------------- */

static void the_newest_claim_wins(void)
{
    start(3);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
    run_join(a, GROUP_STORED, "anna");
    run_settle();
    CHECK_INT(run_push(run[2], GROUP_STORED, "anna", "to a").delivered, 1);
    run_settle();
    run_join(b, GROUP_STORED, "anna");
    CHECK_INT(run_push(run[1], GROUP_STORED, "anna", "to b").members, 1);
    run_settle();
    CHECK(!a->place.memberships && b->place.memberships);
    CHECK_INT(share(2, 0, GROUP_STORED, "anna"), 0);
    CHECK_INT(run_push(run[0], GROUP_STORED, "anna", "to b too").delivered, 1);
    run_settle();
    CHECK_TEXT(run_taken(a, text), "to a");
    CHECK_TEXT(run_taken(b, text), "to b to b too");
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* As if "anna" had been claimed there at that time. */
static void claimed_at(unsigned worker, uint64_t stamp)
{
    struct group *group = group_at(worker, GROUP_STORED, "anna");
    group->claim = group->dissolved = stamp;
    memset(groups(worker)->bus->graves, 0, sizeof groups(worker)->bus->graves);
}

/* Both claim at once; the third hears of it in either order, and one holder is left. */
static void claims_that_cross(void)
{
    for (int order = 0; order < 8; order++) {
        test_context("order %d", order);
        start(3);
        bool tied = order & 4;
        struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
        run_join(a, GROUP_STORED, "anna");
        run_join(b, GROUP_STORED, "anna");
        claimed_at(0, 1000);
        claimed_at(1, tied ? 1000 : 1000 + (order & 2) - 1);
        run_turn(run[0]);
        run_turn(run[1]);
        run_deliver(order & 1, 2, 1);
        run_deliver(!(order & 1), 2, 1);
        struct group_pushed p = run_push(run[2], GROUP_STORED, "anna", "m");
        CHECK(p.members == 1 && p.delivered == 1);
        run_settle();
        bool second = tied || (order & 2);
        CHECK_TEXT(run_taken(a, text), second ? "" : "m");
        CHECK_TEXT(run_taken(b, text), second ? "m" : "");
        CHECK((a->place.memberships != NULL) == !second &&
              (b->place.memberships != NULL) == second);
        CHECK_INT(share(2, 0, GROUP_STORED, "anna"), !second);
        CHECK_INT(share(2, 1, GROUP_STORED, "anna"), second);
        run_conn_free(a);
        run_conn_free(b);
        end();
    }
    test_context(NULL);
}

/* A clock that is behind does not make a later claim an earlier one. */
static void clocks_that_differ(void)
{
    start(2);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
    groups(0)->bus->stamp = GROUP_WIRE_STAMP_MAX / 2; /* the far future */
    run_join(a, GROUP_STORED, "anna");
    run_settle();
    run_join(b, GROUP_STORED, "anna");
    run_settle();
    CHECK(!a->place.memberships && b->place.memberships);
    run_join(a, GROUP_STORED, "anna");
    run_settle();
    CHECK(a->place.memberships && !b->place.memberships);
    run_conn_free(a);
    run_conn_free(b);
    end();
}

static void a_removed_name(void)
{
    for (int newer = 0; newer < 2; newer++) {
        test_context(newer ? "the claim is newer" : "the removal is newer");
        start(3);
        struct session *a = run_conn(run[0]);
        run_join(a, GROUP_STORED, "anna");
        CHECK(!run_dissolve(run[1], GROUP_STORED, "anna")); /* has not heard of it yet */
        uint64_t stamp = group_at(1, GROUP_STORED, "anna")->dissolved;
        group_at(0, GROUP_STORED, "anna")->claim = newer ? stamp + 1 : stamp - 1;
        groups(0)->bus->stamp = stamp + 1;
        run_settle();
        CHECK_INT(a->place.memberships != NULL, newer);
        CHECK_INT(share(2, 0, GROUP_STORED, "anna"), newer);
        if (newer)
            CHECK(run_dissolve(run[2], GROUP_STORED, "anna"));
        run_settle();
        CHECK(a->place.memberships == NULL);
        run_conn_free(a);
        end();
    }
    test_context(NULL);
}

/* Who has heard of a removal sends nothing to a holder that has not: nobody would get it. */
static void a_removed_name_stays_removed(void)
{
    start(3);
    struct session *a = run_conn(run[0]);
    run_join(a, GROUP_STORED, "anna");
    run_settle();
    CHECK(run_dissolve(run[1], GROUP_STORED, "anna"));
    run_turn(run[1]);
    run_deliver(1, 2, RUN_LINE);
    CHECK_INT(run_push(run[1], GROUP_STORED, "anna", "one").members, 0);
    CHECK_INT(run_push(run[2], GROUP_STORED, "anna", "two").members, 0);
    run_settle();
    CHECK(a->place.memberships == NULL);
    run_conn_free(a);
    end();
}

/* The line to the holder was broken at the time of the removal. */
static void a_removal_that_a_holder_has_missed(void)
{
    start(3);
    struct session *a = run_conn(run[0]);
    run_join(a, GROUP_STORED, "anna");
    run_settle();
    run_gone(0, 1);
    run_gone(1, 0);
    run_gone(0, 2);
    run_gone(2, 0);
    run_dissolve(run[1], GROUP_STORED, "anna");
    run_settle();
    CHECK(a->place.memberships);
    run_connect(0, 1);
    run_connect(0, 2);
    run_settle();
    CHECK(!a->place.memberships);
    CHECK(!group_at(0, GROUP_STORED, "anna") && !group_at(1, GROUP_STORED, "anna"));
    run_join(a, GROUP_STORED, "anna"); /* again, which is after the removal */
    run_settle();
    CHECK_INT(run_push(run[1], GROUP_STORED, "anna", "one").members, 1);
    run_settle();
    CHECK_TEXT(run_taken(a, text), "one");
    run_conn_free(a);
    end();
}

/* A newer holder has gone before the older one heard of it. */
static void a_holder_that_was_followed(void)
{
    start(3);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
    run_join(a, GROUP_STORED, "anna");
    run_settle();
    run_join(b, GROUP_STORED, "anna");
    run_turn(run[1]);
    run_deliver(1, 2, RUN_LINE);
    run_conn_free(b);
    run_turn(run[1]);
    run_time(&groups(1)->bus->later);
    run_deliver(1, 2, RUN_LINE);
    CHECK_INT(run_push(run[1], GROUP_STORED, "anna", "one").members, 0);
    CHECK_INT(run_push(run[2], GROUP_STORED, "anna", "two").members, 0);
    run_settle();
    CHECK(a->place.memberships == NULL);
    CHECK_TEXT(run_taken(a, text), "");
    run_conn_free(a);
    end();
}

/* The claim was made before the removal, and is heard of after it. */
static void a_claim_that_comes_too_late(void)
{
    start(3);
    struct session *a = run_conn(run[0]);
    run_join(a, GROUP_STORED, "anna");
    group_at(0, GROUP_STORED, "anna")->claim -= 1000; /* that was a while ago */
    run_turn(run[0]);                                 /* and is still on its way */
    CHECK(!run_dissolve(run[1], GROUP_STORED, "anna"));
    run_turn(run[1]);
    run_deliver(1, 2, RUN_LINE);
    run_deliver(0, 2, RUN_LINE);
    run_deliver(0, 1, RUN_LINE);
    CHECK_INT(run_push(run[1], GROUP_STORED, "anna", "one").members, 0);
    CHECK_INT(run_push(run[2], GROUP_STORED, "anna", "two").members, 0);
    run_deliver(1, 0, RUN_LINE);
    CHECK(a->place.memberships == NULL);
    run_join(a, GROUP_STORED, "anna"); /* again, which is after the removal */
    run_settle();
    CHECK_INT(run_push(run[1], GROUP_STORED, "anna", "three").members, 1);
    CHECK_INT(run_push(run[2], GROUP_STORED, "anna", "four").members, 1);
    run_settle();
    CHECK_TEXT(run_taken(a, text), "three four");
    run_conn_free(a);
    end();
}

/* --- Removed groups --------------------------------------------------------------------------- */

static void a_removed_group(void)
{
    start(3);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]), *c = run_conn(run[2]);
    run_join(a, GROUP_JOINED, "x");
    run_join(b, GROUP_JOINED, "x");
    run_settle();
    CHECK(run_dissolve(run[2], GROUP_JOINED, "x"));
    CHECK(!run_dissolve(run[2], GROUP_JOINED, "x"));
    CHECK_INT(run_push(run[2], GROUP_JOINED, "x", "nobody").members, 0);
    run_join(c, GROUP_JOINED, "x");
    CHECK_INT(run_push(run[2], GROUP_JOINED, "x", "again").members, 1);
    run_settle();
    CHECK(!a->place.memberships && !b->place.memberships && c->place.memberships);
    CHECK_TEXT(run_taken(a, text), "");
    CHECK_TEXT(run_taken(c, text), "again");
    run_join(a, GROUP_JOINED, "x");
    run_settle();
    CHECK_INT(run_push(run[1], GROUP_JOINED, "x", "m").members, 2);
    run_settle();
    run_conn_free(a);
    run_conn_free(b);
    run_conn_free(c);
    end();
}

/* One that comes later has nothing to do with what was removed before. */
static void a_removal_is_not_told_twice(void)
{
    start(2);
    struct session *a = run_conn(run[0]), *c;
    run_join(a, GROUP_JOINED, "x");
    run_dissolve(run[0], GROUP_JOINED, "x");
    run_join(a, GROUP_JOINED, "x");
    run_settle();
    run_start_one(2);
    c = run_conn(run[2]);
    run_join(c, GROUP_JOINED, "x");
    run_connect(0, 2);
    run_settle();
    CHECK(c->place.memberships != NULL);
    run_join(a, GROUP_JOINED, "y");
    run_leave(a, GROUP_JOINED, "x");
    run_join(a, GROUP_JOINED, "x");
    run_settle();
    CHECK(c->place.memberships != NULL);
    run_conn_free(a);
    run_conn_free(c);
    end();
}

static void a_full_worker_hears_of_a_removal(void)
{
    start(2);
    struct session *a = run_conn(run[0]), *b = run_conn(run[1]);
    run_join(b, GROUP_JOINED, "x");
    run_settle();
    run[0]->lines[1].limit = 0;
    CHECK(run_dissolve(run[0], GROUP_JOINED, "x"));
    run_join(a, GROUP_JOINED, "y");
    run_turn(run[0]);
    CHECK_INT(run[0]->lines[1].count, 0);
    run[0]->lines[1].limit = 10;
    run_settle();
    CHECK(b->place.memberships == NULL);
    CHECK_INT(share(1, 0, GROUP_JOINED, "y"), 1);
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* --- Questions -------------------------------------------------------------------------------- */

static struct {
    int calls, err;
    uint64_t count;
    struct group_ask *end_too;
} told;

static void on_answer(struct group_ask *ask, int err)
{
    told.calls++;
    told.err = err;
    told.count = ask->count;
    if (told.end_too)
        group_ask_end(told.end_too);
}

static struct group_ask question(bool want_ids)
{
    memset(&told, 0, sizeof told);
    return (struct group_ask){
        .key = run_key(GROUP_JOINED, "x"), .want_ids = want_ids, .on_answer = on_answer};
}

static struct session *member(unsigned worker)
{
    struct session *c = run_conn(run[worker]);
    run_join(c, GROUP_JOINED, "x");
    return c;
}

static void all_workers_are_asked(void)
{
    start(3);
    struct session *c[] = {member(0), member(1), member(1), member(2)};
    for (int ids = 0; ids < 2; ids++) {
        struct group_ask ask = question(ids);
        CHECK_INT(group_ask(groups(0), &ask), 0); /* nothing has been told yet: they are asked */
        CHECK_INT(told.calls, 0);
        run_settle();
        CHECK(told.calls == 1 && told.err == 0 && told.count == 4);
        CHECK_INT(buf_len(&ask.ids), ids ? 4 * CONN_ID_SIZE : 0);
        for (int i = 0; i < 4 && ids; i++) {
            char id[CONN_ID_SIZE + 1];
            conn_id_text(&c[i]->conn, id);
            CHECK(memmem(buf_bytes(&ask.ids), buf_len(&ask.ids), id, CONN_ID_SIZE) != NULL);
        }
        group_ask_end(&ask);
    }
    for (int i = 0; i < 4; i++)
        run_conn_free(c[i]);
    end();
}

static void a_silent_worker(void)
{
    start(3);
    struct session *c[] = {member(0), member(1), member(2)};
    run_settle();
    struct group_ask ask = question(false);
    CHECK_INT(group_ask(groups(0), &ask), 0);
    run_deliver(0, 1, 10);
    run_deliver(1, 0, 10);
    CHECK_INT(told.calls, 0);
    CHECK(run_time(&ask.question->timer));
    CHECK(told.calls == 1 && told.err == ERR_IO && told.count == 2 && !ask.question);
    run_settle(); /* the late answer is nobody's */
    CHECK_INT(told.calls, 1);
    group_ask_end(&ask);
    for (int i = 0; i < 3; i++)
        run_conn_free(c[i]);
    end();
}

static void a_worker_that_dies_instead(void)
{
    start(3);
    struct session *a = member(0), *b = member(1);
    run_settle();
    struct group_ask one = question(false), two = question(false), three = question(false);
    CHECK_INT(group_ask(groups(0), &one), 0);
    CHECK_INT(group_ask(groups(0), &two), 0);
    CHECK_INT(group_ask(groups(0), &three), 0);
    run_deliver(0, 1, 10);
    run_deliver(1, 0, 10);
    CHECK_INT(told.calls, 0);
    told.end_too = &two; /* by the first that is told */
    run_gone(0, 2);
    CHECK(told.calls == 2 && told.err == 0 && told.count == 2);
    told.end_too = NULL;
    run_gone(2, 0);
    group_ask_end(&one);
    group_ask_end(&three);
    run_conn_free(a);
    run_conn_free(b);
    end();
}

static void a_worker_that_takes_no_question(void)
{
    start(3);
    struct session *a = member(0), *b = member(1);
    run_settle();
    run[0]->lines[2].limit = 0;
    struct group_ask ask = question(false);
    CHECK_INT(group_ask(groups(0), &ask), 0);
    run_deliver(0, 1, 10);
    run_deliver(1, 0, 10);
    CHECK(told.calls == 1 && told.err == ERR_IO && told.count == 2);
    group_ask_end(&ask);
    run[0]->lines[1].limit = 0;
    ask = question(false);
    CHECK_INT(group_ask(groups(0), &ask), 0);
    CHECK(told.calls == 1 && told.err == ERR_IO && told.count == 1); /* from inside */
    group_ask_end(&ask);
    run[0]->lines[1].limit = run[0]->lines[2].limit = RUN_LINE;
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* A worker that is dead already, which only writing to it has told so far. */
static void a_question_at_a_death(void)
{
    start(3);
    struct session *a = member(0), *b = member(1);
    run_settle();
    run[0]->lines[2].error = ERR_CLOSED;
    for (int i = 0; i < 2; i++) {
        struct group_ask ask = question(false);
        CHECK_INT(group_ask(groups(0), &ask), 0);
        run_settle();
        CHECK(told.calls == 1 && told.err == 0 && told.count == 2);
        group_ask_end(&ask);
    }
    run_gone(0, 2);
    run_gone(2, 0);
    run_conn_free(a);
    run_conn_free(b);
    end();
}

/* A question to workers 0 and 1, where worker 2 is silent. */
static void ask_two(struct group_ask *ask)
{
    *ask = question(false);
    CHECK_INT(group_ask(groups(0), ask), 0);
    run_deliver(0, 1, 10);
    run_deliver(1, 0, 10);
}

/* It has been sent everything, and reads nothing: in its second life it must be loading the app. */
static void a_worker_that_loads(void)
{
    start(2);
    struct session *c[3] = {member(0), member(1)};
    struct group_ask ask;
    run_settle();
    run_start_one(2);
    for (int life = 1; life <= 2; life++) {
        run_connect(0, 2);
        ask_two(&ask);
        CHECK_INT(told.calls, 0);
        CHECK(run_time(&ask.question->timer));
        CHECK(told.calls == 1 && told.err == (life == 1 ? ERR_IO : 0) && told.count == 2);
        group_ask_end(&ask);
        groups(0)->bus->others[2].came -= 1;
        ask_two(&ask);
        CHECK_INT(told.calls, life == 1 ? 0 : 1);
        CHECK(life == 1 || (told.err == 0 && told.count == 2));
        group_ask_end(&ask);
        run_gone(0, 2);
        run_gone(2, 0);
    }
    run_connect(0, 2);
    c[2] = member(2);
    run_settle();
    groups(0)->bus->others[2].came -= 1;
    ask = question(false);
    CHECK_INT(group_ask(groups(0), &ask), 0);
    run_settle();
    CHECK(told.calls == 1 && told.err == 0 && told.count == 3);
    group_ask_end(&ask);
    for (int i = 0; i < 3; i++)
        run_conn_free(c[i]);
    end();
}

static void a_question_that_nobody_waits_for(void)
{
    start(2);
    struct session *b = member(1);
    struct group_ask ask = question(true), other = question(true);
    CHECK_INT(group_ask(groups(0), &ask), 0);
    CHECK_INT(group_ask(groups(0), &other), 0);
    group_ask_end(&ask);
    run_settle();
    CHECK(told.calls == 1 && told.count == 1);
    group_ask_end(&other);
    CHECK_INT(group_ask(groups(0), &ask), 0); /* and the workers end before the answer */
    run_conn_free(b);
    run_turn(run[0]);
    for (unsigned i = 0; i < 2; i++) {
        run_drop(&run[i]->lines[!i]);
        run_worker_free(run[i]);
        run[i] = NULL;
    }
    buf_free(&ask.ids);
}

/* --- Lack of memory, and nonsense ------------------------------------------------------------- */

/* Two workers tell, ask and push while allocations fail; true when one did. */
static bool a_turn_without_memory(struct session *c[2], size_t fail_at, bool and_after)
{
    struct group_ask ask = question(true);
    alloc_watch(fail_at, and_after);
    int joined = run_join(c[1], GROUP_JOINED, "y");
    int asked = group_ask(groups(0), &ask);
    struct group_pushed p = run_push(run[0], GROUP_JOINED, "x", "m");
    run_settle();
    bool failed = alloc_end().failed;
    CHECK(joined == 0 || joined == ERR_NOMEM);
    CHECK(p.members == 2 && p.delivered + p.dropped == 2);
    if (ask.question)
        run_time(&ask.question->timer);
    CHECK(asked == 0 ? told.calls == 1 : asked == ERR_NOMEM && told.calls == 0);
    CHECK(told.err == 0 || (failed && (told.err == ERR_IO || told.err == ERR_NOMEM)));
    CHECK(told.err != 0 || asked != 0 || buf_len(&ask.ids) == 2 * CONN_ID_SIZE);
    group_ask_end(&ask);
    run_settle();
    unsigned known = share(0, 1, GROUP_JOINED, "y");
    CHECK(known == (joined == 0) || groups(0)->bus->others[1].lost);
    for (int i = 0; i < 2; i++) {
        run_taken(c[i], text);
        CHECK(strcmp(text, "m") == 0 || (failed && *text == '\0'));
    }
    run_leave(c[1], GROUP_JOINED, "y");
    run_settle();
    CHECK(group_at(0, GROUP_JOINED, "y") == NULL && group_at(1, GROUP_JOINED, "y") == NULL);
    return failed;
}

static void without_memory(void)
{
    for (int and_after = 0; and_after < 2; and_after++) {
        size_t n = 1;
        start(2);
        struct session *c[] = {member(0), member(1)};
        run_settle();
        while (a_turn_without_memory(c, n, and_after))
            test_context("allocation %zu%s fails", ++n, and_after ? " and all after it" : "");
        CHECK(n > 8);
        run_conn_free(c[0]);
        run_conn_free(c[1]);
        end();
    }
    test_context(NULL);
}

/* What it told was lost: it gets all pushes, so that its members miss none. */
static void a_lost_share(void)
{
    start(2);
    struct session *b = member(1);
    run_turn(run[1]);
    alloc_watch(1, true);
    run_deliver(1, 0, 1);
    CHECK(alloc_end().failed);
    CHECK(group_at(0, GROUP_JOINED, "x") == NULL);
    run_push(run[0], GROUP_JOINED, "x", "m");
    run_settle();
    CHECK_TEXT(run_taken(b, text), "m");
    run_conn_free(b);
    end();
}

static void nonsense_ends_the_line(void)
{
    start(2);
    struct session *b = member(1);
    run_settle();
    struct chunk *c = chunk_new(3);
    memcpy(c->bytes, "\3\1x", 3);
    bus_send(&run[1]->bus, 0, c);
    chunk_unref(c);
    run_deliver(1, 0, 1);
    CHECK(!run[0]->lines[1].up && groups(0)->names.count == 0);
    CHECK_INT(groups(0)->bus->there, 0);
    CHECK_INT(run_push(run[0], GROUP_JOINED, "x", "m").members, 0);
    run_conn_free(b);
    end();
}

static int send_nowhere(struct bus *bus, unsigned other, struct chunk *message)
{
    (void)bus, (void)other, (void)message;
    return 0;
}

static void hear_of_members(unsigned from, uint32_t members)
{
    const struct group_wire_entry e = {.key = run_key(GROUP_JOINED, "x"), .members = members};
    uint8_t bytes[64] = {GROUP_WIRE_STATE};
    uint8_t *end_of_entry = group_wire_write_entry(&e, bytes + 1);
    size_t len = (size_t)(end_of_entry - bytes);
    CHECK_INT(run[0]->bus.hooks->on_message(run[0]->bus.arg, from, bytes, len), 0);
}

/* What the worker with the highest number has is not taken for another one's. */
static void the_highest_number(void)
{
    static const struct bus_ops ops = {send_nowhere};
    enum { HIGHEST = BUS_WORKERS - 1 };
    start(1);
    run[0]->bus.ops = &ops;
    run[0]->bus.hooks->on_other(run[0]->bus.arg, HIGHEST);
    hear_of_members(HIGHEST, 1);
    hear_of_members(HIGHEST, 2);
    CHECK_INT(share(0, HIGHEST, GROUP_JOINED, "x"), 2);
    CHECK_INT(group_at(0, GROUP_JOINED, "x")->share_count, 1);
    run[0]->bus.hooks->on_gone(run[0]->bus.arg, HIGHEST);
    end();
}

int main(void)
{
    test("a push reaches all workers", a_push_reaches_all_workers);
    test("state goes before pushes", state_goes_before_pushes);
    test("numbers can wait", numbers_can_wait);
    test("many groups in few messages", many_groups_in_few_messages);
    test("a full worker", a_full_worker);
    test("what a full worker missed", what_a_full_worker_missed);
    test("a worker comes late", a_worker_comes_late);
    test("a worker comes after a group has gone", a_worker_comes_after_a_group_has_gone);
    test("groups from before the bus", groups_from_before_the_bus);
    test("a worker comes to an empty one", a_worker_comes_to_an_empty_one);
    test("a worker dies and returns", a_worker_dies_and_returns);
    test("the newest claim wins", the_newest_claim_wins);
    test("a removed name stays removed", a_removed_name_stays_removed);
    test("a removal that a holder has missed", a_removal_that_a_holder_has_missed);
    test("a holder that was followed", a_holder_that_was_followed);
    test("a claim that comes too late", a_claim_that_comes_too_late);
    test("claims that cross", claims_that_cross);
    test("clocks that differ", clocks_that_differ);
    test("a removed name", a_removed_name);
    test("a removed group", a_removed_group);
    test("a removal is not told twice", a_removal_is_not_told_twice);
    test("a full worker hears of a removal", a_full_worker_hears_of_a_removal);
    test("all workers are asked", all_workers_are_asked);
    test("a silent worker", a_silent_worker);
    test("a worker that dies instead", a_worker_that_dies_instead);
    test("a worker that takes no question", a_worker_that_takes_no_question);
    test("a question at a death", a_question_at_a_death);
    test("a worker that loads", a_worker_that_loads);
    test("a question that nobody waits for", a_question_that_nobody_waits_for);
    test("without memory", without_memory);
    test("a lost share", a_lost_share);
    test("nonsense ends the line", nonsense_ends_the_line);
    test("the highest number", the_highest_number);
    return test_end();
}
