// SPDX-License-Identifier: MIT
/*
 * The memory behind a session's input: taking bytes in, keeping what could not be used yet, letting
 * go as early as possible. What the bytes mean is ws_read.c's business.
 */
#include "proto/ws/ws_input.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

void ws_note_large(struct ws_shared *shared)
{
    if (shared->on_large)
        shared->on_large(shared);
}

/* Bytes of a header or of a control frame that have come, for the state of ws_input.h's table. */
static bool small_fits(const struct ws_input *in)
{
    switch (in->state) {
    case WS_READ_HEADER: return in->left == 0 && in->small_len < FRAME_HEADER_MAX;
    case WS_READ_CONTROL: return in->left && in->small_len + in->left == in->frame.length;
    default: return in->left && in->left <= in->frame.length && in->small_len == 0;
    }
}

static void message_check(const struct ws *ws, const struct ws_input *in)
{
    CHECK(in->type == 0 || in->type == WS_TEXT || in->type == WS_BINARY);
    CHECK(!in->type || (in->fragments && in->fragments <= ws->limits->max_fragments));
    CHECK(!in->type || !in->packed || ws->deflate);
    CHECK(!in->delivered || (in->state == WS_READ_HEADER && !in->type && !in->small_len));
    CHECK(in->type || in->delivered || !in->message.cap);
    buf_check(&in->message);
}

void ws_input_check(const struct ws *ws)
{
    const struct ws_input *in = ws->input;
    ws_check(ws);
    if (!CHECKING || !in)
        return;
    CHECK(in->state <= WS_READ_SKIP && small_fits(in));
    CHECK(in->state != WS_READ_PAYLOAD || in->type);
    CHECK(in->state != WS_READ_SKIP || (ws->close_sent && !in->type));
    CHECK(!in->kept.cap || ws->fed_len <= buf_len(&in->kept));
    CHECK(!in->kept.cap || !ws->fed_len || ws->fed + ws->fed_len == buf_room(&in->kept));
    message_check(ws, in);
}

struct ws_input *ws_input_need(struct ws *ws)
{
    if (!ws->input) {
        ws->input = mem_try(sizeof *ws->input);
        if (ws->input)
            memset(ws->input, 0, sizeof *ws->input);
    }
    return ws->input;
}

void ws_input_forget_message(struct ws *ws)
{
    struct ws_input *in = ws->input;
    if (!in || !(in->delivered || ws->close_sent))
        return;
    in->delivered = false;
    in->type = 0;
    ws_note_size(ws->shared, in->message.cap);
    buf_free(&in->message);
}

void ws_input_settle(struct ws *ws)
{
    struct ws_input *in = ws->input;
    CHECK(ws->fed_len == 0);
    if (!in)
        return;
    buf_free(&in->kept);
    if (in->state == WS_READ_HEADER && in->small_len == 0 && in->type == 0)
        ws_input_drop(ws);
}

void ws_input_drop(struct ws *ws)
{
    ws->fed = NULL;
    ws->fed_len = 0;
    if (!ws->input)
        return;
    buf_free(&ws->input->kept);
    buf_free(&ws->input->message);
    mem_free(ws->input);
    ws->input = NULL;
    ws_check(ws);
}

static bool reads_kept(const struct ws *ws)
{
    return ws->input && ws->input->kept.cap > 0;
}

/* Appends to the kept bytes, of which those that ws_next has used go first. */
static int keep(struct ws *ws, const uint8_t *bytes, size_t len)
{
    struct buf *kept = &ws->input->kept;
    if (kept->cap > 0)
        buf_consume(kept, buf_len(kept) - ws->fed_len);
    if (buf_append(kept, bytes, len) < 0) {
        ws_fail(ws, ERR_NOMEM, WS_INTERNAL_ERROR, "out of memory");
        return ERR_NOMEM;
    }
    ws->fed = buf_bytes(kept);
    ws->fed_len = buf_len(kept);
    ws_input_check(ws);
    return 0;
}

int ws_feed(struct ws *ws, uint8_t *bytes, size_t len)
{
    if (ws->error || ws->close_got)
        return 0; /* all further input is ignored */
    if (reads_kept(ws))
        return keep(ws, bytes, len);
    assert(ws->fed_len == 0);
    ws->fed = bytes;
    ws->fed_len = len;
    ws_input_check(ws);
    return 0;
}

int ws_keep(struct ws *ws)
{
    if (ws->fed_len == 0 || reads_kept(ws))
        return 0;
    if (!ws_input_need(ws)) {
        ws_fail(ws, ERR_NOMEM, WS_INTERNAL_ERROR, "out of memory");
        return ERR_NOMEM;
    }
    return keep(ws, ws->fed, ws->fed_len);
}

size_t ws_held(const struct ws *ws)
{
    const struct ws_input *in = ws->input;
    if (!in)
        return 0;
    return buf_len(&in->message) + in->small_len + (reads_kept(ws) ? ws->fed_len : 0);
}

unsigned ws_assembling(const struct ws *ws)
{
    const struct ws_input *in = ws->input;
    if (!in || ws->close_sent)
        return 0;
    bool unfinished = in->state != WS_READ_HEADER || in->type != 0 || in->small_len > 0;
    return unfinished ? in->begun + 1 : 0;
}
