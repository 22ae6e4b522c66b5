// SPDX-License-Identifier: MIT
/*
 * The mesh: several of them in this process on one loop, connected by socket pairs, and one alone
 * against a socket that is written and read by hand, in every wrong way there is.
 */
#include "meshrun.h"

#include "base/log.h"

/* --- Messages between meshes ---------------------------------------------------------------- */

static void coming_and_going(void)
{
    begin(2);
    CHECK_INT(say_text(0, 1, "early"), ERR_CLOSED);
    join(0, 1);
    CHECK_INT(say_text(0, 1, "early"), ERR_CLOSED); /* told of at the end of the turn */
    CHECK(run_until(&nodes[1].others, 1));
    CHECK_INT(say_text(0, 1, "hello"), 0);
    CHECK_INT(say_text(0, 1, ""), 0);
    CHECK_INT(say_text(0, 0, "myself"), ERR_CLOSED);
    CHECK_INT(say_text(0, 2, "nobody"), ERR_CLOSED);
    CHECK_INT(say_text(0, BUS_WORKERS, "nobody"), ERR_CLOSED);
    CHECK_INT(say_text(0, UINT32_MAX, "nobody"), ERR_CLOSED);
    CHECK_INT(nodes[1].messages, 0); /* never from inside bus_send */
    CHECK(run_until(&nodes[1].messages, 2));
    node_end(0);
    CHECK(run_until(&nodes[1].gone, 1));
    CHECK_TEXT(nodes[1].notes, "+0 0:hello 0: -0");
    CHECK_TEXT(nodes[0].notes, "+1");
    CHECK_INT(say_text(1, 0, "late"), ERR_CLOSED);
    CHECK_INT(nodes[1].lost, 0);
    finish();
}

/* Numbered messages of random lengths, among them some that are not copied. */
static int check_number(struct node *n, unsigned other, const uint8_t *bytes, size_t len)
{
    uint64_t number = 0;
    if (!CHECK(len >= sizeof number))
        return 0;
    memcpy(&number, bytes, sizeof number);
    if (number != n->expected[other])
        CHECK_INT(number, n->expected[other]);
    n->expected[other]++;
    uint64_t seed = number + 1;
    size_t right = sizeof number;
    while (right < len && bytes[right] == (uint8_t)(seed + right))
        right++;
    if (right != len)
        CHECK_INT(right, len);
    return 0;
}

static size_t random_length(uint64_t *seed)
{
    static const size_t most[] = {16, 100, 100, 1000, 20000, 300000};
    return 8 + random_next(seed) % most[random_next(seed) % 6];
}

static void say_number(unsigned from, unsigned to, uint64_t number, size_t len)
{
    uint8_t *bytes = malloc(len);
    memcpy(bytes, &number, sizeof number);
    for (size_t i = sizeof number; i < len; i++)
        bytes[i] = (uint8_t)(number + 1 + i);
    CHECK_INT(say(from, to, bytes, len), 0);
    free(bytes);
}

static void order(void)
{
    enum { ROUNDS = 300 };
    uint64_t seed = 11, numbers[NODES][NODES] = {{0}};
    unsigned sent[NODES] = {0};
    begin(NODES);
    for (unsigned a = 0; a < NODES; a++)
        for (unsigned b = a + 1; b < NODES; b++)
            join(a, b);
    for (unsigned i = 0; i < NODES; i++) {
        nodes[i].react = check_number;
        CHECK(run_until(&nodes[i].others, NODES - 1));
    }
    for (int i = 0; i < ROUNDS; i++) {
        unsigned from = (unsigned)(random_next(&seed) % NODES);
        unsigned to = (from + 1 + (unsigned)(random_next(&seed) % (NODES - 1))) % NODES;
        for (uint64_t k = random_next(&seed) % 20; k > 0; k--, sent[to]++)
            say_number(from, to, numbers[from][to]++, random_length(&seed));
        if (i % 3 == 0)
            run_for(0);
    }
    for (unsigned i = 0; i < NODES; i++) {
        CHECK(run_until(&nodes[i].messages, sent[i]));
        for (unsigned k = 0; k < NODES; k++)
            CHECK_INT(nodes[i].expected[k], numbers[k][i]);
    }
    finish();
}

