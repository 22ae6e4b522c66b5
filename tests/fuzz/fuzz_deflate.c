// SPDX-License-Identifier: MIT
/*
 * The compression codec. The first bytes of an input choose the settings and what was agreed upon;
 * the rest is a list of actions: send a piece of the input (several times over) one way or the
 * other, share one, or feed it as it is to an unpacker. Beyond crashes:
 *
 *      - what one side packs the other unpacks to the same bytes, over all messages of a session;
 *      - whatever comes, no more than the limit comes out;
 *      - the two sides' windows are those that were agreed upon (the peer keeps no larger one).
 */
#include "base/err.h"
#include "proto/ws/deflate.h"
#include "wsfuzz.h"

enum { LIMIT = 100 * 1000, LONGEST = 70 * 1000 };

struct peers {
    struct deflate *end[2]; /* server, client */
    struct deflate_shared *worker[2];
};

static uint8_t message[LONGEST + 8192];

/* The piece, repeated up to 255 times, with a running number so that windows have to find it. */
static size_t unfold(struct choices *c)
{
    size_t times = choose(c), piece = choose(c) * 4u + 1, len = 0;
    if (piece > c->len)
        piece = c->len;
    for (size_t i = 0; i <= times && len + piece + 1 < LONGEST; i++) {
        memcpy(message + len, c->bytes, piece);
        len += piece;
        message[len++] = (uint8_t)i;
    }
    c->bytes += piece;
    c->len -= piece;
    return len;
}

static int unpack(struct peers *p, int to, struct deflate_span packed, struct deflate_span *out)
{
    uint8_t *room = deflate_room(p->worker[to], packed.len);
    MUST(room);
    if (packed.len)
        memcpy(room, packed.bytes, packed.len);
    packed.bytes = room;
    int r = deflate_unpack(p->end[to], p->worker[to], packed, LIMIT, out);
    MUST(r == 0 || r == ERR_PROTOCOL || r == ERR_TOO_BIG);
    MUST(r < 0 || out->len <= LIMIT);
    return r;
}

static void send_message(struct peers *p, int from, bool share, size_t len)
{
    struct deflate_span packed, out;
    bool done = share ? deflate_pack_shared(p->end[from], p->worker[from], message, len, &packed)
                      : deflate_pack(p->end[from], p->worker[from], message, len, &packed);
    if (!done)
        return;
    if (share) {
        MUST(packed.len < len);
        deflate_forget(p->end[from]);
    }
    MUST(unpack(p, !from, packed, &out) == 0);
    MUST(out.len == len && memcmp(out.bytes, message, len) == 0);
    deflate_packed_used(p->worker[from]);
    deflate_unpacked_used(p->worker[!from]);
}

/* Garbage; the session ends when it is refused. */
static bool feed(struct peers *p, struct choices *c)
{
    struct deflate_span out, packed = {(uint8_t *)message, choose(c) * 8u};
    if (packed.len > c->len)
        packed.len = c->len;
    memcpy(message, c->bytes, packed.len);
    c->bytes += packed.len;
    c->len -= packed.len;
    return unpack(p, 0, packed, &out) == 0;
}

static void act(struct peers *p, struct choices *c)
{
    bool on = true;
    while (on && c->len) {
        unsigned what = choose(c);
        if (what % 8 == 7)
            on = feed(p, c);
        else
            send_message(p, what & 1, what % 8 == 6, unfold(c));
        /* after garbage the client's window is no longer what the server's is */
        if (what % 8 == 7)
            deflate_forget(p->end[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct choices c = {bytes, len};
    unsigned mode = choose(&c), bits = choose(&c), level = choose(&c);
    struct deflate_config config = {.level = (uint8_t)(level % 10),
                                    .mem_level = (uint8_t)(1 + level / 10 % 9),
                                    .window_bits = (uint8_t)(9 + bits / 64),
                                    .threshold = mode & 4 ? 64 : 0};
    struct deflate_params params = {.server_bits = (uint8_t)(8 + bits % 8),
                                    .client_bits = (uint8_t)(8 + bits / 8 % 8),
                                    .server_no_takeover = mode & 1,
                                    .client_no_takeover = mode & 2};
    struct peers p;
    for (int i = 0; i < 2; i++) {
        p.end[i] = deflate_new(&config, &params, i == 0);
        p.worker[i] = deflate_shared_new();
        MUST(p.end[i] && p.worker[i]);
    }
    act(&p, &c);
    for (int i = 0; i < 2; i++) {
        deflate_free(p.end[i]);
        deflate_shared_free(p.worker[i]);
    }
    return 0;
}
