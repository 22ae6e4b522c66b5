// SPDX-License-Identifier: MIT
/*
 * A line is made in a buffer on the stack, appended to the bytes that wait, and these are written
 * as far as the system takes them:
 *
 *      event ─▶ struct text ─▶ waiting (1 MiB; empty nearly always) ─▶ sink
 *
 * How to write without blocking depends on what stderr is. Setting O_NONBLOCK on descriptor 2
 * itself would set it for everybody who shares it, the shell that started us included; so:
 *
 *      FIFO, terminal   opened anew through /proc/self/fd/2, which gives a description of our own
 *      socket           send with MSG_DONTWAIT
 *      regular file     as it is: the kernel takes all, or says that there is no space
 *      otherwise        (the open failed) poll, then write at most PIPE_BUF bytes
 *
 * Writes hold whole lines and at most PIPE_BUF bytes where lines are not longer, because a pipe
 * takes such a write whole or not at all: lines of several processes do not mix.
 */
#include "base/log.h"

#include "base/escape.h"
#include "base/quiet.h"
#include "base/seconds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE = 8192,           /* bytes in a line, its newline included */
    MESSAGE = 6144,        /* of these for the message, so that a long one leaves room for fields */
    WAITING = 1024 * 1024, /* bytes that may wait */
    LOOK_MS = 10,          /* between looks whether an ending log can be written */
};

enum sink { SINK_PLAIN, SINK_SOCKET, SINK_POLL };

static struct {
    enum log_level level;
    bool json;
    int worker;
    enum sink sink;
    int fd;
    bool own_fd; /* fd is a description of our own, not descriptor 2 */
    void (*on_wait)(void *arg);
    void *on_wait_arg;
    bool announced;   /* on_wait has been called for what waits */
    int error;        /* why the last write did not take everything; 0 when it did */
    uint64_t dropped; /* lines since the last that was kept */
    time_t second;    /* the time that `stamp` tells, so that it is made once a second */
    char stamp[24];
    size_t start, end;
    char waiting[WAITING];
} state = {.level = LOG_INFO, .worker = -1, .fd = STDERR_FILENO, .second = -1};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* --- The sink ------------------------------------------------------------------------------- */

/* The parent writes what waited when it forked; the child must not do so again. */
static void on_fork_child(void)
{
    state.start = state.end = 0;
    state.dropped = 0;
    log_on_wait(NULL, NULL);
}

static void ensure_stderr(void)
{
    if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
        return;
    int fd = open("/dev/null", O_WRONLY);
    if (fd >= 0 && fd != STDERR_FILENO) {
        dup2(fd, STDERR_FILENO);
        close(fd);
    }
}

static void choose_sink(void)
{
    if (state.own_fd)
        close(state.fd);
    state.fd = STDERR_FILENO;
    state.own_fd = false;
    state.sink = SINK_PLAIN;
    struct stat st;
    if (fstat(STDERR_FILENO, &st) < 0 || S_ISREG(st.st_mode))
        return;
    if (S_ISSOCK(st.st_mode)) {
        state.sink = SINK_SOCKET;
        return;
    }
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0) {
        state.fd = fd;
        state.own_fd = true;
    } else {
        state.sink = SINK_POLL;
    }
}

void log_open(enum log_level level, bool json)
{
    static bool registered;
    if (!registered)
        registered = pthread_atfork(NULL, NULL, on_fork_child) == 0;
    quiet_signal(SIGPIPE);
    quiet_signal(SIGXFSZ);
    ensure_stderr();
    choose_sink();
    state.level = level;
    state.json = json;
    state.error = 0;
}

static ssize_t sink_write(const char *bytes, size_t len)
{
    struct pollfd p = {.fd = state.fd, .events = POLLOUT};
    switch (state.sink) {
    case SINK_SOCKET: return send(state.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case SINK_POLL:
        if (poll(&p, 1, 0) == 1)
            return write(state.fd, bytes, len < PIPE_BUF ? len : PIPE_BUF);
        errno = EAGAIN;
        return -1;
    default: return write(state.fd, bytes, len);
    }
}

/* How much to write at once: as many whole lines as PIPE_BUF holds, or one longer line. */
static size_t batch(const char *bytes, size_t len)
{
    if (len <= PIPE_BUF)
        return len;
    const char *last = memrchr(bytes, '\n', PIPE_BUF);
    if (!last)
        last = memchr(bytes, '\n', len);
    return last ? (size_t)(last - bytes) + 1 : len;
}

static void write_waiting(void)
{
    state.error = 0;
    while (state.start < state.end) {
        const char *bytes = state.waiting + state.start;
        ssize_t n = sink_write(bytes, batch(bytes, state.end - state.start));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            state.error = n < 0 ? errno : EAGAIN;
            return;
        }
        state.start += (size_t)n;
    }
    state.start = state.end = 0;
}

/* Appends whole lines. Returns false when there is no room. */
static bool keep(const char *bytes, size_t len)
{
    size_t waits = state.end - state.start;
    if (WAITING - waits < len)
        return false;
    if (WAITING - state.end < len) {
        memmove(state.waiting, state.waiting + state.start, waits);
        state.start = 0;
        state.end = waits;
    }
    memcpy(state.waiting + state.end, bytes, len);
    state.end += len;
    return true;
}

/* --- Lines ---------------------------------------------------------------------------------- */

struct text {
    size_t len;
    char bytes[LINE + 1]; /* one for snprintf's NUL */
};

static void text_add(struct text *l, const char *bytes, size_t len)
{
    if (LINE - l->len < len)
        return;
    memcpy(l->bytes + l->len, bytes, len);
    l->len += len;
}