/* Every message is answered from inside on_message, to its sender and to all others. */
static int answer_all(struct node *n, unsigned other, const uint8_t *bytes, size_t len)
{
    unsigned self = (unsigned)(n - nodes), hops = len ? bytes[0] : 0;
    uint8_t next = (uint8_t)(hops - 1);
    (void)other;
    for (unsigned to = 0; hops > 0 && to < NODES; to++)
        if (to != self)
            CHECK_INT(say(self, to, &next, 1), 0);
    return 0;
}

static void answers_from_inside(void)
{
    begin(NODES);
    for (unsigned a = 0; a < NODES; a++)
        for (unsigned b = a + 1; b < NODES; b++)
            join(a, b);
    for (unsigned i = 0; i < NODES; i++) {
        CHECK(run_until(&nodes[i].others, NODES - 1));
        nodes[i].react = answer_all;
    }
    CHECK_INT(say(0, 1, (uint8_t[]){5}, 1), 0);
    /* One message with 5 hops makes 3 with 4, … : 1 + 3 + 9 + 27 + 81 + 243. */
    unsigned sum = 0;
    for (double end = now() + SECONDS; sum < 364 && now() < end;) {
        run_for(0.001);
        sum = 0;
        for (unsigned i = 0; i < NODES; i++)
            sum += nodes[i].messages;
    }
    run_for(0.01);
    sum = 0;
    for (unsigned i = 0; i < NODES; i++)
        sum += nodes[i].messages;
    CHECK_INT(sum, 364);
    finish();
}

static void one_chunk_for_all(void)
{
    begin(NODES);
    for (unsigned i = 1; i < NODES; i++) {
        join(0, i);
        CHECK(run_until(&nodes[i].others, 1));
    }
    struct chunk *c = chunk_new(100000);
    memset(c->bytes, 'x', 100000);
    for (unsigned i = 1; i < NODES; i++)
        CHECK_INT(bus_send(nodes[0].bus, i, c), 0);
    CHECK_INT(c->refs, NODES);
    for (unsigned i = 1; i < NODES; i++) {
        CHECK(run_until(&nodes[i].messages, 1));
        CHECK_INT(nodes[i].bytes, 100000);
    }
    CHECK_INT(c->refs, 1);
    chunk_unref(c);
    finish();
}

/* --- What comes in -------------------------------------------------------------------------- */

static size_t frame(uint8_t *out, const char *text)
{
    size_t len = strlen(text);
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(len >> 8 * i);
    memcpy(out + 4, text, len);
    return 4 + len;
}

struct feed {
    uint8_t bytes[512];
    size_t len;
};

static void feed_cut(const struct cut *cut, void *arg)
{
    const struct feed *f = arg;
    nodes[0].len = 0;
    nodes[0].messages = 0;
    nodes[0].gone = 0;
    int fd = by_hand(1);
    for (size_t pos = 0, n; (n = cut_piece(cut, pos, f->len)); pos += n) {
        run_for(0);
        CHECK_INT(send(fd, f->bytes + pos, n, 0), n);
    }
    close(fd);
    CHECK(run_until(&nodes[0].gone, 1));
    CHECK_TEXT(nodes[0].notes, "+1 1:first 1: 1:a message of thirty-two bytes !! 1: 1:x -1");
    CHECK_INT(nodes[0].lost, 0);
}

/* All of it arrives, however it is cut, and although the sender is gone by then. */
static void split_everywhere(void)
{
    static const char *const texts[] = {"first", "", "a message of thirty-two bytes !!", "", "x"};
    struct feed f = {.len = 0};
    for (int i = 0; i < 5; i++)
        f.len += frame(f.bytes + f.len, texts[i]);
    begin(1);
    each_cut(f.len, feed_cut, &f);
    finish();
}

/* An unfinished message at the end is nobody's. */
static void unfinished_at_the_end(void)
{
    uint8_t bytes[64];
    size_t len = frame(bytes, "all of it");
    begin(1);
    for (size_t cut = 0; cut < len; cut++) {
        int fd = by_hand(1);
        if (cut)
            CHECK_INT(send(fd, bytes, cut, 0), cut);
        close(fd);
        CHECK(run_until(&nodes[0].gone, (unsigned)cut + 1));
    }
    CHECK_INT(nodes[0].messages, 0);
    CHECK_INT(nodes[0].lost, 0);
    finish();
}

static void send_all(int fd, const uint8_t *bytes, size_t len)
{
    double end = now() + SECONDS;
    for (size_t pos = 0; pos < len && now() < end;) {
        ssize_t n = send(fd, bytes + pos, len - pos, MSG_NOSIGNAL);
        pos += n > 0 ? (size_t)n : 0;
        run_for(0);
    }
}

