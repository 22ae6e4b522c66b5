// SPDX-License-Identifier: MIT
/*
 * The session's sending: exact bytes, cutting into frames, chunks, closing from either side, the
 * pong that waits.
 */
#include "base/err.h"
#include "wsrun.h"

static const struct ws_limits limits = {
    .max_frame = 1 << 20, .max_message = 1 << 20, .max_fragments = 100, .out_frame = 65536};
static const struct ws_limits narrow = {
    .max_frame = 100, .max_message = 100, .max_fragments = 4, .out_frame = 3};

static struct ws_shared shared = {.random = wsrun_random};
static struct ws ws;

static void start(enum ws_role role, const struct ws_limits *l)
{
    wsout_init(&ws, role, l, &shared);
}

static void stop(void)
{
    wsout_deinit(&ws);
    wsout_shared_deinit(&shared);
}

static void check_output(const char *hex)
{
    static uint8_t expected[WSRUN_INPUT], out[WSRUN_INPUT];
    size_t n = wsrun_bytes(hex, expected);
    size_t len = wsrun_output(&ws, out, sizeof out);
    CHECK_BYTES(out, len, expected, n);
}

static int send_text(const char *s)
{
    return ws_send(&ws, WS_TEXT, (const uint8_t *)s, strlen(s));
}

/* Feeds and describes what came of it. */
static const char *feed(const char *notation)
{
    static uint8_t input[WSRUN_INPUT];
    static struct line line;
    struct str in = {(char *)input, wsrun_bytes(notation, input)};
    wsrun_feed(&ws, in, &(struct cut){in.len, in.len}, WSRUN_PLAIN, &line);
    return line.text;
}

static void exact_bytes(void)
{
    start(WS_SERVER, &limits);
    CHECK_INT(send_text("Hello"), 0);
    CHECK_INT(ws_send(&ws, WS_BINARY, NULL, 0), 0);
    CHECK_INT(ws_ping(&ws, (const uint8_t *)"p", 1), 0);
    CHECK_INT(ws_pong(&ws, NULL, 0), 0);
    check_output("8105 48656C6C6F 8200 8901 70 8A00");
    stop();
    start(WS_CLIENT, &limits);
    CHECK_INT(send_text("Hello"), 0);
    CHECK_INT(ws_close(&ws, 1000, "", 0), 0);
    check_output("8185m 48656C6C6F; 8882m 03E8");
    stop();
}

static void lengths(void)
{
    static const uint8_t bytes[70000] = {0};
    start(WS_SERVER, &limits);
    CHECK_INT(ws_send(&ws, WS_BINARY, bytes, 125), 0);
    CHECK_INT(ws_send(&ws, WS_BINARY, bytes, 126), 0);
    CHECK_INT(ws_send(&ws, WS_BINARY, bytes, 65535), 0);
    CHECK_INT(ws_send(&ws, WS_BINARY, bytes, 65536), 0);
    CHECK_INT(ws_send(&ws, WS_BINARY, bytes, 65537), 0);
    check_output("827D 00*125 827E007E 00*126 827EFFFF 00*65535 "
                 "827F0000000000010000 00*65536 027F0000000000010000 00*65536 8001 00");
    stop();
}

static void cut_into_frames(void)
{
    start(WS_SERVER, &narrow);
    CHECK_INT(send_text("abc"), 0);
    CHECK_INT(send_text("abcd"), 0);
    CHECK_INT(send_text("abcdef"), 0);
    CHECK_INT(send_text("abcdefg"), 0);
    CHECK_INT(ws_ping(&ws, (const uint8_t *)"control", 7), 0); /* never cut */
    CHECK_TEXT(feed(""),
               " > T\"abc\" T~\"abc\" K\"d\" T~\"abc\" K\"def\" T~\"abc\" K~\"def\" K\"g\" "
               "P\"control\"");
    stop();
    start(WS_CLIENT, &narrow);
    CHECK_INT(send_text("abcd"), 0);
    check_output("0183m 616263; 8081m 64");
    stop();
}

