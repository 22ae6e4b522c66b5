// SPDX-License-Identifier: MIT
/*
 * Sessions of both roles that talk with each other, as a worker of a server has them and as its
 * clients do. The first bytes of an input choose for each of the pairs whether it compresses, and
 * what was agreed upon; the rest is a list of actions: send, broadcast, ping, close, write some of
 * what is queued, deliver some of what was written, begin anew, or change a byte on its way.
 *
 *      server 0 ── out ──▶ wire ──▶ client 0        a broadcast goes to several servers' out
 *      server 1 …                   client 1 …      queues, which share the bytes (reels)
 *
 * Beyond crashes and leaks:
 *
 *      - what arrives is what was sent, in order, whatever is between, and in the end all of it;
 *      - a ping is answered, once and in its order, by the newest pong when the peer did not read;
 *      - no message is longer than the limit, and no more is held than that asks for;
 *      - after bytes were changed an error, or other bytes, but never more than the limit.
 */
#include "base/err.h"
#include "base/mem.h"
#include "wsfuzz.h"

enum { PAIRS = 4, SERVER = 0, CLIENT = 1 };
enum {
    STEPS = 400,
    TRAFFIC = 300 * 1000,
    LONGEST = 80 * 1000,
    CONTENT = 128 * 640,
    MESSAGE_SMALL = 3000
};
enum { IOVS = 2048 };

/* What the other side is to be told. */
struct item {
    struct item *next;
    enum ws_type type;
    uint16_t code;
    size_t len;
    uint8_t bytes[];
};

struct side {
    struct ws ws;
    struct buf wire; /* written, and not delivered */
    struct item *due, **end;
    uint32_t pings, answered; /* sent; the number of the last one that was answered */
    bool deaf;                /* has closed: only the peer's close frame is told */
    bool done;                /* that was told */
    bool slow;                /* was blocked once: pings may have been left out */
};

static struct pair {
    struct side side[2];
    struct ws_limits limits;
    struct deflate_config config;
    bool spoiled; /* a byte was changed, or a message was too long */
} pairs[PAIRS];

static struct ws_shared shared[2]; /* of the worker, of the clients */
static uint8_t content[CONTENT];
static size_t traffic;

static struct item *due_add(struct side *s, enum ws_type type, const void *bytes, size_t len)
{
    struct item *item = mem_alloc(sizeof *item + len);
    item->next = NULL;
    item->type = type;
    item->code = 0;
    item->len = len;
    if (len)
        memcpy(item->bytes, bytes, len);
    *s->end = item;
    s->end = &item->next;
    return item;
}

static void due_drop(struct side *s)
{
    struct item *item = s->due;
    s->due = item->next;
    if (!s->due)
        s->end = &s->due;
    mem_free(item);
}

/* --- Beginning and end ------------------------------------------------------------------------ */

static void choose_settings(struct pair *p, struct choices *c, struct deflate_params *params)
{
    static const uint32_t frames[] = {65536, 125, 1000, 7};
    unsigned how = choose(c), more = choose(c);
    p->limits = (struct ws_limits){.max_frame = 1 << 20, .max_fragments = 1 << 20};
    p->limits.max_message = more & 1 ? MESSAGE_SMALL : LONGEST;
    p->limits.out_frame = frames[more >> 1 & 3];
    p->config = (struct deflate_config){
        .level = choose(c) % 10,
        .mem_level = (uint8_t)(1 + choose(c) % 9),
        .window_bits = (uint8_t)(9 + choose(c) % 7),
        .threshold = more & 8 ? 100 : 0,
    };
    unsigned bits = choose(c);
    params->server_bits = (uint8_t)(DEFLATE_BITS_MIN + bits % 8);
    params->client_bits = (uint8_t)(DEFLATE_BITS_MIN + bits / 8 % 8);
    params->server_no_takeover = how & 1;
    params->client_no_takeover = how & 2;
}

