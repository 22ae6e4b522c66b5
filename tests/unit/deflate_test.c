// SPDX-License-Identifier: MIT
/*
 * Compression: what is agreed upon for which offer, and messages through two codecs that face each
 * other as a client and a server do, in every mode. What they send is also read by zlib with the
 * agreed window and no more.
 */
#include "proto/ws/deflate.h"

#include "base/err.h"
#include "base/mem.h"
#include "proto/ws/deflate_offer.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

enum { BIG = 300 * 1024, LIMIT = 1 << 20 };

static const struct deflate_config plain = {
    .mem_level = 5, .window_bits = 12, .server_no_takeover = true, .client_no_takeover = true};
static const struct deflate_config keeping = {.mem_level = 5, .window_bits = 12};
static const struct deflate_config widest = {.mem_level = 8, .window_bits = 15};

/* --- Negotiation ----------------------------------------------------------------------------- */

static struct http_head *head(const char *start, const char *extensions)
{
    static const struct http_limits limits = {4096, 8192, 100};
    char text[8192];
    size_t used;
    int len = snprintf(text, sizeof text, "%s\r\nHost: a\r\n%s\r\n", start, extensions);
    struct http_parser *p =
        http_parser_new(strstr(start, "101") ? HTTP_RESPONSE : HTTP_REQUEST, &limits);
    CHECK_INT(http_feed(p, (const uint8_t *)text, (size_t)len, &used), 1);
    struct http_head *h = http_take_head(p);
    http_parser_free(p);
    return h;
}

#define OFFER "Sec-WebSocket-Extensions: permessage-deflate"
#define PMD "permessage-deflate"
#define S_NO "; server_no_context_takeover"
#define C_NO "; client_no_context_takeover"
#define S_BITS "; server_max_window_bits"
#define C_BITS "; client_max_window_bits"

/* The offer's lines, and the answer; NULL: declined. */
struct deal {
    const char *offer, *answer;
};

static void check_deals(const struct deflate_config *ours, const struct deal *deals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char lines[4096];
        struct deflate_answer a;
        test_context("%s", deals[i].offer);
        snprintf(lines, sizeof lines, "%s\r\n", deals[i].offer);
        struct http_head *h = head("GET / HTTP/1.1", lines);
        bool agreed = deflate_accept(h, ours, &a);
        http_head_unref(h);
        CHECK_TEXT(agreed ? a.text : "declined", deals[i].answer ? deals[i].answer : "declined");
    }
}
#define CHECK_DEALS(ours, deals) check_deals(ours, deals, sizeof(deals) / sizeof *(deals))

static void without_contexts(void)
{
    static const struct deal deals[] = {
        {OFFER, PMD S_NO C_NO},
        {OFFER C_BITS, PMD S_NO C_NO},
        {OFFER C_BITS "=10", PMD S_NO C_NO},
        {OFFER S_NO, PMD S_NO C_NO},
        {OFFER C_NO S_NO, PMD S_NO C_NO},
        {OFFER S_BITS "=10", PMD S_NO C_NO S_BITS "=10"},
        {OFFER S_BITS "=15", PMD S_NO C_NO S_BITS "=15"},
        {OFFER S_BITS "=8", PMD S_NO C_NO S_BITS "=8"},
        {OFFER S_BITS "=9" C_BITS "=9" S_NO C_NO, PMD S_NO C_NO S_BITS "=9"},
        {"Sec-WebSocket-Extensions: x-other", NULL},
        {"X: y", NULL},
    };
    CHECK_DEALS(&plain, deals);
}

