// SPDX-License-Identifier: MIT
/*
 * Sending: messages and control frames become bytes at the end of ws->out. A message is encoded in
 * one piece of room, so that it is queued whole or not at all. Nothing follows a close frame
 * (RFC 6455 §5.5.1). Data messages are compressed first where that was agreed upon (RFC 7692 §6.1).
 *
 * A broadcast is encoded once for each way of encoding (a variant), and queued by reference. Small
 * ones of one way are encoded into a reel, one behind the other:
 *
 *      reel:      | frame of broadcast 1 | frame of 2 | frame of 3 | free …
 *      session a    from ───────────────────────────▶ to               got all three: one piece
 *      session b                           from ────▶ to               joined before the third
 */
#include "base/err.h"
#include "base/mem.h"
#include "proto/ws/frame.h"
#include "proto/ws/utf8.h"
#include "proto/ws/ws_input.h"

#include <string.h>

/* A message to be encoded. */
struct message {
    const uint8_t *bytes;
    size_t len;
    size_t out_frame;                      /* most payload in one frame */
    void (*random)(void *out, size_t len); /* for the masking keys; NULL: not masked */
    uint8_t opcode;
    bool packed; /* the bytes are compressed: RSV1 in the first frame */
};

static size_t encoded_size(const struct message *m)
{
    bool masked = m->random != NULL;
    if (m->len <= m->out_frame)
        return frame_header_size(m->len, masked) + m->len;
    size_t full = m->len / m->out_frame, rest = m->len % m->out_frame;
    size_t size = full * frame_header_size(m->out_frame, masked) + m->len;
    return rest ? size + frame_header_size(rest, masked) : size;
}

static uint8_t *put_frame(uint8_t *out, struct frame *f, const struct message *m, size_t from)
{
    size_t len = (size_t)f->length;
    if (m->random)
        m->random(f->mask, sizeof f->mask); /* §5.3: a fresh key for every frame */
    out += frame_encode(f, out);
    if (m->random)
        frame_mask(out, m->bytes + from, len, f->mask, 0);
    else if (len)
        memcpy(out, m->bytes + from, len);
    return out + len;
}

/* §5.4: the opcode, and RSV1 (RFC 7692 §6), stand in the first frame only, FIN in the last. */
static void put_message(uint8_t *out, const struct message *m)
{
    struct frame f = {
        .opcode = m->opcode, .rsv = m->packed ? FRAME_RSV1 : 0, .masked = m->random != NULL};
    size_t from = 0;
    do {
        size_t rest = m->len - from;
        f.length = rest < m->out_frame ? rest : m->out_frame;
        f.fin = f.length == rest;
        out = put_frame(out, &f, m, from);
        f.opcode = FRAME_CONTINUATION;
        f.rsv = 0;
        from += (size_t)f.length;
    } while (!f.fin);
}

static int queue(struct ws *ws, struct message *m)
{
    m->random = ws->role == WS_CLIENT ? ws->shared->random : NULL;
    size_t size = encoded_size(m);
    uint8_t *room = outq_extend(ws->out, ws->shared->pool, size);
    if (!room)
        return ERR_NOMEM;
    ws_note_size(ws->shared, size);
    put_message(room, m);
    return 0;
}

/* Puts the compressed bytes, where that is agreed upon and pays, in the place of the message's. */
static void pack(struct ws *ws, struct message *m)
{
    struct deflate_span out;
    struct deflate_shared *codecs = ws_codecs(ws);
    if (!codecs || !deflate_pack(ws->deflate, codecs, m->bytes, m->len, &out))
        return;
    m->bytes = out.bytes;
    m->len = out.len;
    m->packed = true;
}

static int queue_packed(struct ws *ws, struct message *m)
{
    pack(ws, m);
    int err = queue(ws, m);
    if (err < 0)
        deflate_forget(ws->deflate); /* the peer will not see what our window has */
    if (m->packed)
        deflate_packed_used(ws->shared->deflate);
    return err;
}

int ws_send(struct ws *ws, enum ws_type type, const uint8_t *bytes, size_t len)
{
    if (ws->close_sent)
        return ERR_CLOSED;
    struct message m = {.bytes = bytes, .len = len, .opcode = (uint8_t)type};
    m.out_frame = ws->limits->out_frame;
    return ws->deflate ? queue_packed(ws, &m) : queue(ws, &m);
}

