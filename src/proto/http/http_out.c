// SPDX-License-Identifier: MIT
/* See http_out.h. */
#include "proto/http/http_out.h"

#include "base/err.h"
#include "proto/http/http_chars.h"

#include <string.h>

struct http_out http_out_begin(struct buf *buf, size_t size)
{
    return (struct http_out){buf, buf_len(buf), buf_reserve(buf, size)};
}

void http_out_bytes(struct http_out *o, const void *bytes, size_t len)
{
    if (o->error == 0)
        o->error = buf_append(o->buf, bytes, len);
}

void http_out_text(struct http_out *o, const char *text)
{
    http_out_bytes(o, text, strlen(text));
}

void http_out_line(struct http_out *o, const char *name, const char *value)
{
    if (!value)
        return;
    http_out_text(o, name);
    http_out_text(o, ": ");
    http_out_text(o, value);
    http_out_text(o, "\r\n");
}

static bool is_among(struct str name, const char *const *names)
{
    for (; *names; names++)
        if (http_same(name.s, name.len, *names, strlen(*names)))
            return true;
    return false;
}

bool http_out_has(const struct http_line *lines, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (http_same(lines[i].name.s, lines[i].name.len, name, strlen(name)))
            return true;
    return false;
}

void http_out_lines(struct http_out *o, const struct http_line *lines, size_t count,
                    const char *const *except)
{
    for (size_t i = 0; i < count; i++) {
        if (is_among(lines[i].name, except))
            continue;
        http_out_bytes(o, lines[i].name.s, lines[i].name.len);
        http_out_text(o, ": ");
        http_out_bytes(o, lines[i].value.s, lines[i].value.len);
        http_out_text(o, "\r\n");
    }
}

int http_out_end(struct http_out *o)
{
    if (o->error)
        o->buf->end = o->buf->off + o->before;
    return o->error;
}