/* The largest there may be is taken, one byte more ends the line before it comes. */
static void maximum_and_more(void)
{
    uint8_t head[4] = {0, 0, 0, BUS_MESSAGE_MAX >> 24};
    uint8_t *body = calloc(1, BUS_MESSAGE_MAX);
    begin(1);
    int fd = by_hand(1);
    run_for(0);
    send_all(fd, head, 4);
    send_all(fd, body, BUS_MESSAGE_MAX);
    CHECK(run_until(&nodes[0].messages, 1));
    CHECK_INT(nodes[0].bytes, BUS_MESSAGE_MAX);
    head[0] = 1;
    alloc_watch(0, false);
    send_all(fd, head, 4);
    CHECK(run_until(&nodes[0].gone, 1));
    CHECK(alloc_end().largest < MIB);
    CHECK_INT(nodes[0].lost, 1);
    CHECK_INT(nodes[0].messages, 1);
    char letter;
    CHECK_INT(recv(fd, &letter, 1, 0), 0);
    close(fd);
    free(body);
    finish();
}

static void largest_through_two(void)
{
    begin(2);
    join(0, 1);
    CHECK(run_until(&nodes[1].others, 1));
    struct chunk *c = chunk_new(BUS_MESSAGE_MAX + 1);
    memset(c->bytes, 'm', c->len);
    CHECK_INT(bus_send(nodes[0].bus, 1, c), ERR_TOO_BIG);
    c->len = BUS_MESSAGE_MAX;
    CHECK_INT(bus_send(nodes[0].bus, 1, c), 0);
    CHECK_INT(bus_send(nodes[0].bus, 1, c), ERR_POLICY);
    chunk_unref(c);
    CHECK(run_until(&nodes[1].messages, 1));
    CHECK_INT(nodes[1].bytes, BUS_MESSAGE_MAX);
    CHECK(run_until(&nodes[0].rooms, 1));
    finish();
}

static int refuse_word(struct node *n, unsigned other, const uint8_t *bytes, size_t len)
{
    (void)n, (void)other;
    return len == 3 && memcmp(bytes, "bad", 3) == 0 ? ERR_PROTOCOL : 0;
}

/* The user of the bus may find a message wrong; nothing after it is told. */
static void refused_by_the_user(void)
{
    uint8_t bytes[64];
    size_t len = frame(bytes, "good");
    len += frame(bytes + len, "bad");
    len += frame(bytes + len, "good");
    begin(1);
    nodes[0].react = refuse_word;
    for (size_t cut = 1; cut <= len; cut++) {
        nodes[0].len = 0;
        nodes[0].gone = 0;
        int fd = by_hand(1);
        CHECK_INT(send(fd, bytes, cut, 0), cut);
        run_for(0);
        run_for(0);
        if (cut < len)
            send(fd, bytes + cut, len - cut, MSG_NOSIGNAL);
        CHECK(run_until(&nodes[0].gone, 1));
        CHECK_TEXT(nodes[0].notes, "+1 1:good 1:bad -1");
        close(fd);
    }
    CHECK_INT(nodes[0].lost, len);
    finish();
}

/* Whatever comes: messages, or the end of the line. */
static void garbage(void)
{
    uint64_t seed = 5;
    begin(1);
    for (int i = 0; i < 300; i++) {
        uint8_t bytes[2000];
        size_t len = 1 + random_next(&seed) % sizeof bytes;
        int zeros = (int)(random_next(&seed) % 4);
        for (size_t k = 0; k < len; k++)
            bytes[k] = (int)(k % 4) > zeros ? 0 : (uint8_t)random_next(&seed);
        nodes[0].gone = 0;
        nodes[0].len = 0;
        int fd = by_hand(1);
        send_all(fd, bytes, len);
        close(fd);
        CHECK(run_until(&nodes[0].gone, 1));
    }
    CHECK(nodes[0].lost > 0 && nodes[0].lost < 300);
    finish();
}

