// SPDX-License-Identifier: MIT
/* Groups within one worker: members, pushes, stored connections, and how connections end. */
#include "grouprun.h"
#include "server/listener.h"
#include "support.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct run_worker *w;
static char text[RUN_TEXT];

static void begin(void)
{
    w = run_worker_new(0);
}

/* Whatever there was is gone: no group, no membership. */
static void end(void)
{
    CHECK_INT(w->groups->names.count, 0);
    CHECK_INT(w->groups->members.count, 0);
    run_worker_free(w);
}

static void join_push_leave(void)
{
    begin();
    struct session *a = run_conn(w), *b = run_conn(w);
    CHECK_INT(run_join(a, GROUP_JOINED, "blue"), 0);
    CHECK_INT(run_join(b, GROUP_JOINED, "blue"), 0);
    CHECK_INT(run_join(b, GROUP_JOINED, "blue"), 0);
    struct group_pushed p = run_push(w, GROUP_JOINED, "blue", "one");
    CHECK(p.members == 2 && p.delivered == 2 && p.dropped == 0 && p.closed == 0);
    CHECK(run_leave(a, GROUP_JOINED, "blue"));
    CHECK(!run_leave(a, GROUP_JOINED, "blue"));
    p = run_push(w, GROUP_JOINED, "blue", "two");
    CHECK(p.members == 1 && p.delivered == 1);
    p = run_push(w, GROUP_JOINED, "red", "three");
    CHECK(p.members == 0 && p.delivered == 0 && p.dropped == 0);
    CHECK_TEXT(run_taken(a, text), "one");
    CHECK_TEXT(run_taken(b, text), "one two");
    run_conn_free(a);
    run_conn_free(b);
    end();
}

static void all_but_one(void)
{
    begin();
    struct session *a = run_conn(w), *b = run_conn(w);
    struct group_pushed p;
    struct group_push push = {.key = run_key(GROUP_JOINED, "x"),
                              .type = WS_TEXT,
                              .bytes = (const uint8_t *)"hi",
                              .len = 2,
                              .except = a};
    run_join(a, GROUP_JOINED, "x");
    run_join(b, GROUP_JOINED, "x");
    group_push(w->groups, &push, &p);
    CHECK(p.members == 1 && p.delivered == 1);
    CHECK_TEXT(run_taken(a, text), "");
    CHECK_TEXT(run_taken(b, text), "hi");
    run_conn_free(a);
    run_conn_free(b);
    end();
}

static void kinds_are_apart(void)
{
    begin();
    struct session *a = run_conn(w), *b = run_conn(w), *c = run_conn(w);
    run_join(a, GROUP_JOINED, "x");
    run_join(b, GROUP_STORED, "x");
    CHECK_INT(group_join_service(run_of(c)->groups, c, "x", 1), 0);
    run_push(w, GROUP_JOINED, "x", "1");
    run_push(w, GROUP_STORED, "x", "2");
    run_push(w, GROUP_SERVICE, "x", "3");
    CHECK_TEXT(run_taken(a, text), "1");
    CHECK_TEXT(run_taken(b, text), "2");
    CHECK_TEXT(run_taken(c, text), "3");
    CHECK(!run_dissolve(w, GROUP_SERVICE, "x"));
    CHECK(run_dissolve(w, GROUP_JOINED, "x"));
    CHECK(!run_dissolve(w, GROUP_JOINED, "x"));
    CHECK_INT(run_push(w, GROUP_STORED, "x", "4").members, 1);
    CHECK_INT(run_push(w, GROUP_SERVICE, "x", "5").members, 1);
    run_conn_free(a);
    run_conn_free(b);
    run_conn_free(c);
    end();
}

static void a_name_has_one_holder(void)
{
    begin();
    struct session *a = run_conn(w), *b = run_conn(w);
    CHECK_INT(run_join(a, GROUP_STORED, "anna"), 0);
    CHECK_INT(run_join(a, GROUP_STORED, "anna"), 0);
    run_push(w, GROUP_STORED, "anna", "1");
    CHECK_INT(run_join(b, GROUP_STORED, "anna"), 0);
    run_push(w, GROUP_STORED, "anna", "2");
    CHECK_INT(a->place.membership_count, 0);
    CHECK(run_dissolve(w, GROUP_STORED, "anna"));
    CHECK(!run_dissolve(w, GROUP_STORED, "anna"));
    CHECK_INT(run_push(w, GROUP_STORED, "anna", "3").members, 0);
    CHECK_TEXT(run_taken(a, text), "1");
    CHECK_TEXT(run_taken(b, text), "2");
    CHECK(session_writable(a) && session_writable(b));
    run_conn_free(a);
    run_conn_free(b);
    end();
}

