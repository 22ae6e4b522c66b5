// SPDX-License-Identifier: MIT
/*
 * The session reads any bytes in either role, and must do the same whatever the cuts: the input is
 * fed whole to one session, and cut at points that the fuzzer chooses, kept and queued as it likes,
 * to another. Events, errors and output must agree; memory must stay in proportion to what was fed;
 * and the other role must be able to read all that was sent.
 *
 *      byte 0   1: client role  2: pings are events  4: blocked  8: keep after every event
 *               16: feed on with input kept  32: close after an event  64: small limits
 *      byte 1   after which event to close
 *      byte 2   how many cut lengths follow (0-15), used in turn
 *      then     the cut lengths, a byte each (0 counts as 256); the rest is the wire
 */
#include "base/err.h"
#include "proto/ws/ws_input.h"
#include "wsfuzz.h"

#include <sanitizer/asan_interface.h>

enum { CLIENT = 1, PING_EVENTS = 2, BLOCKED = 4, KEEP = 8, QUEUE = 16, CLOSE = 32, SMALL = 64 };

static const struct ws_limits wide = {
    .max_frame = 65536, .max_message = 1 << 20, .max_fragments = 1024, .out_frame = 65536};
static const struct ws_limits small = {
    .max_frame = 64, .max_message = 100, .max_fragments = 4, .out_frame = 10};
static const struct ws_limits none = {.max_frame = INT64_MAX,
                                      .max_message = INT64_MAX,
                                      .max_fragments = UINT32_MAX,
                                      .out_frame = 65536};

static struct plan {
    unsigned flags, close_after, cuts;
    uint8_t cut[15];
    const uint8_t *wire;
    size_t len;
} plan;

static struct run {
    struct ws ws;
    struct ws_shared shared;
    struct record events;
    unsigned count;
    size_t held; /* at the end */
} whole, pieces;

static void read_plan(const uint8_t *data, size_t size)
{
    struct choices c = {data, size};
    plan = (struct plan){.flags = choose(&c)};
    plan.close_after = choose(&c);
    plan.cuts = choose(&c) % 16;
    for (unsigned i = 0; i < plan.cuts; i++)
        plan.cut[i] = choose(&c);
    plan.wire = c.bytes;
    plan.len = c.len;
}

/* What a handler might do on an event; the same whatever the cuts. */
static void react(struct run *r, const struct ws_event *ev)
{
    record_event(&r->events, ev);
    if (ev->type == WS_TEXT || ev->type == WS_BINARY)
        ws_send(&r->ws, ev->type, ev->data, ev->len);
    else if (ev->type == WS_PING)
        ws_pong(&r->ws, ev->data, ev->len);
    if ((plan.flags & CLOSE) && r->count++ == plan.close_after)
        ws_close(&r->ws, 4000, "fuzz", 4);
}

/* False after an error. */
static bool drain(struct run *r, unsigned flags)
{
    struct ws_event ev;
    int err;
    while ((err = ws_next(&r->ws, &ev)) == 1) {
        react(r, &ev);
        if (flags & (KEEP | QUEUE))
            MUST(ws_keep(&r->ws) == 0);
        if (flags & QUEUE)
            return true;
    }
    if (err < 0)
        record_error(&r->events, err);
    return err == 0;
}

/*
 * Feeds a copy that nobody may touch afterwards: the session must have let go of it. A few places
 * take turns, poisoned but for the piece; that finds as much as freed memory would, and is faster.
 */
static bool feed(struct run *r, size_t pos, size_t len, unsigned flags)
{
    enum { PLACES = 4, SIZE = 256 };
    static uint8_t places[PLACES][SIZE] __attribute__((aligned(16)));
    static unsigned turn;
    uint8_t *place = len <= SIZE ? places[turn++ % PLACES] : malloc(len);
    MUST(place);
    if (len <= SIZE) {
        ASAN_POISON_MEMORY_REGION(place, SIZE);
        ASAN_UNPOISON_MEMORY_REGION(place, len);
    }
    memcpy(place, plan.wire + pos, len);
    MUST(ws_feed(&r->ws, place, len) == 0);
    bool on = drain(r, flags);
    if (len <= SIZE)
        ASAN_POISON_MEMORY_REGION(place, SIZE);
    else
        free(place);
    return on;
}

static void start(struct run *r)
{
    r->shared = (struct ws_shared){.random = fuzz_random};
    r->events.len = 0;
    r->count = 0;
    wsout_init(&r->ws, plan.flags & CLIENT ? WS_CLIENT : WS_SERVER,
               plan.flags & SMALL ? &small : &wide, &r->shared);
    r->ws.auto_pong = !(plan.flags & PING_EVENTS);
    ws_set_blocked(&r->ws, plan.flags & BLOCKED);
}

static void finish(struct run *r)
{
    r->held = ws_held(&r->ws);
    MUST((r->ws.input == NULL) || (!r->ws.error && (ws_assembling(&r->ws) || r->ws.close_sent)));
    ws_set_blocked(&r->ws, false);
    record_output(&r->events, &r->ws);
}

/*
 * Memory grows with what has come, whatever was announced, and twice that at the most while it
 * grows geometrically.
 */
static void check_memory(const struct run *r, size_t fed)
{
    const struct ws_input *in = r->ws.input;
    size_t most = 2 * fed > 64 ? 2 * fed : 64;
    if (in)
        MUST(in->message.cap <= most && in->kept.cap <= 2 * most);
}

static void run_whole(void)
{
    start(&whole);
    if (plan.len > 0)
        feed(&whole, 0, plan.len, 0);
    check_memory(&whole, plan.len);
    finish(&whole);
}

static void run_pieces(void)
{
    size_t pos = 0, n;
    bool on = true;
    start(&pieces);
    for (unsigned i = 0; on && pos < plan.len; i++, pos += n) {
        uint8_t cut = plan.cuts ? plan.cut[i % plan.cuts] : 1;
        n = cut ? cut : 256;
        if (n > plan.len - pos)
            n = plan.len - pos;
        on = feed(&pieces, pos, n, plan.flags);
        check_memory(&pieces, pos + n);
    }
    if (on)
        drain(&pieces, plan.flags & ~(unsigned)QUEUE);
    finish(&pieces);
}

/* The peer reads what was sent. */
static void check_output(struct run *r)
{
    static uint8_t bytes[sizeof r->events.bytes];
    static struct record out;
    struct ws_shared shared = {.random = fuzz_random};
    struct ws_event ev;
    struct ws peer;
    int err;
    out.len = 0;
    record_output(&out, &r->ws);
    memcpy(bytes, out.bytes, out.len);
    wsout_init(&peer, plan.flags & CLIENT ? WS_SERVER : WS_CLIENT, &none, &shared);
    ws_feed(&peer, bytes, out.len);
    while ((err = ws_next(&peer, &ev)) == 1)
        continue;
    MUST(err == (r->ws.close_sent ? ERR_CLOSED : 0));
    MUST(!ws_assembling(&peer));
    wsout_deinit(&peer);
    wsout_shared_deinit(&shared);
}

static void stop(struct run *r)
{
    wsout_deinit(&r->ws);
    wsout_shared_deinit(&r->shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_plan(data, size);
    run_whole();
    run_pieces();
    must_be_same(&whole.events, &pieces.events);
    MUST(whole.held == pieces.held && whole.ws.close_code == pieces.ws.close_code);
    MUST(!ws_assembling(&whole.ws) == !ws_assembling(&pieces.ws));
    check_output(&pieces);
    stop(&whole);
    stop(&pieces);
    return 0;
}
