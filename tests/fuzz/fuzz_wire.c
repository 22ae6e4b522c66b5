// SPDX-License-Identifier: MIT
/*
 * Messages between master and workers that anything may have sent, since a worker runs other
 * people's code. The input is steps, each a byte that says what and a byte that says who:
 *
 *      raw bytes, or a message of some kind, perhaps with a descriptor, to one end of a line: the
 *      worker's (line.c), or the master's, where a worker of it has said it (place.c)
 *      the death of a worker's process; a new one in its place
 *
 * Beyond crashes: a message is taken when its size and its texts are right and dropped else; what
 * is taken is sent again byte for byte; a descriptor is somebody's or closed; a worker is at most
 * two processes, of which one has its life, and what the master keeps of its sockets fits that.
 * Processes are pretended: they have numbers that the system gives to none.
 */
#include "line/birth.h"
#include "line/line.h"
#include "line/wire.h"
#include "master/master_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "wsfuzz.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2, PROCESSES = WORKERS * WORKER_PROCESSES, NO_PROCESS = 0x70000000 };

#define PROGRAM "neap 1.2.3"

/* An end of each process's line that is the fuzzer's. */
static int ends[PROCESSES];
static struct master_config config = {.workers = WORKERS, .drain = 1};
static struct master *m;
static int pids;

/* The next choices of the input; zeros past its end. */
struct input {
    const uint8_t *at, *end;
};

static unsigned take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* --- Messages ------------------------------------------------------------------------------- */

static size_t right_size(enum wire_kind kind)
{
    static const enum wire_kind large[] = {WIRE_BIND, WIRE_BOUND, WIRE_UNBIND, WIRE_TICKETS,
                                           WIRE_UNFIT};
    if (kind == WIRE_BEGIN)
        return sizeof(struct wire);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (kind == large[i])
            return offsetof(struct wire, program);
    return offsetof(struct wire, scheme);
}

/* As wire.h has it: whether the bytes are a message. */
static bool well_formed(const struct wire *w, size_t len)
{
    return len >= offsetof(struct wire, number) && w->version == WIRE_VERSION &&
           (unsigned)w->kind < WIRE_KINDS && len == right_size(w->kind) &&
           strnlen(w->program, sizeof w->program) < sizeof w->program &&
           strnlen(w->path, sizeof w->path) < sizeof w->path &&
           strnlen(w->scheme, sizeof w->scheme) < sizeof w->scheme &&
           strnlen(w->address, sizeof w->address) < sizeof w->address &&
           strnlen(w->error, sizeof w->error) < sizeof w->error &&
           w->tickets.count <= TLS_TICKET_KEYS;
}

static int wrong(const struct wire *w, size_t len)
{
    return len >= sizeof w->version && w->version != WIRE_VERSION ? EPROTO : EBADMSG;
}

/* A message of the input's choice: its size too, and now and then a text without an end. */
static size_t compose(struct input *in, struct wire *w)
{
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0", "nonsense", ""};
    unsigned how = take(in);
    memset(w, how & 1 ? 0xff : 0, sizeof *w);
    w->version = how % 16 == 9 ? WIRE_VERSION + 1 : WIRE_VERSION;
    w->kind = take(in) % (WIRE_KINDS + 2u);
    w->number = (int)take(in) - 8;
    w->seconds = take(in);
    w->tickets.count = how & 2 ? TLS_TICKET_KEYS + 1 : 1;
    if (how % 8 != 1) {
        snprintf(w->scheme, sizeof w->scheme, "ws");
        snprintf(w->address, sizeof w->address, "%s", addresses[how / 8 % 4]);
        snprintf(w->error, sizeof w->error, how & 4 ? "it is in use" : "");
        snprintf(w->program, sizeof w->program, "%s", PROGRAM);
        snprintf(w->path, sizeof w->path, how & 32 ? "/nowhere" : "");
    }
    size_t len = right_size(w->kind);
    return how >= 0xe0 ? how % 32 * 26u % (sizeof *w + 1) : len;
}

