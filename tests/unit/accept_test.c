// SPDX-License-Identifier: MIT
/*
 * Accepting from a listening socket on a loop: what is handed out, in batches; the limit of
 * descriptors, at which it waits and does not spin; and closing in every state. The system call
 * is wrapped, so that each error can be had; one test meets the real limit.
 */
#include "base/log.h"
#include "net/accept.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 512 };

/* --- The system call ------------------------------------------------------------------------- */

static int errors[8]; /* what the next calls fail with; 0 ends the list */
static int always;    /* what all calls fail with; 0: none */
static int calls;
static bool nameless; /* no address is told, as some systems do for Unix sockets */

int accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags);
int accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
    calls++;
    errno = always ? always : errors[0];
    if (!errno) {
        int got = (int)syscall(SYS_accept4, fd, sa, len, flags);
        if (nameless) {
            sa->sa_family = AF_INET; /* of whoever was there before */
            *len = 0;
        }
        return got;
    }
    if (!always)
        memmove(errors, errors + 1, sizeof errors - sizeof *errors);
    return -1;
}

/* --- A listening socket and its clients ------------------------------------------------------ */

static struct loop loop;
static struct accept a;
static struct sockaddr_storage where;
static socklen_t where_len;
static int clients[MOST], client_count;
static int served[MOST], served_count;
static struct address peer; /* of the last one */
static uint64_t turns[MOST];
static void (*then)(void); /* called with each that is served */

static void on_accept(struct accept *from, int fd, const struct address *address)
{
    CHECK(from == &a);
    peer = *address;
    turns[served_count] = loop.pulse->beats;
    served[served_count++] = fd;
    if (then)
        then();
}

static int listening(const struct sockaddr *sa, socklen_t len)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, sa, len) || listen(fd, MOST))
        abort();
    where_len = sizeof where;
    getsockname(fd, (struct sockaddr *)&where, &where_len);
    return fd;
}

static void begin_on(const struct sockaddr *sa, socklen_t len)
{
    client_count = served_count = calls = always = 0;
    memset(errors, 0, sizeof errors);
    then = NULL;
    loop_init(&loop);
    accept_init(&a, &loop, listening(sa, len), on_accept);
}

static void begin(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    begin_on((struct sockaddr *)&sa, sizeof sa);
}

static void connect_one(void)
{
    int fd = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&where, where_len))
        abort();
    clients[client_count++] = fd;
}

static void connect_some(int count)
{
    for (int i = 0; i < count; i++)
        connect_one();
}

static void hang_up(void)
{
    while (client_count)
        close(clients[--client_count]);
    while (served_count)
        close(served[--served_count]);
}

static void end(void)
{
    accept_close(&a);
    hang_up();
    loop_deinit(&loop);
}

/* --- Running --------------------------------------------------------------------------------- */

static struct loop_timer timer;
static int wanted; /* the loop ends when so many are served */
static bool in_time;

static void on_time(struct loop_timer *t)
{
    (void)t;
    in_time = false;
    loop_stop(&loop);
}

static void run_for(double seconds)
{
    in_time = true;
    loop.stopped = false;
    loop_timer_init(&timer, on_time);
    loop_timer_start(&loop, &timer, seconds);
    loop_run(&loop);
    loop_timer_stop(&loop, &timer);
}

static void enough(void)
{
    if (served_count == wanted)
        loop_stop(&loop);
}

/* Runs until so many are served in all; false when that takes too long. */
static bool run_until(int count)
{
    wanted = count;
    then = enough;
    if (served_count < count)
        run_for(20);
    then = NULL;
    return CHECK_INT(served_count, count);
}

/* --- What is handed out ---------------------------------------------------------------------- */