/* --- Broadcasts ------------------------------------------------------------------------------- */

/* A broadcast as one way of encoding has it: bytes of a chunk. */
struct ws_variant {
    struct ws_variant *next;
    struct chunk *chunk;
    uint32_t from, to;
    uint32_t out_frame, kind; /* kind: deflate_kind, 0 when not compressed */
    bool packed;
};

enum {
    REEL_SIZE = 16 * 1024 - 64,
    REEL_MESSAGE = REEL_SIZE / 4, /* larger ones get a chunk of their own */
};

static bool reel_unused(const struct ws_reel *r)
{
    return !r->chunk || r->chunk->refs == 1;
}

/* The reel for this encoding; one that nobody needs is given to a new encoding. */
static struct ws_reel *reel_for(struct ws_shared *shared, uint32_t out_frame, uint32_t kind)
{
    struct ws_reel *r = shared->reels, *unused = NULL;
    for (; r < shared->reels + WS_REELS; r++) {
        if (r->chunk && r->out_frame == out_frame && r->kind == kind)
            return r;
        if (!unused && reel_unused(r))
            unused = r;
    }
    if (unused) {
        unused->out_frame = out_frame;
        unused->kind = kind;
    }
    return unused;
}

/* True when the reel has room for so much behind what is in use. */
static bool reel_ready(struct ws_reel *r, size_t size)
{
    if (reel_unused(r))
        r->used = 0;
    if (r->chunk && REEL_SIZE - r->used >= size)
        return true;
    if (r->chunk)
        chunk_unref(r->chunk);
    r->used = 0;
    r->chunk = chunk_new(REEL_SIZE);
    if (r->chunk)
        r->chunk->mixed = true;
    return r->chunk != NULL;
}

/* Encodes into the reel or into a new chunk. False when memory is short. */
static bool encode(struct ws_shared *shared, struct ws_variant *v, const struct message *m)
{
    size_t size = encoded_size(m);
    struct ws_reel *r = size <= REEL_MESSAGE ? reel_for(shared, v->out_frame, v->kind) : NULL;
    if (r && reel_ready(r, size)) {
        v->chunk = chunk_ref(r->chunk);
        v->from = r->used;
        r->used += (uint32_t)size;
    } else {
        v->chunk = chunk_new(size);
        ws_note_size(shared, size);
    }
    if (!v->chunk)
        return false;
    v->to = v->from + (uint32_t)size;
    put_message(v->chunk->bytes + v->from, m);
    return true;
}

/* Compresses, where the variant's kind says so and it pays, and encodes. */
static bool fill(struct ws *ws, struct ws_variant *v, const struct ws_broadcast *b)
{
    struct message m = {
        .bytes = b->bytes, .len = b->len, .out_frame = v->out_frame, .opcode = (uint8_t)b->type};
    struct deflate_shared *codecs = v->kind ? ws_codecs(ws) : NULL;
    struct deflate_span out;
    if (codecs && deflate_pack_shared(ws->deflate, codecs, b->bytes, b->len, &out)) {
        m.bytes = out.bytes;
        m.len = out.len;
        m.packed = v->packed = true;
    }
    bool filled = encode(ws->shared, v, &m);
    if (codecs)
        deflate_packed_used(codecs);
    return filled;
}

static struct ws_variant *variant_new(struct ws *ws, const struct ws_broadcast *b, uint32_t kind)
{
    struct ws_variant *v = mem_try(sizeof *v);
    if (!v)
        return NULL;
    *v = (struct ws_variant){.next = b->variants, .out_frame = ws->limits->out_frame, .kind = kind};
    if (fill(ws, v, b))
        return v;
    mem_free(v);
    return NULL;
}

/* The variant for this session, made when it is the first of its way. */
static struct ws_variant *variant_for(struct ws *ws, struct ws_broadcast *b)
{
    uint32_t kind = ws->deflate ? deflate_kind(ws->deflate, b->len) : 0;
    struct ws_variant *v = b->variants;
    while (v && (v->kind != kind || v->out_frame != ws->limits->out_frame))
        v = v->next;
    if (!v && (v = variant_new(ws, b, kind)))
        b->variants = v;
    return v;
}