static void short_of_memory(void)
{
    const uint8_t bytes[5] = {0x00, 0x00, 0x10, 0x00, 'x'};
    begin(1);
    for (size_t first = 4; first <= 5; first++) { /* without and with a part of the body */
        int fd = by_hand(1);
        run_for(0);
        CHECK_INT(send(fd, bytes, first, 0), first);
        alloc_watch(1, true);
        run_for(0.002);
        send(fd, bytes + 4, 1, MSG_NOSIGNAL);
        run_for(0.002);
        CHECK(alloc_end().failed);
        CHECK_INT(nodes[0].gone, first - 3);
        CHECK_INT(nodes[0].lost, first - 3);
        close(fd);
    }
    finish();
}

/* --- What goes out -------------------------------------------------------------------------- */

/* Takes all that has come to the test's end. */
static size_t swallow(int fd)
{
    static uint8_t bytes[MIB];
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        len += (size_t)n;
    return len;
}

/* A worker that does not read: its queue ends somewhere, the other worker notices nothing. */
static void full_queue(void)
{
    unsigned sent = 0, refused = 0;
    size_t received = 0;
    begin(2);
    join(0, 1);
    int fd = by_hand(2);
    CHECK(run_until(&nodes[0].others, 2));
    struct chunk *c = chunk_new(10000);
    memset(c->bytes, 'x', c->len);
    for (int i = 0; i < 10000; i++) {
        int r = bus_send(nodes[0].bus, 2, c);
        CHECK(r == 0 || r == ERR_POLICY);
        CHECK(r == 0 || sent * 10004ul > 60 * MIB);
        sent += r == 0;
        refused += r != 0;
        if (i % 100 == 0)
            run_for(0);
    }
    CHECK(sent * 10004ul < 66 * MIB);
    CHECK(refused > 0);
    CHECK_INT(say_text(0, 2, "small"), ERR_POLICY); /* none slips past those that were refused */
    CHECK_INT(say_text(0, 1, "hello"), 0);
    CHECK(run_until(&nodes[1].messages, 1));
    CHECK_INT(nodes[0].rooms, 0);
    for (double end = now() + SECONDS; received < 10004ul * sent / 3 && now() < end;) {
        received += swallow(fd);
        run_for(0);
    }
    CHECK_INT(nodes[0].rooms, 0); /* less than half is free */
    for (double end = now() + SECONDS; received < 10004ul * sent && now() < end;) {
        received += swallow(fd);
        run_for(0);
    }
    CHECK_INT(nodes[0].rooms, 1);
    CHECK_INT(say_text(0, 2, "again"), 0);
    run_for(0.005);
    received += swallow(fd);
    CHECK_INT(received, 10004ul * sent + 9);
    CHECK_INT(c->refs, 1);
    chunk_unref(c);
    close(fd);
    finish();
}

static void send_more(struct node *n, unsigned other)
{
    struct chunk *c = chunk_new(3 * MIB);
    memset(c->bytes, 0, c->len);
    if (n->rooms < 3)
        while (bus_send(n->bus, other, c) == 0)
            ;
    chunk_unref(c);
}

/* Who uses the room at once, from inside on_room, is told again. */
static void room_is_used(void)
{
    begin(1);
    nodes[0].on_room = send_more;
    int fd = by_hand(1);
    run_for(0);
    send_more(&nodes[0], 1);
    size_t received = 0;
    for (double end = now() + SECONDS; received < 150ul * MIB && now() < end;) {
        size_t n = swallow(fd);
        received += n;
        run_for(0);
        if (nodes[0].rooms == 3 && n == 0)
            break;
    }
    CHECK_INT(nodes[0].rooms, 3);
    CHECK_INT(received % (3 * MIB + 4), 0);
    close(fd);
    finish();
}

/* Writes of one socket that takes little at a time: what arrives is what was sent. */
static void partial_writes(void)
{
    int fds[2], size = 4096;
    begin(2);
    make_pair(fds);
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    mesh_add(nodes[0].mesh, 1, fds[0]);
    mesh_add(nodes[1].mesh, 0, fds[1]);
    nodes[1].react = check_number;
    CHECK(run_until(&nodes[0].others, 1));
    uint64_t seed = 3;
    for (uint64_t i = 0; i < 400; i++) {
        say_number(0, 1, i, random_length(&seed));
        if (i % 50 == 0)
            run_for(0);
    }
    CHECK(run_until(&nodes[1].messages, 400));
    CHECK_INT(nodes[1].expected[0], 400);
    finish();
}

