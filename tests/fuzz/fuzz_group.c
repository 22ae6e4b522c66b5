// SPDX-License-Identifier: MIT
/*
 * Groups of three workers on a bus that is slow, full or broken as the input says, against plain
 * sets. Every byte pair of the input is a step: what, and of whom or to where. Beyond crashes:
 *
 *      - a push reaches the members here at once, and nobody else here;
 *      - a member from one settling to the next gets every push of a worker whose line was good;
 *      - nobody gets a message twice, or messages of one worker out of order;
 *      - once all is delivered, workers know exactly what the others have, at most one holds a
 *        stored name, and that is who stored it last; questions are answered with the truth;
 *      - a removed group has lost who was in it, but nobody who joined it anew at that place;
 *      - in the end nothing is left.
 */
#include "../unit/grouprun.h"

#include "base/log.h"
#include "wsfuzz.h"

enum { WORKERS = 3, PEOPLE = 12, ROOMS = 3, NAMES = 2, TOPICS = ROOMS + NAMES + 1, PUSHES = 64 };
enum { ASKS = 4 };

/* Whether somebody is in a room, as far as that follows from the steps. */
enum member {
    OUT,
    IN,
    DOOMED, /* was in when the room was removed elsewhere */
    MAYBE,  /* joined after that, and before the news */
};

static struct person {
    struct session *conn; /* NULL: nobody */
    unsigned worker;
    enum member in[ROOMS];
    bool loyal[TOPICS]; /* in since the last settling */
    bool got[WORKERS][PUSHES];
    unsigned last[WORKERS]; /* the last message of each worker */
    bool slow;
} people[PEOPLE];

/* Who has the last word on a stored name. */
static struct {
    uint64_t stamp;
    unsigned worker;
    struct session *conn; /* NULL: the name was removed */
} names[NAMES];

/* Messages of a worker since the last settling, counted from `first`; and their topics. */
static struct {
    unsigned first, count;
    uint8_t topic[PUSHES];
} sent[WORKERS];

static bool news[WORKERS][ROOMS];   /* that a room was removed elsewhere may be on the way */
static bool good[WORKERS][WORKERS]; /* the line was, since the last settling */
static bool all_good;               /* since the beginning */

static struct {
    struct group_ask ask;
    bool used;
    int told;
} asks[ASKS];

static struct group_key topic_key(unsigned topic)
{
    static const char *const text[TOPICS] = {"r0", "r1", "r2", "n0", "n1", "s"};
    enum group_kind kind = topic < ROOMS           ? GROUP_JOINED
                           : topic < ROOMS + NAMES ? GROUP_STORED
                                                   : GROUP_SERVICE;
    return run_key(kind, text[topic]);
}

static struct groups *groups(unsigned worker)
{
    return run[worker]->groups;
}

static struct group *group_at(unsigned worker, unsigned topic)
{
    struct group_key key = topic_key(topic);
    return group_table_find(groups(worker), &key);
}

static bool is_member(const struct person *p, unsigned topic)
{
    const struct group *group = p->conn ? group_at(p->worker, topic) : NULL;
    for (uint32_t i = 0; group && i < group->count; i++)
        if (group->slots[i].session == p->conn)
            return true;
    return false;
}

static void read_person(struct person *p)
{
    char text[RUN_TEXT];
    char *at = text;
    unsigned worker, number;
    int used;
    if (!p->conn || p->slow)
        return;
    for (run_taken(p->conn, text); sscanf(at, "%u-%u%n", &worker, &number, &used) == 2;
         at += used) {
        MUST(worker < WORKERS && number > p->last[worker]);
        p->last[worker] = number;
        if (number >= sent[worker].first)
            p->got[worker][number - sent[worker].first] = true;
    }
}

/* Who has been closed is in nothing. */
static void check_person(struct person *p)
{
    if (!p->conn || session_writable(p->conn))
        return;
    MUST(!p->conn->place.memberships && !p->conn->place.service &&
         !p->conn->place.membership_count);
    memset(p->in, 0, sizeof p->in);
    memset(p->loyal, 0, sizeof p->loyal);
}

