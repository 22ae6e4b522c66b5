// SPDX-License-Identifier: MIT
/*
 * Invariants: what CHECK does where it is on and where it is off, and that the checks of structs
 * below Lua fire. Each case runs in a process of its own, puts a struct into a state that must not
 * be, and calls a function that would change it.
 */
#include "base/check.h"

#include <stdbool.h>

static unsigned looks;

static bool look(bool held)
{
    looks++;
    return held;
}

static void must_hold(void)
{
    CHECK(look(false));
}

static void holds(void)
{
    CHECK(look(true));
}

/* As the release has it. */
#undef NEAP_BASE_CHECK_H
#undef NEAP_CHECKS
#undef CHECK
#undef CHECKING
#include "base/check.h"

static void released(void)
{
    CHECK(look(false));
}

#undef CHECK
#define NEAP_CHECKS

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/outq.h"
#include "net/wheel.h"
#include "proto/ws/ws_input.h"
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs it in a child: true when that ended by SIGABRT, with these words on its stderr. */
static bool dies(void (*run)(void), const char *file, const char *words)
{
    char text[1000] = "";
    size_t len = 0;
    ssize_t n;
    int fds[2], status;
    if (pipe(fds) < 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], 2);
        run();
        _exit(0);
    }
    close(fds[1]);
    while ((n = read(fds[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    close(fds[0]);
    waitpid(child, &status, 0);
    test_context("%s: %s", words, text);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(text, file) &&
           strstr(text, "must hold: ") && strstr(text, words);
}

static void on_and_off(void)
{
    CHECK(dies(must_hold, "tests/unit/check_test.c:", "look(false)"));
    looks = 0;
    holds();
    CHECK_INT(looks, 1);
    released();
    CHECK_INT(looks, 1);
    test_context(NULL);
}

/* --- base ------------------------------------------------------------------------------------- */

static struct outpool pool;
static struct outq q;

static void queue_bytes(void)
{
    uint8_t *room = outq_extend(&q, &pool, 8);
    if (room)
        memset(room, 'x', 8);
}

static void wrong_length(void)
{
    queue_bytes();
    q.len++;
    queue_bytes();
}

static void wrong_tail(void)
{
    queue_bytes();
    q.tail = NULL;
    outq_consume(&q, &pool, 1);
}

static void empty_owner(void)
{
    queue_bytes();
    q.len = 0;
    outq_consume(&q, &pool, 0);
}

static void too_much(void)
{
    queue_bytes();
    outq_consume(&q, &pool, 9);
}

static void wrong_span(void)
{
    struct chunk *c = chunk_new(10);
    if (c)
        outq_append_span(&q, &pool, c, 5, 11);
}

static void wrong_count(void)
{
    pool.small_count = 1;
    queue_bytes();
    outq_consume(&q, &pool, 8);
}

static void unref_twice(void)
{
    struct chunk c = {.refs = 0};
    chunk_unref(&c);
}

static void past_end(void)
{
    struct buf b = {0};
    buf_append(&b, "abc", 3);
    buf_consume(&b, 4);
}

static void past_room(void)
{
    struct buf b = {0};
    buf_append(&b, "abc", 3);
    buf_added(&b, b.cap);
}

static void not_in_map(void)
{
    struct map m = {0};
    struct map_node a, b = {0};
    map_add(&m, &a, 1);
    b.hash = 2;
    map_remove(&m, &b);
}

static void wrong_chain(void)
{
    struct map m = {0};
    struct map_node a, b;
    map_add(&m, &a, 1);
    a.hash = 2;
    map_add(&m, &b, 1);
    m.buckets[1] = &a;
    b.hash = 1;
    b.next = NULL;
    a.next = &b;
    map_remove(&m, &b);
}

static void foreign_link(void)
{
    struct link head, item, other;
    link_init(&head);
    link_init(&other);
    list_append(&head, &item);
    head.next = &other;
    list_remove(&item);
}

static void base_fires(void)
{
    CHECK(dies(wrong_length, "outq.c", "len == q->len"));
    CHECK(dies(wrong_tail, "outq.c", "!q->head == !q->tail"));
    CHECK(dies(empty_owner, "outq.c", "!q->len == !(q->head || q->chunk)"));
    CHECK(dies(too_much, "outq.c", "len <= q->len"));
    CHECK(dies(wrong_span, "outq.c", "q->to <= q->chunk->len"));
    CHECK(dies(wrong_count, "outq.c", "!pool->small == !pool->small_count"));
    CHECK(dies(unref_twice, "outq.c", "c->refs > 0"));
    CHECK(dies(past_end, "buf.c", "b->off <= b->end"));
    CHECK(dies(past_room, "buf.c", "b->end <= b->cap"));
    CHECK(dies(not_in_map, "map.c", "*at"));
    CHECK(dies(wrong_chain, "map.c", "bucket(m, (*chain)->hash) == chain"));
    CHECK(dies(foreign_link, "list.c", "l->prev->next == l"));
    test_context(NULL);
}

/* --- net -------------------------------------------------------------------------------------- */

static struct loop loop;
static struct wheel wheel;
static struct wheel_entry entry;

static void on_due(struct wheel_entry *e)
{
    (void)e;
}

static void set_entry(void)
{
    loop_init(&loop);
    wheel_init(&wheel, &loop, on_due);
    wheel_entry_init(&entry);
    wheel_set(&wheel, &entry, 1000);
}

static void lost_timer(void)
{
    set_entry();
    loop_timer_stop(&loop, &wheel.timer);
    wheel.armed = 0;
    wheel_set(&wheel, &entry, 500);
}

static void lost_bit(void)
{
    set_entry();
    memset(wheel.near_used, 0, sizeof wheel.near_used);
    wheel.job.run(&wheel.job);
}

static void wheel_fires(void)
{
    CHECK(dies(lost_timer, "wheel.c", "w->waiting == loop_timer_active(&w->timer)"));
    CHECK(dies(lost_bit, "wheel.c", "link_empty(&slots[i])"));
    test_context(NULL);
}

/* --- ws --------------------------------------------------------------------------------------- */

static const struct ws_limits limits = {
    .max_message = 1000, .max_fragments = 10, .out_frame = 1000};
static struct ws_shared shared = {.pool = &pool};
static struct ws ws;

/* Half of a text message in two frames, by a client to whom the server need not mask. */
static void read_half(void)
{
    static uint8_t bytes[] = {0x01, 2, 'a', 'b', 0x80, 4, 'c'};
    struct ws_event ev;
    ws_init(&ws, WS_CLIENT, &limits, &shared, &q);
    ws_feed(&ws, bytes, sizeof bytes);
    ws_next(&ws, &ev);
}

static void next(void)
{
    struct ws_event ev;
    ws_next(&ws, &ev);
}

static void got_unsent(void)
{
    read_half();
    ws.close_got = true;
    next();
}

static void failed_unsent(void)
{
    read_half();
    ws.error = -1;
    ws_keep(&ws);
    next();
}

static void pong_unblocked(void)
{
    read_half();
    ws.pong = (uint8_t[]){0};
    next();
}

static void why_without_error(void)
{
    read_half();
    ws.why = "no reason";
    next();
}

static void code_unsent(void)
{
    read_half();
    ws.close_code = WS_NORMAL;
    next();
}

static void payload_of_nothing(void)
{
    read_half();
    ws.input->type = 0;
    next();
}

static void skips_open(void)
{
    read_half();
    ws.input->state = WS_READ_SKIP;
    next();
}

static void header_in_payload(void)
{
    read_half();
    ws.input->small_len = 1;
    next();
}

static void too_many_fragments(void)
{
    read_half();
    ws.input->fragments = 11;
    next();
}

static void packed_without_deflate(void)
{
    read_half();
    ws.input->packed = true;
    next();
}

static void ws_fires(void)
{
    CHECK(dies(got_unsent, "ws.c", "ws->close_sent"));
    CHECK(dies(failed_unsent, "ws.c", "ws->close_sent"));
    CHECK(dies(pong_unblocked, "ws.c", "ws->blocked"));
    CHECK(dies(why_without_error, "ws.c", "!ws->why || ws->error"));
    CHECK(dies(code_unsent, "ws.c", "ws->close_sent || !ws->close_code"));
    CHECK(dies(payload_of_nothing, "ws_input.c", "in->state != WS_READ_PAYLOAD || in->type"));
    CHECK(dies(skips_open, "ws_input.c", "in->state != WS_READ_SKIP"));
    CHECK(dies(header_in_payload, "ws_input.c", "small_fits(in)"));
    CHECK(dies(too_many_fragments, "ws_input.c", "in->fragments"));
    CHECK(dies(packed_without_deflate, "ws_input.c", "ws->deflate"));
    test_context(NULL);
}

int main(void)
{
    test("CHECK ends the process where it is on, and is not evaluated where it is off", on_and_off);
    test("queues, buffers, maps and lists", base_fires);
    test("the wheel", wheel_fires);
    test("a ws and its input", ws_fires);
    return test_end();
}