static void side_begin(struct pair *p, int role, const struct deflate_params *params)
{
    struct side *s = &p->side[role];
    *s = (struct side){0};
    s->end = &s->due;
    wsout_init(&s->ws, role == SERVER ? WS_SERVER : WS_CLIENT, &p->limits, &shared[role]);
    if (params) {
        struct deflate *d = deflate_new(&p->config, params, role == SERVER);
        MUST(d);
        ws_take_deflate(&s->ws, d);
    }
}

static void pair_begin(struct pair *p, struct choices *c)
{
    struct deflate_params params;
    bool packs = choose(c) & 1;
    choose_settings(p, c, &params);
    p->spoiled = false;
    for (int role = SERVER; role <= CLIENT; role++)
        side_begin(p, role, packs ? &params : NULL);
}

static void pair_end(struct pair *p)
{
    for (int role = SERVER; role <= CLIENT; role++) {
        struct side *s = &p->side[role];
        while (s->due)
            due_drop(s);
        buf_free(&s->wire);
        wsout_deinit(&s->ws);
    }
}

/* --- What is told ----------------------------------------------------------------------------- */

static uint32_t number_in(const struct ws_event *ev)
{
    uint32_t number = 0;
    MUST(ev->len >= 1 + sizeof number && ev->data[0] == 'p');
    memcpy(&number, ev->data + 1, sizeof number);
    return number;
}

/* The answer to a ping of ours; the newest of several may stand for all. */
static void told_pong(struct side *to, const struct ws_event *ev)
{
    uint32_t number = number_in(ev);
    MUST(number > to->answered && number <= to->pings);
    MUST(to->slow || number == to->answered + 1);
    to->answered = number;
}

/* Whose close frame comes first is answered with the same. */
static void told_close(struct side *to, const struct ws_event *ev)
{
    if (!to->deaf)
        due_add(to, WS_CLOSE, ev->data, ev->len)->code = ev->code;
    to->deaf = to->done = true;
}

static void told(struct pair *p, int role, const struct ws_event *ev)
{
    struct side *to = &p->side[role], *from = &p->side[!role];
    MUST(ev->len <= p->limits.max_message);
    if (ev->type == WS_CLOSE && !p->spoiled)
        while (to->deaf && from->due && from->due->type != WS_CLOSE)
            due_drop(from); /* dropped, as we have closed */
    if (p->spoiled) {
        to->done = to->done || ev->type == WS_CLOSE;
        return;
    }
    MUST(!to->deaf || ev->type == WS_CLOSE);
    if (ev->type == WS_PONG && ev->len && ev->data[0] == 'p') {
        told_pong(to, ev);
        return;
    }
    const struct item *item = from->due;
    MUST(item && item->type == ev->type && item->code == ev->code && item->len == ev->len);
    MUST(ev->len == 0 || memcmp(item->bytes, ev->data, ev->len) == 0);
    due_drop(from);
    if (ev->type == WS_CLOSE)
        told_close(to, ev);
}

/* A refusal is right for a message over the limit, and for nothing else. */
static void failed(struct pair *p, int role, int err)
{
    const struct item *item = p->side[!role].due;
    struct side *to = &p->side[role];
    if (err == ERR_CLOSED && to->ws.close_got)
        return;
    MUST(to->ws.close_sent);
    if (p->spoiled)
        return;
    MUST(err == ERR_TOO_BIG && item && item->len > p->limits.max_message);
    p->spoiled = true;
}

/* --- Actions ---------------------------------------------------------------------------------- */

/* Letters, with longer characters and repetitions, so that windows have something to find. */
static size_t fill(struct choices *c, enum ws_type type)
{
    static const char unit[] = "größer 漢字🙂, "; /* of 22 bytes */
    unsigned kind = choose(c), size = choose(c), seed = choose(c);
    size_t len = size & 0x80 ? (size & 0x7F) * 640u : size & 0x40 ? (size & 0x3F) * 48u : size;
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245u + 12345u;
        if (kind & 1)
            content[i] = (uint8_t)(seed >> 16 & (type == WS_TEXT ? 0x7F : 0xFF));
        else if (kind & 2)
            content[i] = (uint8_t)('a' + (i + (kind >> 2)) % (1 + (kind >> 4)));
        else
            content[i] = (uint8_t)unit[i % (sizeof unit - 1)];
    }
    if (!(kind & 3))
        len -= len % (sizeof unit - 1);
    traffic += len;
    return len;
}