static void push(unsigned worker, unsigned topic)
{
    char text[32];
    bool member[PEOPLE];
    if (sent[worker].count == PUSHES)
        return;
    unsigned number = sent[worker].first + sent[worker].count;
    sent[worker].topic[sent[worker].count++] = (uint8_t)topic;
    snprintf(text, sizeof text, "%u-%u", worker, number);
    for (unsigned i = 0; i < PEOPLE; i++)
        member[i] = people[i].worker == worker && is_member(&people[i], topic);
    struct group_key key = topic_key(topic);
    struct group_pushed out = run_push(run[worker], key.kind, key.name, text);
    MUST(out.delivered + out.dropped == out.members && out.closed <= out.dropped);
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct person *p = &people[i];
        read_person(p);
        check_person(p);
        if (p->conn && p->worker == worker && !p->slow)
            MUST((p->last[worker] == number) == member[i]);
    }
}

static void open_person(struct person *p, unsigned worker)
{
    if (p->conn)
        return;
    *p = (struct person){.conn = run_conn(run[worker]), .worker = worker};
    for (unsigned i = 0; i < WORKERS; i++)
        p->last[i] = sent[i].first - 1;
    MUST(group_join_service(run_of(p->conn)->groups, p->conn, "s", 1) == 0);
}

static void end_person(struct person *p, unsigned how)
{
    if (!p->conn)
        return;
    for (unsigned i = 0; i < NAMES; i++)
        if (names[i].conn == p->conn)
            names[i].conn = NULL;
    if (how % 3 == 0)
        session_close(p->conn, 1000, "", 0, 5);
    else if (how % 3 == 1)
        session_fail(p->conn, ERR_HANDLER, 1011, "failed");
    else
        conn_gone(&p->conn->conn);
    check_person(p);
    MUST(!p->conn->place.memberships);
    run_conn_free(p->conn);
    *p = (struct person){0};
}

static void stall(struct person *p)
{
    static const uint8_t bytes[2000];
    if (!p->conn)
        return;
    p->slow = true;
    memset(p->loyal, 0, sizeof p->loyal);
    while (session_writable(p->conn) &&
           conn_buffered(&p->conn->conn) <= session_settings_of(p->conn)->max_buffered)
        session_send(p->conn, WS_BINARY, bytes, sizeof bytes);
}

static void join(struct person *p, unsigned room)
{
    if (!p->conn)
        return;
    struct group_key key = topic_key(room);
    int err = group_join(groups(p->worker), &key, p->conn);
    MUST(err == (session_writable(p->conn) ? 0 : ERR_CLOSED));
    if (err == 0)
        p->in[room] = news[p->worker][room] ? MAYBE : IN;
}

static void leave(struct person *p, unsigned room)
{
    if (!p->conn)
        return;
    struct group_key key = topic_key(room);
    bool was = group_leave(groups(p->worker), &key, p->conn);
    MUST(p->in[room] != IN || was);
    MUST(p->in[room] != OUT || !was);
    p->in[room] = OUT;
    p->loyal[room] = false;
}

static void disloyal(unsigned topic)
{
    for (unsigned i = 0; i < PEOPLE; i++)
        people[i].loyal[topic] = false;
}

static void last_word(unsigned name, uint64_t stamp, unsigned worker, struct session *conn)
{
    bool tied = stamp == names[name].stamp && worker >= names[name].worker;
    disloyal(ROOMS + name);
    if (stamp > names[name].stamp || tied) {
        names[name].stamp = stamp;
        names[name].worker = worker;
        names[name].conn = conn;
    }
}

static void store(struct person *p, unsigned name)
{
    if (!p->conn)
        return;
    struct group_key key = topic_key(ROOMS + name);
    int err = group_join(groups(p->worker), &key, p->conn);
    MUST(err == (session_writable(p->conn) ? 0 : ERR_CLOSED));
    if (err == 0)
        last_word(name, group_at(p->worker, ROOMS + name)->claim, p->worker, p->conn);
}

/* A room that was a room when it was removed here; elsewhere the news is on its way. */
static void remove_room(unsigned worker, unsigned room)
{
    for (unsigned w = 0; w < WORKERS; w++)
        news[w][room] = news[w][room] || w != worker;
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct person *p = &people[i];
        if (p->worker == worker)
            p->in[room] = OUT;
        else if (p->in[room] != OUT)
            p->in[room] = DOOMED;
    }
}

