// SPDX-License-Identifier: MIT
/* The write clock of a connection, on a loop whose time the test sets: when it runs out. */
#include "conn/conn_private.h"
#include "grouprun.h"
#include "support.h"

#include <sys/socket.h>
#include <unistd.h>

static struct run_worker *w;
static struct session *s;
static int fds[2];

/* A connection that has output which its peer does not take, since `ahead` ms from now. */
static void begin(int32_t ahead)
{
    w = run_worker_new(0);
    run_loop.now = 100 * 1000;
    w->conns.wheel.zero = 0;
    w->settings.write_timeout = 30;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    s = run_conn(w);
    struct conn *c = &s->conn;
    loop_io_init(&c->io, fds[0], NULL);
    c->blocked = c->stuck = true;
    c->taken = wheel_now(&w->conns.wheel) + (uint32_t)ahead;
    conn_clock_on_due(&c->entry);
}

static void end(void)
{
    loop_io_watch(&run_loop, &s->conn.io, 0);
    run_conn_free(s);
    close(fds[0]);
    close(fds[1]);
    run_worker_free(w);
}

static void not_yet(void)
{
    begin(-29 * 1000);
    CHECK_INT(s->conn.state, CONN_OPEN);
    end();
}

static void run_out(void)
{
    begin(-31 * 1000);
    CHECK_INT(s->conn.state, CONN_GONE);
    CHECK_INT(s->code, WS_ABNORMAL);
    end();
}

/* The loop had stood still, and the wheel's clock has fallen back: since when lies ahead. */
static void since_when_lies_ahead(void)
{
    begin(700);
    CHECK_INT(s->conn.state, CONN_OPEN);
    end();
}

int main(void)
{
    test("not yet", not_yet);
    test("run out", run_out);
    test("since when lies ahead", since_when_lies_ahead);
    return test_end();
}