static void one(void)
{
    int on = 0;
    socklen_t len = sizeof on;
    char text[ADDRESS_TEXT];
    begin();
    accept_start(&a);
    connect_one();
    run_until(1);
    CHECK(fcntl(served[0], F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(served[0], F_GETFD) & FD_CLOEXEC);
    CHECK_INT(getsockopt(served[0], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    CHECK(on);
    address_text(&peer, text);
    CHECK_TEXT(text, "127.0.0.1");
    struct sockaddr_in own;
    len = sizeof own;
    getsockname(clients[0], (struct sockaddr *)&own, &len);
    CHECK_INT(peer.port, ntohs(own.sin_port));
    CHECK(!peer.local);
    end();
}

static void of_a_unix_socket(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char text[ADDRESS_TEXT];
    int pid = getpid();
    memcpy(sa.sun_path + 1, &pid, sizeof pid); /* an abstract name, which no file is left of */
    begin_on((struct sockaddr *)&sa, sizeof sa);
    accept_start(&a);
    for (int i = 0; i < 2; i++) {
        nameless = i == 1;
        connect_one();
        run_until(i + 1);
        CHECK(peer.local);
        address_text(&peer, text);
        CHECK_TEXT(text, "unix");
    }
    nameless = false;
    end();
}

static void in_order(void)
{
    char byte = 0;
    begin();
    connect_some(10);
    for (int i = 0; i < 10; i++) {
        byte = (char)('a' + i);
        CHECK_INT(write(clients[i], &byte, 1), 1);
    }
    accept_start(&a);
    run_until(10);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(read(served[i], &byte, 1), 1);
        CHECK_INT(byte, 'a' + i);
    }
    end();
}

/* A storm is taken in batches of 64, between which the others have their turn. */
static void batches(void)
{
    begin();
    connect_some(200);
    accept_start(&a);
    run_until(200);
    for (int i = 0; i < 200; i++)
        CHECK_INT(turns[i] - turns[0], i / 64);
    end();
}

static void started_and_stopped(void)
{
    begin();
    connect_some(3);
    run_for(0.02);
    CHECK_INT(served_count, 0);
    accept_start(&a);
    accept_start(&a);
    run_until(3);
    accept_stop(&a);
    connect_some(2);
    run_for(0.02);
    CHECK_INT(served_count, 3);
    accept_start(&a);
    run_until(5);
    end();
}

static void stop_accepting(void)
{
    accept_stop(&a);
}

/* The batch that is under way goes on: its connections have been accepted by the kernel already. */
static void stopped_inside(void)
{
    begin();
    connect_some(70);
    then = stop_accepting;
    accept_start(&a);
    run_for(0.05);
    CHECK_INT(served_count, 64);
    end();
}

static void all_that_waits(void)
{
    begin();
    connect_some(150);
    accept_all(&a); /* never started */
    CHECK_INT(served_count, 150);
    accept_all(&a);
    CHECK_INT(served_count, 150);
    connect_one();
    run_for(0.02);
    CHECK_INT(served_count, 150);
    end();
}

/* --- Errors ---------------------------------------------------------------------------------- */

/* What happens to one connection is no reason to wait with the next. */
static void passing_errors(void)
{
    static const int passing[] = {ECONNABORTED, EINTR,     EPROTO,      EPERM,
                                  ENETDOWN,     EHOSTDOWN, ENETUNREACH, EHOSTUNREACH};
    begin();
    connect_some(2);
    accept_start(&a);
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        test_context("%s", strerror(passing[i]));
        errors[0] = errors[1] = passing[i];
        run_until(2 + 2 * (int)i);
        CHECK_INT(turns[2 * i], turns[2 * i + 1]);
        CHECK(a.complained < 0); /* it has not paused */
        connect_some(2);
    }
    test_context(NULL);
    end();
}

static int log_file, real_stderr;

/* Lets the log write to memory. */
static void log_begin(void)
{
    log_file = memfd_create("log", MFD_CLOEXEC);
    real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    dup2(log_file, STDERR_FILENO);
    log_open(LOG_DEBUG, false);
}

/* How many times the log says that. */
static int log_end(const char *what)
{
    static char text[8192];
    int count = 0;
    log_close(0);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    ssize_t n = pread(log_file, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    close(log_file);
    return count;
}

/* Out of descriptors or memory: it waits, tries ten times a second, says so once in one. */
static void pauses(void)
{
    static const struct {
        int error;
        const char *line;
    } table[] = {{EMFILE, "warn  cannot accept connections: Too many open files; trying again\n"},
                 {ENFILE, "Too many open files in system"},
                 {ENOMEM, "Cannot allocate memory"},
                 {ENOBUFS, "No buffer space available"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        test_context("%s", strerror(table[i].error));
        begin(), log_begin();
        connect_some(2);
        always = table[i].error;
        accept_start(&a);
        run_for(0.28);
        CHECK(!in_time);
        CHECK_INT(served_count, 0);
        CHECK(calls >= 2 && calls <= 3);
        CHECK(loop.pulse->beats <= 4 * (unsigned long)calls);
        always = 0;
        run_until(2);
        CHECK_INT(log_end(table[i].line), 1);
        end();
    }
    test_context(NULL);
}

static void says_so_each_second(void)
{
    begin(), log_begin();
    connect_one();
    always = EMFILE;
    accept_start(&a);
    run_for(1.4);
    CHECK_INT(log_end("cannot accept connections"), 2);
    CHECK(calls >= 6 && calls <= 15);
    end();
}

/* In the middle of a batch: what was accepted is served, the rest waits. */
static void pauses_inside_a_batch(void)
{
    begin(), log_begin();
    connect_some(8);
    accept_start(&a);
    then = NULL;
    errors[0] = ECONNABORTED;
    errors[1] = EMFILE;
    run_for(0.02);
    CHECK_INT(served_count, 0);
    CHECK(!a.io.ev.active);
    run_until(8);
    CHECK(turns[0] == turns[7]);
    CHECK_INT(log_end("cannot accept"), 1);
    end();
}

static void closed_while_paused(void)
{
    begin(), log_begin();
    connect_some(2);
    always = EMFILE;
    accept_start(&a);
    run_for(0.02);
    CHECK_INT(calls, 1);
    accept_close(&a);
    CHECK(!loop_timer_active(&a.retry));
    always = 0;
    run_for(0.2);
    CHECK_INT(calls, 1);
    CHECK_INT(served_count, 0);
    CHECK_INT(log_end("cannot accept"), 1);
    end();
}

static void stopped_while_paused(void)
{
    begin(), log_begin();
    connect_some(2);
    always = EMFILE;
    accept_start(&a);
    run_for(0.02);
    accept_stop(&a);
    always = 0;
    run_for(0.2);
    CHECK_INT(calls, 1);
    CHECK_INT(served_count, 0);
    accept_start(&a);
    run_until(2);
    CHECK_INT(log_end("cannot accept"), 1);
    end();
}

/* accept_all at the limit while stopped: its later try is none, for it was never started. */
static void all_while_out(void)
{
    begin(), log_begin();
    connect_some(2);
    always = EMFILE;
    accept_all(&a);
    CHECK_INT(calls, 1);
    always = 0;
    run_for(0.2);
    CHECK_INT(served_count, 0);
    CHECK_INT(log_end("cannot accept"), 1);
    end();
}

/* --- The real limit -------------------------------------------------------------------------- */

static void give_back_two(void)
{
    close(served[--served_count]);
    close(served[--served_count]);
}

static void real_limit(void)
{
    struct rlimit old, low;
    begin(), log_begin();
    connect_some(30);
    getrlimit(RLIMIT_NOFILE, &old);
    int next = fcntl(clients[0], F_DUPFD_CLOEXEC, 0);
    close(next);
    low = (struct rlimit){(rlim_t)next + 10, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    accept_start(&a);
    run_for(0.35);
    CHECK_INT(served_count, 10);
    CHECK(calls <= 10 + 5);
    CHECK(loop.pulse->beats <= 20);
    give_back_two();
    run_until(10); /* as two have gone, two more come in */
    run_for(0.15);
    CHECK_INT(served_count, 10);
    setrlimit(RLIMIT_NOFILE, &old);
    run_until(30 - 2);
    CHECK_INT(log_end("Too many open files"), 1);
    end();
}

/* --- Closing --------------------------------------------------------------------------------- */

static void closed(void)
{
    begin();
    accept_start(&a);
    connect_one();
    run_until(1);
    accept_close(&a);
    accept_close(&a);
    accept_start(&a);
    accept_stop(&a);
    accept_all(&a);
    CHECK(!a.io.ev.active && !a.accepting);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&where, where_len), -1);
    CHECK_INT(errno, ECONNREFUSED);
    close(fd);
    char byte = 'x'; /* what was accepted lives */
    CHECK_INT(write(clients[0], &byte, 1), 1);
    CHECK_INT(recv(served[0], &byte, 1, 0), 1);
    end();
}

static void close_it(void)
{
    if (served_count == 3)
        accept_close(&a);
}

static void closed_inside(void)
{
    begin();
    connect_some(10);
    then = close_it;
    accept_start(&a);
    run_for(0.02);
    CHECK_INT(served_count, 3);
    CHECK_INT(calls, 3);
    end();
}

int main(void)
{
    test("one", one);
    test("of a Unix socket", of_a_unix_socket);
    test("in order", in_order);
    test("batches", batches);
    test("started and stopped", started_and_stopped);
    test("stopped inside", stopped_inside);
    test("all that waits", all_that_waits);
    test("passing errors", passing_errors);
    test("pauses", pauses);
    test("says so each second", says_so_each_second);
    test("pauses inside a batch", pauses_inside_a_batch);
    test("closed while paused", closed_while_paused);
    test("stopped while paused", stopped_while_paused);
    test("all, while out of descriptors", all_while_out);
    test("the real limit", real_limit);
    test("closed", closed);
    test("closed inside", closed_inside);
    return test_end();
}