static void what_is_refused(void)
{
    begin();
    static char name[GROUP_NAME_MAX + 2];
    struct session *c = run_conn(w);
    CHECK_INT(run_join(c, GROUP_JOINED, ""), ERR_ARGUMENT);
    CHECK_INT(run_join(c, GROUP_SERVICE, "x"), ERR_ARGUMENT);
    memset(name, 'n', GROUP_NAME_MAX + 1);
    CHECK_INT(run_join(c, GROUP_JOINED, name), ERR_ARGUMENT);
    CHECK_INT(group_join_service(run_of(c)->groups, c, name, GROUP_NAME_MAX + 1), ERR_ARGUMENT);
    CHECK_INT(run_push(w, GROUP_JOINED, name, "x").members, 0);
    CHECK(!run_leave(c, GROUP_JOINED, name) && !run_dissolve(w, GROUP_JOINED, name));
    name[GROUP_NAME_MAX] = '\0';
    CHECK_INT(run_join(c, GROUP_JOINED, name), 0);
    CHECK_INT(run_push(w, GROUP_JOINED, name, "x").members, 1);
    CHECK_INT(session_close(c, 1000, "", 0, 5), 0);
    CHECK_INT(run_join(c, GROUP_JOINED, "x"), ERR_CLOSED);
    CHECK_INT(run_join(c, GROUP_STORED, "x"), ERR_CLOSED);
    run_conn_free(c);
    end();
}

/* Bytes, not strings: with a NUL, and one that begins as another one ends. */
static void names_are_bytes(void)
{
    begin();
    struct session *c = run_conn(w);
    const struct group_key keys[] = {
        {GROUP_JOINED, "a\0b", 3}, {GROUP_JOINED, "a\0c", 3}, {GROUP_JOINED, "a", 1}};
    for (int i = 0; i < 3; i++)
        CHECK_INT(group_join(w->groups, &keys[i], c), 0);
    CHECK_INT(c->place.membership_count, 3);
    CHECK_INT(w->groups->names.count, 3);
    run_conn_free(c);
    end();
}

/* However a connection ends, it is out of everything before its handler hears of it. */
static void the_end_of_a_connection(void)
{
    begin();
    for (int how = 0; how < 4; how++) {
        struct session *c = run_conn(w);
        test_context("way %d", how);
        run_join(c, GROUP_JOINED, "x");
        run_join(c, GROUP_STORED, "y");
        group_join_service(run_of(c)->groups, c, "z", 1);
        CHECK_INT(w->groups->names.count, 3);
        if (how == 0)
            session_close(c, 1000, "", 0, 5);
        else if (how == 1)
            session_fail(c, ERR_HANDLER, 1011, "failed");
        else if (how == 2)
            conn_gone(&c->conn);
        else
            group_leave_all(run_of(c)->groups, c);
        CHECK_INT(w->groups->names.count, 0);
        CHECK(!c->place.memberships && !c->place.service && c->place.membership_count == 0);
        run_conn_free(c);
    }
    test_context(NULL);
    end();
}

static void many_groups_of_one(void)
{
    begin();
    struct session *c = run_conn(w), *other = run_conn(w);
    char name[32];
    int err = 0;
    for (int i = 0; i < GROUP_PER_CONN; i++) {
        snprintf(name, sizeof name, "group %d", i);
        err |= run_join(c, GROUP_JOINED, name);
        if (i % 2)
            err |= run_join(other, GROUP_JOINED, name);
    }
    CHECK_INT(err, 0);
    CHECK_INT(run_join(c, GROUP_JOINED, "group 0"), 0);
    CHECK_INT(run_join(c, GROUP_JOINED, "one more"), ERR_POLICY);
    CHECK_INT(run_join(c, GROUP_STORED, "one more"), ERR_POLICY);
    CHECK_INT(w->groups->names.count, GROUP_PER_CONN);
    conn_gone(&c->conn);
    CHECK_INT(w->groups->names.count, GROUP_PER_CONN / 2);
    CHECK_INT(w->groups->members.count, GROUP_PER_CONN / 2);
    run_conn_free(c);
    run_conn_free(other);
    end();
}