static void text_print(struct text *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void text_print(struct text *l, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(l->bytes + l->len, LINE + 1 - l->len, format, ap);
    va_end(ap);
    if (n > 0 && (size_t)n <= LINE - l->len)
        l->len += (size_t)n;
}

/* Adds escaped bytes as far as they fit below `limit`. */
static void text_escape(struct text *l, const char *bytes, size_t len, size_t limit,
                        enum escape_form form)
{
    if (l->len < limit)
        l->len += escape_bytes(l->bytes + l->len, limit - l->len, bytes, len, form);
}

/* "2026-11-22T03:00:00.123Z" (RFC 3339) */
static void text_time(struct text *l)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != state.second) {
        struct tm tm;
        state.second = now.tv_sec;
        if (!gmtime_r(&now.tv_sec, &tm) ||
            !strftime(state.stamp, sizeof state.stamp, "%Y-%m-%dT%H:%M:%S", &tm))
            strcpy(state.stamp, "0000-00-00T00:00:00");
    }
    text_print(l, "%s.%03dZ", state.stamp, (int)(now.tv_nsec / NS_PER_MS));
}

/* What ends every line must have room: the worker's number, a quote, a brace and the newline. */
enum { TAIL = 32 };

static void text_field(struct text *l, const struct log_field *f)
{
    size_t limit = LINE - TAIL;
    size_t len = f->len ? f->len : strlen(f->value);
    if (l->len + strlen(f->key) + 8 > limit)
        return;
    text_print(l, " %s=", f->key);
    if (!escape_needs_quotes(f->value, len) && len <= limit - l->len) {
        text_add(l, f->value, len);
        return;
    }
    text_add(l, "\"", 1);
    text_escape(l, f->value, len, limit, ESCAPE_QUOTED);
    text_add(l, "\"", 1);
}

static void json_field(struct text *l, const struct log_field *f)
{
    if (l->len + strlen(f->key) + 12 > LINE - TAIL)
        return;
    text_print(l, ",\"%s\":\"", f->key);
    text_escape(l, f->value, f->len ? f->len : strlen(f->value), LINE - TAIL, ESCAPE_JSON);
    text_add(l, "\"", 1);
}

static void text_start(struct text *l, enum log_level level, const char *message, size_t len)
{
    l->len = 0;
    if (!state.json) {
        text_time(l);
        text_print(l, " %-5s ", level_names[level]);
        text_escape(l, message, len, MESSAGE, ESCAPE_PLAIN);
        return;
    }
    text_print(l, "{\"time\":\"");
    text_time(l);
    text_print(l, "\",\"level\":\"%s\",\"message\":\"", level_names[level]);
    text_escape(l, message, len, MESSAGE, ESCAPE_JSON);
    text_add(l, "\"", 1);
}

static void text_end(struct text *l)
{
    if (state.worker >= 0)
        text_print(l, state.json ? ",\"worker\":%d" : " worker=%d", state.worker);
    text_print(l, state.json ? "}\n" : "\n");
}

/*
 * Tells how many lines were dropped, once half of the room is free again: not earlier, since a sink
 * that takes a line now and then would otherwise get as many such notes as lines. Until then new
 * lines are dropped.
 */
static void tell_dropped(void)
{
    if (state.dropped == 0 || state.end - state.start > WAITING / 2)
        return;
    char message[64];
    int len = snprintf(message, sizeof message, "the log dropped %llu lines",
                       (unsigned long long)state.dropped);
    struct text l;
    text_start(&l, LOG_WARN, message, (size_t)len);
    text_end(&l);
    if (keep(l.bytes, l.len))
        state.dropped = 0;
}

/* Once for each time that lines begin to wait. */
static void tell_waiting(void)
{
    bool waits = state.start < state.end;
    bool news = waits && !state.announced;
    state.announced = waits;
    if (news && state.on_wait)
        state.on_wait(state.on_wait_arg);
}

void log_bytes(enum log_level level, const struct log_field *fields, size_t field_count,
               const char *message, size_t len)
{
    if (!log_enabled(level))
        return;
    struct text l;
    text_start(&l, level, message, len);
    for (size_t i = 0; i < field_count; i++) {
        if (!fields[i].value)
            continue;
        if (state.json)
            json_field(&l, &fields[i]);
        else
            text_field(&l, &fields[i]);
    }
    text_end(&l);
    log_flush();
    if (state.dropped || !keep(l.bytes, l.len))
        state.dropped++;
    else if (!state.error)
        write_waiting();
    tell_waiting();
}

void log_event(enum log_level level, const struct log_field *fields, size_t field_count,
               const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char message[LINE];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof message ? (size_t)n : sizeof message - 1;
    log_bytes(level, fields, field_count, message, len);
}

/* --- The rest ------------------------------------------------------------------------------- */

void log_on_wait(void (*fn)(void *arg), void *arg)
{
    state.on_wait = fn;
    state.on_wait_arg = arg;
    state.announced = false;
}

void log_set_worker(int worker)
{
    state.worker = worker;
}

bool log_enabled(enum log_level level)
{
    return level >= state.level;
}

bool log_parse_level(const char *s, enum log_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(s, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    return false;
}

bool log_flush(void)
{
    if (state.start == state.end && state.dropped == 0)
        return false;
    write_waiting();
    tell_dropped();
    if (!state.error)
        write_waiting();
    state.announced = state.announced && state.start < state.end;
    return state.start < state.end;
}

static double monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return seconds_from(&now);
}

/* Looks now and then, which serves every kind of sink; nobody but an ending process waits here. */
void log_close(double seconds)
{
    double deadline = monotonic() + seconds;
    while (log_flush() && state.error != EPIPE && monotonic() < deadline)
        poll(NULL, 0, LOOK_MS);
}
