// SPDX-License-Identifier: MIT
/*
 * How a finished head lies in memory, private to the HTTP files: one allocation.
 *
 *      | refs, lines, status, version, wide | offsets of pieces | "GET" 0 "/" 0 "Host" 0 "a" 0 … |
 *
 * Pieces are the method, the target, and name and value of each line, each with a NUL behind it
 * (no piece can hold one). Offsets are two bytes wide, or four when the text is longer than 65535
 * bytes, and one more stands for the end; so lengths need no room. Both method and target are
 * empty in a response.
 */
#ifndef NEAP_PROTO_HTTP_HTTP_HEAD_H
#define NEAP_PROTO_HTTP_HTTP_HEAD_H

#include "proto/http/http.h"

struct http_head {
    uint32_t refs;
    uint32_t lines;
    uint16_t status;
    uint8_t version;
    bool wide;
    uint8_t rest[]; /* offsets, then text */
};

/*
 * Makes a head of the NUL-terminated pieces in `text`, with one reference. NULL when memory is
 * short, or when there are not exactly 2 + 2 * lines pieces (*agreed tells: false then).
 */
struct http_head *http_head_new(const struct buf *text, uint32_t lines, bool *agreed);

/* Bytes that the head occupies, for tests and figures. */
size_t http_head_size(const struct http_head *h);

#endif