/* Without others there is no stamp. */
static void remove_name(unsigned worker, unsigned name, uint64_t stamp)
{
    last_word(name, stamp, worker, NULL);
    if (names[name].worker == worker)
        names[name].conn = NULL;
}

static void dissolve(unsigned worker, unsigned topic)
{
    struct group_key key = topic_key(topic);
    group_dissolve(groups(worker), &key);
    const struct group *group = group_at(worker, topic);
    MUST(key.kind == GROUP_SERVICE || !group || (!group->count && !group->share_count));
    disloyal(topic);
    if (key.kind == GROUP_JOINED)
        remove_room(worker, topic);
    else if (key.kind == GROUP_STORED)
        remove_name(worker, topic - ROOMS, group && group->seq ? group->dissolved : 0);
}

static void hang_up(unsigned a, unsigned b, unsigned some)
{
    if (a == b || !run[a]->lines[b].up)
        return;
    run_deliver(a, b, some);
    run_deliver(b, a, some / 2);
    good[a][b] = good[b][a] = all_good = false;
    run_gone(a, b);
    run_gone(b, a);
}

static void narrow(unsigned a, unsigned b, unsigned limit)
{
    run[a]->lines[b].limit = limit;
    good[a][b] = false;
}

static void on_answer(struct group_ask *ask, int err)
{
    (void)err;
    for (unsigned i = 0; i < ASKS; i++)
        asks[i].told += ask == &asks[i].ask;
}

static void ask(unsigned number, unsigned worker, unsigned topic)
{
    if (asks[number].used)
        return;
    asks[number].used = true;
    asks[number].told = 0;
    asks[number].ask =
        (struct group_ask){.key = topic_key(topic), .want_ids = topic % 2, .on_answer = on_answer};
    MUST(group_ask(groups(worker), &asks[number].ask) == 0);
}

static void end_ask(unsigned number)
{
    if (asks[number].used)
        group_ask_end(&asks[number].ask);
    asks[number].used = false;
}

/* --- Settling --------------------------------------------------------------------------------- */

static void repair(void)
{
    for (unsigned a = 0; a < WORKERS; a++)
        for (unsigned b = 0; b < WORKERS; b++) {
            run[a]->lines[b].limit = RUN_LINE;
            if (a < b && !run[a]->lines[b].up)
                run_connect(a, b);
        }
    run_settle();
    for (unsigned i = 0; i < ASKS; i++) {
        if (asks[i].used && asks[i].ask.question)
            run_time(&asks[i].ask.question->timer);
        MUST(!asks[i].used || asks[i].told == 1);
        end_ask(i);
    }
}

/* Everybody who was in all the time has got all that came by good lines. */
static void check_pushes(struct person *p)
{
    read_person(p);
    for (unsigned w = 0; w < WORKERS; w++)
        for (unsigned i = 0; i < sent[w].count; i++)
            if (p->conn && p->loyal[sent[w].topic[i]] && (w == p->worker || good[w][p->worker]))
                MUST(p->got[w][i]);
}

static void check_rooms(struct person *p)
{
    for (unsigned room = 0; room < ROOMS && p->conn; room++) {
        bool in = is_member(p, room);
        MUST(p->in[room] != IN || in);
        MUST(p->in[room] != OUT || !in);
        MUST(p->in[room] != DOOMED || !in || !all_good);
        p->in[room] = in ? IN : OUT;
    }
}

static void check_name(unsigned name)
{
    unsigned holders = 0;
    bool last_one = false;
    for (unsigned i = 0; i < PEOPLE; i++) {
        bool holds = is_member(&people[i], ROOMS + name);
        holders += holds;
        last_one = last_one || (holds && people[i].conn == names[name].conn);
    }
    MUST(holders <= 1);
    if (names[name].conn && session_writable(names[name].conn))
        MUST(last_one);
}

/* All workers know of each other's members, and nothing else. */
static void check_shares(unsigned topic)
{
    uint32_t count[WORKERS] = {0};
    for (unsigned i = 0; i < PEOPLE; i++)
        count[people[i].worker] += is_member(&people[i], topic);
    for (unsigned w = 0; w < WORKERS; w++) {
        const struct group *group = group_at(w, topic);
        unsigned others = 0;
        MUST((group ? group->count : 0) == count[w]);
        for (unsigned k = 0; k < WORKERS; k++) {
            const struct group_share *s = group ? group_share_of(group, k) : NULL;
            MUST((s ? s->count : 0) == (k == w ? 0 : count[k]));
            others += s != NULL;
        }
        MUST(!group || (group->share_count == others && (others || group->count)));
    }
}

