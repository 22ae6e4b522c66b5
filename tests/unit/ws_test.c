// SPDX-License-Identifier: MIT
/*
 * The session's reading, case by case: input in, transcript out (wsrun.h has the notation). Every
 * case runs whole, byte by byte and split at every point, in three ways of driving, and with every
 * n-th allocation failing.
 */
#include "base/err.h"
#include "wsrun.h"

struct ws_case {
    const char *name, *input, *expected;
};

static const struct ws_limits limits = {
    .max_frame = 200, .max_message = 300, .max_fragments = 4, .out_frame = 1000};

static const struct ws_case server_cases[] = {
    /* RFC 6455 §5.7 and plain data */
    {"nothing", "", ""},
    {"text", "8185m 48656C6C6F", "T\"Hello\""},
    {"binary", "8283m 00FF80", "B\"\\00\\FF\\80\""},
    {"empty text and binary", "8180m; 8280m", "T\"\" B\"\""},
    {"several in a row", "8181m 61; 8281m 62; 8181m 63", "T\"a\" B\"b\" T\"c\""},
    {"text of 125", "81FDm 61*125", "T\"a\"*125"},
    {"binary of 126", "82FE007Em 62*126", "B\"b\"*126"},
    {"zero masking key", "8182 00000000 6869", "T\"hi\""},
    /* §5.4 fragments */
    {"two fragments", "0183m 48656C; 8082m 6C6F", "T\"Hello\""},
    {"four fragments, empty ones too", "0280m; 0081m 61; 0080m; 8081m 62", "B\"ab\""},
    {"empty fragments only", "0180m; 8080m", "T\"\""},
    {"a message after a fragmented one", "0181m 61; 8081m 62; 8181m 63", "T\"ab\" T\"c\""},
    {"control frames between fragments", "0181m 61; 8981m 70; 0081m 62; 8A81m 71; 8081m 63",
     "O\"q\" T\"abc\" > O\"p\""},
    {"continuation first (H11)", "8080m", "E-3 > C1002"},
    {"continuation after a whole message", "8181m 61; 8081m 62", "T\"a\" E-3 > C1002"},
    {"continuation after the last fragment", "0181m 61; 8081m 62; 0081m 63", "T\"ab\" E-3 > C1002"},
    {"new message inside a message (H12)", "0180m; 8180m", "E-3 > C1002"},
    {"new fragmented message inside", "0180m; 0280m", "E-3 > C1002"},
    /* §5.5 control frames */
    {"ping is answered", "8980m; 8984m 70696E67", " > O\"\" O\"ping\""},
    {"ping of 125", "89FDm 70*125", " > O\"p\"*125"},
    {"pong without a ping", "8A82m 6F6B", "O\"ok\""},
    {"fragmented ping (H13)", "0980m", "E-2 > C1002"},
    {"ping of 126 (H13)", "89FE007Em 70*126", "E-2 > C1002"},
    {"fragmented close", "0880m", "E-2 > C1002"},
    /* §5.2 framing */
    {"not masked (H01)", "8105 48656C6C6F", "E-2 > C1002"},
    {"control not masked", "8900", "E-2 > C1002"},
    {"RSV1 (H02)", "C180m", "E-2 > C1002"},
    {"RSV2 (H03)", "A180m", "E-2 > C1002"},
    {"RSV3 (H03)", "9180m", "E-2 > C1002"},
    {"RSV1 on a continuation (H27)", "0180m; C080m", "E-2 > C1002"},
    {"RSV1 on a ping (H27)", "C980m", "E-2 > C1002"},
    {"reserved opcode 3 (H04)", "8380m", "E-2 > C1002"},
    {"reserved opcode 7 (H04)", "8780m", "E-2 > C1002"},
    {"reserved opcode B (H04)", "8B80m", "E-2 > C1002"},
    {"reserved opcode F (H04)", "8F80m", "E-2 > C1002"},
    {"unknown opcode, huge length (H10)", "83FF 000000007FFFFFFF m", "E-2 > C1002"},
    {"length with the top bit (H05)", "82FF 8000000000000000 m", "E-2 > C1002"},
    {"length that would wrap (H06)", "82FF FFFFFFFFFFFFFFFC m", "E-2 > C1002"},
    {"length not minimal, 16 bits (H08)", "82FE 0005 m 0102030405", "E-2 > C1002"},
    {"length not minimal, 64 bits (H08)", "82FF 0000000000000005 m 0102030405", "E-2 > C1002"},
    {"an error after messages", "8181m 61; 8981m 70; 8101 61; 8181m 62",
     "T\"a\" E-2 > O\"p\" C1002"},
    /* Limits */
    {"frame at the limit", "82FE00C8m 61*200", "B\"a\"*200"},
    {"frame over the limit (H09)", "82FE00C9m", "E-5 > C1009"},
    {"huge frame", "82FF 7FFFFFFFFFFFFFFF m", "E-5 > C1009"},
    {"message at the limit", "02FE0096m 61*150; 80FE0096m 61*150", "B\"a\"*300"},
    {"message over the limit, by the header", "02FE0097m 61*151; 80FE0096m", "E-5 > C1009"},
    {"as many fragments as allowed", "0181m 61; 0081m 61; 0081m 61; 8081m 61", "T\"aaaa\""},
    {"too many fragments (H14)", "0181m 61; 0081m 61; 0081m 61; 0081m 61; 0081m", "E-6 > C1008"},
    {"fragments are counted for each message",
     "0181m 61; 0081m 61; 8081m 61; 0181m 62; 0081m 62; 8081m 62", "T\"aaa\" T\"bbb\""},
    {"too many empty fragments", "0280m; 0080m; 0080m; 0080m; 8080m", "E-6 > C1008"},
    /* §8.1 UTF-8 */
    {"text in several scripts", "8189m C3A4E282ACF09F92A9",
     "T\"\\C3\\A4\\E2\\82\\AC\\F0\\9F\\92\\A9\""},
    {"character split over fragments (H29)", "0181m F0; 0081m 9F; 0081m 92; 8081m A9",
     "T\"\\F0\\9F\\92\\A9\""},
    {"surrogate over fragments (H29)", "0181m ED; 0081m A0; 8081m 80", "E-4 > C1007"},
    {"overlong (H29)", "8182m C080", "E-4 > C1007"},
    {"above U+10FFFF in the last fragment (H28)", "0185m 48656C6C6F; 8084m F4908080",
     "E-4 > C1007"},
    {"ends inside a character", "8182m E282", "E-4 > C1007"},
    {"fragments end inside a character", "0182m E282; 8080m", "E-4 > C1007"},
    {"bad byte in an unfinished frame", "81FE00C8m 6162FF", "E-4 > C1007"},
    {"bad byte in an unfinished fragmented message", "0184m C3A4F490", "E-4 > C1007"},
    {"character state starts anew", "0181m C3; 8081m A4; 8281m C3; 8181m 61",
     "T\"\\C3\\A4\" B\"\\C3\" T\"a\""},
    {"binary is not checked", "8282m C080", "B\"\\C0\\80\""},
    {"a ping may hold anything", "8981m FF", " > O\"\\FF\""},
    /* §5.5.1, §7.4 closing */
    {"close without a code", "8880m", "C1005\"\" E-7 > C"},
    {"close", "8882m 03E8", "C1000\"\" E-7 > C1000"},
    {"close with a reason", "8886m 0FA0 62796521", "C4000\"bye!\" E-7 > C4000"},
    {"close between fragments", "0181m 61; 8882m 03E9", "C1001\"\" E-7 > C1001"},
    {"nothing is read after a close", "8882m 03E8; 8181m 61", "C1000\"\" E-7 > C1000"},
    {"close of one byte", "8881m 03", "E-2 > C1002"},
    {"close 999", "8882m 03E7", "E-2 > C1002"},
    {"close 1004", "8882m 03EC", "E-2 > C1002"},
    {"close 1005", "8882m 03ED", "E-2 > C1002"},
    {"close 1006", "8882m 03EE", "E-2 > C1002"},
    {"close 1015", "8882m 03F7", "E-2 > C1002"},
    {"close 5000", "8882m 1388", "E-2 > C1002"},
    {"close reason is not UTF-8", "8884m 03E8 C080", "E-4 > C1007"},
    {"close reason of 123", "88FDm 03E8 61*123", "C1000\"a\"*123 E-7 > C1000"},
};