static void send_message(struct pair *p, int role, struct choices *c)
{
    struct side *s = &p->side[role];
    enum ws_type type = choose(c) & 1 ? WS_TEXT : WS_BINARY;
    size_t len = fill(c, type);
    int r = ws_send(&s->ws, type, content, len);
    MUST(r == (s->ws.close_sent ? ERR_CLOSED : 0));
    if (r == 0)
        due_add(s, type, content, len);
}

static void broadcast(struct choices *c)
{
    unsigned who = choose(c);
    enum ws_type type = who & 0x80 ? WS_TEXT : WS_BINARY;
    size_t len = fill(c, type);
    struct ws_broadcast b = {.type = type, .bytes = content, .len = len};
    for (int i = 0; i < PAIRS; i++) {
        struct side *s = &pairs[i].side[SERVER];
        if (!(who >> i & 1))
            continue;
        int r = ws_send_broadcast(&s->ws, &b);
        MUST(r == (s->ws.close_sent ? ERR_CLOSED : 0));
        if (r == 0)
            due_add(s, type, content, len);
    }
    ws_broadcast_deinit(&b);
    MUST(ws_send_broadcast(&pairs[0].side[CLIENT].ws, &b) < 0);
}

static void control(struct pair *p, int role, struct choices *c)
{
    struct side *s = &p->side[role];
    uint8_t payload[125] = {'u'};
    size_t len = choose(c) % sizeof payload;
    if (choose(c) & 1) {
        int r = ws_pong(&s->ws, payload, len); /* one that nobody has asked for */
        MUST(r == (s->ws.close_sent ? ERR_CLOSED : 0));
        if (r == 0)
            due_add(s, WS_PONG, payload, len);
        return;
    }
    uint32_t number = s->pings + 1;
    payload[0] = 'p';
    memcpy(payload + 1, &number, sizeof number);
    len = len < 1 + sizeof number ? 1 + sizeof number : len;
    if (ws_ping(&s->ws, payload, len) == 0)
        s->pings = number;
}

static void say_goodbye(struct pair *p, int role, struct choices *c)
{
    static const uint16_t codes[] = {1000, 0, 4999, 1011};
    static const char reason[] = "bye, größer";
    struct side *s = &p->side[role];
    unsigned how = choose(c);
    uint16_t code = codes[how & 3];
    size_t len = how & 4 && code ? sizeof reason - 1 : 0;
    bool before = s->ws.close_sent;
    int r = ws_close(&s->ws, code, reason, len);
    MUST(r == (before ? ERR_CLOSED : 0));
    if (before)
        return;
    due_add(s, WS_CLOSE, reason, len)->code = code ? code : WS_NO_STATUS;
    s->deaf = true;
}

/* Some of what is queued goes to the wire, as far as the peer's system takes it. */
static void write_some(struct pair *p, int role, size_t most)
{
    static struct iovec iov[IOVS];
    struct side *s = &p->side[role];
    int count = outq_iovec(s->ws.out, iov, IOVS);
    size_t all = 0, written = 0;
    for (int i = 0; i < count; i++)
        all += iov[i].iov_len;
    MUST(all == s->ws.out->len || count == IOVS);
    for (int i = 0; i < count && written < most; i++) {
        size_t n = iov[i].iov_len < most - written ? iov[i].iov_len : most - written;
        MUST(buf_append(&s->wire, iov[i].iov_base, n) == 0);
        written += n;
    }
    outq_consume(s->ws.out, shared[role].pool, written);
    bool blocked = s->ws.out->len > 0;
    s->slow = s->slow || blocked;
    p->side[!role].slow = p->side[!role].slow || blocked;
    ws_set_blocked(&s->ws, blocked);
}

