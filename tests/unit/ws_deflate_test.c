// SPDX-License-Identifier: MIT
/*
 * Compression in the session: which frames may have RSV1, messages in fragments and cut at every
 * point, what is queued, broadcasts, and memory. The codec itself is tested in deflate_test.c.
 */
#include "base/err.h"
#include "base/mem.h"
#include "wsrun.h"

static const struct ws_limits limits = {
    .max_frame = 65536, .max_message = 1 << 20, .max_fragments = 16, .out_frame = 4096};
static const struct ws_limits tight = {
    .max_frame = 100, .max_message = 50, .max_fragments = 16, .out_frame = 100};
static const struct deflate_config config = {.mem_level = 5, .window_bits = 12};

enum { NONE_KEPT, KEPT, MODES };

static struct ws_shared shared = {.random = wsrun_random};

static bool start(struct ws *ws, enum ws_role role, const struct ws_limits *l, int mode)
{
    struct deflate_params params = {15, 15, mode == NONE_KEPT, mode == NONE_KEPT};
    wsout_init(ws, role, l, &shared);
    ws_take_deflate(ws, deflate_new(&config, &params, role == WS_SERVER));
    return ws->deflate;
}

/* --- Reading ------------------------------------------------------------------------ */

/* Input in wsrun.h's notation for a server with `tight` limits, and what it does. */
static const struct {
    const char *input, *outcome;
} cases[] = {
    {"C187m f248cdc9c90700", "T\"Hello\""},
    {"C287m f248cdc9c90700", "B\"Hello\""},
    {"8185m 48656C6C6F", "T\"Hello\""}, /* not compressed: always allowed */
    {"C187m f248cdc9c90700; C187m f248cdc9c90700", "T\"Hello\" T\"Hello\""},
    {"4183m f248cd; 8084m c9c90700", "T\"Hello\""},
    {"4183m f248cd; 0080m; 0081m c9; 8083m c90700", "T\"Hello\""},
    {"4183m f248cd; 8981m 78; 8084m c9c90700", "T\"Hello\" > O\"x\""},
    {"4180m; 8087m f248cdc9c90700", "T\"Hello\""},
    {"C180m", "T\"\""},
    {"4180m; 8080m", "T\"\""},
    {"C181m 00", "T\"\""},
    {"C281m 00; C280m; 8181m 61", "B\"\" B\"\" T\"a\""},
    {"C18Bm 000500faff48656c6c6f00", "T\"Hello\""},
    {"C188m f348cdc9c9070000", "T\"Hello\""},
    /* RSV1 elsewhere, and its neighbours */
    {"4183m f248cd; C084m c9c90700", "E-2 > C1002"},
    {"0183m 616263; C084m c9c90700", "E-2 > C1002"},
    {"C980m", "E-2 > C1002"},
    {"CA81m 78", "E-2 > C1002"},
    {"C880m", "E-2 > C1002"},
    {"E187m f248cdc9c90700", "E-2 > C1002"},
    {"D187m f248cdc9c90700", "E-2 > C1002"},
    {"A180m", "E-2 > C1002"},
    {"4183m f248cd; C187m f248cdc9c90700", "E-3 > C1002"},
    {"C084m c9c90700", "E-2 > C1002"},
    /* what is inside */
    {"C185m FFFFFFFFFF", "E-2 > C1007"},
    {"C285m FFFFFFFFFF", "E-2 > C1007"},
    {"4183m f248cd; 8080m", "E-2 > C1007"},
    {"C188m 0002 00fd ff c080 00", "E-4 > C1007"}, /* overlong in text */
    {"C288m 0002 00fd ff c080 00", "B\"\\C0\\80\""},
    {"C187m 0001 00fe ff c3 00", "E-4 > C1007"}, /* ends inside a character */
    {"4187m 0001 00fe ff c3 00; 8086m 0100 feff a900", "T\"\\C3\\A9\""},
};

static void run_case(size_t i, int mode, const struct cut *cut)
{
    static uint8_t bytes[WSRUN_INPUT];
    static struct line l;
    struct ws ws;
    struct str in = {(char *)bytes, wsrun_bytes(cases[i].input, bytes)};
    if (CHECK(start(&ws, WS_SERVER, &tight, mode))) {
        wsrun_feed(&ws, in, cut, (enum wsrun_mode)(i % WSRUN_MODES), &l);
        CHECK_TEXT(l.text, cases[i].outcome);
    }
    wsout_deinit(&ws);
}