/* One session's output, and whether it is written from where it is all others' as well. */
static void broadcasts_are_shared(void)
{
    struct ws_broadcast b = {.type = WS_TEXT, .bytes = (const uint8_t *)"abcd", .len = 4};
    struct ws other;
    struct iovec iov[4], theirs[4];
    start(WS_SERVER, &narrow);
    wsout_init(&other, WS_SERVER, &narrow, &shared);
    CHECK_INT(ws_send_broadcast(&ws, &b), 0);
    CHECK_INT(ws_send_broadcast(&other, &b), 0);
    CHECK_INT(outq_iovec(ws.out, iov, 4), 1);
    CHECK_INT(outq_iovec(other.out, theirs, 4), 1);
    CHECK(iov[0].iov_base == theirs[0].iov_base);
    CHECK_INT(send_text("y"), 0);
    CHECK_TEXT(feed(""), " > T~\"abc\" K\"d\" T\"y\"");
    CHECK_INT(ws_close(&ws, 1000, NULL, 0), 0);
    CHECK_INT(ws_send_broadcast(&ws, &b), ERR_CLOSED);
    stop();
    wsout_deinit(&other);
    start(WS_CLIENT, &limits);
    CHECK_INT(ws_send_broadcast(&ws, &b), ERR_ARGUMENT);
    stop();
    ws_broadcast_deinit(&b);
}

static int broadcast(struct ws *to, const void *bytes, size_t len)
{
    struct ws_broadcast b = {.type = WS_TEXT, .bytes = bytes, .len = len};
    int err = ws_send_broadcast(to, &b);
    ws_broadcast_deinit(&b);
    return err;
}

/* What comes one behind the other is one piece to write; what has been written costs nothing. */
static void broadcasts_follow_each_other(void)
{
    struct iovec iov[4];
    start(WS_SERVER, &limits);
    CHECK_INT(broadcast(&ws, "one", 3), 0);
    CHECK_INT(broadcast(&ws, "two", 3), 0);
    CHECK_INT(outq_iovec(ws.out, iov, 4), 1);
    CHECK_BYTES(iov[0].iov_base, iov[0].iov_len, "\x81\x03one\x81\x03two", 10);
    const void *first = iov[0].iov_base;
    CHECK_TEXT(feed(""), " > T\"one\" T\"two\"");
    outq_clear(ws.out, shared.pool);
    CHECK_INT(broadcast(&ws, "three", 5), 0); /* nobody needs the first two any more */
    CHECK_INT(outq_iovec(ws.out, iov, 4), 1);
    CHECK(iov[0].iov_base == first);
    stop();
}

/* Sizes around those of a reel, until several are full; a session that joins in the middle. */
static void broadcasts_fill_reels(void)
{
    static uint8_t bytes[9000], got[2 << 20], expected[2 << 20];
    struct ws late;
    uint64_t seed = 3;
    size_t len = 0, from = 0;
    start(WS_SERVER, &limits);
    wsout_init(&late, WS_SERVER, &limits, &shared);
    for (int i = 0; i < 300; i++) {
        size_t n = random_next(&seed) % (i % 7 ? 400 : sizeof bytes);
        memset(bytes, 'a' + i % 26, n);
        CHECK_INT(broadcast(&ws, bytes, n), 0);
        struct frame f = {.length = n, .opcode = FRAME_TEXT, .fin = true};
        len += frame_encode(&f, expected + len);
        memcpy(expected + len, bytes, n);
        len += n;
        if (i < 100)
            from = len;
        else
            CHECK_INT(broadcast(&late, bytes, n), 0);
    }
    CHECK_INT(ws.out->len, len);
    CHECK_BYTES(got, wsrun_output(&ws, got, sizeof got), expected, len);
    CHECK_BYTES(got, wsrun_output(&late, got, sizeof got), expected + from, len - from);
    wsout_deinit(&late);
    stop();
}

static void control_payloads(void)
{
    uint8_t payload[126] = {0};
    start(WS_SERVER, &limits);
    CHECK_INT(ws_ping(&ws, payload, 126), ERR_ARGUMENT);
    CHECK_INT(ws_pong(&ws, payload, 126), ERR_ARGUMENT);
    CHECK_INT(ws.out->len, 0);
    CHECK_INT(ws_ping(&ws, payload, 125), 0);
    CHECK_INT(ws.out->len, 127);
    stop();
}