static void take_events(struct pair *p, int role, unsigned most)
{
    struct ws *ws = &p->side[role].ws;
    struct ws_event ev;
    int r = 0;
    for (unsigned i = 0; i < most && (r = ws_next(ws, &ev)) > 0; i++)
        told(p, role, &ev);
    if (r < 0)
        failed(p, role, r);
    MUST(ws_keep(ws) == 0);
    uint64_t limit = p->limits.max_message + 64, packed = limit + limit / 8 + limit / 64;
    MUST(ws_held(ws) <= packed + ws->fed_len + 125);
}

/* Some of what is on the wire reaches the other side, which takes that many events of it. */
static void deliver(struct pair *p, int role, size_t len, unsigned events)
{
    struct buf *wire = &p->side[!role].wire;
    if (len > buf_len(wire))
        len = buf_len(wire);
    uint8_t *bytes = mem_alloc(len + 1); /* of its size, so that reading on is noticed */
    if (len)
        memcpy(bytes, buf_bytes(wire), len);
    buf_consume(wire, len);
    MUST(ws_feed(&p->side[role].ws, bytes, len) == 0);
    take_events(p, role, events);
    mem_free(bytes);
}

static void spoil(struct pair *p, int role, struct choices *c)
{
    struct buf *wire = &p->side[role].wire;
    size_t at = (size_t)choose(c) << 8 | choose(c);
    uint8_t change = choose(c);
    if (!buf_len(wire) || !change)
        return;
    buf_bytes(wire)[at % buf_len(wire)] ^= change;
    p->spoiled = true;
}

static size_t some(struct choices *c)
{
    unsigned n = choose(c);
    return n < 200 ? n : (n - 199u) * 2000u;
}

static void step(struct choices *c)
{
    unsigned what = choose(c);
    struct pair *p = &pairs[what >> 4 & 3];
    int role = what >> 6 & 1;
    switch (what & 15) {
    case 0:
    case 1:
    case 2: send_message(p, role, c); break;
    case 3:
    case 4: broadcast(c); break;
    case 5: control(p, role, c); break;
    case 6: say_goodbye(p, role, c); break;
    case 7: spoil(p, role, c); break;
    case 8: pair_end(p), pair_begin(p, c); break;
    case 9: take_events(p, role, choose(c)); break;
    case 10:
    case 11: write_some(p, role, some(c)); break;
    case 12: write_some(p, role, SIZE_MAX); break;
    case 13: deliver(p, role, some(c), choose(c)); break;
    default: deliver(p, role, some(c), UINT32_MAX); break;
    }
}

/* All that is queued arrives. */
static void settle(struct pair *p)
{
    for (int round = 0; round < 4; round++)
        for (int role = SERVER; role <= CLIENT; role++) {
            write_some(p, role, SIZE_MAX);
            write_some(p, role, SIZE_MAX); /* the pong that waited */
            deliver(p, !role, SIZE_MAX, UINT32_MAX);
        }
    for (int role = SERVER; role <= CLIENT && !p->spoiled; role++) {
        struct side *s = &p->side[role], *other = &p->side[!role];
        MUST(!s->due && s->ws.out->len == 0 && s->ws.fed_len == 0);
        MUST(s->deaf == s->done && s->done == other->done);
        MUST(s->deaf || s->answered == s->pings);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choices c = {data, size};
    traffic = 0;
    for (int role = SERVER; role <= CLIENT; role++)
        shared[role] = (struct ws_shared){.random = fuzz_random};
    for (int i = 0; i < PAIRS; i++)
        pair_begin(&pairs[i], &c);
    for (int i = 0; i < STEPS && c.len && traffic < TRAFFIC; i++)
        step(&c);
    for (int i = 0; i < PAIRS; i++) {
        settle(&pairs[i]);
        pair_end(&pairs[i]);
    }
    for (int role = SERVER; role <= CLIENT; role++)
        wsout_shared_deinit(&shared[role]);
    return 0;
}
