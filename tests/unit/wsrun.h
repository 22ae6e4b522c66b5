// SPDX-License-Identifier: MIT
/*
 * For tests of the session: input in a short notation, and what the session did as one line of
 * text, so that a case is two strings.
 *
 * Input: hex digits are bytes as they stand; `m` puts the masking key 37 FA 21 3D, and what follows
 * up to `;` is masked; `xx*n` repeats a byte. "8105m 48656C6C6F; 8980m" is a masked "Hello" and an
 * empty masked ping.
 *
 * Transcript, in order: T"…" B"…" P"…" O"…" text, binary, ping, pong; C1000"…" close; E-2 the error
 * that ws_next returns; and after ` >` the frames that the session has queued, in the same
 * notation, with ~ after the letter when more fragments follow (… T~"ab" K"c"). Bytes that are no
 * printable ASCII are \XX; "a"*125 is one byte many times.
 */
#ifndef NEAP_TESTS_UNIT_WSRUN_H
#define NEAP_TESTS_UNIT_WSRUN_H

#include "proto/ws/frame.h"
#include "proto/ws/ws.h"
#include "support.h"
#include "wsout.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { WSRUN_INPUT = 300 * 1024, WSRUN_LINE = 8192 };

static const uint8_t wsrun_key[4] = {0x37, 0xFA, 0x21, 0x3D};

static inline void wsrun_random(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = wsrun_key[i & 3];
}

/* Bytes of the notation above; returns their number. */
static inline size_t wsrun_bytes(const char *s, uint8_t *out)
{
    size_t len = 0, masked_from = SIZE_MAX;
    for (; *s; s++) {
        unsigned byte, times = 1;
        int used = 0;
        if (isspace((unsigned char)*s))
            continue;
        if (*s == ';') {
            masked_from = SIZE_MAX;
        } else if (*s == 'm') {
            memcpy(out + len, wsrun_key, 4);
            masked_from = len += 4;
        } else if (sscanf(s, "%2x%n", &byte, &used) == 1 && used == 2) {
            s++;
            if (s[1] == '*' && sscanf(s + 2, "%u%n", &times, &used) == 1)
                s += 1 + used;
            for (; times > 0 && len < WSRUN_INPUT; times--, len++)
                out[len] =
                    (uint8_t)byte ^ (len >= masked_from ? wsrun_key[(len - masked_from) & 3] : 0);
        } else {
            printf("wsrun_bytes: what is this? %s\n", s);
            exit(1);
        }
    }
    return len;
}

struct line {
    char text[WSRUN_LINE];
    size_t len;
};

static inline void line_add(struct line *l, const char *s)
{
    size_t n = strlen(s);
    if (l->len + n < sizeof l->text)
        memcpy(l->text + l->len, s, n + 1), l->len += n;
}

static inline void line_data(struct line *l, const uint8_t *data, size_t len)
{
    char s[32];
    size_t times = 1;
    if (len > 80 && memcmp(data, data + 1, len - 1) == 0) {
        times = len;
        len = 1;
    }
    line_add(l, "\"");
    for (size_t i = 0; i < len; i++) {
        snprintf(s, sizeof s, data[i] > 32 && data[i] < 127 ? "%c" : "\\%02X", data[i]);
        line_add(l, data[i] == ' ' ? " " : s);
    }
    line_add(l, "\"");
    if (times > 1) {
        snprintf(s, sizeof s, "*%zu", times);
        line_add(l, s);
    }
}

static inline void line_event(struct line *l, const struct ws_event *ev)
{
    static const char letters[] = {
        [WS_TEXT] = 'T', [WS_BINARY] = 'B', [WS_CLOSE] = 'C', [WS_PING] = 'P', [WS_PONG] = 'O'};
    char s[16] = {' ', letters[ev->type], '\0'};
    if (ev->type == WS_CLOSE)
        snprintf(s + 2, sizeof s - 2, "%u", ev->code);
    line_add(l, s + (l->len == 0));
    line_data(l, ev->data, ev->len);
}

/* The bytes that wait in the session's output; returns their number. */
static inline size_t wsrun_output(const struct ws *ws, uint8_t *out, size_t room)
{
    struct iovec iov[2000];
    int n = outq_iovec(ws->out, iov, 2000);
    size_t len = 0;
    for (int i = 0; i < n && len + iov[i].iov_len <= room; i++) {
        if (iov[i].iov_len > 0)
            memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    return len;
}

/* Describes one queued frame; returns its size, 0 when it is broken. */
static inline size_t line_frame(struct line *l, uint8_t *bytes, size_t len)
{
    static const char letters[] = "KTB_____CPO_____";
    struct frame f;
    int size = frame_decode(&f, bytes, len);
    if (size <= 0 || f.length > len - (size_t)size)
        return 0;
    uint8_t *data = bytes + size;
    size_t n = (size_t)f.length;
    char s[16] = {' ', letters[f.opcode], f.fin ? '\0' : '~', '\0'};
    if (f.masked)
        frame_mask(data, data, n, f.mask, 0);
    if (f.opcode == FRAME_CLOSE && n >= 2) {
        snprintf(s + 2, sizeof s - 2, "%d", data[0] << 8 | data[1]);
        n = 0; /* reasons of refusals are for people; their wording is not what cases are about */
    }
    line_add(l, s);
    if (f.opcode != FRAME_CLOSE)
        line_data(l, data, n);
    return (size_t)size + (size_t)f.length;
}

static inline void line_output(struct line *l, const struct ws *ws)
{
    static uint8_t out[4 << 20];
    size_t len = wsrun_output(ws, out, sizeof out), at = 0;
    if (len > 0)
        line_add(l, " >");
    while (at < len) {
        size_t n = line_frame(l, out + at, len - at);
        if (n == 0) {
            line_add(l, " broken output");
            return;
        }
        at += n;
    }
}

/* What a driver does between two events. */
enum wsrun_mode {
    WSRUN_PLAIN, /* calls ws_next until it has had enough */
    WSRUN_KEEP,  /* gives the buffer back after every event */
    WSRUN_QUEUE, /* feeds each next piece after a first event, the rest being kept */
    WSRUN_MODES
};

/*
 * Notes events until there is nothing more or an error; false at an error. The guarded buffer is
 * spoilt when the session has let go of it.
 */
static inline bool wsrun_events(struct ws *ws, struct line *l, enum wsrun_mode mode)
{
    struct ws_event ev;
    int r;
    while ((r = ws_next(ws, &ev)) == 1) {
        line_event(l, &ev);
        if (mode == WSRUN_PLAIN)
            continue;
        if (ws_keep(ws) == 0)
            guard_spoil();
        if (mode == WSRUN_QUEUE)
            return true;
    }
    guard_spoil();
    if (r < 0) {
        char s[16];
        snprintf(s, sizeof s, " E%d", r);
        line_add(l, s + (l->len == 0));
    }
    return r == 0;
}

/* Feeds the input in the pieces of the cut, then describes events and output. Stops at an error. */
static inline void wsrun_feed(struct ws *ws, struct str in, const struct cut *cut,
                              enum wsrun_mode mode, struct line *l)
{
    size_t pos = 0, n;
    bool on = true;
    *l = (struct line){0};
    while (on && (n = cut_piece(cut, pos, in.len)) > 0) {
        ws_feed(ws, guard_copy((const uint8_t *)in.s + pos, n), n);
        pos += n;
        on = wsrun_events(ws, l, mode);
    }
    if (on && mode == WSRUN_QUEUE)
        wsrun_events(ws, l, WSRUN_KEEP);
    line_output(l, ws);
}

#endif