static void nothing_follows_a_close(void)
{
    start(WS_SERVER, &limits);
    CHECK_INT(ws_close(&ws, 4000, "bye", 3), 0);
    CHECK(ws.close_sent);
    CHECK_INT(ws.close_code, 4000);
    CHECK_INT(send_text("x"), ERR_CLOSED);
    CHECK_INT(ws_ping(&ws, NULL, 0), ERR_CLOSED);
    CHECK_INT(ws_pong(&ws, NULL, 0), ERR_CLOSED);
    CHECK_INT(ws_close(&ws, 1000, NULL, 0), ERR_CLOSED);
    check_output("8805 0FA0 627965");
    stop();
}

/* The code and reason as they go out; NULL for a call that has to be refused. */
static void check_close(uint16_t code, const char *reason, const char *hex)
{
    start(WS_SERVER, &limits);
    CHECK_INT(ws_close(&ws, code, reason, strlen(reason)), hex ? 0 : ERR_ARGUMENT);
    CHECK_INT(ws.close_sent, hex != NULL);
    check_output(hex ? hex : "");
    stop();
}

static void close_codes_and_reasons(void)
{
    char reason[200];
    check_close(0, "", "8800");
    check_close(0, "a reason needs a code", "8800");
    check_close(1000, "", "8802 03E8");
    check_close(4999, "x", "8803 1387 78");
    check_close(1005, "", NULL);
    check_close(1006, "", NULL);
    check_close(999, "", NULL);
    check_close(1015, "", NULL);
    check_close(2999, "", NULL);
    check_close(5000, "", NULL);
    memset(reason, 'a', sizeof reason);
    reason[123] = '\0';
    check_close(1000, reason, "887D 03E8 61*123");
    strcpy(reason + 122, "\xC3\xA4"); /* 124 bytes, cut before the character */
    check_close(1000, reason, "887C 03E8 61*122");
    check_close(1000, "not UTF-8: \xFF",
                "8802 03E8"); /* left out: the peer would have to refuse it */
}

static void closing_first(void)
{
    start(WS_SERVER, &limits);
    CHECK_TEXT(feed("0181m 61"), "");
    CHECK(ws_assembling(&ws));
    CHECK_INT(ws_close(&ws, 1001, NULL, 0), 0);
    CHECK(!ws_assembling(&ws));
    /*
     * Data, pings and pongs are dropped, whole or in part; also those that would break limits or
     * UTF-8.
     */
    CHECK_TEXT(feed("8081m 62; 8981m 70; 8A80m; 8182m C080; 81FF 0000000000200000 m 61*70000"),
               " > C1001");
    CHECK(ws_held(&ws) == 0);
    struct str rest = {calloc(1, 2 * 1024 * 1024), 2 * 1024 * 1024 - 70000};
    struct line line;
    wsrun_feed(&ws, rest, &(struct cut){100000, 100000}, WSRUN_PLAIN, &line);
    free((void *)(uintptr_t)rest.s);
    CHECK_TEXT(line.text, " > C1001");
    CHECK_TEXT(feed("8882m 0FA0"), "C4000\"\" E-7 > C1001");
    CHECK_INT(ws.error, 0);
    stop();
}

/* The answer to a close frame has what that had, code and reason (§5.5.1). */
static void closing_answered(void)
{
    static const uint8_t want[] = "\x88\x06\x0f\xa0"
                                  "bye!";
    uint8_t out[64];
    start(WS_SERVER, &limits);
    CHECK_TEXT(feed("8886m 0FA0 62796521"), "C4000\"bye!\" E-7 > C4000");
    CHECK_INT(wsrun_output(&ws, out, sizeof out), sizeof want - 1);
    CHECK(memcmp(out, want, sizeof want - 1) == 0);
    stop();
}

static void closing_inside_a_frame(void)
{
    start(WS_SERVER, &limits);
    CHECK_TEXT(feed("018Am 6162636465"), "");
    CHECK_INT(ws_held(&ws), 5);
    CHECK_INT(ws_close(&ws, 1000, NULL, 0), 0);
    CHECK_TEXT(feed("FFFFFF"), " > C1000"); /* in the payload still */
    CHECK_INT(ws_held(&ws), 0);
    CHECK_TEXT(feed("FFFF 8180m; 8880m"), "C1005\"\" E-7 > C1000");
    stop();
}