static void with_contexts(void)
{
    static const struct deal deals[] = {
        {OFFER, PMD S_BITS "=12"},
        {OFFER C_BITS, PMD S_BITS "=12" C_BITS "=12"},
        {OFFER C_BITS "=15", PMD S_BITS "=12" C_BITS "=12"},
        {OFFER C_BITS "=10", PMD S_BITS "=12" C_BITS "=10"},
        {OFFER C_BITS "=8", PMD S_BITS "=12" C_BITS "=8"},
        {OFFER S_NO, PMD S_NO},
        {OFFER S_NO S_BITS "=15", PMD S_NO S_BITS "=15"},
        {OFFER C_NO, PMD C_NO S_BITS "=12"},
        {OFFER C_NO C_BITS "=9", PMD C_NO S_BITS "=12"},
        {OFFER S_BITS "=15", PMD S_BITS "=12"},
        {OFFER S_BITS "=9", PMD S_BITS "=9"},
        {OFFER S_BITS "=8", PMD S_BITS "=8"},
        {OFFER S_NO C_NO C_BITS, PMD S_NO C_NO},
    };
    static const struct deal wide[] = {
        {OFFER, PMD},
        {OFFER C_BITS, PMD},
        {OFFER S_BITS "=15", PMD S_BITS "=15"},
        {OFFER C_BITS "=14" S_BITS "=13", PMD S_BITS "=13" C_BITS "=14"},
    };
    CHECK_DEALS(&keeping, deals);
    CHECK_DEALS(&widest, wide);
}

static void what_is_illegal_is_declined(void)
{
    static const struct deal deals[] = {
        {OFFER C_BITS "=99", NULL},
        {OFFER C_BITS "=07", NULL},
        {OFFER C_BITS "=", NULL},
        {OFFER C_BITS "=7", NULL},
        {OFFER C_BITS "=16", NULL},
        {OFFER C_BITS "=010", NULL},
        {OFFER C_BITS "=1 0", NULL},
        {OFFER C_BITS "=\"\"", NULL},
        {OFFER C_BITS "=\"10", NULL},
        {OFFER C_BITS "=1x", NULL},
        {OFFER C_BITS "=-9", NULL},
        {OFFER C_BITS "=9.0", NULL},
        {OFFER C_BITS C_BITS, NULL},
        {OFFER C_BITS "=10" C_BITS "=10", NULL},
        {OFFER S_BITS, NULL},
        {OFFER S_BITS "=", NULL},
        {OFFER S_BITS "=7", NULL},
        {OFFER S_BITS "=16", NULL},
        {OFFER S_BITS "=09", NULL},
        {OFFER S_BITS "=100000000000000000010", NULL},
        {OFFER S_BITS "=10" S_BITS "=10", NULL},
        {OFFER S_NO "=1", NULL},
        {OFFER S_NO "=", NULL},
        {OFFER S_NO S_NO, NULL},
        {OFFER C_NO "=true", NULL},
        {OFFER C_NO C_NO, NULL},
        {OFFER "; unknown", NULL},
        {OFFER "; unknown=1", NULL},
        {OFFER "; Server_No_Context_Takeover", NULL},
        {OFFER ";", NULL},
        {OFFER ";;", NULL},
        {OFFER " x", NULL},
        {OFFER "=1", NULL},
        {"Sec-WebSocket-Extensions: Permessage-Deflate", NULL},
        {"Sec-WebSocket-Extensions: permessage-deflat", NULL},
        {"Sec-WebSocket-Extensions: permessage-deflate2", NULL},
        {"Sec-WebSocket-Extensions: \"permessage-deflate\"", NULL},
        {"Sec-WebSocket-Extensions:", NULL},
        {"Sec-WebSocket-Extensions: ,, ,", NULL},
    };
    CHECK_DEALS(&plain, deals);
    CHECK_DEALS(&widest, deals);
}

static void the_first_good_offer_is_taken(void)
{
    static const struct deal deals[] = {
        {OFFER S_BITS "=10, " PMD S_NO, PMD S_BITS "=10"},
        {OFFER S_BITS "=99, " PMD S_NO, PMD S_NO},
        {OFFER "; unknown, x-other, " PMD C_NO, PMD C_NO S_BITS "=12"},
        {OFFER "; unknown\r\n" OFFER S_BITS "=9", PMD S_BITS "=9"},
        {"Sec-WebSocket-Extensions: x-other; a=\"b, " PMD "\", " PMD S_NO, PMD S_NO},
        {OFFER " ;\tserver_max_window_bits=\"1\\0\" , x", PMD S_BITS "=10"},
        {OFFER "; a=\"\\", NULL},
    };
    CHECK_DEALS(&keeping, deals);
}

