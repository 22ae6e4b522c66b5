// SPDX-License-Identifier: MIT
/*
 * What the session allocates and copies: nothing on the fast path, nothing at rest, no more than
 * has arrived, and linear work however the input is cut and kept.
 */
#include "base/err.h"
#include "proto/ws/ws_input.h"
#include "wsrun.h"

enum { MIB = 1 << 20 };

static const struct ws_limits limits = {
    .max_frame = MIB, .max_message = MIB, .max_fragments = 1024, .out_frame = 65536};

static struct ws_shared shared = {.random = wsrun_random};
static struct ws ws;
static uint8_t wire[2 * MIB];

static void start(enum ws_role role)
{
    wsout_init(&ws, role, &limits, &shared);
}

static void stop(void)
{
    wsout_deinit(&ws);
    wsout_shared_deinit(&shared);
}

/* A masked frame at `out`; returns its end. The payload is 'a's. */
static uint8_t *put_frame(uint8_t *out, unsigned opcode, bool fin, size_t len)
{
    struct frame f = {.length = len, .opcode = (uint8_t)opcode, .fin = fin, .masked = true};
    memcpy(f.mask, wsrun_key, 4);
    out += frame_encode(&f, out);
    memset(out, 'a', len);
    frame_mask(out, out, len, f.mask, 0);
    return out + len;
}

/* Takes events until there is none; their number, -1 after an error. Bytes of data are added up. */
static long take_events(size_t *bytes)
{
    struct ws_event ev;
    long n = 0;
    int r;
    while ((r = ws_next(&ws, &ev)) == 1) {
        n++;
        *bytes += ev.len;
    }
    return r < 0 ? -1 : n;
}

static void the_struct_is_small(void)
{
    CHECK(sizeof(struct ws) <= 128);
}

static void whole_frames_lie_where_they_came(void)
{
    struct ws_event ev;
    uint8_t *end = wire;
    for (int i = 0; i < 100; i++)
        end = put_frame(end, i % 2 ? FRAME_TEXT : FRAME_BINARY, true, (size_t)i * 5);
    start(WS_SERVER);
    alloc_watch(0, false);
    ws_feed(&ws, wire, (size_t)(end - wire));
    for (size_t i = 0; i < 100; i++) {
        if (!CHECK_INT(ws_next(&ws, &ev), 1))
            break;
        CHECK_INT(ev.len, i * 5);
        CHECK(ev.data > wire && ev.data <= end);
    }
    CHECK_INT(ws_next(&ws, &ev), 0);
    CHECK_INT(alloc_end().calls, 0);
    CHECK(ws.input == NULL);
    stop();
}

static void echo_allocates_nothing(void)
{
    uint8_t one[64];
    struct ws_event ev;
    start(WS_SERVER);
    CHECK_INT(ws_ping(&ws, NULL, 0), 0); /* the pool's first segment */
    outq_clear(ws.out, shared.pool);
    alloc_watch(0, false);
    for (int i = 0; i < 1000; i++) {
        size_t len = (size_t)(put_frame(one, FRAME_TEXT, true, 20) - one);
        ws_feed(&ws, one, len);
        int r = ws_next(&ws, &ev);
        if (r == 1)
            ws_send(&ws, ev.type, ev.data, ev.len);
        CHECK(r == 1 && ws_next(&ws, &ev) == 0 && ws.out->len == 22);
        outq_consume(ws.out, shared.pool, ws.out->len);
    }
    CHECK_INT(alloc_end().calls, 0);
    stop();
}

static void an_announced_length_costs_nothing(void)
{
    size_t bytes = 0;
    put_frame(wire, FRAME_BINARY, true, MIB);
    start(WS_SERVER);
    alloc_watch(0, false);
    ws_feed(&ws, wire, 100);
    CHECK_INT(take_events(&bytes), 0);
    CHECK(alloc_end().bytes < 1024);
    CHECK_INT(ws_held(&ws), 86);
    CHECK(ws_assembling(&ws));
    stop();
}

/*
 * One message of 1 MiB in pieces of `piece`: bytes asked for in all stay within a small multiple,
 * and all is given back.
 */
