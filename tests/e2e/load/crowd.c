// SPDX-License-Identifier: MIT
/*
 * A crowd of clients in one process, for crowd_test.py: more of them, and quicker, than Python can.
 * They come from one address to one port of 127.0.0.1, do what a line on stdin says, and answer
 * each with a line on stdout; none of them does anything by itself meanwhile.
 *
 *      open N M     N more connect and upgrade, at most M at a time; until each is in or refused
 *                       opened IN refused REFUSED seconds ALL connecting UNTIL-THE-LAST-CONNECT
 *      echo         each sends a text and gets it back         answered N seconds S
 *      ping         each pings and gets its pong               answered N seconds S
 *      asked        each asks to be pinged, and is told that its pong came
 *                                                              answered N seconds S
 *      drop N       N of them end with a reset                 dropped N
 *      alive        those that nobody has ended                alive N
 *
 * Every byte that comes is compared with what must come; anything else ends the program with status
 * 1 and a line on stderr. Frames are short (RFC 6455 §5.2: one byte of length) and masked with
 * zeros, which is as good a mask as any.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 20000, TALKING_MAX = 500, PORT_FIRST = 10000, PORTS = 50000 };
enum { TEXT = 0x81, PING = 0x89, PONG = 0x8A };
#define DEADLINE 120.0

enum state { GONE, CONNECTING, UPGRADING, OPEN, TALKING };

struct client {
    int fd;
    uint8_t state;
    bool pinged; /* in "asked": the server's ping has come */
};

static struct client clients[CLIENTS_MAX];
static int count; /* clients that were ever opened */
static int open_now, refused, busy;
static int poll_fd;
static struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET};
static const char *route;
static char exchange; /* 'e'cho, 'p'ing, 'a'sked */

static void die(const char *what, int number)
{
    fprintf(stderr, "crowd: client %d: %s: %s\n", number, what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(int number, uint32_t events, int how)
{
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)number};
    if (epoll_ctl(poll_fd, how, clients[number].fd, &e) < 0)
        die("epoll_ctl", number);
}

/* --- Connecting ------------------------------------------------------------------------------- */

static void end(int number)
{
    struct client *c = &clients[number];
    close(c->fd);
    open_now -= c->state >= OPEN;
    busy -= c->state != OPEN;
    c->state = GONE;
}

/*
 * Ports one after the other: for the kernel it takes long to find a free one among many that are in
 * use.
 */
static void take_port(int fd, int number)
{
    static int next;
    struct sockaddr_in from = here;
    for (int tries = 0; tries < PORTS; tries++) {
        from.sin_port = htons((uint16_t)(PORT_FIRST + next++ % PORTS));
        if (bind(fd, (struct sockaddr *)&from, sizeof from) == 0)
            return;
        if (errno != EADDRINUSE)
            break;
    }
    die("bind", number);
}

static void begin(int number)
{
    struct client *c = &clients[number];
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket", number);
    take_port(c->fd, number);
    c->state = CONNECTING;
    busy++;
    if (connect(c->fd, (struct sockaddr *)&there, sizeof there) < 0 && errno != EINPROGRESS)
        die("connect", number);
    watch(number, EPOLLOUT, EPOLL_CTL_ADD);
}