/* The array and what points into it agree; returns how many there are. */
static unsigned check_places(const struct group_key *key)
{
    struct group *group = group_table_find(w->groups, key);
    for (uint32_t i = 0; group && i < group->count; i++) {
        const struct group_slot *s = &group->slots[i];
        CHECK(s->member
                  ? s->member->node.value == i && s->member->group == group
                  : s->session->place.service_slot == i && s->session->place.service == group);
    }
    CHECK(!group || (group->count > 0 && group->count <= group->room));
    return group ? group->count : 0;
}

static void coming_and_going(void)
{
    enum { CONNS = 300 };
    static struct session *conns[CONNS];
    static bool in[CONNS];
    begin();
    uint64_t random = 5;
    unsigned count = 0;
    const struct group_key key = run_key(GROUP_JOINED, "x"), service = run_key(GROUP_SERVICE, "s");
    for (int i = 0; i < 20000; i++) {
        unsigned n = (unsigned)(random_next(&random) % CONNS);
        if (!conns[n]) {
            conns[n] = run_conn(w);
            group_join_service(run_of(conns[n])->groups, conns[n], "s", 1);
        }
        CHECK(in[n] ? run_leave(conns[n], GROUP_JOINED, "x")
                    : run_join(conns[n], GROUP_JOINED, "x") == 0);
        in[n] = !in[n];
        count = in[n] ? count + 1 : count - 1;
        if (i % 7 == 0) {
            conn_gone(&conns[n]->conn);
            run_conn_free(conns[n]);
            count -= in[n];
            conns[n] = NULL;
            in[n] = false;
        }
        if (i % 1000 == 0)
            CHECK_INT(check_places(&key), count);
    }
    CHECK_INT(check_places(&key), count);
    CHECK(check_places(&service) > count);
    CHECK_INT(run_push(w, GROUP_JOINED, "x", "m").delivered, count);
    for (int i = 0; i < CONNS; i++) {
        if (!conns[i])
            continue;
        CHECK_TEXT(run_taken(conns[i], text), in[i] ? "m" : "");
        run_conn_free(conns[i]);
    }
    end();
}

static void fill(struct session *c)
{
    static const uint8_t bytes[2000];
    while (conn_buffered(&c->conn) <= w->settings.max_buffered)
        session_send(c, WS_BINARY, bytes, sizeof bytes);
}

/* Slow members are dropped from or closed in the middle of a push, which goes on. */
static void slow_members(void)
{
    enum { CONNS = 9 };
    for (int drop = 0; drop < 2; drop++) {
        struct session *conns[CONNS];
        test_context(drop ? "drop" : "close");
        begin();
        w->settings.drop_slow = drop;
        for (int i = 0; i < CONNS; i++) {
            conns[i] = run_conn(w);
            run_join(conns[i], GROUP_JOINED, "x");
            if (i % 3 == 0)
                fill(conns[i]);
        }
        struct group_pushed p = run_push(w, GROUP_JOINED, "x", "m");
        CHECK(p.members == 9 && p.delivered == 6 && p.dropped == 3);
        CHECK_INT(p.closed, drop ? 0 : 3);
        CHECK_INT(check_places(&(struct group_key){GROUP_JOINED, "x", 1}), drop ? 9 : 6);
        for (int i = 0; i < CONNS; i++) {
            CHECK_INT(session_over(conns[i]), !drop && i % 3 == 0);
            CHECK(i % 3 == 0 || strcmp(run_taken(conns[i], text), "m") == 0);
            run_conn_free(conns[i]);
        }
        CHECK(run_time(&w->groups->trouble.timer)); /* tells it */
        CHECK(w->groups->trouble.dropped == 0 && w->groups->trouble.closed == 0);
        end();
    }
    test_context(NULL);
}

static void the_last_one_is_slow(void)
{
    begin();
    struct session *c = run_conn(w);
    run_join(c, GROUP_JOINED, "x");
    fill(c);
    struct group_pushed p = run_push(w, GROUP_JOINED, "x", "m");
    CHECK(p.members == 1 && p.dropped == 1 && p.closed == 1);
    CHECK_INT(w->groups->names.count, 0);
    run_conn_free(c);
    end();
}

