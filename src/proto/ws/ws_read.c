// SPDX-License-Identifier: MIT
/*
 * Reading: fed bytes become events. One short function for each state; `step` chooses, ws_next
 * repeats until there is an event, an error or nothing left to read.
 *
 *   WS_READ_HEADER ──▶ judge ──▶ whole data frame, whole message ──▶ event, in place
 *        ▲               ├─────▶ WS_READ_PAYLOAD: unmask to `message`, check UTF-8 ──▶ event at FIN
 *        │               ├─────▶ control frame, whole or WS_READ_CONTROL ──▶ answered, or event
 *        └───────────────┴─────▶ WS_READ_SKIP: data after our close frame
 *
 * A compressed message is put together as it came, and unpacked and checked when it is complete.
 *
 * RFC 6455 §5.2 framing, §5.4 fragments, §5.5 control frames, §7 closing, §8.1 UTF-8.
 * RFC 7692 §6 compressed messages.
 */
#include "base/err.h"
#include "base/mem.h"
#include "proto/ws/utf8.h"
#include "proto/ws/ws_input.h"

#include <string.h>

/* What a state function says, beside errors. */
enum { STEP_MORE = 0, STEP_EVENT = 1, STEP_ON = 2 };

static int refuse(struct ws *ws, int err, const char *reason)
{
    ws->why = reason;
    ws->shared->excess.limit = WS_LIMIT_NONE;
    ws_fail(ws, err, ws_error_code(err), reason);
    return err;
}

__attribute__((cold, noinline)) static int refuse_excess(struct ws *ws, enum ws_limit limit,
                                                         uint64_t size, uint64_t value)
{
    static const char *const reasons[] = {
        [WS_LIMIT_FRAME] = "frame too big",
        [WS_LIMIT_MESSAGE] = "message too big",
        [WS_LIMIT_UNPACKED] = "message too big",
        [WS_LIMIT_FRAGMENTS] = "too many fragments",
    };
    int err = limit == WS_LIMIT_FRAGMENTS ? ERR_POLICY : ERR_TOO_BIG;
    refuse(ws, err, reasons[limit]);
    ws->shared->excess = (struct ws_excess){limit, size, value};
    return err;
}

static bool is_control(const struct frame *f)
{
    return f->opcode >= FRAME_CLOSE;
}

static uint8_t *take(struct ws *ws, size_t len)
{
    uint8_t *bytes = ws->fed;
    ws->fed += len;
    ws->fed_len -= len;
    return bytes;
}

/* How much of the payload that is due has been fed. */
static size_t available(const struct ws *ws)
{
    return ws->fed_len < ws->input->left ? ws->fed_len : (size_t)ws->input->left;
}

static int give(struct ws_event *ev, unsigned type, uint8_t *data, size_t len)
{
    *ev = (struct ws_event){.type = (enum ws_type)type, .data = data, .len = len};
    return STEP_EVENT;
}

/* Control frames. */

/*
 * The pong that waits while the peer does not read; a newer ping replaces it (§5.5.3 allows that).
 */
static int pong_later(struct ws *ws, const uint8_t *payload, size_t len)
{
    if (!ws->pong)
        ws->pong = mem_try(1 + FRAME_CONTROL_MAX);
    if (!ws->pong)
        return ERR_NOMEM;
    ws->pong[0] = (uint8_t)len;
    memcpy(ws->pong + 1, payload, len);
    return 0;
}

static int answer_ping(struct ws *ws, const uint8_t *payload, size_t len)
{
    int err = ws->blocked ? pong_later(ws, payload, len) : ws_pong(ws, payload, len);
    return err < 0 ? refuse(ws, err, "out of memory") : STEP_ON;
}

