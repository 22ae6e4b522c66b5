// SPDX-License-Identifier: MIT
/*
 * The parts under the master's sockets, without processes: how addresses are read, which messages
 * the line between master and worker takes, and the identity of a listener across workers and
 * lives.
 */
#include "line/wire.h"
#include "master/bindaddr.h"
#include "master/sockets.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- Addresses ------------------------------------------------------------------------------ */

static const struct {
    const char *text, *host;
    int family, port;
} good[] = {
    {"127.0.0.1:9090", "127.0.0.1", AF_INET, 9090},
    {"0.0.0.0:0", "0.0.0.0", AF_INET, 0},
    {"[::1]:65535", "[::1]", AF_INET6, 65535},
    {"[::]:80", "[::]", AF_INET6, 80},
    {"localhost:9090", "localhost", AF_INET, 9090},
    {"unix:/run/app.sock", "/run/app.sock", AF_UNIX, 0},
    {"unix:relative", "relative", AF_UNIX, 0},
};

static void good_addresses(void)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct bindaddr a;
        test_context("%s", good[i].text);
        const char *why = bindaddr_parse(&a, good[i].text);
        CHECK_TEXT(why ? why : "", "");
        CHECK_TEXT(a.host, good[i].host);
        CHECK_INT(a.sa.ss_family, good[i].family);
        CHECK_INT(a.port, good[i].port);
        CHECK_INT(a.local, good[i].family == AF_UNIX);
        if (!a.local)
            CHECK_INT(bindaddr_port(&a.sa), good[i].port);
    }
    test_context(NULL);
}

static const struct {
    const char *text, *why;
} bad[] = {
    {"", "the port is missing (HOST:PORT)"},
    {"localhost", "the port is missing (HOST:PORT)"},
    {":9090", "the host is missing (HOST:PORT)"},
    {"127.0.0.1:", "the port must be a number from 0 to 65535"},
    {"127.0.0.1:65536", "the port must be a number from 0 to 65535"},
    {"127.0.0.1:99999999999999999999", "the port must be a number from 0 to 65535"},
    {"127.0.0.1:-1", "the port must be a number from 0 to 65535"},
    {"127.0.0.1:80x", "the port must be a number from 0 to 65535"},
    {"127.0.0.1: 80", "the port must be a number from 0 to 65535"},
    {"::1:9090", "an IPv6 address stands in brackets ([::1]:9090)"},
    {"[127.0.0.1]:80", "the brackets hold no IPv6 address"},
    {"[nonsense]:80", "the brackets hold no IPv6 address"},
    {"[]:80", "the brackets hold no IPv6 address"},
    {"unix:", "the path is missing"},
};

static void bad_addresses(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bindaddr a;
        test_context("%s", bad[i].text);
        const char *why = bindaddr_parse(&a, bad[i].text);
        CHECK_TEXT(why ? why : "it was taken", bad[i].why);
    }
    test_context(NULL);
}

static void long_addresses(void)
{
    char text[600] = "unix:/";
    struct bindaddr a;
    memset(text + 6, 'p', 106);
    CHECK(bindaddr_parse(&a, text) == NULL);
    text[6 + 106] = 'p';
    CHECK_TEXT(bindaddr_parse(&a, text), "the path of a Unix socket has at most 107 bytes");
    memset(text, 'h', 400);
    strcpy(text + 400, ":80");
    CHECK_TEXT(bindaddr_parse(&a, text), "the host name is too long");
}

/* --- Messages ------------------------------------------------------------------------------- */

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void messages_and_descriptors(void)
{
    int pair[2], fd;
    CHECK_INT(wire_pair(pair), 0);
    struct wire out = {.kind = WIRE_BOUND, .number = 41233, .seconds = 2.5}, in;
    strcpy(out.address, "127.0.0.1:0");
    strcpy(out.error, "none");
    CHECK_INT(wire_receive(pair[1], &in, &fd, false), -1);
    CHECK_INT(errno, EAGAIN);
    CHECK_INT(wire_send(pair[0], &out, pair[0]), 0);
    CHECK_INT(wire_send(pair[0], &out, -1), 0);
    CHECK_INT(wire_receive(pair[1], &in, &fd, true), 1);
    CHECK_INT(in.number, 41233);
    CHECK(in.seconds == 2.5);
    CHECK_TEXT(in.address, "127.0.0.1:0");
    CHECK_TEXT(in.error, "none");
    CHECK(fd >= 0 && same_file(fd, pair[0]));
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    CHECK_INT(wire_receive(pair[1], &in, &fd, true), 1);
    CHECK_INT(fd, -1);
    close(pair[0]);
    CHECK_INT(wire_receive(pair[1], &in, &fd, true), 0);
    close(pair[1]);
}