/* What goes to a peer that does not read would be copied later: then better now. */
static int queue_variant(struct ws *ws, const struct ws_variant *v)
{
    struct outpool *pool = ws->shared->pool;
    if (!ws->blocked || !v->chunk->mixed)
        return outq_append_span(ws->out, pool, v->chunk, v->from, v->to);
    uint8_t *room = outq_extend(ws->out, pool, v->to - v->from);
    if (!room)
        return ERR_NOMEM;
    memcpy(room, v->chunk->bytes + v->from, v->to - v->from);
    return 0;
}

int ws_send_broadcast(struct ws *ws, struct ws_broadcast *b)
{
    if (ws->close_sent)
        return ERR_CLOSED;
    if (ws->role != WS_SERVER) /* every client frame has a key of its own (§5.3) */
        return ERR_ARGUMENT;
    struct ws_variant *v = variant_for(ws, b);
    if (!v)
        return ERR_NOMEM;
    int err = queue_variant(ws, v);
    if (err == 0 && v->packed)
        deflate_forget(ws->deflate);
    return err;
}

void ws_broadcast_deinit(struct ws_broadcast *b)
{
    while (b->variants) {
        struct ws_variant *v = b->variants;
        b->variants = v->next;
        chunk_unref(v->chunk);
        mem_free(v);
    }
}

/* --- Control frames --------------------------------------------------------------------------- */

static int send_control(struct ws *ws, uint8_t opcode, const uint8_t *bytes, size_t len)
{
    if (len > FRAME_CONTROL_MAX) /* §5.5 */
        return ERR_ARGUMENT;
    if (ws->close_sent)
        return ERR_CLOSED;
    struct message m = {
        .bytes = bytes, .len = len, .out_frame = FRAME_CONTROL_MAX, .opcode = opcode};
    return queue(ws, &m);
}

int ws_ping(struct ws *ws, const uint8_t *bytes, size_t len)
{
    return send_control(ws, FRAME_PING, bytes, len);
}

int ws_pong(struct ws *ws, const uint8_t *bytes, size_t len)
{
    return send_control(ws, FRAME_PONG, bytes, len);
}

/* Writes code and reason to `payload` (FRAME_CONTROL_MAX bytes) and returns their size. */
static size_t close_payload(uint8_t *payload, uint16_t code, const char *reason, size_t len)
{
    if (code == 0)
        return 0;
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    const uint8_t *bytes = (const uint8_t *)reason;
    if (len == 0 || !utf8_valid(bytes, len))
        return 2;
    len = utf8_cut(bytes, len, FRAME_REASON_MAX);
    memcpy(payload + 2, bytes, len);
    return 2 + len;
}

int ws_close(struct ws *ws, uint16_t code, const char *reason, size_t reason_len)
{
    uint8_t payload[FRAME_CONTROL_MAX] = {0};
    if (ws->close_sent)
        return ERR_CLOSED;
    if (code != 0 && !ws_code_valid(code))
        return ERR_ARGUMENT;
    size_t len = close_payload(payload, code, reason, reason_len);
    int err = send_control(ws, FRAME_CLOSE, payload, len);
    if (err < 0)
        return err;
    ws->close_sent = true;
    ws->close_code = code ? code : WS_NO_STATUS;
    ws_check(ws);
    return 0;
}

/* The pong that had to wait. Without memory for it the session ends. */
static void send_pong(struct ws *ws)
{
    uint8_t *pong = ws->pong;
    ws->pong = NULL;
    if (!ws->close_sent && ws_pong(ws, pong + 1, pong[0]) < 0)
        ws_fail(ws, ERR_NOMEM, WS_INTERNAL_ERROR, "out of memory");
    mem_free(pong);
}

void ws_set_blocked(struct ws *ws, bool blocked)
{
    ws->blocked = blocked;
    if (blocked)
        (void)outq_settle(ws->out, ws->shared->pool); /* without memory it stays as it is */
    else if (ws->pong)
        send_pong(ws);
    ws_check(ws);
}