static void check_offer(const struct deflate_config *ours, const char *text)
{
    char offer[DEFLATE_TEXT_SIZE];
    deflate_offer(ours, offer);
    CHECK_TEXT(offer, text);
}

static void clients_offer(void)
{
    check_offer(&plain, PMD S_NO C_NO C_BITS);
    check_offer(&keeping, PMD S_BITS "=12" C_BITS);
    check_offer(&widest, PMD C_BITS);
}

/* What a client makes of an answer: "no" compression, "bad", or the parameters. */
static const char *judged(const struct deflate_config *ours, const char *answer)
{
    static char text[64];
    char lines[4096];
    struct deflate_params p;
    bool on;
    snprintf(lines, sizeof lines, "%s%s\r\n", "Sec-WebSocket-Extensions: ", answer);
    struct http_head *h = head("HTTP/1.1 101 x", lines);
    const char *wrong = deflate_judge(h, ours, &p, &on);
    http_head_unref(h);
    if (wrong || !on)
        return wrong ? "bad" : "no";
    snprintf(text, sizeof text, "%u%s %u%s", p.server_bits, p.server_no_takeover ? "-" : "+",
             p.client_bits, p.client_no_takeover ? "-" : "+");
    return text;
}

static void clients_judge(void)
{
    CHECK_TEXT(judged(&widest, ""), "no");
    CHECK_TEXT(judged(&widest, "x-other"), "no");
    CHECK_TEXT(judged(&widest, PMD), "15+ 15+");
    CHECK_TEXT(judged(&widest, PMD S_NO), "15- 15+");
    CHECK_TEXT(judged(&widest, PMD C_NO), "15+ 15-");
    CHECK_TEXT(judged(&widest, PMD S_BITS "=10" C_BITS "=9"), "10+ 9+");
    CHECK_TEXT(judged(&widest, PMD C_BITS), "bad");
    CHECK_TEXT(judged(&widest, PMD S_BITS), "bad");
    CHECK_TEXT(judged(&widest, PMD "; unknown"), "bad");
    CHECK_TEXT(judged(&widest, PMD C_NO C_NO), "bad");
    CHECK_TEXT(judged(&widest, PMD ", " PMD), "bad");
    CHECK_TEXT(judged(&keeping, PMD), "bad");
    CHECK_TEXT(judged(&keeping, PMD S_BITS "=13"), "bad");
    CHECK_TEXT(judged(&keeping, PMD S_BITS "=12"), "12+ 15+");
    CHECK_TEXT(judged(&keeping, PMD S_BITS "=8" S_NO), "8- 15+");
    CHECK_TEXT(judged(&plain, PMD), "bad");
    CHECK_TEXT(judged(&plain, PMD S_NO), "15- 15-");
}

/* --- Messages -------------------------------------------------------------------------------- */

/* Two sessions that face each other, on workers of their own. */
struct pair {
    struct deflate *server, *client;
    struct deflate_shared *a, *b;
};

static bool pair_start(struct pair *p, const struct deflate_config *config,
                       const struct deflate_params *params)
{
    *p = (struct pair){deflate_new(config, params, true), deflate_new(config, params, false),
                       deflate_shared_new(), deflate_shared_new()};
    return p->server && p->client && p->a && p->b;
}

static void pair_stop(struct pair *p)
{
    deflate_free(p->server);
    deflate_free(p->client);
    deflate_shared_free(p->a);
    deflate_shared_free(p->b);
}

/* Unpacks what was packed from a block that ends with its tail. */
static int unpack(struct deflate *d, struct deflate_shared *s, const struct deflate_span *packed,
                  size_t limit, struct deflate_span *out)
{
    uint8_t *room = deflate_room(s, packed->len);
    if (!room)
        return ERR_NOMEM;
    if (packed->len)
        memcpy(room, packed->bytes, packed->len);
    return deflate_unpack(d, s, (struct deflate_span){room, packed->len}, limit, out);
}