/*
 * A worker runs other people's code: whatever it writes to the line, the master drops it and goes
 * on.
 */
static void malformed_messages(void)
{
    int pair[2], fd;
    uint64_t seed = 7;
    struct wire good_one = {.version = WIRE_VERSION, .kind = WIRE_UNBIND}, in;
    CHECK_INT(wire_pair(pair), 0);
    for (int i = 0; i < 5000; i++) {
        struct wire m = good_one;
        size_t len = sizeof m;
        uint8_t *bytes = (uint8_t *)&m;
        switch (random_next(&seed) % 5) {
        case 0:
            len = 1 + random_next(&seed) % (sizeof m - 1);
            len -= len == offsetof(struct wire, program);
            break;
        case 1: m.kind = (enum wire_kind)(WIRE_KINDS + random_next(&seed) % 1000); break;
        case 2: m.kind = WIRE_READY; break; /* has no texts */
        case 3: memset(m.address, 'a', sizeof m.address); break;
        default: memset(bytes + sizeof m.version, 0xff, sizeof m - sizeof m.version);
        }
        CHECK(send(pair[0], bytes, len, 0) == (ssize_t)len);
        CHECK_INT(wire_receive(pair[1], &in, &fd, false), -1);
        CHECK_INT(errno, EBADMSG);
        CHECK_INT(fd, -1);
    }
    CHECK_INT(wire_send(pair[0], &good_one, -1), 0);
    CHECK_INT(wire_receive(pair[1], &in, &fd, false), 1);
    close(pair[0]);
    close(pair[1]);
}

/* The last words of who ends without having read everything: the kernel tells of that first. */
static void last_words(void)
{
    int pair[2], fd;
    struct wire m = {.kind = WIRE_REFUSED}, in;
    CHECK_INT(wire_pair(pair), 0);
    CHECK_INT(wire_send(pair[0], &m, -1), 0);
    CHECK_INT(wire_send(pair[1], &m, -1), 0);
    close(pair[1]);
    CHECK_INT(wire_receive(pair[0], &in, &fd, false), 1);
    CHECK_INT(in.kind, WIRE_REFUSED);
    CHECK_INT(wire_receive(pair[0], &in, &fd, false), 0);
    close(pair[0]);
}

/* Of another version nothing else is looked at: its messages may have any size. */
static void messages_of_another_version(void)
{
    static const size_t sizes[] = {sizeof(uint32_t), 5, offsetof(struct wire, scheme),
                                   sizeof(struct wire)};
    int pair[2], fd;
    struct wire m = {.version = WIRE_VERSION + 1, .kind = WIRE_READY}, in;
    CHECK_INT(wire_pair(pair), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK(send(pair[0], &m, sizes[i], 0) == (ssize_t)sizes[i]);
        CHECK_INT(wire_receive(pair[1], &in, &fd, false), -1);
        CHECK_INT(errno, EPROTO);
        CHECK_INT(in.version, WIRE_VERSION + 1);
    }
    close(pair[0]);
    close(pair[1]);
}

/* --- Identity ------------------------------------------------------------------------------- */

static int bind_for(struct sockets *s, int worker, const char *address, int *port)
{
    struct sockets_request r = {.worker = worker, .address = address, .scheme = "ws"};
    char error[256] = "";
    *port = -1;
    return sockets_bind(s, &r, port, error);
}

static void nth_request_is_the_nth_port(void)
{
    struct sockets *s = sockets_new(2);
    int a, b, c, d;
    CHECK(bind_for(s, 0, "127.0.0.1:0", &a) >= 0);
    CHECK(bind_for(s, 0, "127.0.0.1:0", &b) >= 0);
    CHECK(bind_for(s, 1, "127.0.0.1:0", &c) >= 0);
    CHECK(bind_for(s, 1, "127.0.0.1:0", &d) >= 0);
    CHECK(a > 0 && b > 0 && a != b);
    CHECK_INT(c, a);
    CHECK_INT(d, b);
    sockets_free(s);
}