static struct {
    int calls, err;
    uint64_t count;
} told;

static void on_answer(struct group_ask *ask, int err)
{
    told.calls++;
    told.err = err;
    told.count = ask->count;
}

static void questions(void)
{
    begin();
    struct session *c[3];
    struct group_ask ask = {
        .key = run_key(GROUP_JOINED, "x"), .want_ids = true, .on_answer = on_answer};
    for (int i = 0; i < 3; i++) {
        c[i] = run_conn(w);
        run_join(c[i], GROUP_JOINED, "x");
    }
    told.calls = 0;
    CHECK_INT(group_ask(w->groups, &ask), 0);
    CHECK(told.calls == 1 && told.err == 0 && told.count == 3);
    CHECK_INT(buf_len(&ask.ids), 3 * CONN_ID_SIZE);
    for (int i = 0; i < 3; i++) {
        char id[CONN_ID_SIZE + 1];
        conn_id_text(&c[i]->conn, id);
        CHECK(memmem(buf_bytes(&ask.ids), buf_len(&ask.ids), id, CONN_ID_SIZE) != NULL);
        run_conn_free(c[i]);
    }
    group_ask_end(&ask);
    ask.want_ids = false;
    CHECK_INT(group_ask(w->groups, &ask), 0);
    CHECK(told.calls == 2 && told.count == 0 && buf_len(&ask.ids) == 0);
    group_ask_end(&ask);
    ask.key.len = 0;
    CHECK_INT(group_ask(w->groups, &ask), ERR_ARGUMENT);
    CHECK_INT(told.calls, 2);
    end();
}

/* Joins that fail leave everything as it was. True when an allocation failed. */
static bool joins(struct session *c, size_t fail_at, bool and_after)
{
    struct group_ask ask = {
        .key = run_key(GROUP_JOINED, "new"), .want_ids = true, .on_answer = on_answer};
    alloc_watch(fail_at, and_after);
    int a = run_join(c, GROUP_JOINED, "new");
    int b = run_join(c, GROUP_STORED, "new");
    int s = group_join_service(run_of(c)->groups, c, "new", 3);
    int q = group_ask(w->groups, &ask);
    bool failed = alloc_end().failed;
    CHECK((a == 0 || a == ERR_NOMEM) && (b == 0 || b == ERR_NOMEM) && (s == 0 || s == ERR_NOMEM));
    CHECK(q == 0 || q == ERR_NOMEM);
    CHECK(failed == (a < 0 || b < 0 || s < 0 || q < 0));
    CHECK_INT(c->place.membership_count, (a == 0) + (b == 0));
    CHECK_INT(w->groups->names.count, (a == 0) + (b == 0) + (s == 0));
    group_ask_end(&ask);
    group_leave_all(run_of(c)->groups, c);
    CHECK_INT(w->groups->names.count, 0);
    map_deinit(&w->groups->names); /* so that the next run allocates again */
    map_deinit(&w->groups->members);
    return failed;
}

static void without_memory(void)
{
    begin();
    struct session *c = run_conn(w);
    for (int and_after = 0; and_after < 2; and_after++) {
        size_t n = 1;
        while (joins(c, n, and_after))
            test_context("allocation %zu%s fails", ++n, and_after ? " and all after it" : "");
        CHECK_INT(n, 12); /* three groups, their places; two members; two maps; the ids */
    }
    test_context(NULL);
    run_conn_free(c);
    end();
}

static void nothing_is_allocated_for_nobody(void)
{
    begin();
    struct session *c = run_conn(w);
    run_join(c, GROUP_JOINED, "x");
    alloc_watch(0, false);
    struct group_push push = {.key = run_key(GROUP_JOINED, "x"), .type = WS_TEXT, .except = c};
    struct group_pushed p;
    group_push(w->groups, &push, &p);
    CHECK_INT(alloc_end().calls, 0);
    CHECK_INT(p.members, 0);
    run_conn_free(c);
    end();
}

/* --- Connections as they come, through a socket ----------------------------------------------- */

static struct {
    struct server server;
    struct groups *groups;
    struct listener *listener;
    int opened, closed;
    uint32_t members; /* of its service, when on_open was told */
} real;

static bool begins(struct session *s)
{
    return group_join_service(real.groups, s, "chat", 4) == 0;
}

static void ends(struct session *s)
{
    group_leave_all(real.groups, s);
}