static void closing_first_then_broken(void)
{
    start(WS_SERVER, &limits);
    CHECK_INT(ws_close(&ws, 1000, NULL, 0), 0);
    CHECK_TEXT(feed("8101 61"), "E-2 > C1000"); /* one close frame is all there is */
    CHECK_INT(ws.close_code, 1000);
    stop();
}

static void closing_between_events(void)
{
    uint8_t bytes[64];
    struct ws_event ev;
    start(WS_SERVER, &limits);
    size_t len = wsrun_bytes("0181m 61; 8081m 62; 8181m 63; 8882m 03E8", bytes);
    CHECK_INT(ws_feed(&ws, bytes, len), 0);
    CHECK_INT(ws_next(&ws, &ev), 1);
    CHECK_INT(ws_close(&ws, 1000, "enough", 6), 0);
    CHECK_BYTES(ev.data, ev.len, "ab", 2); /* the event outlives the close */
    CHECK_INT(ws_next(&ws, &ev), 1);
    CHECK_INT(ev.type, WS_CLOSE);
    CHECK_INT(ws_next(&ws, &ev), ERR_CLOSED);
    stop();
}

static void failing_from_outside(void)
{
    struct ws_event ev;
    start(WS_SERVER, &limits);
    CHECK_TEXT(feed("0181m 61"), "");
    ws_fail(&ws, ERR_POLICY, WS_POLICY_VIOLATION, "message took too long");
    ws_fail(&ws, ERR_NOMEM, WS_INTERNAL_ERROR, "later");
    CHECK_INT(ws.error, ERR_POLICY);
    CHECK_INT(ws.close_code, 1008);
    CHECK_INT(ws_next(&ws, &ev), ERR_POLICY);
    CHECK(ws.input == NULL);
    CHECK_INT(ws_feed(&ws, (uint8_t *)"\x81\x80", 2), 0); /* ignored */
    CHECK_INT(ws_next(&ws, &ev), ERR_POLICY);
    check_output("8817 03F0 6D65737361676520746F6F6B20746F6F206C6F6E67");
    stop();
}

static void pong_waits_while_blocked(void)
{
    start(WS_SERVER, &limits);
    ws_set_blocked(&ws, true);
    CHECK_TEXT(feed("8981m 61; 8981m 62; 8982m 6364"), "");
    CHECK_INT(ws.out->len, 0);
    ws_set_blocked(&ws, true);
    CHECK_INT(ws.out->len, 0);
    ws_set_blocked(&ws, false);
    check_output("8A02 6364"); /* the newest alone, RFC 6455 §5.5.3 */
    CHECK(ws.pong == NULL);
    CHECK_TEXT(feed("8981m 65"), " > O\"cd\" O\"e\"");
    ws_set_blocked(&ws, true);
    CHECK_TEXT(feed("8981m 66"), " > O\"cd\" O\"e\"");
    CHECK_INT(ws_close(&ws, 1000, NULL, 0), 0);
    ws_set_blocked(&ws, false);
    CHECK_TEXT(feed(""), " > O\"cd\" O\"e\" C1000");
    stop();
}

static void a_pong_left_waiting_is_freed(void)
{
    start(WS_SERVER, &limits);
    ws_set_blocked(&ws, true);
    feed("8981m 61");
    CHECK(ws.pong != NULL);
    stop();
    CHECK(ws.pong == NULL);
}

static void pings_as_events(void)
{
    start(WS_SERVER, &limits);
    ws.auto_pong = false;
    CHECK_TEXT(feed("0181m 61; 8981m 70; 8081m 62"), "P\"p\" T\"ab\"");
    CHECK_INT(ws.out->len, 0);
    stop();
}

static int complete(const char *line)
{
    static const char *const what[] = {"K\"def\"", "P\"p\"", "T\"xyz\"", "T\"uvw\""};
    int n = 0;
    for (int i = 0; i < 4; i++)
        n += strstr(line, what[i]) != NULL;
    return n;
}