static void next_life_gets_the_same_sockets(void)
{
    struct sockets *s = sockets_new(2);
    int port, again;
    int fd = bind_for(s, 0, "127.0.0.1:0", &port);
    int other = bind_for(s, 1, "127.0.0.1:0", &port);
    CHECK(fd >= 0 && other >= 0 && fd != other);
    CHECK(sockets_worker_listens(s, 0));
    sockets_worker_started(s, 0);
    CHECK(!sockets_worker_listens(s, 0));
    CHECK_INT(bind_for(s, 0, "127.0.0.1:0", &again), fd);
    CHECK_INT(again, port);
    sockets_worker_ready(s, 0);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    sockets_worker_started(s, 0);
    sockets_worker_ready(s, 0); /* the new life did not ask for it */
    CHECK(fcntl(fd, F_GETFD) < 0);
    char text[64];
    CHECK(sockets_text(s, 0, text, sizeof text)); /* the other worker still has its own */
    CHECK(!sockets_text(s, 1, text, sizeof text));
    sockets_worker_gone(s, 1);
    CHECK(!sockets_text(s, 0, text, sizeof text));
    sockets_free(s);
}

/*
 * Closing and listening again in one worker, while the other still listens: the same port, no
 * conflict.
 */
static void rebinding(void)
{
    struct sockets *s = sockets_new(2);
    char address[32];
    int port, again;
    CHECK(bind_for(s, 0, "127.0.0.1:0", &port) >= 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    CHECK(bind_for(s, 0, address, &again) < 0); /* in use by ourselves */
    CHECK(bind_for(s, 1, "127.0.0.1:0", &again) >= 0);
    sockets_unbind(s, 0, "127.0.0.1:0", port);
    sockets_unbind(s, 0, "127.0.0.1:0", port); /* harmless */
    CHECK(bind_for(s, 0, "127.0.0.1:0", &again) >= 0);
    CHECK_INT(again, port);
    sockets_unbind(s, 0, "127.0.0.1:0", port);
    sockets_unbind(s, 1, "127.0.0.1:0", port);
    CHECK(bind_for(s, 1, address, &again) >= 0);
    CHECK_INT(again, port);
    sockets_free(s);
}

/* Of two listeners that asked for any port, the one that was closed goes and the other stays. */
static void unbinding_one_of_two(void)
{
    struct sockets *s = sockets_new(1);
    char address[32];
    int first, second, again;
    CHECK(bind_for(s, 0, "127.0.0.1:0", &first) >= 0);
    CHECK(bind_for(s, 0, "127.0.0.1:0", &second) >= 0);
    sockets_unbind(s, 0, "127.0.0.1:0", second);
    snprintf(address, sizeof address, "127.0.0.1:%d", second);
    CHECK(bind_for(s, 0, address, &again) >= 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", first);
    CHECK(bind_for(s, 0, address, &again) < 0);
    sockets_free(s);
}

/* The others have its clients meanwhile; the port is never lost, were they all absent. */
static void absent_workers(void)
{
    struct sockets *s = sockets_new(2);
    int port, again;
    int fd = bind_for(s, 0, "127.0.0.1:0", &port), other = bind_for(s, 1, "127.0.0.1:0", &port);
    sockets_worker_started(s, 0);
    CHECK(sockets_worker_absent(s, 0));
    CHECK(fcntl(fd, F_GETFD) < 0);
    CHECK(!sockets_worker_absent(s, 0));
    CHECK(!sockets_worker_absent(s, 1));
    CHECK(fcntl(other, F_GETFD) >= 0);
    CHECK(bind_for(s, 0, "127.0.0.1:0", &again) >= 0);
    CHECK_INT(again, port);
    sockets_free(s);
}

static void listening_sockets(void)
{
    struct sockets *s = sockets_new(1);
    char text[64], expected[64];
    int port, value = 0, fd = bind_for(s, 0, "[::1]:0", &port);
    socklen_t len = sizeof value;
    if (fd < 0) /* a machine without IPv6 */
        fd = bind_for(s, 0, "127.0.0.1:0", &port);
    CHECK_INT(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
    CHECK_INT(value, 1);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(sockets_text(s, 0, text, sizeof text));
    snprintf(expected, sizeof expected, "%s:%d", text[5] == '[' ? "ws://[::1]" : "ws://127.0.0.1",
             port);
    CHECK_TEXT(text, expected);
    sockets_free(s);
}

int main(void)
{
    test("addresses", good_addresses);
    test("wrong addresses", bad_addresses);
    test("long addresses", long_addresses);
    test("messages and descriptors", messages_and_descriptors);
    test("malformed messages", malformed_messages);
    test("last words", last_words);
    test("messages of another version", messages_of_another_version);
    test("the n-th request is the n-th port", nth_request_is_the_nth_port);
    test("the next life gets the same sockets", next_life_gets_the_same_sockets);
    test("rebinding", rebinding);
    test("unbinding one of two", unbinding_one_of_two);
    test("absent workers", absent_workers);
    test("listening sockets", listening_sockets);
    return test_end();
}