static void on_upgrade(struct http_conn *h)
{
    CHECK(http_conn_accept(h, &(struct http_accept){0}));
}

static bool on_open(struct session *s)
{
    const struct group_key key = run_key(GROUP_SERVICE, "chat"),
                           room = run_key(GROUP_JOINED, "room");
    real.opened++;
    real.members = group_table_find(real.groups, &key)->count;
    group_join(real.groups, &room, s);
    return false;
}

static bool on_close(struct session *s, unsigned code, const char *reason, size_t len)
{
    (void)code, (void)reason, (void)len;
    CHECK(!s->place.service && !s->place.memberships);
    real.closed++;
    return false;
}

static void on_free(struct http_conn *h)
{
    (void)h;
}

static void on_drained(struct server *s)
{
    loop_stop(s->conns.loop);
}

static int dial(void)
{
    static const char request[] = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    const struct address nobody = {0};
    int fds[2];
    if (!CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0))
        return -1;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    CHECK(send(fds[1], request, sizeof request - 1, 0) == (ssize_t)sizeof request - 1);
    http_conn_open(&listener_ref(real.listener)->site, fds[0], &nobody);
    return fds[1];
}

static void on_look(struct loop_timer *timer)
{
    (void)timer; /* ends the wait of a turn */
}

/* Turns of the loop until `done`, for at most ten seconds. */
static void run_until(struct loop *loop, bool (*done)(void))
{
    struct loop_timer look;
    loop_timer_init(&look, on_look);
    for (int i = 0; i < 1000 && !done(); i++) {
        loop_timer_start(loop, &look, 0.01);
        ev_run(loop->ev, EVRUN_ONCE);
    }
    loop_timer_stop(loop, &look);
    CHECK(done());
}

static bool both_are_open(void)
{
    return real.opened == 2;
}

static bool one_is_closed(void)
{
    return real.closed == 1;
}

static bool nobody_is_in(void)
{
    return real.groups->names.count == 0;
}

static void real_connections(void)
{
    static const struct session_hooks hooks = {.begins = begins,
                                               .ends = ends,
                                               .on_open = on_open,
                                               .on_event = run_event,
                                               .on_error = run_told,
                                               .on_close = on_close};
    static const struct http_hooks http = {.on_upgrade = on_upgrade, .on_free = on_free};
    static const struct http_settings settings = {.hooks = &http, .limits = {8192, 8192, 100}};
    struct route_config route = {.session = {.ws = {1 << 16, 1 << 16, 100, 1 << 16},
                                             .max_buffered = 1 << 16,
                                             .hooks = &hooks}};
    struct loop loop;
    loop_init(&loop);
    server_init(&real.server, &loop);
    real.groups = groups_new(&loop, &real.server.conns.entropy);
    real.listener = listener_new(&real.server, -1, &settings, &(struct listener_limits){0});
    struct route *r = route_new("/chat", &route);
    CHECK(router_add(&real.listener->site.router, r));
    route_unref(r);
    int one = dial(), two = dial();
    run_until(&loop, both_are_open);
    CHECK_INT(real.members, 2);
    CHECK_INT(real.groups->names.count, 2);
    close(one);
    run_until(&loop, one_is_closed);
    CHECK_INT(real.groups->members.count, 1);
    server_drain(&real.server, on_drained);
    listener_unref(real.listener);
    run_until(&loop, nobody_is_in);
    CHECK_INT(real.closed, 1); /* the client has not answered yet */
    close(two);
    loop_run(&loop);
    CHECK_INT(real.closed, 2);
    groups_free(real.groups);
    server_deinit(&real.server);
    loop_deinit(&loop);
}

int main(void)
{
    test("join, push, leave", join_push_leave);
    test("all but one", all_but_one);
    test("kinds are apart", kinds_are_apart);
    test("a name has one holder", a_name_has_one_holder);
    test("what is refused", what_is_refused);
    test("names are bytes", names_are_bytes);
    test("the end of a connection", the_end_of_a_connection);
    test("many groups of one connection", many_groups_of_one);
    test("coming and going", coming_and_going);
    test("slow members", slow_members);
    test("the last one is slow", the_last_one_is_slow);
    test("questions", questions);
    test("without memory", without_memory);
    test("nothing is allocated for nobody", nothing_is_allocated_for_nobody);
    test("real connections", real_connections);
    return test_end();
}