/* One datagram, with or without a descriptor. False when there is no room. */
static bool send_bytes(int sock, const void *bytes, size_t len, bool with_fd)
{
    int fd = STDERR_FILENO;
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } a = {.head = {
               .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    memcpy(CMSG_DATA(&a.head), &fd, sizeof fd);
    if (with_fd) {
        h.msg_control = a.bytes;
        h.msg_controllen = sizeof a.bytes;
    }
    return sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

/* Raw bytes of the input, or a message. */
static bool send_something(struct input *in, int sock, size_t *len, struct wire *w)
{
    unsigned raw = take(in);
    memset(w, 0, sizeof *w);
    if (raw % 4 == 3) {
        *len = (size_t)(in->end - in->at) < sizeof *w ? (size_t)(in->end - in->at) : sizeof *w;
        memcpy(w, in->at, *len);
        in->at += *len;
    } else {
        *len = compose(in, w);
    }
    return *len && send_bytes(sock, w, *len, raw & 4);
}

static void one_message(struct input *in)
{
    int fds[2], fd;
    size_t len;
    struct wire sent, got, again;
    MUST(wire_pair(fds) == 0);
    if (send_something(in, fds[0], &len, &sent)) {
        int r = wire_receive(fds[1], &got, &fd, false);
        struct wire seen = {0};
        memcpy(&seen, &sent, len);
        MUST(r == (well_formed(&seen, len) ? 1 : -1) && (r == 1 || errno == wrong(&seen, len)));
        if (r == 1) {
            MUST(memcmp(&got, &seen, sizeof got) == 0);
            MUST(wire_send(fds[0], &got, fd) == 0);
            if (fd >= 0)
                close(fd);
            MUST(wire_receive(fds[1], &again, &fd, false) == 1);
            MUST(memcmp(&got, &again, sizeof got) == 0);
        }
        if (fd >= 0)
            close(fd);
    }
    MUST(wire_receive(fds[1], &got, &fd, false) == -1 && errno == EAGAIN && fd == -1);
    close(fds[0]);
    MUST(wire_receive(fds[1], &got, &fd, false) == 0);
    close(fds[1]);
}

/* --- The worker's end ------------------------------------------------------------------------- */

static void hear_all(struct line *line, int *stops)
{
    enum line_what what;
    double seconds;
    while ((what = line_next(line, &seconds)) != LINE_NOTHING && what != LINE_GONE) {
        *stops += what == LINE_STOP || what == LINE_SUCCEEDED;
        if (what == LINE_OTHER) {
            int other, fd = line_take_other(line, &other);
            MUST(fd >= 0 && other >= 0 && other < PROCESSES);
            close(fd);
        }
        if (what == LINE_TICKETS)
            MUST(line_tickets(line)->count <= TLS_TICKET_KEYS);
    }
    MUST(what == LINE_GONE || !line_waiting(line));
}

static void ask_for_socket(struct line *line)
{
    struct line_bind what = {.address = "127.0.0.1:0", .scheme = "ws"};
    struct line_bound bound;
    int r = line_bind_socket(line, &what, &bound);
    MUST(r == 0 ? bound.fd >= 0 : r == -1 && bound.error[0]);
    MUST(strnlen(bound.error, sizeof bound.error) < sizeof bound.error);
    if (r == 0)
        close(bound.fd);
}

/* A worker whose master says anything, then goes away. */
static void one_worker(struct input *in)
{
    int fds[2], stops = 0;
    MUST(wire_pair(fds) == 0);
    struct line *line = line_new(fds[1], (int)(take(in) % PROCESSES), WORKERS);
    for (unsigned left = take(in) % 32; left; left--) {
        size_t len;
        struct wire w;
        send_something(in, fds[0], &len, &w);
        if (left % 4 == 0)
            hear_all(line, &stops);
    }
    line_ready(line);
    line_unbind(line, "127.0.0.1:0", 80);
    shutdown(fds[0], SHUT_RDWR); /* so that nobody waits for an answer */
    if (stops % 2 == 0)
        ask_for_socket(line);
    hear_all(line, &stops);
    MUST(stops <= 1);
    line_free(line);
    close(fds[0]);
}

/* A worker's first moments: it is one, or it says why not, or its master is gone. */
static void one_birth(struct input *in)
{
    int fds[2], page;
    char why[BIRTH_WHY];
    MUST(wire_pair(fds) == 0);
    if (take(in) % 2) {
        struct watchdog *w = watchdog_new(&page);
        struct birth b = {
            .program = PROGRAM, .seat = take(in) % 6, .workers = WORKERS, .page = page};
        MUST(w && birth_announce(fds[0], &b) == 0);
        watchdog_free(w);
        close(page);
    }
    for (unsigned left = take(in) % 4; left; left--) {
        size_t len;
        struct wire w;
        send_something(in, fds[0], &len, &w);
    }
    MUST(birth_is_line(fds[1]) && !birth_is_line(STDIN_FILENO));
    close(fds[0]); /* so that nobody waits */
    struct line *line = birth_take(fds[1], PROGRAM, why);
    MUST(strnlen(why, sizeof why) < sizeof why && (!line || !*why));
    if (line) {
        MUST(line_seat(line) < 2 * line_workers(line) && line_watchdog(line));
        line_free(line);
    } else {
        close(fds[1]);
    }
}

/* --- The master's end ------------------------------------------------------------------------- */

static void check_place(struct place *w)
{
    struct process *leaving = place_leaving(w);
    MUST(w->now == &w->processes[0] || w->now == &w->processes[1]);
    MUST(leaving != w->now && (!leaving || leaving->pid));
    MUST((w->life == LIFE_STARTING || w->life == LIFE_READY) == (w->now->pid != 0));
    MUST(loop_timer_active(&w->restart) == (w->life == LIFE_WAITING));
    for (int i = 0; i < WORKER_PROCESSES; i++)
        MUST((w->processes[i].pid != 0) == (w->processes[i].io.ev.fd >= 0));
    MUST(place_gone(w) == (w->life == LIFE_OVER && !w->now->pid && !leaving));
    MUST(w->life != LIFE_OVER || !sockets_worker_listens(m->sockets, w->number));
}

static void on_nothing(struct loop_io *io, int events)
{
    (void)io, (void)events;
}

/* What place_start does, but that no process is forked. */
static void begin(struct place *w)
{
    int fds[2];
    MUST(wire_pair(fds) == 0);
    loop_timer_stop(&m->loop, &w->restart);
    sockets_worker_started(m->sockets, w->number);
    w->now = &w->processes[w->processes[0].pid != 0];
    MUST(!w->now->pid);
    w->now->pid = NO_PROCESS + ++pids;
    w->now->refused = w->now->retires = false;
    loop_io_init(&w->now->io, fds[0], on_nothing);
    w->life = LIFE_STARTING;
    int page;
    watchdog_free(w->now->watchdog);
    w->now->watchdog = watchdog_new(&page);
    MUST(w->now->watchdog);
    close(page);
    ends[w->now->seat] = fds[1];
    pairs_worker_started(m->pairs, w->now->seat, fds[0]);
}

/* Hears what the process has said, as the master's loop would. */
static void hear(struct process *p)
{
    struct wire w;
    int fd;
    while (p->pid && wire_receive(p->io.ev.fd, &w, &fd, false) == 1) {
        if (fd >= 0)
            close(fd);
        place_heard(p, &w);
    }
}

/* The fuzzer reads nothing of what the master says; what is in the way goes. */
static void forget_answers(int end)
{
    struct wire w;
    int fd;
    for (int r; (r = wire_receive(end, &w, &fd, false)) == 1;)
        if (fd >= 0)
            close(fd);
}

static void end(struct process *p, unsigned how)
{
    static const int statuses[] = {0, 1 << 8, 3 << 8, SIGKILL, SIGSEGV};
    int seat = p->seat;
    place_bury(p->place, p->pid, statuses[how % 5]);
    MUST(!p->pid);
    close(ends[seat]);
}

static void master_step(struct input *in)
{
    unsigned what = take(in), who = take(in);
    struct place *w = &m->places[who % WORKERS];
    struct process *p = &w->processes[who / WORKERS % WORKER_PROCESSES];
    if (what % 8 == 0 && w->life == LIFE_WAITING) {
        begin(w);
    } else if (what % 8 == 1 && p->pid) {
        end(p, who / 4);
    } else if (p->pid) {
        size_t len;
        struct wire message;
        send_something(in, ends[p->seat], &len, &message);
        hear(p);
        forget_answers(ends[p->seat]);
    }
    for (int i = 0; i < WORKERS; i++)
        check_place(&m->places[i]);
}

static void master_begins(void)
{
    m = mem_alloc(sizeof *m + WORKERS * sizeof m->places[0]);
    m->config = &config;
    loop_init(&m->loop);
    m->sockets = sockets_new(WORKERS);
    m->pairs = pairs_new(&m->loop, PROCESSES);
    for (int i = 0; i < WORKERS; i++)
        place_init(&m->places[i], m, i);
    for (int i = 0; i < WORKERS; i++)
        begin(&m->places[i]);
}

static void master_ends(void)
{
    m->stopping = true;
    for (int i = 0; i < WORKERS; i++) {
        struct place *w = &m->places[i];
        place_stop(w);
        for (int k = 0; k < WORKER_PROCESSES; k++)
            if (w->processes[k].pid)
                end(&w->processes[k], 0);
        MUST(place_gone(w));
        place_deinit(w);
    }
    char text[64];
    MUST(!sockets_text(m->sockets, 0, text, sizeof text));
    sockets_free(m->sockets);
    pairs_free(m->pairs);
    loop_deinit(&m->loop);
    mem_free(m);
}

/* --- One input -------------------------------------------------------------------------------- */

static int next_fd(void)
{
    int fd = dup(0);
    MUST(fd >= 0);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool opened;
    if (!opened)
        log_open(LOG_ERROR + 1, false);
    opened = true;
    int fd = next_fd();
    struct input in = {data, data + size};
    unsigned first = take(&in), mode = first >= 0xf0 ? 3 : first % 3;
    if (mode == 0)
        one_message(&in);
    if (mode == 1)
        one_worker(&in);
    if (mode == 2) {
        master_begins();
        while (in.at < in.end && !m->stopping)
            master_step(&in);
        master_ends();
    }
    if (mode == 3)
        one_birth(&in);
    MUST(next_fd() == fd);
    return 0;
}