static void check_linear(size_t piece)
{
    size_t len = (size_t)(put_frame(wire, FRAME_TEXT, true, MIB) - wire), bytes = 0;
    long events = 0;
    test_context("pieces of %zu", piece);
    start(WS_SERVER);
    alloc_watch(0, false);
    for (size_t pos = 0; pos < len; pos += piece) {
        ws_feed(&ws, wire + pos, len - pos < piece ? len - pos : piece);
        events += take_events(&bytes);
    }
    struct alloc_stats stats = alloc_end();
    CHECK_INT(events, 1);
    CHECK_INT(bytes, MIB);
    CHECK(stats.bytes <= 3 * MIB + 4096);
    CHECK(stats.largest <= MIB); /* what was announced is where growth ends */
    CHECK(ws.input == NULL);
    stop();
}

/* Who announces a large message gets memory for what has come of it, and once as much. */
static void announced_is_not_reserved(void)
{
    size_t head = (size_t)(put_frame(wire, FRAME_BINARY, true, MIB) - wire) - MIB, bytes = 0;
    start(WS_SERVER);
    ws_feed(&ws, wire, head);
    CHECK_INT(take_events(&bytes), 0);
    for (size_t come = 1000; come < MIB; come += 1000) {
        ws_feed(&ws, wire + head + come - 1000, 1000);
        CHECK_INT(take_events(&bytes), 0);
        if (!CHECK(ws.input->message.cap <= 2 * come && ws.input->message.cap <= MIB))
            break;
    }
    stop();
}

static unsigned large_ones;

static void on_large(struct ws_shared *of)
{
    large_ones += of == &shared;
}

/* Those who keep the memory of large messages are told of them, both ways. */
static void large_messages_are_told(void)
{
    size_t bytes = 0;
    shared.on_large = on_large;
    start(WS_SERVER);
    for (int large = 0; large < 2; large++) {
        size_t len = large ? MIB : 1000;
        size_t end = (size_t)(put_frame(wire, FRAME_BINARY, true, len) - wire);
        large_ones = 0;
        ws_feed(&ws, wire, end / 2);
        CHECK_INT(take_events(&bytes), 0);
        CHECK((large_ones > 0) == (large == 1));
        ws_feed(&ws, wire + end / 2, end - end / 2);
        CHECK_INT(take_events(&bytes), 1);
        large_ones = 0;
        CHECK_INT(ws_send(&ws, WS_BINARY, wire, len), 0);
        CHECK((large_ones > 0) == (large == 1));
    }
    shared.on_large = NULL;
    stop();
}

static void big_messages_in_pieces(void)
{
    check_linear(65536);
    check_linear(1000);
    check_linear(7);
    check_linear(MIB / 2 + 1);
}

static void fragments_are_linear(void)
{
    uint8_t *end = put_frame(wire, FRAME_TEXT, false, 1000);
    for (int i = 0; i < 1000; i++)
        end = put_frame(end, FRAME_CONTINUATION, i == 999, 1000);
    size_t bytes = 0;
    start(WS_SERVER);
    alloc_watch(0, false);
    ws_feed(&ws, wire, (size_t)(end - wire));
    CHECK_INT(take_events(&bytes), 1);
    CHECK_INT(bytes, 1001 * 1000);
    CHECK(alloc_end().bytes <= 4 * MIB);
    CHECK(ws.input == NULL);
    stop();
}

/*
 * A slow reader: one event is taken, the rest kept, more is fed. Memory and copying must not grow
 * with the number of steps squared.
 */
static void keeping_is_linear(void)
{
    enum { FRAMES = 20000, LEN = 20, SIZE = LEN + 6 };
    struct ws_event ev;
    uint8_t piece[2 * SIZE];
    size_t events = 0, largest_held = 0;
    start(WS_SERVER);
    alloc_watch(0, false);
    for (int i = 0; i < FRAMES; i++) {
        put_frame(put_frame(piece, FRAME_TEXT, true, LEN), FRAME_BINARY, true, LEN);
        ws_feed(&ws, piece, sizeof piece); /* two come for each that is taken */
        events += ws_next(&ws, &ev) == 1;
        CHECK_INT(ws_keep(&ws), 0);
        memset(piece, 0xDD, sizeof piece);
        largest_held = ws_held(&ws) > largest_held ? ws_held(&ws) : largest_held;
    }
    CHECK_INT(events, FRAMES);
    CHECK_INT(largest_held, FRAMES * SIZE);
    while (ws_next(&ws, &ev) == 1) {
        events++;
        CHECK_INT(ev.len, LEN);
    }
    struct alloc_stats stats = alloc_end();
    CHECK_INT(events, 2 * FRAMES);
    CHECK(stats.bytes <= 6 * FRAMES * SIZE + 4096);
    CHECK(ws.input == NULL && ws.error == 0);
    stop();
}

