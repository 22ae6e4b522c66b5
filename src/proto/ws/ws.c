// SPDX-License-Identifier: MIT
/*
 * The session's life and its failure; close codes. Reading is in ws_read.c, the memory of
 * unfinished input in ws_input.c, sending in ws_send.c.
 */
#include "proto/ws/ws.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proto/ws/ws_input.h"

#include <string.h>

void ws_check(const struct ws *ws)
{
    bool ended = ws->error || ws->close_got;
    CHECK(!ended || (ws->close_sent && !ws->fed_len));
    CHECK(!ws->why || ws->error);
    CHECK(ws->close_sent || !ws->close_code);
    CHECK(!ws->close_sent || ws->close_code || ws->close_got);
    CHECK(!ws->fed_len || ws->fed);
    CHECK(!ws->pong || (ws->blocked && ws->pong[0] <= FRAME_CONTROL_MAX));
}

void ws_init(struct ws *ws, enum ws_role role, const struct ws_limits *limits,
             struct ws_shared *shared, struct outq *out)
{
    *ws = (struct ws){
        .limits = limits, .shared = shared, .out = out, .role = (uint8_t)role, .auto_pong = true};
}

void ws_take_deflate(struct ws *ws, struct deflate *deflate)
{
    ws->deflate = deflate;
}

struct deflate_shared *ws_codecs(struct ws *ws)
{
    if (!ws->shared->deflate)
        ws->shared->deflate = deflate_shared_new();
    return ws->shared->deflate;
}

void ws_shared_deinit(struct ws_shared *shared)
{
    deflate_shared_free(shared->deflate);
    shared->deflate = NULL;
    for (struct ws_reel *r = shared->reels; r < shared->reels + WS_REELS; r++) {
        if (r->chunk)
            chunk_unref(r->chunk);
        *r = (struct ws_reel){0};
    }
}

void ws_drop_input(struct ws *ws)
{
    ws_input_drop(ws);
}

void ws_deinit(struct ws *ws)
{
    ws_input_drop(ws);
    deflate_free(ws->deflate);
    ws->deflate = NULL;
    mem_free(ws->pong);
    ws->pong = NULL;
}

void ws_fail(struct ws *ws, int err, uint16_t code, const char *reason)
{
    if (ws->error)
        return;
    ws->error = (int8_t)err;
    ws->fed_len = 0;
    if (!ws->close_sent && ws_close(ws, code, reason, strlen(reason)) < 0)
        ws->close_code = code; /* no memory to tell the peer: the stream ends without */
    ws->close_sent = true;
    ws_check(ws);
}

bool ws_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

uint16_t ws_error_code(int err)
{
    switch (err) {
    case ERR_PROTOCOL:
    case ERR_CONTINUATION: return WS_PROTOCOL_ERROR;
    case ERR_UTF8: return WS_INVALID_PAYLOAD;
    case ERR_TOO_BIG: return WS_MESSAGE_TOO_BIG;
    case ERR_POLICY: return WS_POLICY_VIOLATION;
    default: return WS_INTERNAL_ERROR;
    }
}