static void frames_in_every_cut(void)
{
    static uint8_t bytes[WSRUN_INPUT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int mode = 0; mode < MODES; mode++) {
            size_t len = wsrun_bytes(cases[i].input, bytes);
            for (size_t at = 0; at <= len; at++) {
                struct cut cut = {at ? at : 1, at ? len : 1};
                test_context("%s, mode %d, cut at %zu", cases[i].input, mode, at);
                run_case(i, mode, &cut);
            }
        }
    wsout_shared_deinit(&shared);
}

static void refused(const char *input, const char *outcome)
{
    static uint8_t bytes[WSRUN_INPUT];
    static struct line l;
    for (int mode = 0; mode < MODES; mode++) {
        struct ws ws;
        struct str in = {(char *)bytes, wsrun_bytes(input, bytes)};
        struct cut whole = {in.len, in.len};
        test_context("%s, mode %d", input, mode);
        if (CHECK(start(&ws, WS_SERVER, &tight, mode))) {
            wsrun_feed(&ws, in, &whole, WSRUN_PLAIN, &l);
            CHECK_TEXT(l.text, outcome);
        }
        wsout_deinit(&ws);
    }
    wsout_shared_deinit(&shared);
}

/* max_message is 50: of what comes out. Frames of compressed data may be a little over theirs. */
static void limits_of_what_comes_out(void)
{
    refused("C184m 4a4c a301", "E-5 > C1009");
    refused("C2B8m 003200cdff 61*50 00", "B\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"");
    refused("C2B9m 003300ccff 61*51 00", "E-5 > C1009");
    refused("C285m 4a4ca43d 00", "E-5 > C1009"); /* 4 bytes that say more than 50 'a's */
    refused("C2FE00FFm", "E-5 > C1009");         /* judged by the header */
    refused("42E4m 00*100; 00E4m 00*100", "E-5 > C1009");
}

static void without_agreement_rsv1_is_refused(void)
{
    uint8_t bytes[] = {0xC1, 0x80, 0, 0, 0, 0};
    struct ws ws;
    struct ws_event ev;
    wsout_init(&ws, WS_SERVER, &limits, &shared);
    ws_feed(&ws, bytes, sizeof bytes);
    CHECK_INT(ws_next(&ws, &ev), ERR_PROTOCOL);
    CHECK_INT(ws.close_code, WS_PROTOCOL_ERROR);
    wsout_deinit(&ws);
    wsout_shared_deinit(&shared);
}

/* --- Sending ------------------------------------------------------------------------ */

static uint8_t message[100000];
static uint8_t wire[1 << 18];

static void fill(size_t len, unsigned seed)
{
    uint64_t state = seed + 1;
    for (size_t i = 0; i < len; i++)
        message[i] = (uint8_t)(i % 13 ? 'a' + seed : 'a' + random_next(&state) % 26);
}

/* Moves what one has queued to the other, in pieces; the other must get `message`. */
static void deliver(struct ws *from, struct ws *to, enum ws_type type, size_t len, size_t piece)
{
    size_t have = wsrun_output(from, wire, sizeof wire), events = 0;
    outq_clear(from->out, shared.pool);
    for (size_t at = 0; at < have; at += piece) {
        struct ws_event ev;
        ws_feed(to, wire + at, have - at < piece ? have - at : piece);
        while (ws_next(to, &ev) == 1) {
            CHECK_INT(ev.type, type);
            CHECK_BYTES(ev.data, ev.len, message, len);
            events++;
        }
    }
    CHECK_INT(events, 1);
    CHECK_INT(to->error, 0);
    CHECK(to->input == NULL);
}

/* Whatever zlib can be set to, its output for a message of the limit is taken. */
static void what_cannot_be_compressed(void)
{
    enum { LEN = sizeof message };
    const struct ws_limits exact = {
        .max_frame = LEN, .max_message = LEN, .max_fragments = 1, .out_frame = 2 * LEN};
    uint64_t state = 1;
    for (size_t i = 0; i < LEN; i++) /* of nine bits in a fixed code */
        message[i] = (uint8_t)(144 + random_next(&state) % 112);
    for (unsigned i = 0; i < 9 * 7 * 2; i++) {
        struct deflate_config how = {.mem_level = (uint8_t)(1 + i % 9),
                                     .window_bits = (uint8_t)(9 + i / 9 % 7),
                                     .level = i < 9 * 7 ? 1 : 9};
        struct deflate_params params = {how.window_bits, how.window_bits, false, false};
        struct ws client, server;
        test_context("memLevel %d, a window of %d bits", how.mem_level, how.window_bits);
        start(&server, WS_SERVER, &exact, KEPT);
        wsout_init(&client, WS_CLIENT, &exact, &shared);
        ws_take_deflate(&client, deflate_new(&how, &params, false));
        CHECK_INT(ws_send(&client, WS_BINARY, message, LEN), 0);
        deliver(&client, &server, WS_BINARY, LEN, sizeof wire);
        wsout_deinit(&server);
        wsout_deinit(&client);
    }
    wsout_shared_deinit(&shared);
}

static void both_roles_talk(void)
{
    static const size_t lengths[] = {0, 1, 2, 50, 1000, 5000, 70000, 100000};
    for (int mode = 0; mode < MODES; mode++) {
        struct ws server, client;
        start(&server, WS_SERVER, &limits, mode);
        start(&client, WS_CLIENT, &limits, mode);
        for (unsigned i = 0; i < 48; i++) {
            size_t len = lengths[i % 8];
            test_context("mode %d, %zu bytes, round %u", mode, len, i);
            fill(len, i % 5);
            CHECK_INT(ws_send(i % 3 ? &server : &client, WS_TEXT, message, len), 0);
            deliver(i % 3 ? &server : &client, i % 3 ? &client : &server, WS_TEXT, len,
                    1 + 977 * (i % 4));
        }
        wsout_deinit(&server);
        wsout_deinit(&client);
    }
    wsout_shared_deinit(&shared);
}

/* The frames of the output as "opcode rsv fin", for the first `max` ones. */
static const char *frames(const struct ws *ws)
{
    static char text[200];
    size_t have = wsrun_output(ws, wire, sizeof wire), at = 0;
    struct frame f;
    int size;
    *text = '\0';
    while (at < have && (size = frame_decode(&f, wire + at, have - at)) > 0 && strlen(text) < 180) {
        snprintf(text + strlen(text), 16, "%s%x%s%s", *text ? " " : "", f.opcode, f.rsv ? "r" : "",
                 f.fin ? "" : "~");
        at += (size_t)size + (size_t)f.length;
    }
    return text;
}

static void rsv1_stands_in_the_first_frame(void)
{
    struct ws ws;
    uint64_t seed = 5;
    start(&ws, WS_SERVER, &limits, KEPT);
    for (size_t i = 0; i < 10000; i++)
        message[i] = (uint8_t)random_next(&seed);
    ws_send(&ws, WS_BINARY, message, 10000); /* stored blocks in three frames */
    ws_ping(&ws, message, 20);
    ws_send(&ws, WS_BINARY, message, 10000); /* seen before, but further back than the window */
    ws_send(&ws, WS_TEXT, (const uint8_t *)"aaaaaaaaaaaaaaaaaaaa", 20);
    ws_close(&ws, 1000, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", 28);
    CHECK_TEXT(frames(&ws), "2r~ 0~ 0 9 2r~ 0~ 0 1r 8");
    wsout_deinit(&ws);
    wsout_shared_deinit(&shared);
}

static size_t variants(const struct ws_broadcast *b)
{
    const struct ws_variant *const *v = (const struct ws_variant *const *)&b->variants;
    size_t n = 0;
    while (*v) { /* `next` is its first member */
        v = (const struct ws_variant *const *)*v;
        n++;
    }
    return n;
}

/* Ten of each kind: three chunks in all, and all go on with messages of their own. */
static void broadcasts_are_compressed_once(void)
{
    static struct ws server[30], client[30];
    for (int i = 0; i < 30; i++) {
        wsout_init(&server[i], WS_SERVER, &limits, &shared);
        wsout_init(&client[i], WS_CLIENT, &limits, &shared);
        if (i >= 10) {
            wsout_deinit(&server[i]);
            wsout_deinit(&client[i]);
            start(&server[i], WS_SERVER, &limits, i < 20 ? NONE_KEPT : KEPT);
            start(&client[i], WS_CLIENT, &limits, i < 20 ? NONE_KEPT : KEPT);
        }
    }
    for (unsigned round = 0; round < 4; round++) {
        fill(5000, round);
        struct ws_broadcast b = {.type = WS_TEXT, .bytes = message, .len = 5000};
        for (int i = 0; i < 30; i++)
            CHECK_INT(ws_send_broadcast(&server[i], &b), 0);
        CHECK_INT(variants(&b), 3);
        ws_broadcast_deinit(&b);
        CHECK(server[10].out->len < 2000 && server[29].out->len < 2000);
        for (int i = 0; i < 30; i++)
            deliver(&server[i], &client[i], WS_TEXT, 5000, 700);
        fill(3000, round);
        for (int i = 0; i < 30; i++) {
            CHECK_INT(ws_send(&server[i], WS_TEXT, message, 3000), 0);
            deliver(&server[i], &client[i], WS_TEXT, 3000, 700);
        }
    }
    struct ws_broadcast b = {.type = WS_TEXT, .bytes = message, .len = 10};
    CHECK_INT(ws_send_broadcast(&client[0], &b), ERR_ARGUMENT);
    ws_close(&server[0], 1000, "", 0);
    CHECK_INT(ws_send_broadcast(&server[0], &b), ERR_CLOSED);
    ws_broadcast_deinit(&b);
    for (int i = 0; i < 30; i++) {
        wsout_deinit(&server[i]);
        wsout_deinit(&client[i]);
    }
    wsout_shared_deinit(&shared);
}

/* --- Memory ------------------------------------------------------------------------- */

/* After messages of 1 KiB each way a session holds nothing but its small struct. */
static void nothing_stays(void)
{
    struct ws server, client;
    start(&server, WS_SERVER, &limits, NONE_KEPT);
    start(&client, WS_CLIENT, &limits, NONE_KEPT);
    fill(1024, 1);
    for (int i = 0; i < 3; i++) {
        ws_send(&client, WS_TEXT, message, 1024);
        deliver(&client, &server, WS_TEXT, 1024, 1 << 18);
        ws_send(&server, WS_TEXT, message, 1024);
        deliver(&server, &client, WS_TEXT, 1024, 1 << 18);
    }
    CHECK(deflate_held(server.deflate) <= 64);
    CHECK(server.input == NULL && server.out->head == NULL);
    alloc_watch(0, false); /* and a worker that is warm allocates nothing */
    ws_send(&client, WS_TEXT, message, 1024);
    deliver(&client, &server, WS_TEXT, 1024, 1 << 18);
    CHECK_INT(alloc_end().calls, 0);
    wsout_deinit(&server);
    wsout_deinit(&client);
    wsout_shared_deinit(&shared);
}

/* Each allocation fails once: a session ends in order, or everything comes. */
static void failing(void *arg)
{
    int mode = *(int *)arg;
    struct ws server, client;
    bool sends = start(&server, WS_SERVER, &limits, mode);
    bool reads = start(&client, WS_CLIENT, &limits, mode);
    fill(30000, 2);
    struct ws_broadcast b = {.type = WS_TEXT, .bytes = message, .len = 30000};
    for (int i = 0; sends && reads && i < 4; i++) {
        struct ws_event ev;
        int r = i % 2 ? ws_send(&server, WS_TEXT, message, 30000) : ws_send_broadcast(&server, &b);
        size_t have = wsrun_output(&server, wire, sizeof wire);
        outq_clear(server.out, shared.pool);
        CHECK((r == 0 && have > 0) || (r == ERR_NOMEM && have == 0));
        ws_feed(&client, wire, have);
        int got = ws_next(&client, &ev);
        CHECK(got == 1 || got == ERR_NOMEM || (got == 0 && have == 0));
        if (got < 0)
            break;
        CHECK(have == 0 || (ev.len == 30000 && memcmp(ev.data, message, ev.len) == 0));
        ws_next(&client, &ev);
    }
    ws_broadcast_deinit(&b);
    wsout_deinit(&server);
    wsout_deinit(&client);
    wsout_shared_deinit(&shared);
}

static void every_allocation_may_fail(void)
{
    for (int mode = 0; mode < MODES; mode++)
        each_alloc_failure(failing, &mode);
}

int main(void)
{
    test("frames in every cut", frames_in_every_cut);
    test("limits of what comes out", limits_of_what_comes_out);
    test("without agreement RSV1 is refused", without_agreement_rsv1_is_refused);
    test("both roles talk", both_roles_talk);
    test("what cannot be compressed", what_cannot_be_compressed);
    test("RSV1 stands in the first frame", rsv1_stands_in_the_first_frame);
    test("broadcasts are compressed once", broadcasts_are_compressed_once);
    test("nothing stays", nothing_stays);
    test("every allocation may fail", every_allocation_may_fail);
    return test_end();
}