enum content { ZEROS, TEXT, NOISE, DISTANT, CONTENTS };

/* Messages that say different things about windows: DISTANT repeats at a distance of 20,000. */
static uint8_t *fill(uint8_t *bytes, size_t len, enum content content, uint64_t seed)
{
    static const char *const words[] = {"{\"name\":", "\"value\"", ",", "[1,2,3]", "}", " true"};
    seed = seed * 7919 + 1;
    for (size_t i = 0; i < len;) {
        if (content == TEXT) {
            const char *word = words[random_next(&seed) % 6];
            for (; *word && i < len; word++)
                bytes[i++] = (uint8_t)*word;
        } else {
            bool again = content == DISTANT && i >= 20000;
            bytes[i] = content == ZEROS ? 0
                       : again          ? bytes[i - 20000]
                                        : (uint8_t)random_next(&seed);
            i++;
        }
    }
    return bytes;
}

static uint8_t message[BIG];
static const size_t sizes[] = {0, 1, 2, 3, 20, 255, 256, 257, 600, 4096, 5000, 40000, 70000, BIG};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* One message from one to the other; false when it was sent as it is. */
static bool send_one(struct pair *p, bool from_server, const struct deflate_span *m)
{
    struct deflate_span packed, out;
    bool ok = from_server ? deflate_pack(p->server, p->a, m->bytes, m->len, &packed)
                          : deflate_pack(p->client, p->b, m->bytes, m->len, &packed);
    if (!ok)
        return false;
    int r = from_server ? unpack(p->client, p->b, &packed, LIMIT, &out)
                        : unpack(p->server, p->a, &packed, LIMIT, &out);
    if (CHECK_INT(r, 0))
        CHECK_BYTES(out.bytes, out.len, m->bytes, m->len);
    deflate_packed_used(from_server ? p->a : p->b);
    deflate_unpacked_used(from_server ? p->b : p->a);
    return true;
}

static void exchange(const struct deflate_config *config, const struct deflate_params *params)
{
    struct pair p;
    int packed = 0;
    if (!CHECK(pair_start(&p, config, params)))
        return;
    for (int i = 0; i < 2 * SIZES * CONTENTS; i++) {
        size_t len = sizes[i / 2 % SIZES];
        enum content content = (enum content)(i / 2 / SIZES % CONTENTS);
        packed += send_one(&p, i % 2,
                           &(struct deflate_span){fill(message, len, content, (uint64_t)i), len});
    }
    CHECK(packed > 30);
    pair_stop(&p);
}

static void round_trips_in_every_mode(void)
{
    for (unsigned mode = 0; mode < 4 * 8 * 2; mode++) {
        struct deflate_params params = {.server_bits = (uint8_t)(8 + mode / 4 % 8),
                                        .client_bits = (uint8_t)(15 - mode / 4 % 8),
                                        .server_no_takeover = mode & 1,
                                        .client_no_takeover = mode & 2};
        struct deflate_config config = mode < 32 ? keeping : widest;
        config.level = (uint8_t)(mode % 10);
        test_context("bits %u and %u, mode %u", params.server_bits, params.client_bits, mode);
        exchange(&config, &params);
    }
}

/*
 * A receiver that keeps no more than the agreed window. It takes one byte at a time, since zlib
 * looks back in what it has just written as far as it likes. Returns whether the message came.
 */
static bool window_suffices(unsigned bits, const struct deflate_span *packed, size_t len)
{
    static uint8_t got[BIG];
    z_stream z = {0};
    int r = inflateInit2(&z, -(int)bits);
    z.next_in = packed->bytes;
    z.avail_in = (uInt)packed->len;
    while (r == Z_OK && z.total_out < len) {
        z.next_out = got + z.total_out;
        z.avail_out = 1;
        r = inflate(&z, Z_SYNC_FLUSH);
    }
    size_t out = z.total_out;
    inflateEnd(&z);
    return out == len && memcmp(got, message, len) == 0;
}