/* §5.5.1: empty, or a code and a reason in UTF-8. Both are echoed unless we closed first. */
static int got_close(struct ws *ws, uint8_t *payload, size_t len, struct ws_event *ev)
{
    unsigned code = WS_NO_STATUS;
    if (len == 1)
        return refuse(ws, ERR_PROTOCOL, "close frame of one byte");
    if (len >= 2) {
        code = (unsigned)payload[0] << 8 | payload[1];
        if (!ws_code_valid(code))
            return refuse(ws, ERR_PROTOCOL, "invalid close code");
        payload += 2;
        len -= 2;
        if (!utf8_valid(payload, len))
            return refuse(ws, ERR_UTF8, "close reason is not UTF-8");
    }
    ws->close_got = true;
    ws->fed_len = 0; /* nothing may follow */
    if (!ws->close_sent) {
        /* An answer that finds no memory is left out: the stream ends now in any case. */
        (void)ws_close(ws, code != WS_NO_STATUS ? (uint16_t)code : 0, (const char *)payload, len);
        ws->close_sent = true;
    }
    give(ev, WS_CLOSE, payload, len);
    ev->code = (uint16_t)code;
    return STEP_EVENT;
}

static int got_control(struct ws *ws, const struct frame *f, uint8_t *payload, struct ws_event *ev)
{
    size_t len = (size_t)f->length;
    if (f->masked)
        frame_mask(payload, payload, len, f->mask, 0);
    if (f->opcode == FRAME_CLOSE)
        return got_close(ws, payload, len, ev);
    if (ws->close_sent)
        return STEP_ON;
    if (f->opcode == FRAME_PING && ws->auto_pong)
        return answer_ping(ws, payload, len);
    return give(ev, f->opcode, payload, len);
}

/* Compressed messages. */

/* RFC 7692 has no code for data that is none; 1007 is what everybody sends (RFC 6455 §7.4.1). */
static int refuse_packed(struct ws *ws, int err)
{
    uint64_t most = ws->limits->max_message;
    if (err == ERR_TOO_BIG)
        return refuse_excess(ws, WS_LIMIT_UNPACKED, most + 1, most);
    if (err != ERR_PROTOCOL)
        return refuse(ws, err, "out of memory");
    ws->why = "invalid compressed data";
    ws_fail(ws, err, WS_INVALID_PAYLOAD, ws->why);
    return err;
}

/*
 * A compressed byte may cost more than many of the message: a block without any content makes the
 * decompressor set up its tables, and takes eleven bytes.
 */
enum { UNPACK_WORK = 8 };

/* Unpacks a whole message and gives it out; there is room for DEFLATE_TAIL bytes behind it. */
static int unpack(struct ws *ws, unsigned type, struct deflate_span packed, struct ws_event *ev)
{
    struct deflate_span message;
    struct deflate_shared *codecs = ws_codecs(ws);
    int err = ERR_NOMEM;
    if (codecs)
        err = deflate_unpack(ws->deflate, codecs, packed, ws->limits->max_message, &message);
    if (err < 0)
        return refuse_packed(ws, err);
    if (type == WS_TEXT && !utf8_valid(message.bytes, message.len))
        return refuse(ws, ERR_UTF8, "text is not UTF-8");
    give(ev, type, message.bytes, message.len);
    ev->work = message.len + UNPACK_WORK * packed.len;
    return STEP_EVENT;
}

/* The message's own memory is not needed once it is unpacked. */
static int end_packed(struct ws *ws, unsigned type, struct ws_event *ev)
{
    struct ws_input *in = ws->input;
    struct deflate_span packed = {in->small, buf_len(&in->message)};
    if (buf_reserve(&in->message, DEFLATE_TAIL) < 0)
        return refuse(ws, ERR_NOMEM, "out of memory");
    packed.bytes = buf_bytes(&in->message);
    int r = unpack(ws, type, packed, ev);
    in->delivered = true;
    if (r > 0 && ev->data >= packed.bytes && ev->data <= packed.bytes + packed.len)
        return r; /* empty: it points there */
    ws_input_forget_message(ws);
    return r;
}

