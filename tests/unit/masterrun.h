// SPDX-License-Identifier: MIT
/*
 * Runs a master of its own process with workers that do what a plan says, for tests of src/master.
 * A worker answers each connection by what its one letter asks for:
 *
 *      i   "worker N pid P fds F\n"     u   unbinds and closes its first listener
 *      b   binds the plan's `later` address and answers its port
 *      p   "worker N workers 1:P 2:P\n", the pid that each other one has said on its line to it
 *      l   "worker N lost\n", and asks for new lines to all others
 *      r   "worker N retires\n", and asks to be replaced
 *
 * The master's log goes into a pipe that all its processes hold, so that its end of file means that
 * all of them are gone. All files of a test are in a folder of its own.
 */
#ifndef NEAP_TESTS_UNIT_MASTERRUN_H
#define NEAP_TESTS_UNIT_MASTERRUN_H

#include "base/log.h"
#include "line/birth.h"
#include "line/line.h"
#include "line/wire.h"
#include "master/master.h"
#include "support.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ADDRESSES = 3, OTHERS = 8 };
#define SECONDS 10.0 /* for anything that should just happen */

enum kind {
    SERVES,            /* binds, becomes ready, answers; drains at STOP */
    ENDS,              /* returns `status` before it binds anything */
    BINDS_AND_ENDS,    /* returns `status` after binding, before it is ready */
    BINDS_AND_REFUSES, /* says that its app does not load */
    DIES,              /* SIGKILLs itself before it is ready */
    STUCK,             /* becomes ready, then hears nothing */
    BINDS_LATE,        /* waits for a message of the master, and only then binds */
    CANNOT_RUN,        /* is no worker at all: its exec fails */
    SPEAKS_OTHERWISE,  /* sends a message of another version of the line, then waits */
};

struct plan {
    enum kind kind;
    int status;
    const char *addresses[ADDRESSES]; /* NULL: none */
    const char *later;
    const char *program; /* the version that it is of; NULL: the master's */
};

static char folder[64]; /* of this run; removed at its end */

static inline double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline void nap(void)
{
    poll(NULL, 0, 2);
}

/* --- The worker ----------------------------------------------------------------------------- */

static inline int count_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n - 3; /* "." and ".." and the folder's own */
}

static inline int bind_one(struct line *line, const char *address, int *port)
{
    struct line_bind what = {.address = address, .scheme = "ws", .backlog = 64};
    struct line_bound bound;
    if (line_bind_socket(line, &what, &bound) < 0) {
        log_error("%s", bound.error);
        return -1;
    }
    *port = bound.port;
    return bound.fd;
}

static inline int port_of(int listener)
{
    struct sockaddr_in in = {0};
    socklen_t len = sizeof in;
    getsockname(listener, (struct sockaddr *)&in, &len);
    return ntohs(in.sin_port);
}

static int lines[OTHERS] = {-1, -1, -1, -1, -1, -1, -1, -1}; /* to other workers */

static inline void take_line(struct line *line)
{
    int other, fd = line_take_other(line, &other), pid = (int)getpid();
    if (send(fd, &pid, sizeof pid, MSG_NOSIGNAL) < 0)
        log_debug("worker %d is gone already", other);
    log_info("worker %d has a new line to %d", line_worker(line), other);
    if (lines[other] >= 0)
        close(lines[other]);
    lines[other] = fd;
}

static inline void list_workers(struct line *line, char *text)
{
    sprintf(text, "worker %d workers", line_worker(line));
    for (int i = 0; i < OTHERS; i++) {
        struct pollfd p = {.fd = lines[i], .events = POLLIN};
        int pid;
        if (lines[i] >= 0 && poll(&p, 1, 1000) == 1 &&
            recv(lines[i], &pid, sizeof pid, MSG_PEEK) == sizeof pid)
            sprintf(text + strlen(text), " %d:%d", i, pid);
    }
    strcat(text, "\n");
}

static inline void lose_workers(struct line *line, char *text)
{
    for (int i = -1; i <= line_workers(line); i++)
        line_lost(line, i);
    sprintf(text, "worker %d lost\n", line_worker(line));
}

static inline void answer(struct line *line, const struct plan *plan, int fd, int *listener)
{
    char letter = 0;
    char text[160] = "";
    int port = 0;
    if (read(fd, &letter, 1) == 1 && letter == 'i')
        snprintf(text, sizeof text, "worker %d pid %d fds %d\n", line_worker(line), (int)getpid(),
                 count_fds());
    if (letter == 'b') {
        int late = bind_one(line, plan->later, &port);
        snprintf(text, sizeof text, "port %d\n", late < 0 ? -1 : port);
        close(late);
    }
    if (letter == 'p')
        list_workers(line, text);
    if (letter == 'l')
        lose_workers(line, text);
    if (letter == 'r') {
        line_retire(line);
        snprintf(text, sizeof text, "worker %d retires\n", line_worker(line));
    }
    if (letter == 'u') {
        line_unbind(line, plan->addresses[0], port_of(*listener));
        close(*listener);
        *listener = -1;
    }
    if (write(fd, text, strlen(text)) < 0)
        log_error("the test's client went away");
    close(fd);
}