/* Without memory a message is refused as by a full queue; room is told once there may be some. */
static void no_memory_to_queue(void)
{
    begin(2);
    join(0, 1);
    CHECK(run_until(&nodes[1].others, 1));
    struct chunk *small = chunk_new(10), *large = chunk_new(50000);
    memset(small->bytes, 's', small->len);
    memset(large->bytes, 'l', large->len);
    alloc_watch(1, true);
    CHECK_INT(bus_send(nodes[0].bus, 1, small), ERR_POLICY);
    alloc_end();
    CHECK_INT(bus_send(nodes[0].bus, 1, small), ERR_POLICY);
    CHECK(run_until(&nodes[0].rooms, 1));
    CHECK_INT(bus_send(nodes[0].bus, 1, small), 0);
    CHECK_INT(bus_send(nodes[0].bus, 1, large), 0);
    alloc_watch(1, true); /* the reference to the large one has to become a segment */
    CHECK_INT(bus_send(nodes[0].bus, 1, small), ERR_POLICY);
    CHECK(alloc_end().failed);
    CHECK(run_until(&nodes[0].rooms, 2));
    CHECK_INT(bus_send(nodes[0].bus, 1, small), 0);
    CHECK(run_until(&nodes[1].messages, 3));
    CHECK_INT(nodes[1].bytes, 50020);
    CHECK_INT(nodes[1].gone, 0);
    CHECK_INT(large->refs, 1);
    chunk_unref(small);
    chunk_unref(large);
    finish();
}

/* --- Ends ----------------------------------------------------------------------------------- */

/* A worker that dies while we write: what it had said before is told, then that it is gone. */
static void writing_to_the_dead(void)
{
    uint8_t bytes[64];
    size_t len = frame(bytes, "last words");
    begin(1);
    for (unsigned i = 1; i <= 3; i++) {
        nodes[0].len = 0;
        int fd = by_hand(1);
        run_for(0);
        if (i > 1) /* with something unread, which makes reading fail as well */
            CHECK_INT(say_text(0, 1, "unread"), 0);
        if (i > 2)
            for (int k = 0; k < 2000; k++)
                say_number(0, 1, 0, 1000);
        run_for(i > 1 ? 0.001 : 0);
        CHECK_INT(send(fd, bytes, len, 0), len);
        close(fd);
        CHECK_INT(say_text(0, 1, "to nobody"), 0);
        loop_run_stage(&loop, LOOP_FLUSH);
        CHECK(run_until(&nodes[0].gone, i));
        CHECK_TEXT(nodes[0].notes, "+1 1:last words -1");
    }
    CHECK_INT(nodes[0].lost, 0);
    finish();
}

/*
 * A new life of a worker: the old line is read to its end first, also when its end of file is
 * missing because a process that the worker has started still holds the socket.
 */
static void new_life(void)
{
    uint8_t bytes[64];
    size_t len = frame(bytes, "old");
    begin(1);
    int old = by_hand(1);
    run_for(0);
    CHECK_INT(send(old, bytes, len, 0), len);
    int young = by_hand(1);
    len = frame(bytes, "new");
    CHECK_INT(send(young, bytes, len, 0), len);
    CHECK(run_until(&nodes[0].messages, 2));
    CHECK_TEXT(nodes[0].notes, "+1 1:old -1 +1 1:new");
    char letter;
    CHECK_INT(recv(old, &letter, 1, 0), 0);
    CHECK_INT(say_text(0, 1, "hello"), 0);
    run_for(0);
    CHECK_INT(recv(young, bytes, sizeof bytes, 0), 9);
    close(old);
    close(young);
    CHECK(run_until(&nodes[0].gone, 2));
    finish();
}

/* The old line has more than one turn's reading takes, and there are two new lives by then. */
static void new_lives_wait(void)
{
    uint8_t bytes[64];
    size_t len = frame(bytes, "x"), sent = 0;
    ssize_t n;
    begin(1);
    int old = by_hand(1);
    run_for(0);
    while ((n = send(old, bytes, len, MSG_DONTWAIT)) == (ssize_t)len)
        sent++;
    close(old);
    int second = by_hand(1), third = by_hand(1);
    char letter;
    CHECK_INT(recv(second, &letter, 1, 0), 0); /* dead before anybody heard of it */
    close(second);
    CHECK(run_until(&nodes[0].others, 2));
    CHECK_INT(nodes[0].messages, sent);
    CHECK_INT(nodes[0].gone, 1);
    CHECK_INT(nodes[0].lost, 0);
    close(third);
    CHECK(run_until(&nodes[0].gone, 2));
    finish();
}

