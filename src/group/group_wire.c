// SPDX-License-Identifier: MIT
/*
 * Writing is put after put. Reading goes through `struct in`, which notes when something was not
 * there or not allowed and gives zeros from then on, so that what is read is judged once, at the
 * end of a message or entry.
 */
#include "group/group_wire.h"

#include "base/err.h"
#include "session/session.h"

#include <string.h>

enum { DISSOLVED = 0x80 }; /* in an entry's first byte, beside the kind */

static uint8_t *put_number(uint8_t *out, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(value >> 8 * i);
    return out + size;
}

static uint8_t *put_bytes(uint8_t *out, const void *bytes, size_t len)
{
    if (len)
        memcpy(out, bytes, len);
    return out + len;
}

static uint8_t *put_name(uint8_t *out, const struct group_key *key)
{
    *out++ = (uint8_t)key->len;
    return put_bytes(out, key->name, key->len);
}

size_t group_wire_size(const struct group_wire *m)
{
    switch (m->type) {
    case GROUP_WIRE_PUSH: return 4 + m->key.len + m->len;
    case GROUP_WIRE_ASK: return 8 + m->key.len;
    case GROUP_WIRE_ANSWER: return 9 + m->len;
    default: return 1 + m->len;
    }
}

void group_wire_write(const struct group_wire *m, uint8_t *out)
{
    *out++ = (uint8_t)m->type;
    if (m->type == GROUP_WIRE_PUSH || m->type == GROUP_WIRE_ASK) {
        *out++ = (uint8_t)m->key.kind;
        out = put_name(out, &m->key);
    }
    if (m->type == GROUP_WIRE_PUSH)
        *out++ = (uint8_t)m->ws_type;
    if (m->type == GROUP_WIRE_ASK || m->type == GROUP_WIRE_ANSWER)
        out = put_number(out, m->id, 4);
    if (m->type == GROUP_WIRE_ASK)
        *out = m->want_ids;
    if (m->type == GROUP_WIRE_ANSWER)
        out = put_number(out, m->members, 4);
    if (m->type != GROUP_WIRE_ASK)
        put_bytes(out, m->bytes, m->len);
}

static bool has_claim(const struct group_wire_entry *e)
{
    return e->key.kind == GROUP_STORED && e->members;
}

size_t group_wire_entry_size(const struct group_wire_entry *e)
{
    return 6 + e->key.len + (has_claim(e) ? 8 : 0) + (e->dissolved ? 8 : 0);
}

uint8_t *group_wire_write_entry(const struct group_wire_entry *e, uint8_t *out)
{
    *out++ = (uint8_t)(e->key.kind | (e->dissolved ? DISSOLVED : 0));
    out = put_name(out, &e->key);
    out = put_number(out, e->members, 4);
    if (has_claim(e))
        out = put_number(out, e->claim, 8);
    return e->dissolved ? put_number(out, e->dissolved, 8) : out;
}

struct in {
    const uint8_t *bytes;
    size_t len;
    bool bad;
};

static const uint8_t *get_bytes(struct in *in, size_t len)
{
    const uint8_t *at = in->bytes;
    if (in->len < len) {
        in->bad = true;
        return NULL;
    }
    in->bytes += len;
    in->len -= len;
    return at;
}

/* A number from `min` to `max`. */
static uint64_t get_number(struct in *in, size_t size, uint64_t min, uint64_t max)
{
    const uint8_t *at = get_bytes(in, size);
    uint64_t value = 0;
    for (size_t i = 0; at && i < size; i++)
        value |= (uint64_t)at[i] << 8 * i;
    if (at && value >= min && value <= max)
        return value;
    in->bad = true;
    return 0;
}

static void get_name(struct in *in, struct group_key *key)
{
    key->len = (size_t)get_number(in, 1, 1, GROUP_NAME_MAX);
    key->name = (const char *)get_bytes(in, key->len);
}

static void get_key(struct in *in, struct group_key *key)
{
    key->kind = (enum group_kind)get_number(in, 1, 0, GROUP_KINDS - 1);
    get_name(in, key);
}

static void get_rest(struct in *in, struct group_wire *m)
{
    m->len = in->len;
    m->bytes = get_bytes(in, in->len);
}

static void get_push(struct in *in, struct group_wire *m)
{
    get_key(in, &m->key);
    m->ws_type = (enum ws_type)get_number(in, 1, WS_TEXT, WS_BINARY);
    get_rest(in, m);
}

static void get_ask(struct in *in, struct group_wire *m)
{
    get_key(in, &m->key);
    m->id = (uint32_t)get_number(in, 4, 0, UINT32_MAX);
    m->want_ids = get_number(in, 1, 0, 1);
}

static void get_answer(struct in *in, struct group_wire *m)
{
    m->id = (uint32_t)get_number(in, 4, 0, UINT32_MAX);
    m->members = (uint32_t)get_number(in, 4, 0, GROUP_WIRE_MEMBERS_MAX);
    get_rest(in, m);
    if (m->len && m->len != (size_t)m->members * CONN_ID_SIZE)
        in->bad = true;
}

int group_wire_read(const uint8_t *bytes, size_t len, struct group_wire *m)
{
    struct in in = {bytes, len, false};
    *m = (struct group_wire){0};
    m->type = (enum group_wire_type)get_number(&in, 1, GROUP_WIRE_STATE, GROUP_WIRE_ANSWER);
    switch (m->type) {
    case GROUP_WIRE_STATE: get_rest(&in, m); break;
    case GROUP_WIRE_PUSH: get_push(&in, m); break;
    case GROUP_WIRE_ASK: get_ask(&in, m); break;
    case GROUP_WIRE_ANSWER: get_answer(&in, m); break;
    case GROUP_WIRE_END: break;
    }
    return in.bad || in.len ? ERR_PROTOCOL : 0;
}

/* The first byte of an entry; returns its flag. */
static bool get_kind(struct in *in, struct group_key *key)
{
    unsigned byte = (unsigned)get_number(in, 1, 0, DISSOLVED | (GROUP_KINDS - 1));
    bool dissolved = byte & DISSOLVED;
    unsigned kind = byte & ~(unsigned)DISSOLVED;
    if (kind >= GROUP_KINDS || (dissolved && kind == GROUP_SERVICE))
        in->bad = true;
    else
        key->kind = (enum group_kind)kind;
    return dissolved;
}

static void get_entry(struct in *in, struct group_wire_entry *e)
{
    bool dissolved = get_kind(in, &e->key);
    get_name(in, &e->key);
    bool stored = e->key.kind == GROUP_STORED;
    e->members = (uint32_t)get_number(in, 4, 0, stored ? 1 : GROUP_WIRE_MEMBERS_MAX);
    if (has_claim(e))
        e->claim = get_number(in, 8, 1, GROUP_WIRE_STAMP_MAX);
    if (dissolved)
        e->dissolved = get_number(in, 8, 1, GROUP_WIRE_STAMP_MAX);
}

int group_wire_next(struct group_wire *state, struct group_wire_entry *e)
{
    struct in in = {state->bytes, state->len, false};
    *e = (struct group_wire_entry){0};
    if (in.len == 0)
        return 0;
    get_entry(&in, e);
    state->bytes = in.bytes;
    state->len = in.len;
    return in.bad ? ERR_PROTOCOL : 1;
}
