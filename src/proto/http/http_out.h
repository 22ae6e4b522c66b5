// SPDX-License-Identifier: MIT
/*
 * Writing heads, private to the protocol files: appends to a buffer and remembers a failure until
 * the end, so that writers are straight lines of code. A head that could not be written whole
 * leaves the buffer as it was.
 */
#ifndef NEAP_PROTO_HTTP_HTTP_OUT_H
#define NEAP_PROTO_HTTP_HTTP_OUT_H

#include "proto/http/http.h"

struct http_out {
    struct buf *buf;
    size_t before; /* readable bytes before we began */
    int error;     /* 0 or ERR_NOMEM */
};

/* Begins a head in `buf`, with room for some `size` bytes. */
struct http_out http_out_begin(struct buf *buf, size_t size);

void http_out_bytes(struct http_out *o, const void *bytes, size_t len);
void http_out_text(struct http_out *o, const char *text);

/* "name: value" CR LF; nothing when `value` is NULL. */
void http_out_line(struct http_out *o, const char *name, const char *value);

/*
 * The given lines, except those whose name is in `except` (ends with NULL): they are the
 * protocol's own business.
 */
void http_out_lines(struct http_out *o, const struct http_line *lines, size_t count,
                    const char *const *except);

/* True when one of the lines has that name. */
bool http_out_has(const struct http_line *lines, size_t count, const char *name);

/* Returns 0, or ERR_NOMEM with the buffer as it was before. */
int http_out_end(struct http_out *o);

#endif