/* The names of the keys of session tickets, newest first. */
static inline void log_tickets(const struct line *line)
{
    const struct tls_tickets *t = line_tickets(line);
    char names[2 * TLS_TICKET_KEYS * sizeof t->keys[0].name + TLS_TICKET_KEYS + 1] = "";
    for (uint32_t i = 0; i < t->count; i++) {
        for (size_t k = 0; k < sizeof t->keys[i].name; k++)
            sprintf(names + strlen(names), "%02x", t->keys[i].name[k]);
        strcat(names, ";");
    }
    log_info("worker %d: tickets %s", line_worker(line), names);
}

/* Hears what the master has to say. False when this worker is to end. */
static inline bool obey(struct line *line)
{
    double seconds;
    enum line_what what;
    while ((what = line_next(line, &seconds)) != LINE_NOTHING) {
        if (what == LINE_STOP || what == LINE_SUCCEEDED || what == LINE_GONE)
            return false;
        if (what == LINE_CERTS)
            log_info("worker: read certificates");
        if (what == LINE_TICKETS)
            log_tickets(line);
        if (what == LINE_OTHER)
            take_line(line);
    }
    return true;
}

static inline int serve(struct line *line, const struct plan *plan, int *fds)
{
    for (;;) {
        struct pollfd p[1 + ADDRESSES] = {{.fd = line_fd(line), .events = POLLIN}};
        for (int i = 0; i < ADDRESSES; i++)
            p[1 + i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        if (!obey(line))
            return WORKER_DONE;
        poll(p, 1 + ADDRESSES, -1);
        for (int i = 0; i < ADDRESSES; i++) {
            int fd = p[1 + i].revents ? accept4(fds[i], NULL, NULL, SOCK_CLOEXEC) : -1;
            if (fd >= 0)
                answer(line, plan, fd, &fds[i]);
        }
    }
}

/* For a worker that binds late: by then the master is stopping and must say so, twice. */
static inline int bind_late(struct line *line, const struct plan *plan)
{
    struct pollfd p = {.fd = line_fd(line), .events = POLLIN};
    int port;
    double seconds = -1;
    while (line_next(line, &seconds) != LINE_TICKETS)
        poll(&p, 1, -1);
    poll(&p, 1, -1);
    int fd = bind_one(line, plan->addresses[0], &port);
    poll(&p, 1, -1);
    enum line_what what = line_next(line, &seconds);
    log_info("late: fd %d, message %d, %g seconds", fd, what, seconds);
    return WORKER_DONE;
}

static inline int refuse(struct line *line)
{
    line_refused(line);
    return WORKER_FAILED;
}

static inline int speak_otherwise(struct line *line)
{
    struct wire m = {.version = WIRE_VERSION + 1, .kind = WIRE_READY};
    if (send(line_fd(line), &m, sizeof m, MSG_NOSIGNAL) < 0)
        return WORKER_DONE;
    for (;;)
        pause();
}

static inline int work(struct line *line, const struct plan *plan)
{
    int fds[ADDRESSES] = {-1, -1, -1}, port;
    if (plan->kind == ENDS)
        return plan->status;
    if (plan->kind == BINDS_LATE)
        return bind_late(line, plan);
    if (plan->kind == SPEAKS_OTHERWISE)
        return speak_otherwise(line);
    for (int i = 0; i < ADDRESSES && plan->addresses[i]; i++)
        if ((fds[i] = bind_one(line, plan->addresses[i], &port)) < 0)
            return refuse(line);
    if (plan->kind == BINDS_AND_ENDS)
        return plan->status;
    if (plan->kind == BINDS_AND_REFUSES)
        return refuse(line);
    if (plan->kind == DIES)
        raise(SIGKILL);
    line_ready(line);
    while (plan->kind == STUCK)
        pause();
    return serve(line, plan, fds);
}

static const char *master_version = "";

/* Instead of an exec: of what the fork has inherited it keeps what an exec would leave open. */
static inline void become(int fd, int number, void *arg)
{
    const struct plan *plan = arg;
    char why[BIRTH_WHY];
    (void)number;
    if (plan->kind == CANNOT_RUN) {
        errno = ENOEXEC;
        return;
    }
    birth_begin();
    close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0u, 0);
    log_open(LOG_DEBUG, false);
    struct line *line = birth_take(fd, plan->program ? plan->program : master_version, why);
    if (!line) {
        birth_refuse(fd, why);
        _exit(WORKER_FAILED);
    }
    log_set_worker(line_worker(line));
    int status = work(line, plan);
    line_free(line);
    log_close(LOG_CLOSE_SECONDS);
    exit(status);
}

