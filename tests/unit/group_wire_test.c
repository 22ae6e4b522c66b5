// SPDX-License-Identifier: MIT
/* Messages between workers: what is written is read, and nothing else is. */
#include "base/err.h"
#include "group/group_wire.h"
#include "support.h"

#include <string.h>

enum { ROOM = 1024 };

static char long_name[GROUP_NAME_MAX];
static uint8_t bytes[ROOM];

/* Messages without entries, one of each form. */
static const struct group_wire messages[] = {
    {.type = GROUP_WIRE_END},
    {.type = GROUP_WIRE_STATE},
    {.type = GROUP_WIRE_PUSH, .key = {GROUP_JOINED, "blue", 4}, .ws_type = WS_TEXT},
    {.type = GROUP_WIRE_PUSH,
     .key = {GROUP_STORED, long_name, sizeof long_name},
     .ws_type = WS_BINARY,
     .bytes = (const uint8_t *)"\0hello",
     .len = 6},
    {.type = GROUP_WIRE_ASK, .key = {GROUP_SERVICE, "\0", 1}, .id = UINT32_MAX, .want_ids = true},
    {.type = GROUP_WIRE_ASK, .key = {GROUP_JOINED, "x", 1}},
    {.type = GROUP_WIRE_ANSWER, .id = 0x01020304, .members = GROUP_WIRE_MEMBERS_MAX},
    {.type = GROUP_WIRE_ANSWER,
     .id = 5,
     .members = 2,
     .bytes = (const uint8_t *)"aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
     .len = 32},
};
enum { MESSAGES = sizeof messages / sizeof *messages };

static const struct group_wire_entry entries[] = {
    {{GROUP_JOINED, "blue", 4}, 3, 0, 0},
    {{GROUP_SERVICE, long_name, sizeof long_name}, GROUP_WIRE_MEMBERS_MAX, 0, 0},
    {{GROUP_STORED, "anna", 4}, 1, GROUP_WIRE_STAMP_MAX, 0},
    {{GROUP_STORED, "anna", 4}, 0, 0, 1},
    {{GROUP_STORED, "anna", 4}, 1, 2, 1},
    {{GROUP_JOINED, "x", 1}, 0, 0, GROUP_WIRE_STAMP_MAX},
};
enum { ENTRIES = sizeof entries / sizeof *entries };

static bool same_key(const struct group_key *a, const struct group_key *b)
{
    return a->kind == b->kind && a->len == b->len &&
           (a->len == 0 || memcmp(a->name, b->name, a->len) == 0);
}

static size_t written(const struct group_wire *m)
{
    size_t size = group_wire_size(m);
    CHECK(size <= ROOM);
    memset(bytes, 0xAA, sizeof bytes);
    group_wire_write(m, bytes);
    CHECK_INT(bytes[size], 0xAA);
    return size;
}

static void messages_come_back(void)
{
    for (int i = 0; i < MESSAGES; i++) {
        const struct group_wire *m = &messages[i];
        struct group_wire got;
        test_context("message %d", i);
        size_t size = written(m);
        CHECK_INT(group_wire_read(guard_copy(bytes, size), size, &got), 0);
        CHECK(got.type == m->type && same_key(&got.key, &m->key) && got.ws_type == m->ws_type);
        CHECK(got.id == m->id && got.members == m->members && got.want_ids == m->want_ids);
        CHECK_BYTES(got.bytes, got.len, m->bytes, m->len);
    }
    test_context(NULL);
}

/* A message that goes on to its end is one of a shorter rest; the others are nothing. */
static void every_truncation(void)
{
    for (int i = 0; i < MESSAGES; i++) {
        size_t size = written(&messages[i]);
        for (size_t len = 0; len < size; len++) {
            struct group_wire got;
            test_context("message %d, %zu of %zu bytes", i, len, size);
            int r = group_wire_read(guard_copy(bytes, len), len, &got);
            bool rest = messages[i].type == GROUP_WIRE_PUSH && len >= size - messages[i].len;
            bool no_ids = messages[i].type == GROUP_WIRE_ANSWER && len == size - messages[i].len;
            CHECK_INT(r, rest || no_ids ? 0 : ERR_PROTOCOL);
        }
    }
    test_context(NULL);
}

