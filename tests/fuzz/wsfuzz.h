// SPDX-License-Identifier: MIT
/*
 * Shared by the fuzz targets of the session: a record of what a session did, byte for byte, that
 * two runs can be compared by, and the reading of choices from the front of the fuzz input.
 */
#ifndef NEAP_TESTS_FUZZ_WSFUZZ_H
#define NEAP_TESTS_FUZZ_WSFUZZ_H

#include "../unit/wsout.h"
#include "proto/ws/ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the run, so that the fuzzer keeps the input. */
#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* Events, then an error if there was one, as one run of bytes. */
struct record {
    size_t len;
    uint8_t bytes[1 << 19];
};

static inline void record_add(struct record *r, const void *bytes, size_t len)
{
    MUST(len <= sizeof r->bytes - r->len);
    if (len > 0)
        memcpy(r->bytes + r->len, bytes, len);
    r->len += len;
}

static inline void record_item(struct record *r, int what, unsigned code, const struct iovec *data)
{
    uint32_t head[3] = {(uint32_t)what, code, (uint32_t)data->iov_len};
    record_add(r, head, sizeof head);
    record_add(r, data->iov_base, data->iov_len);
}

static inline void record_event(struct record *r, const struct ws_event *ev)
{
    record_item(r, ev->type, ev->code, &(struct iovec){ev->data, ev->len});
}

static inline void record_error(struct record *r, int err)
{
    record_item(r, err, 0, &(struct iovec){0});
}

/* The bytes that the session has queued. */
static inline void record_output(struct record *r, const struct ws *ws)
{
    static struct iovec iov[4096];
    int n = outq_iovec(ws->out, iov, 4096);
    for (int i = 0; i < n; i++)
        record_add(r, iov[i].iov_base, iov[i].iov_len);
}

static inline void must_be_same(const struct record *a, const struct record *b)
{
    MUST(a->len == b->len);
    MUST(memcmp(a->bytes, b->bytes, a->len) == 0);
}

/* Fuzz input, taken from the front; zeros when it is used up. */
struct choices {
    const uint8_t *bytes;
    size_t len;
};

static inline uint8_t choose(struct choices *c)
{
    if (c->len == 0)
        return 0;
    c->len--;
    return *c->bytes++;
}

static inline void fuzz_random(void *out, size_t len)
{
    memset(out, 0x5A, len);
}

#endif
