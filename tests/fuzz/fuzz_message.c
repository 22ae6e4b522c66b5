// SPDX-License-Identifier: MIT
/*
 * The session against a reference that is slow and obvious: it has all the wire before it, decodes
 * one frame after the other into arrays, and checks the UTF-8 of everything that has come of a
 * message from its beginning, by the definition of code points. What both find (events, answers
 * queued, error) must be the same.
 *
 * So that the fuzzer gets deep, the wire is built from choices: each frame is mostly legal, its
 * length fits, its payload is masked. With the first byte's bit 1 the rest of the input is the wire
 * itself.
 *
 *      byte 0   1: raw wire  2: client role  4: cut off the end  8: byte by byte
 *      byte 1   max_frame / 4, 0: none   byte 2   max_message / 4   byte 3   max_fragments % 16
 *      frames   opcode byte; flag byte (1: long form 2: wrong mask bit 4: not FIN); length; payload
 */
#include "base/err.h"
#include "wsfuzz.h"

enum { RAW = 1, CLIENT = 2, TRUNCATE = 4, BYTEWISE = 8 };
enum { LONG_FORM = 1, WRONG_MASK = 2, NOT_FIN = 4 };
enum { WIRE_MAX = 32768 };

static uint8_t wire[WIRE_MAX];
static size_t wire_len;
static unsigned flags;
static struct ws_limits limits;

/* The reference. */

static struct reference {
    struct record events, output;
    uint8_t message[WIRE_MAX];
    size_t message_len, fragments;
    int type; /* of the message in assembly, 0 when there is none */
} ref;

struct parsed {
    size_t header, length; /* bytes */
    unsigned opcode, rsv;
    bool fin, masked;
    uint8_t key[4];
};

static size_t naive_character(const uint8_t *b, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = b[0] < 0x80 ? 1 : b[0] >> 5 == 6 ? 2 : b[0] >> 4 == 14 ? 3 : b[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t code = n == 1 ? b[0] : b[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (b[i] & 0x3F);
    }
    return code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) ? 0 : n;
}

/* Bytes at the front that are whole characters. */
static size_t naive_prefix(const uint8_t *b, size_t len)
{
    size_t at = 0, n;
    while (at < len && (n = naive_character(b + at, len - at)) > 0)
        at += n;
    return at;
}

/*
 * Whether up to three more bytes can complete the last character; tries those at the borders of all
 * ranges.
 */