/* A flood of sends from scarce memory: each message whole or not at all. */
static void send_starved(void *arg)
{
    int *sent = arg;
    struct line line;
    start(WS_SERVER, &narrow);
    *sent = send_text("abcdef") == 0;
    *sent += ws_ping(&ws, (const uint8_t *)"p", 1) == 0;
    *sent += broadcast(&ws, "xyz", 3) == 0;
    *sent += broadcast(&ws, "uvw", 3) == 0;
    *sent += ws_close(&ws, 1000, NULL, 0) == 0;
    line = (struct line){0};
    line_output(&line, &ws);
    CHECK(strstr(line.text, "broken") == NULL);
    CHECK_INT(ws.close_sent, strstr(line.text, "C1000") != NULL);
    CHECK_INT(strstr(line.text, "abc") != NULL, strstr(line.text, "K\"def\"") != NULL);
    CHECK_INT(*sent - ws.close_sent, complete(line.text));
    stop();
}

static void sending_starved(void)
{
    int sent = 0;
    each_alloc_failure(send_starved, &sent);
    CHECK_INT(sent, 5);
}

static void starved_pong_slot(void)
{
    static uint8_t ping[16];
    struct ws_event ev;
    size_t len = wsrun_bytes("8981m 61", ping);
    start(WS_SERVER, &limits);
    ws_set_blocked(&ws, true);
    ws_feed(&ws, ping, len);
    alloc_watch(1, true);
    int r = ws_next(&ws, &ev);
    CHECK(alloc_end().failed);
    CHECK_INT(r, ERR_NOMEM);
    CHECK(ws.close_sent && ws.close_code == 1011);
    stop();
    start(WS_SERVER, &limits);
    ws_set_blocked(&ws, true);
    len = wsrun_bytes("8981m 61", ping);
    ws_feed(&ws, ping, len);
    CHECK_INT(ws_next(&ws, &ev), 0);
    alloc_watch(1, true);
    ws_set_blocked(&ws, false);
    CHECK(alloc_end().failed);
    CHECK_INT(ws.error, ERR_NOMEM);
    CHECK_INT(ws_next(&ws, &ev), ERR_NOMEM);
    stop();
}

static void codes(void)
{
    unsigned valid = 0;
    for (unsigned code = 0; code <= 65535; code++)
        valid += ws_code_valid(code);
    CHECK_INT(valid, 4 + 8 + 2000);
    CHECK(ws_code_valid(1000) && ws_code_valid(1003) && ws_code_valid(1007));
    CHECK(ws_code_valid(1014) && ws_code_valid(3000) && ws_code_valid(4999));
    CHECK_INT(ws_error_code(ERR_PROTOCOL), 1002);
    CHECK_INT(ws_error_code(ERR_CONTINUATION), 1002);
    CHECK_INT(ws_error_code(ERR_UTF8), 1007);
    CHECK_INT(ws_error_code(ERR_TOO_BIG), 1009);
    CHECK_INT(ws_error_code(ERR_POLICY), 1008);
    CHECK_INT(ws_error_code(ERR_NOMEM), 1011);
}

int main(void)
{
    test("exact bytes", exact_bytes);
    test("lengths at the borders", lengths);
    test("messages are cut into frames", cut_into_frames);
    test("broadcasts are shared", broadcasts_are_shared);
    test("broadcasts follow each other", broadcasts_follow_each_other);
    test("broadcasts fill reels", broadcasts_fill_reels);
    test("control payloads are limited", control_payloads);
    test("nothing follows a close", nothing_follows_a_close);
    test("close codes and reasons", close_codes_and_reasons);
    test("closing first", closing_first);
    test("closing answered", closing_answered);
    test("closing inside a frame", closing_inside_a_frame);
    test("closing first, then a broken peer", closing_first_then_broken);
    test("closing between events", closing_between_events);
    test("failing from outside", failing_from_outside);
    test("a pong waits while blocked", pong_waits_while_blocked);
    test("a pong left waiting is freed", a_pong_left_waiting_is_freed);
    test("pings as events", pings_as_events);
    test("sending with failing allocations", sending_starved);
    test("the pong slot with failing allocations", starved_pong_slot);
    test("close codes", codes);
    return test_end();
}