static void a_message_outlives_keeping(void)
{
    struct ws_event ev;
    uint8_t *end = put_frame(wire, FRAME_TEXT, false, 300);
    end = put_frame(end, FRAME_CONTINUATION, true, 300);
    end = put_frame(end, FRAME_TEXT, true, 10);
    start(WS_SERVER);
    ws_feed(&ws, wire, (size_t)(end - wire));
    CHECK_INT(ws_next(&ws, &ev), 1);
    CHECK(!ws_assembling(&ws));
    CHECK_INT(ws_keep(&ws), 0);
    memset(wire, 0xDD, (size_t)(end - wire));
    CHECK_INT(ev.len, 600);
    CHECK(ev.data[0] == 'a' && ev.data[599] == 'a');
    CHECK_INT(ws_held(&ws), 616);
    CHECK_INT(ws_next(&ws, &ev), 1);
    CHECK_BYTES(ev.data, ev.len, "aaaaaaaaaa", 10);
    CHECK_INT(ws_next(&ws, &ev), 0);
    CHECK(ws.input == NULL);
    stop();
}

static void assembling_is_told(void)
{
    struct ws_event ev;
    uint8_t *frame = wire + 1000;
    put_frame(frame, FRAME_TEXT, false, 4);
    start(WS_SERVER);
    CHECK(!ws_assembling(&ws));
    for (size_t i = 0; i < 10; i++) {
        ws_feed(&ws, frame + i, 1);
        CHECK_INT(ws_next(&ws, &ev), 0);
        CHECK(ws_assembling(&ws)); /* header, payload, then the open message */
    }
    put_frame(frame, FRAME_CONTINUATION, true, 0);
    ws_feed(&ws, frame, 6);
    CHECK_INT(ws_next(&ws, &ev), 1);
    CHECK(!ws_assembling(&ws));
    CHECK_INT(ws_next(&ws, &ev), 0);
    put_frame(frame, FRAME_PING, true, 10);
    ws_feed(&ws, frame, 10);
    CHECK_INT(ws_next(&ws, &ev), 0);
    CHECK(ws_assembling(&ws));
    CHECK_INT(ws_held(&ws), 4);
    ws_feed(&ws, frame + 10, 6);
    CHECK_INT(ws_next(&ws, &ev), 0);
    CHECK(!ws_assembling(&ws) && ws.input == NULL);
    stop();
}

/* Feeds the part of `wire` between two places; what is being assembled then. */
static unsigned feed_between(size_t from, size_t to)
{
    size_t bytes = 0;
    ws_feed(&ws, wire + from, to - from);
    take_events(&bytes);
    return ws_assembling(&ws);
}

/* A peer whose pieces always end inside a message finishes messages nevertheless. */
static void assemblies_are_told_apart(void)
{
    uint8_t *end = wire;
    for (int i = 0; i < 4; i++)
        end = put_frame(end, FRAME_TEXT, true, 94); /* 100 bytes each */
    put_frame(end, FRAME_TEXT, false, 94);
    put_frame(end + 100, FRAME_PING, true, 94);
    put_frame(end + 200, FRAME_CONTINUATION, false, 94);
    start(WS_SERVER);
    unsigned first = feed_between(0, 3), second;
    CHECK(first != 0);
    CHECK_INT(feed_between(3, 50), first);
    CHECK_INT(feed_between(50, 99), first);
    second = feed_between(99, 150);
    CHECK(second != 0 && second != first);
    first = feed_between(150, 203);
    CHECK(first != 0 && first != second);
    CHECK_INT(feed_between(203, 290), first);
    second = feed_between(290, 450); /* the message at 300 came and went */
    CHECK(second != 0 && second != first);
    CHECK_INT(feed_between(450, 550), second); /* a ping inside it changes nothing */
    CHECK_INT(feed_between(550, 604), second);
    CHECK_INT(feed_between(604, 700), second);
    stop();
}