static bool naive_mendable(const uint8_t *b, size_t len)
{
    static const uint8_t tail[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    size_t whole = naive_prefix(b, len), rest = len - whole;
    uint8_t t[8];
    if (rest == 0)
        return true;
    if (rest > 3)
        return false;
    memcpy(t, b + whole, rest);
    for (unsigned i = 0; i < 6 * 6 * 6; i++) {
        t[rest] = tail[i % 6];
        t[rest + 1] = tail[i / 6 % 6];
        t[rest + 2] = tail[i / 36];
        for (size_t n = rest + 1; n <= 4; n++)
            if (naive_character(t, n) == n)
                return true;
    }
    return false;
}

static void ref_frame(unsigned opcode, const uint8_t *payload, size_t len)
{
    uint8_t head[6] = {(uint8_t)(0x80 | opcode), (uint8_t)len};
    MUST(len <= 125);
    if (!(flags & CLIENT)) {
        record_add(&ref.output, head, 2);
        record_add(&ref.output, payload, len);
        return;
    }
    head[1] |= 0x80;
    fuzz_random(head + 2, 4);
    record_add(&ref.output, head, 6);
    for (size_t i = 0; i < len; i++)
        record_add(&ref.output, &(uint8_t){payload[i] ^ head[2 + i % 4]}, 1);
}

/* The code of the close frame that an error sends; its reason is not compared. */
static int ref_error(int err, unsigned code)
{
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    record_error(&ref.events, err);
    ref_frame(8, payload, 2);
    return -1;
}

/* 1: a header; 0: the wire ends before it does; -1: broken, by what is there. */
static int ref_header(const uint8_t *b, size_t len, struct parsed *f)
{
    if (len < 1)
        return 0;
    f->fin = b[0] >> 7;
    f->rsv = b[0] >> 4 & 7;
    f->opcode = b[0] & 15;
    if ((f->opcode > 2 && f->opcode < 8) || f->opcode > 10 || (f->opcode >= 8 && !f->fin))
        return -1;
    if (len < 2)
        return 0;
    f->masked = b[1] >> 7;
    f->length = b[1] & 127;
    if (f->opcode >= 8 && f->length > 125)
        return -1;
    size_t extra = f->length == 126 ? 2 : f->length == 127 ? 8 : 0;
    if (extra == 8 && len > 2 && b[2] > 127)
        return -1;
    if (extra == 8 && len >= 8 && !(b[2] | b[3] | b[4] | b[5] | b[6] | b[7]))
        return -1;
    if (len < 2 + extra)
        return 0;
    if (extra)
        f->length = 0;
    for (size_t i = 0; i < extra; i++)
        f->length = f->length * 256 + b[2 + i];
    if (extra == 2 && f->length < 126)
        return -1;
    f->header = 2 + extra + (f->masked ? 4 : 0);
    if (len < f->header)
        return 0;
    memset(f->key, 0, 4);
    if (f->masked)
        memcpy(f->key, b + 2 + extra, 4);
    return 1;
}

static int ref_judge(const struct parsed *f)
{
    if (f->rsv || f->masked == ((flags & CLIENT) != 0))
        return ref_error(ERR_PROTOCOL, 1002);
    if (f->opcode >= 8)
        return 0;
    if ((f->opcode == 0) != (ref.type != 0))
        return ref_error(ERR_CONTINUATION, 1002);
    bool too_long = limits.max_frame > 0 && f->length > limits.max_frame;
    if (too_long || ref.message_len + f->length > limits.max_message)
        return ref_error(ERR_TOO_BIG, 1009);
    if (ref.fragments + 1 > limits.max_fragments)
        return ref_error(ERR_POLICY, 1008);
    return 0;
}

static int ref_close(const uint8_t *payload, size_t len)
{
    unsigned code = len >= 2 ? payload[0] * 256u + payload[1] : 1005;
    bool known = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                 (code >= 3000 && code <= 4999);
    if (len == 1 || (len >= 2 && !known))
        return ref_error(ERR_PROTOCOL, 1002);
    size_t reason = len >= 2 ? len - 2 : 0;
    if (naive_prefix(payload + 2, reason) != reason)
        return ref_error(ERR_UTF8, 1007);
    record_item(&ref.events, WS_CLOSE, code,
                &(struct iovec){(uint8_t *)(uintptr_t)payload + 2, reason});
    record_error(&ref.events, ERR_CLOSED);
    ref_frame(8, payload, len);
    return -1;
}

static int ref_control(const struct parsed *f, const uint8_t *payload)
{
    if (f->opcode == 8)
        return ref_close(payload, f->length);
    if (f->opcode == 9)
        ref_frame(10, payload, f->length);
    else
        record_item(&ref.events, WS_PONG, 0,
                    &(struct iovec){(uint8_t *)(uintptr_t)payload, f->length});
    return 0;
}

static int ref_data(const struct parsed *f, const uint8_t *payload, size_t len)
{
    if (f->opcode != 0)
        ref.type = (int)f->opcode;
    ref.fragments++;
    if (len > 0)
        memcpy(ref.message + ref.message_len, payload, len);
    ref.message_len += len;
    if (ref.type == WS_TEXT && !naive_mendable(ref.message, ref.message_len))
        return ref_error(ERR_UTF8, 1007);
    if (len < f->length || !f->fin)
        return 0;
    if (ref.type == WS_TEXT && naive_prefix(ref.message, ref.message_len) != ref.message_len)
        return ref_error(ERR_UTF8, 1007);
    record_item(&ref.events, ref.type, 0, &(struct iovec){ref.message, ref.message_len});
    ref.type = 0;
    ref.message_len = ref.fragments = 0;
    return 0;
}

/* Reads the frame at `at`; returns what it takes, 0 when it is the last. */
static size_t ref_next(size_t at)
{
    struct parsed f = {0};
    uint8_t payload[WIRE_MAX];
    int r = ref_header(wire + at, wire_len - at, &f);
    if (r < 0)
        ref_error(ERR_PROTOCOL, 1002);
    if (r <= 0 || ref_judge(&f) < 0)
        return 0;
    size_t there = wire_len - at - f.header;
    size_t len = f.length < there ? f.length : there;
    for (size_t i = 0; i < len; i++)
        payload[i] = wire[at + f.header + i] ^ f.key[i % 4];
    if (f.opcode < 8)
        r = ref_data(&f, payload, len);
    else
        r = len == f.length ? ref_control(&f, payload) : 0;
    return r < 0 || len < f.length ? 0 : f.header + len;
}

static void run_reference(void)
{
    ref.events.len = ref.output.len = 0;
    ref.message_len = ref.fragments = 0;
    ref.type = 0;
    for (size_t at = 0, n; at < wire_len && (n = ref_next(at)) > 0; at += n)
        continue;
}

/* The session. */

static struct record events, output;

static bool take(struct ws *ws)
{
    struct ws_event ev;
    int r;
    while ((r = ws_next(ws, &ev)) == 1)
        record_event(&events, &ev);
    if (r < 0)
        record_error(&events, r);
    return r == 0;
}

/*
 * The session explains its refusals; the reference does not: reasons are left out of the last
 * frame.
 */
static void cut_reason(const struct ws *ws)
{
    if (ws->error) {
        size_t head = flags & CLIENT ? 6 : 2, from = ref.output.len - head - 2;
        MUST(output.len > from + head + 2 && ref.output.len >= head + 2);
        MUST((output.bytes[from + 1] & 127u) == output.len - from - head);
        output.bytes[from + 1] = (uint8_t)((output.bytes[from + 1] & 128) | 2);
        output.len = ref.output.len;
    }
}

static void run_session(void)
{
    struct ws_shared shared = {.random = fuzz_random};
    struct ws ws;
    size_t piece = flags & BYTEWISE ? 1 : wire_len;
    events.len = output.len = 0;
    wsout_init(&ws, flags & CLIENT ? WS_CLIENT : WS_SERVER, &limits, &shared);
    bool on = true;
    for (size_t at = 0; on && at < wire_len; at += piece) {
        ws_feed(&ws, wire + at, piece);
        on = take(&ws);
    }
    record_output(&output, &ws);
    cut_reason(&ws);
    MUST(ws.error || ws.close_got || ws_held(&ws) >= ref.message_len);
    wsout_deinit(&ws);
    wsout_shared_deinit(&shared);
}

/* The wire. */

static void put(const void *bytes, size_t len)
{
    memcpy(wire + wire_len, bytes, len);
    wire_len += len;
}

static void put_length(unsigned how, size_t len, bool masked)
{
    uint8_t mask_bit = masked ? 0x80 : 0;
    if (len > 125 || (how & LONG_FORM))
        put((uint8_t[]){mask_bit | 126, (uint8_t)(len >> 8), (uint8_t)len}, 3);
    else
        put(&(uint8_t){(uint8_t)(mask_bit | len)}, 1);
}

static void build_frame(struct choices *c)
{
    uint8_t b = choose(c), how = choose(c);
    size_t len = choose(c);
    bool masked = !(flags & CLIENT) != !!(how & WRONG_MASK);
    uint8_t key[4] = {how, (uint8_t)(how + 77), (uint8_t)~how, 0};
    put(&(uint8_t){(uint8_t)((b & 0x7F) | (how & NOT_FIN ? 0 : 0x80))}, 1);
    put_length(how, len, masked);
    if (masked)
        put(key, 4);
    for (size_t i = 0; i < len; i++)
        put(&(uint8_t){choose(c) ^ (masked ? key[i % 4] : 0)}, 1);
}

static void build_wire(struct choices *c)
{
    wire_len = 0;
    if (flags & RAW) {
        size_t len = c->len < WIRE_MAX ? c->len : WIRE_MAX;
        put(c->bytes, len);
        return;
    }
    while (c->len > 0 && wire_len < WIRE_MAX - 300)
        build_frame(c);
    if ((flags & TRUNCATE) && wire_len > 3)
        wire_len -= 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choices c = {data, size};
    if (size < 5)
        return 0;
    flags = choose(&c);
    limits.max_frame = choose(&c) * 4u;
    limits.max_message = choose(&c) * 4u;
    limits.max_fragments = choose(&c) % 16;
    limits.out_frame = 1000;
    build_wire(&c);
    run_reference();
    run_session();
    must_be_same(&events, &ref.events);
    must_be_same(&output, &ref.output);
    return 0;
}