static void say(int number, const void *bytes, size_t size)
{
    if (send(clients[number].fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
        die("send", number);
}

static void on_connected(int number)
{
    char text[512];
    int size = snprintf(text, sizeof text,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        route);
    say(number, text, (size_t)size);
    clients[number].state = UPGRADING;
    watch(number, EPOLLIN, EPOLL_CTL_MOD);
}

static void on_answer(int number)
{
    static const char good[] = "HTTP/1.1 101 ";
    char text[1024];
    ssize_t n = recv(clients[number].fd, text, sizeof text - 1, MSG_PEEK);
    if (n <= 0) {
        refused++;
        end(number);
        return;
    }
    text[n] = '\0';
    const char *last = strstr(text, "\r\n\r\n");
    if (!last)
        return;
    if (strncmp(text, good, sizeof good - 1) != 0)
        die(text, number);
    if (recv(clients[number].fd, text, (size_t)(last + 4 - text), 0) < 0)
        die("recv", number);
    clients[number].state = OPEN;
    open_now++;
    busy--;
}

/* --- Talking ---------------------------------------------------------------------------------- */

static void say_frame(int number, int op, const char *text)
{
    uint8_t frame[64] = {(uint8_t)op, (uint8_t)(0x80 | strlen(text))};
    memcpy(frame + 6, text, strlen(text));
    say(number, frame, 6 + strlen(text));
}

static void talk(int number)
{
    char text[32];
    snprintf(text, sizeof text, exchange == 'a' ? "ping %d" : "%d", number);
    clients[number].state = TALKING;
    clients[number].pinged = false;
    busy++;
    say_frame(number, exchange == 'p' ? PING : TEXT, text);
}

/* Takes a frame once it is whole. Returns false when it is not, or when the client is gone. */
static bool take_frame(int number, int *op, char text[126])
{
    uint8_t frame[127];
    int fd = clients[number].fd;
    ssize_t n = recv(fd, frame, sizeof frame, MSG_PEEK);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        end(number);
        return false;
    }
    if (n < 2 || n < 2 + frame[1])
        return false;
    if (frame[1] > 125)
        die("a long or masked frame came", number);
    *op = frame[0];
    memcpy(text, frame + 2, frame[1]);
    text[frame[1]] = '\0';
    return recv(fd, frame, (size_t)2 + frame[1], 0) > 0;
}

static void on_frame(int number, int op, const char *text)
{
    struct client *c = &clients[number];
    char wanted[32];
    bool ask = exchange == 'a';
    snprintf(wanted, sizeof wanted, ask && c->pinged ? "pong %d" : "%d", number);
    int wanted_op = exchange == 'p' ? PONG : ask && !c->pinged ? PING : TEXT;
    if (c->state != TALKING || op != wanted_op || strcmp(text, wanted) != 0) {
        fprintf(stderr, "crowd: client %d: opcode %x, \"%s\" came\n", number, (unsigned)op, text);
        exit(1);
    }
    if (ask && !c->pinged) {
        c->pinged = true;
        say_frame(number, PONG, text);
        return;
    }
    c->state = OPEN;
    busy--;
}

static void on_input(int number)
{
    char text[126];
    int op;
    while (clients[number].state >= OPEN && take_frame(number, &op, text))
        on_frame(number, op, text);
}

/* --- What is asked for ------------------------------------------------------------------------ */

static void on_event(int number, uint32_t events)
{
    struct client *c = &clients[number];
    if (c->state == CONNECTING && (events & (EPOLLERR | EPOLLHUP))) {
        refused++;
        end(number);
    } else if (c->state == CONNECTING) {
        on_connected(number);
    } else if (c->state == UPGRADING) {
        on_answer(number);
    } else if (c->state != GONE) {
        on_input(number);
    }
}

static int serve(int milliseconds)
{
    struct epoll_event events[512];
    int n = epoll_wait(poll_fd, events, 512, milliseconds);
    for (int i = 0; i < n; i++)
        on_event((int)events[i].data.u32, events[i].events);
    return n;
}

static void wait_until_less(int most, double deadline)
{
    while (busy > most) {
        if (now() > deadline) {
            fprintf(stderr, "crowd: %d clients still wait\n", busy);
            exit(1);
        }
        serve(100);
    }
}

static void open_more(int more, int at_once)
{
    double begun = now();
    refused = 0;
    for (int i = 0; i < more; i++) {
        begin(count++);
        if (busy >= at_once)
            wait_until_less(at_once - 1, begun + DEADLINE);
    }
    double connecting = now() - begun;
    wait_until_less(0, begun + DEADLINE);
    printf("opened %d refused %d seconds %.3f connecting %.3f\n", open_now, refused, now() - begun,
           connecting);
}

static void exchange_all(void)
{
    double begun = now();
    int answered = 0;
    for (int i = 0; i < count; i++) {
        if (clients[i].state != OPEN)
            continue;
        answered++;
        talk(i);
        wait_until_less(TALKING_MAX, begun + DEADLINE);
    }
    wait_until_less(0, begun + DEADLINE);
    printf("answered %d seconds %.3f\n", answered, now() - begun);
}

static void drop(int most)
{
    struct linger reset = {.l_onoff = 1};
    int dropped = 0;
    for (int i = 0; i < count && dropped < most; i++) {
        if (clients[i].state != OPEN)
            continue;
        setsockopt(clients[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        end(i);
        dropped++;
    }
    if (open_now == 0)
        count = 0;
    printf("dropped %d\n", dropped);
}

static void obey(const char *line)
{
    int n = 0, m = 0;
    if (sscanf(line, "open %d %d", &n, &m) == 2 && n <= CLIENTS_MAX - count && m > 0) {
        open_more(n, m);
    } else if (sscanf(line, "drop %d", &n) == 1) {
        drop(n);
    } else if (strcmp(line, "alive\n") == 0) {
        while (serve(0) > 0)
            ;
        printf("alive %d\n", open_now);
    } else if (strchr("epa", line[0])) {
        exchange = line[0];
        exchange_all();
    } else {
        die(line, -1);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    char line[64];
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (argc != 4 || inet_pton(AF_INET, argv[1], &here.sin_addr) != 1) {
        fprintf(stderr, "usage: crowd SOURCE-ADDRESS PORT PATH\n");
        return 2;
    }
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    there.sin_port = htons((uint16_t)atoi(argv[2]));
    route = argv[3];
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    while (fgets(line, sizeof line, stdin))
        obey(line);
    return 0;
}