/* Goes into memory of the worker, since room is needed behind it. */
static int whole_packed(struct ws *ws, const struct frame *f, struct ws_event *ev)
{
    size_t len = (size_t)f->length;
    struct deflate_shared *codecs = ws_codecs(ws);
    uint8_t *room = codecs ? deflate_room(codecs, len) : NULL;
    if (!room)
        return refuse(ws, ERR_NOMEM, "out of memory");
    /* an unmasked frame has a key of zeros */
    frame_mask(room, take(ws, len), len, f->mask, 0);
    return unpack(ws, f->opcode, (struct deflate_span){room, len}, ev);
}

/* Data frames. */

static int end_frame(struct ws *ws, struct ws_event *ev)
{
    struct ws_input *in = ws->input;
    in->state = WS_READ_HEADER;
    if (!in->frame.fin)
        return STEP_ON;
    if (in->utf8 != UTF8_START)
        return refuse(ws, ERR_UTF8, "text is not UTF-8");
    unsigned type = in->type;
    in->type = 0;
    if (in->packed)
        return end_packed(ws, type, ev);
    in->delivered = true;
    size_t len = buf_len(&in->message);
    return give(ev, type, len ? buf_bytes(&in->message) : in->small, len);
}

/*
 * Room for `len` bytes that have come. The last frame of a message tells how long that will be, so
 * the last step of growth ends there, and not far behind it; but at a time only as much is added as
 * has come: who announces much and sends little gets little.
 */
static int make_room(struct ws *ws, size_t len)
{
    struct ws_input *in = ws->input;
    struct buf *message = &in->message;
    ws_note_size(ws->shared, buf_len(message) + len);
    if (!in->frame.fin)
        return buf_reserve(message, len);
    size_t come = buf_len(message) + len;
    uint64_t due = in->left + (in->packed ? DEFLATE_TAIL : 0);
    if (message->cap - message->end >= len)
        return 0;
    return buf_reserve_exactly(message, due < come ? (size_t)due : come);
}

/*
 * Unmasks and checks what has come of the frame; memory grows with that, not with what was
 * announced.
 */
static int read_payload(struct ws *ws, struct ws_event *ev)
{
    struct ws_input *in = ws->input;
    size_t len = available(ws);
    if (len == 0)
        return in->left ? STEP_MORE : end_frame(ws, ev);
    if (make_room(ws, len) < 0)
        return refuse(ws, ERR_NOMEM, "out of memory");
    uint8_t *room = buf_room(&in->message);
    size_t offset = (size_t)(in->frame.length - in->left);
    bool ascii = frame_mask(room, take(ws, len), len, in->frame.mask, offset);
    buf_added(&in->message, len);
    in->left -= len;
    ws->heard |= WS_HEARD_DATA;
    if (in->type == WS_TEXT && !in->packed && !(ascii && in->utf8 == UTF8_START)) {
        int state = utf8_feed(in->utf8, room, len); /* §8.1: fails at the first bad byte */
        if (state < 0)
            return refuse(ws, ERR_UTF8, "text is not UTF-8");
        in->utf8 = (uint8_t)state;
    }
    return in->left ? STEP_MORE : end_frame(ws, ev);
}

static int read_skip(struct ws *ws)
{
    struct ws_input *in = ws->input;
    size_t len = available(ws);
    if (len == 0 && in->left)
        return STEP_MORE;
    take(ws, len);
    in->left -= len;
    if (in->left == 0)
        in->state = WS_READ_HEADER;
    return STEP_ON;
}

static int read_control(struct ws *ws, struct ws_event *ev)
{
    struct ws_input *in = ws->input;
    size_t len = available(ws);
    if (len == 0)
        return STEP_MORE;
    memcpy(in->small + in->small_len, take(ws, len), len);
    in->small_len = (uint8_t)(in->small_len + len);
    in->left -= len;
    if (in->left)
        return STEP_MORE;
    in->state = WS_READ_HEADER;
    in->small_len = 0;
    return got_control(ws, &in->frame, in->small, ev);
}

