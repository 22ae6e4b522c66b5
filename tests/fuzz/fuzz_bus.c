// SPDX-License-Identifier: MIT
/*
 * Messages between workers that anything may have written. The input is messages, each behind two
 * bytes of length; they are read, and sent to a worker that has a few groups. Beyond crashes:
 *
 *      - what is read is written again, byte for byte;
 *      - a worker refuses exactly what cannot be read, and its line is gone then;
 *      - its own members stay who they are, but for names and groups that were taken or removed;
 *      - when the line is gone, nothing is left of what was told.
 */
#include "../unit/grouprun.h"

#include "base/log.h"
#include "wsfuzz.h"

enum { HOME = 0, OTHER = 1 };

static uint8_t again[1 << 16];

static void check_same(const uint8_t *bytes, size_t len, const uint8_t *end)
{
    MUST((size_t)(end - again) == len && memcmp(bytes, again, len) == 0);
}

/* Whether it can be read; then it is what its parts make. */
static bool read_and_write(const uint8_t *bytes, size_t len)
{
    struct group_wire m;
    struct group_wire_entry e;
    if (group_wire_read(bytes, len, &m) < 0)
        return false;
    MUST(group_wire_size(&m) == len);
    group_wire_write(&m, again);
    check_same(bytes, len, again + len);
    if (m.type != GROUP_WIRE_STATE)
        return true;
    int r;
    uint8_t *out = again;
    for (*out++ = GROUP_WIRE_STATE; (r = group_wire_next(&m, &e)) > 0;) {
        uint8_t *next = group_wire_write_entry(&e, out);
        MUST((size_t)(next - out) == group_wire_entry_size(&e));
        out = next;
    }
    if (r == 0)
        check_same(bytes, len, out);
    return r == 0;
}

static void send(const uint8_t *bytes, size_t len)
{
    bool fine = read_and_write(bytes, len);
    struct chunk *c = chunk_new(len);
    MUST(c);
    if (len)
        memcpy(c->bytes, bytes, len);
    MUST(bus_send(&run[OTHER]->bus, HOME, c) == 0);
    chunk_unref(c);
    run_deliver(OTHER, HOME, RUN_LINE);
    MUST(run[HOME]->lines[OTHER].up == fine);
    if (!fine)
        run_connect(HOME, OTHER);
    run_turn(run[HOME]);
    run_drop(&run[HOME]->lines[OTHER]);
}

static void on_answer(struct group_ask *ask, int err)
{
    MUST(err == 0 || err == ERR_IO || err == ERR_NOMEM);
    MUST(err || buf_len(&ask->ids) == (ask->count - 1) * CONN_ID_SIZE + CONN_ID_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!run[HOME]) {
        log_open(LOG_ERROR, false);
        run_start(2);
    }
    run_settle();
    struct groups *g = run[HOME]->groups;
    struct session *s = run_conn(run[HOME]);
    struct group_ask ask = {
        .key = run_key(GROUP_JOINED, "x"), .want_ids = true, .on_answer = on_answer};
    MUST(run_join(s, GROUP_JOINED, "x") == 0 && run_join(s, GROUP_STORED, "y") == 0);
    MUST(group_join_service(g, s, "z", 1) == 0);
    g->bus->next_ask = 0; /* so that the input can know the number */
    MUST(group_ask(g, &ask) == 0);
    run_turn(run[HOME]);
    run_drop(&run[HOME]->lines[OTHER]);
    while (size >= 2) {
        size_t len = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2;
        size -= 2;
        len = len < size ? len : size;
        send(data, len);
        data += len;
        size -= len;
        run_push(run[HOME], GROUP_STORED, "y", "m");
        run_push(run[HOME], GROUP_JOINED, "x", "m");
        MUST(s->place.service &&
             group_table_find(g, &(struct group_key){GROUP_SERVICE, "z", 1}) == s->place.service);
    }
    group_ask_end(&ask);
    run_gone(HOME, OTHER);
    run_gone(OTHER, HOME);
    MUST(g->names.count == 1 + s->place.membership_count &&
         g->members.count == s->place.membership_count);
    run_conn_free(s);
    run_turn(run[HOME]);
    MUST(g->names.count == 0 && g->bus->unsure == 0 && g->bus->there == 0);
    g->bus->stamp = 0;
    run_connect(HOME, OTHER);
    return 0;
}