static void check_window(unsigned bits, bool keeps, enum content content)
{
    struct deflate_params params = {(uint8_t)bits, 15, !keeps, !keeps};
    struct pair p;
    struct deflate_span packed;
    size_t len = 60000;
    test_context("window of %u bits, kept %d, content %d", bits, keeps, content);
    if (!CHECK(pair_start(&p, &widest, &params)))
        return;
    fill(message, len, content, 1);
    if (deflate_pack(p.server, p.a, message, len, &packed)) {
        CHECK(window_suffices(bits, &packed, len));
        /* what lies 20,000 bytes back needs a window of 32,768 */
        if (content == DISTANT)
            CHECK(bits == 15 ? packed.len < 25000 : packed.len > len);
    } else {
        CHECK(!keeps && (content == NOISE || content == DISTANT));
    }
    pair_stop(&p);
}

static void windows_are_not_left(void)
{
    for (unsigned bits = 8; bits <= 15; bits++)
        for (int content = 0; content < CONTENTS; content++) {
            check_window(bits, false, (enum content)content);
            check_window(bits, true, (enum content)content);
        }
}

static void small_messages_go_as_they_are(void)
{
    struct deflate_config config = plain;
    struct deflate_params params = {15, 15, true, true};
    struct pair p;
    struct deflate_span packed;
    config.threshold = 100;
    if (!CHECK(pair_start(&p, &config, &params)))
        return;
    fill(message, 200, ZEROS, 0);
    CHECK(!deflate_pack(p.server, p.a, message, 99, &packed));
    CHECK(deflate_pack(p.server, p.a, message, 100, &packed));
    CHECK(packed.len < 20);
    fill(message, 200, NOISE, 0);
    CHECK(!deflate_pack(p.server, p.a, message, 200, &packed)); /* would become larger */
    CHECK_INT(deflate_kind(p.server, 99), 0);
    CHECK(deflate_kind(p.server, 100) != 0);
    pair_stop(&p);
}

/* A kept window makes the second of two equal messages tiny; one that is not kept does not. */
static void takeover_pays(void)
{
    for (int keeps = 0; keeps < 2; keeps++) {
        struct deflate_params params = {15, 15, !keeps, !keeps};
        struct pair p;
        struct deflate_span first, second;
        if (!CHECK(pair_start(&p, &widest, &params)))
            return;
        fill(message, 1000, TEXT, 3);
        deflate_pack(p.server, p.a, message, 1000, &first);
        deflate_pack(p.server, p.a, message, 1000, &second);
        CHECK(keeps ? second.len < first.len / 4 : second.len == first.len);
        CHECK_INT(deflate_held(p.server) > 10000, keeps);
        pair_stop(&p);
    }
}

/* Sessions of one kind share a message; those that keep a window forget what it was, and go on. */
static void sharing(void)
{
    for (unsigned bits = 8; bits <= 15; bits++) {
        struct deflate_params params = {(uint8_t)bits, 15, bits % 2, true};
        struct pair p;
        struct deflate_span m = {message, 3000}, packed, out;
        test_context("bits %u", bits);
        if (!CHECK(pair_start(&p, &widest, &params)))
            return;
        for (int i = 0; i < 5; i++) {
            fill(message, m.len, TEXT, (uint64_t)i);
            CHECK(send_one(&p, true, &m));
            fill(message, m.len, TEXT, (uint64_t)i + 9);
            CHECK(deflate_pack_shared(p.server, p.a, m.bytes, m.len, &packed));
            CHECK_INT(unpack(p.client, p.b, &packed, LIMIT, &out), 0);
            CHECK_BYTES(out.bytes, out.len, m.bytes, m.len);
            deflate_forget(p.server);
        }
        pair_stop(&p);
    }
}

/* --- Input of others ------------------------------------------------------------------------- */