/* Goes on with a frame in a state that can wait for the rest of its payload. */
static int begin(struct ws *ws, const struct frame *f, enum ws_state state)
{
    struct ws_input *in = ws_input_need(ws);
    if (!in)
        return refuse(ws, ERR_NOMEM, "out of memory");
    in->frame = *f;
    in->left = f->length;
    in->state = (uint8_t)state;
    if (state != WS_READ_PAYLOAD)
        return STEP_ON;
    if (f->opcode != FRAME_CONTINUATION) {
        in->type = f->opcode;
        in->packed = f->rsv & FRAME_RSV1;
        in->fragments = 0;
        in->utf8 = UTF8_START;
    }
    in->fragments++;
    return STEP_ON;
}

/* A message in one frame that has come whole: given out where it lies. */
static int whole_message(struct ws *ws, const struct frame *f, struct ws_event *ev)
{
    size_t len = (size_t)f->length;
    if (f->rsv)
        return whole_packed(ws, f, ev);
    uint8_t *payload = take(ws, len);
    bool ascii = f->masked && frame_mask(payload, payload, len, f->mask, 0);
    if (f->opcode == FRAME_TEXT && !ascii && !utf8_valid(payload, len))
        return refuse(ws, ERR_UTF8, "text is not UTF-8");
    return give(ev, f->opcode, payload, len);
}

/* Headers. */

/*
 * What cannot be compressed becomes longer: by an eighth and more where the peer's zlib has little
 * memory or a small window (nine bits for a byte, as its deflateBound has it). Limits admit that of
 * compressed data, which are judged again when they are unpacked.
 */
static uint64_t with_slack(uint64_t limit, bool packed)
{
    return packed ? limit + limit / 8 + limit / 64 + 64 : limit;
}

/* §5.4: a message in assembly goes on with continuation frames, and only then. */
static int judge_data(struct ws *ws, const struct frame *f)
{
    const struct ws_limits *limits = ws->limits;
    const struct ws_input *in = ws->input;
    bool open = in && in->type != 0;
    uint64_t so_far = open ? buf_len(&in->message) : 0;
    bool packed = open ? in->packed : f->rsv != 0;
    uint64_t max_message = with_slack(limits->max_message, packed);
    uint32_t fragments = open ? in->fragments : 0;
    if (open != (f->opcode == FRAME_CONTINUATION))
        return refuse(ws, ERR_CONTINUATION,
                      open ? "new message inside a message" : "continuation of no message");
    if (limits->max_frame && f->length > with_slack(limits->max_frame, packed))
        return refuse_excess(ws, WS_LIMIT_FRAME, f->length, limits->max_frame);
    if (f->length > max_message || so_far > max_message - f->length)
        return refuse_excess(ws, WS_LIMIT_MESSAGE, so_far + f->length, limits->max_message);
    if (fragments >= limits->max_fragments)
        return refuse_excess(ws, WS_LIMIT_FRAGMENTS, fragments + 1, limits->max_fragments);
    return 0;
}

/*
 * §5.2: a bit needs an extension that gives it a meaning. RSV1 is that of permessage-deflate, in
 * the first frame of a data message (RFC 7692 §6).
 */
static bool rsv_allowed(const struct ws *ws, const struct frame *f)
{
    return f->rsv == FRAME_RSV1 && ws->deflate && !is_control(f) && f->opcode != FRAME_CONTINUATION;
}

/* What the session allows now, before a byte of the payload is looked at. */
static int judge(struct ws *ws, const struct frame *f)
{
    if (f->rsv && !rsv_allowed(ws, f))
        return refuse(ws, ERR_PROTOCOL, "reserved bits are set");
    if (f->masked != (ws->role == WS_SERVER)) /* §5.1 */
        return refuse(ws, ERR_PROTOCOL, f->masked ? "frame is masked" : "frame is not masked");
    return is_control(f) || ws->close_sent ? 0 : judge_data(ws, f);
}

