// SPDX-License-Identifier: MIT
/*
 * The lines between workers: that any two that live have exactly one, whatever dies, is full or
 * short of descriptors meanwhile. First the master's part alone, with wires to workers whose other
 * ends are here; then with real workers.
 */
#include "masterrun.h"

#include "line/wire.h"
#include "master/pairs.h"
#include "net/loop.h"

#include <sys/resource.h>

enum { WORKERS = 4 };

/* --- The master's part alone ---------------------------------------------------------------- */

static struct loop loop;
static struct pairs *pairs;
static int wires[WORKERS][2];          /* the master's end, the worker's end */
static int ends[WORKERS][WORKERS];     /* what the worker has got for each worker, or -1 */
static int received[WORKERS][WORKERS]; /* how often */

static void start(int worker)
{
    CHECK_INT(wire_pair(wires[worker]), 0);
    pairs_worker_started(pairs, worker, wires[worker][0]);
}

static void drop_ends(int worker)
{
    for (int i = 0; i < WORKERS; i++) {
        if (ends[worker][i] >= 0)
            close(ends[worker][i]);
        ends[worker][i] = -1;
        received[worker][i] = 0;
    }
}

static void die(int worker)
{
    pairs_worker_ended(pairs, worker);
    close(wires[worker][0]);
    close(wires[worker][1]);
    drop_ends(worker);
}

/* The worker reads its line. */
static void read_line(int worker)
{
    struct wire m;
    int fd;
    while (wire_receive(wires[worker][1], &m, &fd, false) > 0) {
        if (m.kind != WIRE_OTHER)
            continue;
        CHECK(m.number >= 0 && m.number < WORKERS && m.number != worker);
        CHECK(fd >= 0);
        if (ends[worker][m.number] >= 0)
            close(ends[worker][m.number]);
        ends[worker][m.number] = fd;
        received[worker][m.number]++;
    }
}

static void begin(int workers)
{
    loop_init(&loop);
    pairs = pairs_new(&loop, WORKERS);
    memset(ends, -1, sizeof ends);
    memset(received, 0, sizeof received);
    for (int i = 0; i < workers; i++)
        start(i);
}

static void finish(int workers)
{
    pairs_free(pairs);
    loop_deinit(&loop);
    for (int i = 0; i < workers; i++) {
        drop_ends(i);
        close(wires[i][0]);
        close(wires[i][1]);
    }
}

static bool joined(int a, int b)
{
    char letter = 0;
    return ends[a][b] >= 0 && ends[b][a] >= 0 && send(ends[a][b], "x", 1, MSG_NOSIGNAL) == 1 &&
           recv(ends[b][a], &letter, 1, 0) == 1 && letter == 'x';
}

static bool at_end(int fd)
{
    char letter;
    return fd >= 0 && recv(fd, &letter, 1, 0) == 0;
}

static void on_stop(struct loop_timer *timer)
{
    (void)timer;
    loop_stop(&loop);
}

static void run_for(double seconds)
{
    struct loop_timer timer;
    loop_timer_init(&timer, on_stop);
    loop.stopped = false;
    loop_timer_start(&loop, &timer, seconds);
    loop_run(&loop);
}