static const struct ws_case client_cases[] = {
    {"text", "8105 48656C6C6F", "T\"Hello\""},
    {"fragments", "0203 010203; 8002 0405", "B\"\\01\\02\\03\\04\\05\""},
    {"ping is answered with a mask", "8902 6869", " > O\"hi\""},
    {"masked frame from a server", "8185m 48656C6C6F", "E-2 > C1002"},
    {"bad UTF-8 in an unfinished frame", "8105 61FF", "E-4 > C1007"},
    {"close", "8805 03E8 627965", "C1000\"bye\" E-7 > C1000"},
    {"length of 64 bits over the limit", "827F0000000000010000", "E-5 > C1009"},
};

/* One case in one way of driving. */
struct run {
    const struct ws_case *c;
    enum ws_role role;
    enum wsrun_mode mode;
    struct str input;
    struct cut cut;
    struct ws_shared *shared;
};

static void check_idle(const struct ws *ws)
{
    CHECK(ws->input == NULL);
    CHECK_INT(ws_held(ws), 0);
}

static void run_cut(const struct cut *cut, void *arg)
{
    struct run *r = arg;
    struct ws ws;
    struct line line;
    wsout_init(&ws, r->role, &limits, r->shared);
    wsrun_feed(&ws, r->input, cut, r->mode, &line);
    CHECK_TEXT(line.text, r->c->expected);
    if (ws.error || (!ws.close_got && !ws_assembling(&ws)))
        check_idle(&ws);
    CHECK_INT(ws.close_sent, strstr(line.text, "> C") || strstr(line.text, " C"));
    wsout_deinit(&ws);
}