/* Payloads as they may come, and the message in them; NULL: refused. */
static const struct {
    const char *hex, *text;
} payloads[] = {
    {"", ""},
    {"00", ""},
    {"0300", ""},
    {"030000", ""},
    {"f248cdc9c90700", "Hello"},                       /* RFC 7692 §7.2.3.1 */
    {"000500faff48656c6c6f00", "Hello"},               /* §7.2.3.3: a stored block */
    {"f348cdc9c9070000", "Hello"},                     /* §7.2.3.4: BFINAL */
    {"f348cdc9c90700", "Hello"},                       /* the same without the byte behind */
    {"f248050000 00ffff cac9c90700", "Hello"},         /* §7.2.3.5: two blocks */
    {"f24805000000ffff cbc9c9070000", "Hello"},        /* two, the second with BFINAL */
    {"f348cdc9c90700 f348cdc9c9070000", "HelloHello"}, /* two final blocks */
    {"f348cdc9c90700 f248cdc9c90700", "HelloHello"},   /* one, and one that is not */
    {"010500faff48656c6c6f", "Hello"},                 /* a stored block with BFINAL */
    {"010500faff48656c6c6f 01", "Hello"},            /* and an empty one, whose rest is left out */
    {"010500faff48656c6c6f 010000ffff", "Hello"},    /* or not */
    {"000500faff48656c6c6f 000000ffff 00", "Hello"}, /* empty blocks between */
    {"000000ffff 000000ffff 000500faff48656c6c6f00", "Hello"},
    {"ffffffffff", NULL},
    {"07", NULL},
    {"06", NULL},
    {"f248cdc9c9", NULL},
    {"f248cdc9c907", NULL},
    {"000500faff48656c", NULL},
    {"000500fafe48656c6c6f00", NULL},
    {"f248cdc9c90700 06", NULL},
    {"f348cdc9c90700 ffff", NULL},
    {"f248cdc9c90700 000000ffff", NULL}, /* ends without the header of the block left out */
    {"030001", ""},
    {"4b040500", NULL},
};

static void check_payload(size_t i, bool keeps)
{
    uint8_t bytes[64];
    struct deflate_params params = {15, 15, !keeps, !keeps};
    struct deflate_span out, packed = {bytes, 0};
    struct pair p;
    if (!CHECK(pair_start(&p, &widest, &params)))
        return;
    packed.len = unhex(payloads[i].hex, bytes, sizeof bytes);
    test_context("%s, kept %d", payloads[i].hex, keeps);
    int r = unpack(p.server, p.a, &packed, 100, &out);
    CHECK_INT(r, payloads[i].text ? 0 : ERR_PROTOCOL);
    if (r == 0 && payloads[i].text)
        CHECK_BYTES(out.bytes, out.len, payloads[i].text, strlen(payloads[i].text));
    pair_stop(&p);
}

static void payloads_of_others(void)
{
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        check_payload(i, false);
        check_payload(i, true);
    }
}

static void limits_hold(void)
{
    static const size_t lengths[] = {2, 100, 16384, 16385, 65536, 65537, BIG};
    for (int i = 0; i < 2 * 7; i++) {
        bool keeps = i % 2;
        size_t len = lengths[i / 2];
        struct deflate_params params = {15, 15, !keeps, !keeps};
        struct deflate_span packed, out;
        struct pair p;
        test_context("%zu bytes, kept %d", len, keeps);
        if (!CHECK(pair_start(&p, &widest, &params)))
            return;
        fill(message, len, len == 2 ? TEXT : ZEROS, 0);
        if (deflate_pack(p.client, p.b, message, len, &packed)) {
            CHECK_INT(unpack(p.server, p.a, &packed, len, &out), 0);
            CHECK_INT(out.len, len);
            pair_stop(&p);
            pair_start(&p, &widest, &params);
            CHECK(deflate_pack(p.client, p.b, message, len, &packed));
            CHECK_INT(unpack(p.server, p.a, &packed, len - 1, &out), ERR_TOO_BIG);
        } else {
            CHECK_INT(len, 2);
        }
        pair_stop(&p);
    }
}