static void any_two(void)
{
    begin(WORKERS);
    for (int i = 0; i < WORKERS; i++)
        read_line(i);
    for (int a = 0; a < WORKERS; a++)
        for (int b = 0; b < WORKERS; b++) {
            CHECK_INT(received[a][b], a != b);
            CHECK(a == b || joined(a, b));
        }
    CHECK(fcntl(ends[0][1], F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(ends[0][1], F_GETFL) & O_NONBLOCK);
    finish(WORKERS);
}

/* The master keeps no end: with the worker the lines end, and the others get new ones. */
static void another_life(void)
{
    begin(3);
    for (int i = 0; i < 3; i++)
        read_line(i);
    int open = count_fds();
    for (int i = 0; i < 50; i++) {
        test_context("life %d", i);
        die(1);
        CHECK(at_end(ends[0][1]) && at_end(ends[2][1]));
        start(1);
        for (int k = 0; k < 3; k++)
            read_line(k);
        CHECK(joined(0, 1) && joined(2, 1) && joined(0, 2));
        CHECK_INT(received[0][2], 1);
        CHECK_INT(received[0][1], i + 2);
    }
    test_context(NULL);
    CHECK_INT(count_fds(), open);
    finish(3);
}

/* A worker whose line is full gets its pair once it reads; its worker is not troubled before. */
static void full_line_of(int full, int other)
{
    struct wire m = {.kind = WIRE_CERTS};
    test_context("worker %d", full);
    begin(0);
    start(full);
    int open = count_fds(), sent = 0;
    while (wire_send(wires[full][0], &m, -1) == 0)
        sent++;
    CHECK(sent >= 255); /* a busy worker can be sent the lines to all others */
    start(other);
    run_for(0.35);
    read_line(other);
    CHECK_INT(received[other][full], 0);
    read_line(full);
    CHECK_INT(received[full][other], 0);
    run_for(0.15);
    read_line(0);
    read_line(1);
    CHECK(joined(0, 1) && joined(1, 0));
    CHECK_INT(count_fds(), open + 4); /* the second line and the pair */
    run_for(0.25);
    read_line(0);
    CHECK_INT(received[0][1], 1);
    finish(2);
}

static void full_line(void)
{
    full_line_of(0, 1);
    full_line_of(1, 0);
    test_context(NULL);
}

/* One that dies while its line is due takes the wish along. */
static void dead_before_it_read(void)
{
    struct wire m = {.kind = WIRE_CERTS};
    begin(1);
    while (wire_send(wires[0][0], &m, -1) == 0)
        ;
    start(1);
    run_for(0.05);
    die(0);
    read_line(1);
    int before = received[1][0];
    run_for(0.35);
    read_line(1);
    CHECK_INT(received[1][0], before);
    start(0);
    read_line(0);
    read_line(1);
    CHECK(joined(0, 1));
    finish(2);
}

static void no_descriptors(void)
{
    struct rlimit old, few;
    begin(1);
    CHECK_INT(wire_pair(wires[1]), 0);
    getrlimit(RLIMIT_NOFILE, &old);
    few = old;
    few.rlim_cur = (rlim_t)wires[1][1] + 1;
    setrlimit(RLIMIT_NOFILE, &few);
    pairs_worker_started(pairs, 1, wires[1][0]);
    run_for(0.15);
    setrlimit(RLIMIT_NOFILE, &old);
    read_line(0);
    CHECK_INT(received[0][1], 0);
    run_for(0.15);
    read_line(0);
    read_line(1);
    CHECK(joined(0, 1));
    finish(2);
}

static void lost_lines(void)
{
    begin(2);
    read_line(0);
    read_line(1);
    for (int i = 0; i < 100; i++)
        pairs_lost(pairs, i % 2, (i + 1) % 2);
    static const int nonsense[] = {-1, 0, 2, 3, WORKERS, 1 << 30, -(1 << 30)};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        pairs_lost(pairs, 0, nonsense[i]);
    run_for(0.5);
    read_line(0);
    CHECK_INT(received[0][1], 1); /* not at once */
    run_for(0.7);
    read_line(0);
    read_line(1);
    CHECK_INT(received[0][1], 2);
    CHECK_INT(received[1][0], 2);
    CHECK(joined(0, 1) && joined(1, 0));
    finish(2);
}

/* --- The worker's part ---------------------------------------------------------------------- */

/* What comes while a socket is asked for is kept; of one worker's lines the last. */
static void kept_by_the_line(void)
{
    int fds[2], pair[2][2], other;
    double seconds;
    CHECK_INT(wire_pair(fds), 0);
    int open = count_fds();
    struct line *line = line_new(fds[1], 1, 3);
    struct line_bind what = {.address = "127.0.0.1:0", .scheme = "ws"};
    struct line_bound bound;
    for (int i = 0; i < 2; i++)
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair[i]), 0);
    struct wire m = {.kind = WIRE_OTHER, .number = 2};
    for (int i = 0; i < 2; i++)
        CHECK_INT(wire_send(fds[0], &m, pair[i][1]), 0);
    m.number = 6;
    CHECK_INT(wire_send(fds[0], &m, pair[0][1]), 0); /* three workers have no such seat */
    m.number = 0;
    CHECK_INT(wire_send(fds[0], &m, pair[0][1]), 0);
    m = (struct wire){.kind = WIRE_BOUND, .number = 80};
    CHECK_INT(wire_send(fds[0], &m, pair[0][0]), 0);
    CHECK_INT(line_bind_socket(line, &what, &bound), 0);
    close(bound.fd);
    CHECK(line_waiting(line));
    CHECK_INT(line_next(line, &seconds), LINE_OTHER);
    int first = line_take_other(line, &other);
    CHECK_INT(other, 0);
    CHECK_INT(line_next(line, &seconds), LINE_OTHER);
    int second = line_take_other(line, &other);
    CHECK_INT(other, 2);
    CHECK_INT(send(second, "x", 1, MSG_NOSIGNAL), 1);
    char letter = 0;
    CHECK_INT(recv(pair[1][0], &letter, 1, MSG_DONTWAIT), 1);
    CHECK_INT(line_next(line, &seconds), LINE_NOTHING);
    CHECK(!line_waiting(line));
    CHECK_INT(count_fds(), open + 6);
    m = (struct wire){.kind = WIRE_OTHER, .number = 2};
    CHECK_INT(wire_send(fds[0], &m, pair[0][1]), 0);
    CHECK_INT(line_next(line, &seconds), LINE_OTHER); /* not taken: closed with the line */
    line_free(line);
    for (int i = 0; i < 4; i++)
        close(pair[i / 2][i % 2]);
    close(first);
    close(second);
    CHECK_INT(count_fds(), open - 1);
    close(fds[0]);
}