/* --- The server ----------------------------------------------------------------------------- */

struct server {
    pid_t pid;
    int log;
    size_t len;
    char text[1 << 16];
};

/* Starts a master; `config` needs no become and no arg. */
static inline struct server *server_start(struct master_config config, const struct plan *plan)
{
    struct server *s = calloc(1, sizeof *s);
    int fds[2];
    if (!s || pipe2(fds, O_CLOEXEC) < 0)
        abort();
    config.become = become;
    master_version = config.version ? config.version : "";
    config.arg = (void *)(uintptr_t)plan;
    fflush(NULL);
    s->pid = fork();
    if (s->pid == 0) {
        free(s);
        close(fds[0]);
        dup2(fds[1], STDERR_FILENO);
        close(fds[1]);
        setpgid(0, 0);
        log_open(LOG_DEBUG, false);
        int status = master_run(&config);
        log_close(LOG_CLOSE_SECONDS);
        exit(status);
    }
    setpgid(s->pid, s->pid);
    close(fds[1]);
    s->log = fds[0];
    return s;
}

/* Reads the log for at most `wait` milliseconds. Returns false at its end. */
static inline bool server_read(struct server *s, int wait)
{
    struct pollfd p = {.fd = s->log, .events = POLLIN};
    if (poll(&p, 1, wait) != 1)
        return true;
    ssize_t n = read(s->log, s->text + s->len, sizeof s->text - 1 - s->len);
    if (n > 0)
        s->len += (size_t)n;
    s->text[s->len] = '\0';
    return n > 0;
}

static inline int server_count(const struct server *s, const char *text)
{
    int n = 0;
    for (const char *at = s->text; (at = strstr(at, text)); at++)
        n++;
    return n;
}

/* Waits until the log holds the text so many times. */
static inline bool server_says(struct server *s, const char *text, int times)
{
    double end = now() + SECONDS;
    while (server_count(s, text) < times)
        if (now() > end || !server_read(s, 20)) {
            printf("the log lacks \"%s\":\n%s", text, s->text);
            return false;
        }
    return true;
}

/*
 * Waits for all its processes to end; returns the exit status, or -1. Frees nothing, so that the
 * log can be read.
 */
static inline int server_end(struct server *s)
{
    double end = now() + SECONDS;
    int status = -1;
    while (now() < end && server_read(s, 20))
        ;
    if (now() >= end) {
        printf("it does not end:\n%s", s->text);
        kill(-s->pid, SIGKILL);
    }
    waitpid(s->pid, &status, 0);
    close(s->log);
    CHECK(strstr(s->text, "Sanitizer") == NULL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline int server_stop(struct server *s)
{
    kill(s->pid, SIGTERM);
    int status = server_end(s);
    free(s);
    return status;
}

/* The port of the i-th "listening" line; waits for "ready". */
static inline int server_port(struct server *s, int i)
{
    int port = -1;
    if (!CHECK(server_says(s, " info  ready", 1)))
        return -1;
    const char *at = s->text;
    while ((at = strstr(at, " info  listening ")) && i-- > 0)
        at++;
    if (at)
        sscanf(at, " info listening ws://%*[^:]:%d", &port);
    return port;
}

/* --- The client ----------------------------------------------------------------------------- */

static inline int dial(int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = (int)SECONDS};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads an answer to its end. Returns false when there is none. */
static inline bool hear(int fd, char *text, size_t room)
{
    size_t len = 0;
    ssize_t n;
    while (len < room - 1 && (n = recv(fd, text + len, room - 1 - len, 0)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    return len > 0;
}

static inline bool ask_fd(int fd, char letter, char *text, size_t room)
{
    bool answered = fd >= 0 && send(fd, &letter, 1, MSG_NOSIGNAL) == 1 && hear(fd, text, room);
    if (fd >= 0)
        close(fd);
    return answered;
}

struct info {
    int worker, pid, fds;
};

/* Who answers on that port; worker -1 when nobody does. */
static inline struct info ask(int port)
{
    char text[80] = "";
    struct info i = {.worker = -1};
    if (!ask_fd(dial(port), 'i', text, sizeof text) ||
        sscanf(text, "worker %d pid %d fds %d", &i.worker, &i.pid, &i.fds) != 3)
        i.worker = -1;
    return i;
}

/* Asks until worker `number` answers, with a process other than `not_pid`. */
static inline struct info ask_worker(int port, int number, int not_pid)
{
    struct info i = {.worker = -1};
    for (double end = now() + SECONDS; now() < end; nap()) {
        i = ask(port);
        if (i.worker == number && i.pid != not_pid)
            return i;
    }
    return (struct info){.worker = -1};
}

#endif