/* Joins the start of a header that came earlier with the fed bytes. */
static int decode_joined(struct ws *ws, struct frame *f)
{
    struct ws_input *in = ws->input;
    size_t room = (size_t)FRAME_HEADER_MAX - in->small_len;
    size_t len = ws->fed_len < room ? ws->fed_len : room;
    memcpy(in->small + in->small_len, ws->fed, len);
    int size = frame_decode(f, in->small, in->small_len + len);
    if (size == 0) {
        in->small_len = (uint8_t)(in->small_len + len);
        take(ws, len);
    } else if (size > 0) {
        take(ws, (size_t)size - in->small_len);
        in->small_len = 0;
    }
    return size;
}

static int keep_header(struct ws *ws)
{
    struct ws_input *in = ws_input_need(ws);
    if (!in)
        return refuse(ws, ERR_NOMEM, "out of memory");
    in->small_len = (uint8_t)ws->fed_len;
    memcpy(in->small, take(ws, in->small_len), in->small_len);
    return 0;
}

/* Takes a header: its size, 0 when it is not whole yet (its start is kept), or an error. */
static int take_header(struct ws *ws, struct frame *f)
{
    const uint8_t *bytes = ws->fed;
    int size;
    if (ws->input && ws->input->small_len > 0) {
        bytes = ws->input->small;
        size = decode_joined(ws, f);
    } else {
        if (ws->input && ws->input->type == 0)
            ws->input->begun++;
        size = frame_decode(f, ws->fed, ws->fed_len);
        if (size > 0)
            take(ws, (size_t)size);
        else if (size == 0)
            return keep_header(ws);
    }
    return size < 0 ? refuse(ws, size, frame_fault(bytes)) : size;
}

static uint8_t heard(const struct frame *f)
{
    if (!is_control(f))
        return WS_HEARD_DATA;
    return f->opcode == FRAME_PONG ? WS_HEARD_PONG : WS_HEARD_CONTROL;
}

static int read_header(struct ws *ws, struct ws_event *ev)
{
    struct frame f;
    if (ws->fed_len == 0)
        return STEP_MORE;
    int size = take_header(ws, &f);
    if (size <= 0)
        return size;
    int err = judge(ws, &f);
    if (err < 0)
        return err;
    ws->heard |= heard(&f);
    bool whole = ws->fed_len >= f.length;
    if (is_control(&f))
        return whole ? got_control(ws, &f, take(ws, (size_t)f.length), ev)
                     : begin(ws, &f, WS_READ_CONTROL);
    if (ws->close_sent)
        return begin(ws, &f, WS_READ_SKIP);
    if (whole && f.fin && f.opcode != FRAME_CONTINUATION)
        return whole_message(ws, &f, ev);
    return begin(ws, &f, WS_READ_PAYLOAD);
}

static int step(struct ws *ws, struct ws_event *ev)
{
    switch (ws->input ? ws->input->state : WS_READ_HEADER) {
    case WS_READ_PAYLOAD:
        if (!ws->close_sent)
            return read_payload(ws, ev);
        ws->input->state = WS_READ_SKIP;
        return STEP_ON;
    case WS_READ_CONTROL: return read_control(ws, ev);
    case WS_READ_SKIP: return read_skip(ws);
    default: return read_header(ws, ev);
    }
}

int ws_next(struct ws *ws, struct ws_event *ev)
{
    int r = ws->error;
    if (r == 0 && ws->close_got)
        r = ERR_CLOSED;
    if (r == 0) {
        ws_input_forget_message(ws);
        if (ws->deflate && ws->shared->deflate)
            deflate_unpacked_used(ws->shared->deflate);
        do {
            r = step(ws, ev);
        } while (r == STEP_ON);
    }
    if (r == STEP_MORE)
        ws_input_settle(ws);
    else if (r < 0)
        ws_input_drop(ws);
    ws_input_check(ws);
    return r;
}