/* A descriptor for which the worker has no room is lost on the way: it asks for another. */
static void no_room_for_a_line(void)
{
    int fds[2], fd;
    double seconds;
    struct rlimit old, few;
    struct wire m = {.kind = WIRE_OTHER, .number = 0};
    CHECK_INT(wire_pair(fds), 0);
    struct line *line = line_new(fds[1], 1, 2);
    CHECK_INT(wire_send(fds[0], &m, fds[0]), 0);
    getrlimit(RLIMIT_NOFILE, &old);
    few = old;
    few.rlim_cur = (rlim_t)fds[1] + 1;
    setrlimit(RLIMIT_NOFILE, &few);
    CHECK_INT(line_next(line, &seconds), LINE_NOTHING);
    CHECK_INT(wire_receive(fds[0], &m, &fd, false), 1);
    CHECK_INT(m.kind, WIRE_LOST);
    CHECK_INT(m.number, 0);
    setrlimit(RLIMIT_NOFILE, &old);
    line_free(line);
    close(fds[0]);
}

/* --- Real workers --------------------------------------------------------------------------- */

/* What worker `number` says to a letter. */
static void say_to(int port, int number, char letter, char *text, size_t room)
{
    text[0] = '\0';
    for (double end = now() + SECONDS; now() < end; nap()) {
        int fd = dial(port), who = -1;
        /* The kernel gives a connection to any of them. */
        char all[200] = "";
        if (ask_fd(fd, letter, all, sizeof all) && sscanf(all, "worker %d ", &who) == 1 &&
            who == number) {
            snprintf(text, room, "%s", strchr(strchr(all, ' ') + 1, ' ') + 1);
            return;
        }
    }
}

/* Waits until every worker has heard the present life of every other on its line. */
static bool meshed(int port, int workers)
{
    struct info all[OTHERS];
    char expected[200], text[200] = "";
    for (int i = 0; i < workers; i++)
        all[i] = ask_worker(port, i, 0);
    for (int i = 0; i < workers; i++) {
        sprintf(expected, "workers");
        for (int k = 0; k < workers; k++)
            if (k != i)
                sprintf(expected + strlen(expected), " %d:%d", k, all[k].pid);
        strcat(expected, "\n");
        for (double end = now() + SECONDS; strcmp(text, expected) != 0 && now() < end; nap())
            say_to(port, i, 'p', text, sizeof text);
        if (!CHECK_TEXT(text, expected))
            return false;
    }
    return true;
}

static const struct plan echo = {.addresses = {"127.0.0.1:0"}};

static void real_workers(void)
{
    struct server *s = server_start((struct master_config){.workers = 4, .drain = 5}, &echo);
    int port = server_port(s, 0);
    CHECK(meshed(port, 4));
    int open = ask_worker(port, 0, 0).fds;
    for (int i = 0; i < 12; i++) {
        test_context("death %d", i);
        int pid = ask_worker(port, i % 4, 0).pid;
        kill(pid, SIGKILL);
        CHECK_INT(ask_worker(port, i % 4, pid).worker, i % 4);
        CHECK(meshed(port, 4));
    }
    test_context(NULL);
    for (int i = 0; i < 4; i++)
        CHECK_INT(ask_worker(port, i, 0).fds, open);
    CHECK_INT(server_stop(s), 0);
}

static void real_lost_lines(void)
{
    char text[200];
    struct server *s = server_start((struct master_config){.workers = 3, .drain = 5}, &echo);
    int port = server_port(s, 0);
    CHECK(meshed(port, 3));
    say_to(port, 1, 'l', text, sizeof text);
    CHECK_TEXT(text, "lost\n");
    CHECK(server_says(s, "worker 1 has a new line to 0", 2));
    CHECK(server_says(s, "worker 1 has a new line to 2", 2));
    CHECK(meshed(port, 3));
    CHECK_INT(server_stop(s), 0);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/neap-pairs-XXXXXX");
    if (!mkdtemp(folder))
        abort();
    setenv("XDG_RUNTIME_DIR", folder, 1);
    log_open(LOG_ERROR, false);
    test("any two", any_two);
    test("another life", another_life);
    test("a full line", full_line);
    test("dead before it read", dead_before_it_read);
    test("no descriptors", no_descriptors);
    test("lost lines", lost_lines);
    test("kept by the line", kept_by_the_line);
    test("no room for a line", no_room_for_a_line);
    test("real workers", real_workers);
    test("real workers lose their lines", real_lost_lines);
    char path[100];
    snprintf(path, sizeof path, "%s/neap", folder);
    rmdir(path);
    return rmdir(folder) | test_end();
}