/* Asked and pushed to at rest, a topic has exactly its members. */
static void check_topic(unsigned topic)
{
    struct group_key key = topic_key(topic);
    unsigned worker = topic % WORKERS, members = 0, reached = 0;
    for (unsigned i = 0; i < PEOPLE; i++)
        members += is_member(&people[i], topic);
    ask(0, worker, topic);
    run_settle();
    MUST(asks[0].told == 1 && asks[0].ask.count == members);
    MUST(buf_len(&asks[0].ask.ids) == (topic % 2 ? members * CONN_ID_SIZE : 0));
    end_ask(0);
    struct group_pushed out = run_push(run[worker], key.kind, key.name, "9-9");
    run_settle();
    MUST(out.members == members && out.delivered == members);
    for (unsigned i = 0; i < PEOPLE; i++) {
        char text[RUN_TEXT];
        if (people[i].conn)
            reached += strcmp(run_taken(people[i].conn, text), "9-9") == 0;
    }
    MUST(reached == members);
}

static void begin_again(void)
{
    memset(news, 0, sizeof news);
    for (unsigned w = 0; w < WORKERS; w++) {
        sent[w].first += sent[w].count;
        sent[w].count = 0;
        for (unsigned k = 0; k < WORKERS; k++)
            good[w][k] = true;
    }
    for (unsigned i = 0; i < PEOPLE; i++) {
        memset(people[i].got, 0, sizeof people[i].got);
        for (unsigned topic = 0; topic < TOPICS; topic++)
            people[i].loyal[topic] = is_member(&people[i], topic);
    }
}

static void settle(void)
{
    repair();
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct person *p = &people[i];
        check_person(p);
        if (p->conn && p->slow)
            outq_clear(&p->conn->conn.out, &run[p->worker]->conns.pool);
        p->slow = false;
        check_pushes(p);
        check_rooms(p);
    }
    for (unsigned name = 0; name < NAMES; name++)
        check_name(name);
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        check_shares(topic);
        check_topic(topic);
    }
    begin_again();
}

static void step(unsigned what, unsigned arg)
{
    struct person *p = &people[arg % PEOPLE];
    unsigned worker = arg % WORKERS, other = arg / 4 % WORKERS, rest = arg / 16;
    switch (what % 16) {
    case 0: open_person(p, rest % WORKERS); break;
    case 1: end_person(p, rest); break;
    case 2:
    case 3: join(p, rest % ROOMS); break;
    case 4: leave(p, rest % ROOMS); break;
    case 5: store(p, rest % NAMES); break;
    case 6: dissolve(worker, rest % TOPICS); break;
    case 7:
    case 8: push(worker, rest % TOPICS); break;
    case 9: run_turn(run[worker]); break;
    case 10: run_time(&groups(worker)->bus->later); break;
    case 11:
        if (worker != other)
            run_deliver(worker, other, 1 + rest);
        break;
    case 12: narrow(worker, other, rest); break;
    case 13: hang_up(worker, other, rest); break;
    case 14: ask(rest % ASKS, worker, rest % TOPICS); break;
    default: rest % 4 == 0 ? settle() : rest % 4 == 1 ? end_ask(arg % ASKS) : stall(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!run[0]) {
        log_open(LOG_ERROR, false);
        run_start(WORKERS);
    }
    for (unsigned w = 0; w < WORKERS; w++) {
        sent[w].first = 1;
        run[w]->settings.drop_slow = size % 2;
    }
    memset(names, 0, sizeof names);
    all_good = true;
    repair();
    begin_again();
    for (size_t i = 0; i + 1 < size; i += 2)
        step(data[i], data[i + 1]);
    settle();
    for (unsigned i = 0; i < PEOPLE; i++)
        end_person(&people[i], i);
    repair();
    for (unsigned w = 0; w < WORKERS; w++)
        MUST(!groups(w)->names.count && !groups(w)->members.count &&
             !groups(w)->bus->questions.count);
    return 0;
}