/*
 * Under failing allocations: the same transcript, or one that stops short and says so. A close
 * frame may be missing from the output, where there was no memory for it; so only the events are
 * compared.
 */
static void run_starved(void *arg)
{
    struct run *r = arg;
    struct ws ws;
    struct line line;
    char expected[WSRUN_LINE];
    snprintf(expected, sizeof expected, "%s", r->c->expected);
    char *cut_at = strstr(expected, " >");
    if (cut_at)
        *cut_at = '\0';
    wsout_init(&ws, r->role, &limits, r->shared);
    wsrun_feed(&ws, r->input, &r->cut, r->mode, &line);
    cut_at = strstr(line.text, " >");
    if (cut_at)
        *cut_at = '\0';
    if (strcmp(line.text, expected) != 0) {
        char *error = strstr(line.text, "E-1");
        if (CHECK(error != NULL))
            *error = '\0';
        CHECK(strncmp(line.text, expected, strlen(line.text)) == 0);
        CHECK_INT(ws.error, ERR_NOMEM);
        CHECK_INT(ws.close_code, WS_INTERNAL_ERROR);
        CHECK(ws.close_sent);
        CHECK(ws.input == NULL);
    }
    wsout_deinit(&ws);
    wsout_shared_deinit(r->shared);
}

static void run_case(struct run *r)
{
    static const char *const modes[] = {"", ", keeping", ", queueing"};
    for (int mode = 0; mode < WSRUN_MODES; mode++) {
        char name[120];
        r->mode = (enum wsrun_mode)mode;
        snprintf(name, sizeof name, "%s%s", r->c->name, modes[mode]);
        each_cut(r->input.len, run_cut, r);
        for (size_t piece = 1; piece <= r->input.len; piece += r->input.len / 3 + 1) {
            test_context("%s, pieces of %zu", name, piece);
            r->cut = (struct cut){piece, piece};
            each_alloc_failure(run_starved, r);
        }
        wsout_shared_deinit(r->shared);
    }
}

static const struct ws_case *current;
static enum ws_role current_role;

static void run_current(void)
{
    static uint8_t input[WSRUN_INPUT];
    struct ws_shared shared = {.random = wsrun_random};
    struct run r = {.c = current, .role = current_role, .shared = &shared};
    r.input = (struct str){(char *)input, wsrun_bytes(current->input, input)};
    run_case(&r);
    wsout_shared_deinit(&shared);
}

static void run_cases(const struct ws_case *cases, size_t count, enum ws_role role)
{
    for (size_t i = 0; i < count; i++) {
        current = &cases[i];
        current_role = role;
        test(current->name, run_current);
    }
}

/* What a session says of the peer's mistake, for the log: fed `piece` bytes at a time. */
static void check_why(const char *text, size_t piece, const char *why)
{
    uint8_t bytes[64];
    struct ws_shared shared = {.random = wsrun_random};
    struct ws ws;
    struct ws_event ev;
    size_t len = wsrun_bytes(text, bytes);
    test_context("%s, by %zu", text, piece);
    wsout_init(&ws, WS_SERVER, &limits, &shared);
    for (size_t at = 0; at < len && !ws.error; at += piece) {
        ws_feed(&ws, bytes + at, len - at < piece ? len - at : piece);
        while (ws_next(&ws, &ev) > 0)
            continue;
    }
    CHECK_INT(ws.error, ERR_PROTOCOL);
    CHECK_TEXT(ws.why ? ws.why : "nothing", why);
    wsout_deinit(&ws);
    wsout_shared_deinit(&shared);
}

static void reasons(void)
{
    static const struct {
        const char *input, *why;
    } cases[] = {
        {"8181m 61; 8380m", "reserved opcode"},
        {"0980m", "control frame is fragmented"},
        {"89FE007Em", "control frame is too long"},
        {"82FF 8000000000000000 m", "frame length has its top bit set"},
        {"82FE0005m", "frame length is not in its shortest form"},
        {"82FF 000000000000FFFF m", "frame length is not in its shortest form"},
        {"A180m", "reserved bits are set"},
        {"8100", "frame is not masked"},
        {"8881m 03", "close frame of one byte"},
        {"8882m 03E7", "invalid close code"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_why(cases[i].input, 64, cases[i].why);
        check_why(cases[i].input, 1, cases[i].why);
        check_why(cases[i].input, 3, cases[i].why);
    }
}

int main(void)
{
    test("what the peer did wrong is told", reasons);
    run_cases(server_cases, sizeof server_cases / sizeof *server_cases, WS_SERVER);
    run_cases(client_cases, sizeof client_cases / sizeof *client_cases, WS_CLIENT);
    return test_end();
}