/* 64 MiB of zeros in 65 KB: costs no more memory than a message of the limit. */
static void bombs_cost_the_limit(void)
{
    enum { BOMB = 64 << 20 };
    uint8_t *zeros = calloc(1, BOMB);
    for (int keeps = 0; keeps < 2 && CHECK(zeros != NULL); keeps++) {
        struct deflate_params params = {15, 15, !keeps, !keeps};
        struct deflate_span packed, out;
        struct pair p;
        if (!CHECK(pair_start(&p, &widest, &params)))
            break;
        CHECK(deflate_pack(p.client, p.b, zeros, BOMB, &packed));
        alloc_watch(0, false);
        CHECK_INT(unpack(p.server, p.a, &packed, LIMIT, &out), ERR_TOO_BIG);
        struct alloc_stats stats = alloc_end();
        CHECK(stats.largest <= 2 * LIMIT);
        CHECK(stats.bytes <= 6 * LIMIT);
        deflate_unpacked_used(p.a);
        pair_stop(&p);
    }
    free(zeros);
}

/* --- Memory ---------------------------------------------------------------------------------- */

/* No allocation may fail in a way that shows: a message is sent as it is, or ERR_NOMEM is told. */
static void scenario(void *arg)
{
    const struct deflate_params *params = arg;
    struct deflate_span packed, out;
    struct pair p;
    if (pair_start(&p, &widest, params)) {
        for (int i = 0; i < 3; i++) {
            fill(message, 40000, DISTANT, (uint64_t)i);
            if (!deflate_pack(p.server, p.a, message, 40000, &packed))
                continue;
            int r = unpack(p.client, p.b, &packed, LIMIT, &out);
            CHECK(r == ERR_NOMEM || (r == 0 && out.len == 40000));
            if (r == 0)
                CHECK(memcmp(out.bytes, message, out.len) == 0);
            else
                break;
        }
    }
    pair_stop(&p);
    CHECK(true);
}

static void every_allocation_may_fail(void)
{
    for (unsigned mode = 0; mode < 4; mode++) {
        struct deflate_params params = {mode < 2 ? 15 : 10, 15, mode & 1, mode & 1};
        each_alloc_failure(scenario, &params);
    }
}

/* Whatever garbage comes, the answer is a message within the limit or an error. */
static void garbage(void)
{
    uint64_t seed = 99;
    uint8_t bytes[200];
    struct deflate_params none = {15, 15, true, true}, kept = {9, 9, false, false};
    for (int i = 0; i < 4000; i++) {
        struct deflate_span packed = {bytes, random_next(&seed) % sizeof bytes}, out;
        struct pair p;
        if (!CHECK(pair_start(&p, &widest, i % 2 ? &none : &kept)))
            return;
        for (size_t k = 0; k < packed.len; k++)
            bytes[k] = (uint8_t)random_next(&seed);
        int r = unpack(p.server, p.a, &packed, 1000, &out);
        CHECK(r == ERR_PROTOCOL || r == ERR_TOO_BIG || (r == 0 && out.len <= 1000));
        pair_stop(&p);
    }
}

int main(void)
{
    test("without contexts", without_contexts);
    test("with contexts", with_contexts);
    test("what is illegal is declined", what_is_illegal_is_declined);
    test("the first good offer is taken", the_first_good_offer_is_taken);
    test("clients offer", clients_offer);
    test("clients judge", clients_judge);
    test("round trips in every mode", round_trips_in_every_mode);
    test("windows are not left", windows_are_not_left);
    test("small messages go as they are", small_messages_go_as_they_are);
    test("takeover pays", takeover_pays);
    test("sharing", sharing);
    test("payloads of others", payloads_of_others);
    test("limits hold", limits_hold);
    test("bombs cost the limit", bombs_cost_the_limit);
    test("every allocation may fail", every_allocation_may_fail);
    test("garbage", garbage);
    return test_end();
}