static void what_follows(void)
{
    for (int i = 0; i < MESSAGES; i++) {
        struct group_wire got;
        size_t size = written(&messages[i]) + 1;
        test_context("message %d", i);
        bool open = messages[i].type == GROUP_WIRE_PUSH || messages[i].type == GROUP_WIRE_STATE;
        CHECK_INT(group_wire_read(guard_copy(bytes, size), size, &got), open ? 0 : ERR_PROTOCOL);
    }
    test_context(NULL);
}

static size_t write_entries(const struct group_wire_entry *first, size_t count)
{
    uint8_t *out = bytes;
    *out++ = GROUP_WIRE_STATE;
    for (size_t i = 0; i < count; i++) {
        uint8_t *next = group_wire_write_entry(&first[i], out);
        CHECK_INT(next - out, group_wire_entry_size(&first[i]));
        out = next;
    }
    return (size_t)(out - bytes);
}

static void entries_come_back(void)
{
    struct group_wire m;
    struct group_wire_entry e;
    size_t size = write_entries(entries, ENTRIES);
    CHECK_INT(group_wire_read(guard_copy(bytes, size), size, &m), 0);
    for (int i = 0; i < ENTRIES; i++) {
        test_context("entry %d", i);
        CHECK_INT(group_wire_next(&m, &e), 1);
        CHECK(same_key(&e.key, &entries[i].key) && e.members == entries[i].members);
        CHECK(e.claim == entries[i].claim && e.dissolved == entries[i].dissolved);
    }
    test_context(NULL);
    CHECK_INT(group_wire_next(&m, &e), 0);
}

static int next_of(size_t size)
{
    struct group_wire m;
    struct group_wire_entry e;
    CHECK_INT(group_wire_read(guard_copy(bytes, size), size, &m), 0);
    return group_wire_next(&m, &e);
}

static void truncated_entries(void)
{
    for (int i = 0; i < ENTRIES; i++) {
        size_t size = write_entries(&entries[i], 1);
        for (size_t len = 2; len < size; len++) {
            test_context("entry %d, %zu of %zu bytes", i, len, size);
            CHECK_INT(next_of(len), ERR_PROTOCOL);
        }
    }
    test_context(NULL);
}

static void nonsense(void)
{
    static const char *const all[] = {
        "00",                      /* no such type */
        "06",                      /* nor this */
        "FF",                      /* nor that */
        "03 03 01 78 01",          /* no such kind */
        "03 00 00 01",             /* an empty name */
        "03 00 01 78 00",          /* neither text nor binary */
        "03 00 01 78 08",          /* a close frame */
        "04 00 01 78 01000000 02", /* neither yes nor no */
        "05 01000000 01000001",    /* more members than there can be */
        "05 01000000 01000000 6161616161616161616161616161616161", /* ids of another number */
        "05 01000000 00000000 61616161616161616161616161616161",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct group_wire m;
        size_t len = unhex(all[i], bytes, sizeof bytes);
        test_context("%s", all[i]);
        CHECK_INT(group_wire_read(guard_copy(bytes, len), len, &m), ERR_PROTOCOL);
    }
    test_context(NULL);
}

static void nonsense_in_entries(void)
{
    static const char *const all[] = {
        "01 03 01 78 01000000",                  /* no such kind */
        "01 40 01 78 01000000",                  /* no such flag */
        "01 83 01 78 01000000",                  /* with one that there is */
        "01 00 00 01000000",                     /* an empty name */
        "01 00 01 78 01000001",                  /* too many members */
        "01 02 01 78 02000000 0100000000000000", /* two holders */
        "01 02 01 78 01000000 0000000000000000", /* a claim without a stamp */
        "01 02 01 78 01000000 0000000000000040", /* one from the end of time */
        "01 80 01 78 00000000 0000000000000000", /* a removal without one */
        "01 81 01 78 00000000 0100000000000000", /* services are not removed */
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        test_context("%s", all[i]);
        CHECK_INT(next_of(unhex(all[i], bytes, sizeof bytes)), ERR_PROTOCOL);
    }
    test_context(NULL);
    CHECK_INT(next_of(unhex("01 80 01 78 00000000 FFFFFFFFFFFFFF3F", bytes, sizeof bytes)), 1);
}

int main(void)
{
    memset(long_name, 'n', sizeof long_name);
    test("messages come back", messages_come_back);
    test("every truncation", every_truncation);
    test("what follows", what_follows);
    test("entries come back", entries_come_back);
    test("truncated entries", truncated_entries);
    test("nonsense", nonsense);
    test("nonsense in entries", nonsense_in_entries);
    return test_end();
}