static void error_lets_go_of_memory(void)
{
    struct ws_event ev;
    uint8_t *end = put_frame(wire, FRAME_TEXT, false, 5000);
    end = put_frame(end, FRAME_TEXT, false, 5000);
    start(WS_SERVER);
    ws_feed(&ws, wire, (size_t)(end - wire));
    CHECK_INT(ws_next(&ws, &ev), ERR_CONTINUATION);
    CHECK(ws.input == NULL);
    CHECK_INT(ws_held(&ws), 0);
    stop();
}

static void broadcast_to(struct ws *to, int count, size_t len)
{
    struct ws_broadcast b = {.type = WS_TEXT, .bytes = wire, .len = len};
    for (int i = 0; i < count; i++)
        CHECK_INT(ws_send_broadcast(&to[i], &b), 0);
    ws_broadcast_deinit(&b);
}

/*
 * Some members of a group do not read. What is kept for them is a small multiple of what counts for
 * them, whether it came before or after that was known, and not what the others got, too.
 */
static void slow_members_keep_their_own(void)
{
    enum { MEMBERS = 100, SLOW = 10 };
    static struct ws members[MEMBERS];
    memset(wire, 'a', 10000);
    for (int i = 0; i < MEMBERS; i++)
        wsout_init(&members[i], WS_SERVER, &limits, &shared);
    alloc_watch(0, false);
    for (int turn = 0; turn < 100; turn++) {
        broadcast_to(members, turn < 3 ? MEMBERS : SLOW + 1, 64);
        broadcast_to(members + SLOW, MEMBERS - SLOW, 1000);
        for (int i = 0; i < MEMBERS; i++) {
            if (i >= SLOW)
                outq_clear(members[i].out, shared.pool);
            ws_set_blocked(&members[i], i < SLOW);
        }
    }
    struct alloc_stats stats = alloc_end();
    CHECK_INT(members[0].out->len, 100 * 66);
    CHECK_INT(shared.reels[0].chunk->refs, 1);
    CHECK(stats.bytes < SLOW * (16 * 1024 + 1024) + 2 * 16 * 1024 + 200 * 64);
    for (int i = 0; i < MEMBERS; i++)
        wsout_deinit(&members[i]);
    wsout_shared_deinit(&shared);
}

/* A large one is kept once for all of them. */
static void slow_members_share_large_messages(void)
{
    enum { MEMBERS = 100 };
    static struct ws members[MEMBERS];
    memset(wire, 'a', MIB);
    for (int i = 0; i < MEMBERS; i++)
        wsout_init(&members[i], WS_SERVER, &limits, &shared);
    alloc_watch(0, false);
    broadcast_to(members, MEMBERS, MIB);
    for (int i = 0; i < MEMBERS; i++)
        ws_set_blocked(&members[i], true);
    broadcast_to(members, MEMBERS, 8000);
    CHECK(alloc_end().bytes < MIB + 16 * 1024 + MEMBERS * 200);
    for (int i = 0; i < MEMBERS; i++)
        wsout_deinit(&members[i]);
    wsout_shared_deinit(&shared);
}

int main(void)
{
    test("the struct is small", the_struct_is_small);
    test("whole frames lie where they came", whole_frames_lie_where_they_came);
    test("echo allocates nothing", echo_allocates_nothing);
    test("an announced length costs nothing", an_announced_length_costs_nothing);
    test("big messages in pieces", big_messages_in_pieces);
    test("announced is not reserved", announced_is_not_reserved);
    test("large messages are told", large_messages_are_told);
    test("fragments are linear", fragments_are_linear);
    test("keeping is linear", keeping_is_linear);
    test("a message outlives keeping", a_message_outlives_keeping);
    test("assembling is told", assembling_is_told);
    test("assemblies are told apart", assemblies_are_told_apart);
    test("slow members keep their own", slow_members_keep_their_own);
    test("slow members share large messages", slow_members_share_large_messages);
    test("an error lets go of memory", error_lets_go_of_memory);
    return test_end();
}