/* What a node does when a worker goes: tells all others, and takes on another line. */
static void tell_and_join(struct node *n, unsigned other)
{
    unsigned self = (unsigned)(n - nodes);
    for (unsigned i = 0; i < NODES; i++)
        say_text(self, i, "gone");
    if (n->gone < 3)
        mesh_add(n->mesh, other, dup(STDIN_FILENO));
}

static int leave_on_message(struct node *n, unsigned other, const uint8_t *bytes, size_t len)
{
    (void)bytes, (void)len;
    int fds[2];
    make_pair(fds); /* a life that is over at once, while the line it replaces is being read */
    mesh_add(n->mesh, other, fds[0]);
    close(fds[1]);
    return 0;
}

static void changes_from_inside(void)
{
    uint8_t bytes[64];
    size_t len = frame(bytes, "one");
    len += frame(bytes + len, "two");
    begin(1);
    nodes[0].react = leave_on_message;
    nodes[0].on_gone = tell_and_join;
    int fd = by_hand(1), other = by_hand(2);
    run_for(0);
    CHECK_INT(send(fd, bytes, len, 0), len);
    run_for(0.05);
    CHECK_INT(nodes[0].messages, 2);
    CHECK(nodes[0].gone >= 2);
    CHECK(swallow(other) > 0);
    close(fd);
    close(other);
    finish();
}

/* A turn has one read for each worker, whatever waits. */
static void one_read_a_turn(void)
{
    uint8_t bytes[16 * 1024] = {0}; /* 256 messages of 60 bytes */
    begin(1);
    int fd = by_hand(1);
    run_for(0);
    for (size_t i = 0; i < sizeof bytes; i += 64)
        bytes[i] = 60;
    size_t sent = 0;
    while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) == sizeof bytes)
        sent += sizeof bytes;
    CHECK(sent > 3 * 65536);
    unsigned long turns = loop.pulse->beats;
    CHECK(run_until(&nodes[0].messages, (unsigned)(sent / 64)));
    CHECK(loop.pulse->beats - turns >= sent / 65536);
    close(fd);
    finish();
}

/* A mesh at rest wakes nobody. */
static void at_rest(void)
{
    begin(NODES);
    for (unsigned i = 1; i < NODES; i++) {
        join(0, i);
        CHECK(run_until(&nodes[i].others, 1));
        CHECK_INT(say_text(0, i, "x"), 0);
        CHECK(run_until(&nodes[i].messages, 1));
    }
    run_for(0.01);
    unsigned long turns = loop.pulse->beats;
    run_for(0.2);
    CHECK(loop.pulse->beats - turns <= 2);
    finish();
}

static void numbers_that_cannot_be(void)
{
    char letter;
    begin(1);
    static const unsigned numbers[] = {0, BUS_WORKERS, UINT32_MAX};
    for (int i = 0; i < 3; i++) {
        int fd = by_hand(numbers[i]);
        CHECK_INT(recv(fd, &letter, 1, 0), 0);
        close(fd);
    }
    int fd = by_hand(BUS_WORKERS - 1);
    CHECK(run_until(&nodes[0].others, 1));
    CHECK_TEXT(nodes[0].notes, "+511");
    node_end(0);
    CHECK_INT(recv(fd, &letter, 1, 0), 0);
    close(fd);
    finish();
}

int main(void)
{
    log_open(LOG_ERROR, false);
    test("coming and going", coming_and_going);
    test("order", order);
    test("answers from inside", answers_from_inside);
    test("one chunk for all", one_chunk_for_all);
    test("split everywhere", split_everywhere);
    test("unfinished at the end", unfinished_at_the_end);
    test("the maximum, and more", maximum_and_more);
    test("the largest through two", largest_through_two);
    test("refused by the user", refused_by_the_user);
    test("garbage", garbage);
    test("short of memory", short_of_memory);
    test("a full queue", full_queue);
    test("room is used", room_is_used);
    test("partial writes", partial_writes);
    test("no memory to queue", no_memory_to_queue);
    test("writing to the dead", writing_to_the_dead);
    test("a new life", new_life);
    test("new lives wait", new_lives_wait);
    test("changes from inside", changes_from_inside);
    test("one read a turn", one_read_a_turn);
    test("at rest", at_rest);
    test("numbers that cannot be", numbers_that_cannot_be);
    return test_end();
}
