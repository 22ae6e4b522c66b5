// SPDX-License-Identifier: MIT
/*
 * The log on every kind of stderr: what a line looks like, what is escaped, and that nothing
 * blocks, is written twice or kills the process when the other end is slow, full or gone. Each test
 * puts something else in the place of descriptor 2 and reads what arrives there.
 */
#include "base/escape.h"
#include "base/log.h"
#include "proto/ws/utf8.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- A stderr of our own -------------------------------------------------------------------- */

static int real_stderr = -1;

/* Puts `fd` in the place of descriptor 2 and starts the log on it. Takes the descriptor. */
static void log_on(int fd, bool json)
{
    if (real_stderr < 0)
        real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    dup2(fd, STDERR_FILENO);
    close(fd);
    log_open(LOG_DEBUG, json);
}

static void log_off(void)
{
    log_close(0);
    dup2(real_stderr, STDERR_FILENO);
}

static int log_on_file(bool json)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    log_on(fcntl(fd, F_DUPFD_CLOEXEC, 0), json);
    return fd;
}

/* Reads a file from its beginning; returns the text, ended by a NUL. */
static char *file_text(int fd)
{
    static char text[32768];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/*
 * Reads what has come, without waiting, behind the `len` bytes that are there; returns the new
 * length.
 */
static size_t read_more(int fd, char *text, size_t len, size_t room)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (len < room && poll(&p, 1, 0) == 1) {
        ssize_t n = read(fd, text + len, room - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    return len;
}

static bool matches(const char *text, const char *pattern)
{
    regex_t re;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
        return false;
    bool found = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return found;
}

/* --- Form ----------------------------------------------------------------------------------- */

#define TIME "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9][.][0-9]{3}Z"

static void text_lines(void)
{
    int fd = log_on_file(false);
    struct log_field fields[] = {
        {.key = "plain", .value = "a/b:c"}, {.key = "none", .value = NULL},
        {.key = "spaced", .value = "a b"},  {.key = "equals", .value = "a=b"},
        {.key = "empty", .value = ""},      {.key = "quoted", .value = "say \"x\\y\""},
        {.key = "cut", .value = "abc", 2},
    };
    log_event(LOG_WARN, fields, 7, "it is %d", 42);
    char *text = file_text(fd);
    CHECK(matches(text, "^" TIME " warn  it is 42 "));
    CHECK_TEXT(strstr(text, " it is"),
               " it is 42 plain=a/b:c spaced=\"a b\" equals=\"a=b\" empty=\"\" "
               "quoted=\"say \\\"x\\\\y\\\"\" cut=ab\n");
    log_off();
    close(fd);
}

static void json_lines(void)
{
    int fd = log_on_file(true);
    struct log_field fields[] = {{.key = "a", .value = "x\"y\\z"}, {.key = "b", .value = NULL}};
    log_set_worker(3);
    log_event(LOG_ERROR, fields, 2, "two\nlines");
    log_set_worker(-1);
    char *text = file_text(fd);
    CHECK(matches(text, "^[{]\"time\":\"" TIME "\",\"level\":\"error\","));
    CHECK_TEXT(strstr(text, "\"message\""),
               "\"message\":\"two\\nlines\",\"a\":\"x\\\"y\\\\z\",\"worker\":3}\n");
    log_off();
    close(fd);
}

static void levels(void)
{
    enum log_level level = LOG_DEBUG;
    CHECK(log_parse_level("error", &level));
    CHECK_INT(level, LOG_ERROR);
    CHECK(log_parse_level("debug", &level));
    CHECK_INT(level, LOG_DEBUG);
    CHECK(!log_parse_level("Info", &level));
    CHECK(!log_parse_level("", &level));
    int fd = log_on_file(false);
    log_open(LOG_WARN, false);
    CHECK(!log_enabled(LOG_INFO));
    CHECK(log_enabled(LOG_WARN));
    log_info("not this");
    log_warn("but this");
    CHECK(!strstr(file_text(fd), "not this"));
    CHECK(strstr(file_text(fd), " warn  but this\n") != NULL);
    log_off();
    close(fd);
}

static void worker_number(void)
{
    int fd = log_on_file(false);
    log_set_worker(12);
    log_info("hello");
    log_set_worker(-1);
    log_info("again");
    CHECK(strstr(file_text(fd), " hello worker=12\n") != NULL);
    CHECK(strstr(file_text(fd), " again\n") != NULL);
    log_off();
    close(fd);
}

/* --- Escapes -------------------------------------------------------------------------------- */

static const struct {
    const char *in, *plain, *json;
} escapes[] = {
    {"plain \xc3\xa9 \xf0\x9f\x92\xa9", "plain \xc3\xa9 \xf0\x9f\x92\xa9",
     "plain \xc3\xa9 \xf0\x9f\x92\xa9"},
    {"\n\r\t", "\\n\\r\\t", "\\n\\r\\t"},
    {"\x1b[31m\x7f\x01", "\\x1b[31m\\x7f\\x01", "\\u001b[31m\\u007f\\u0001"},
    {"\xc2\x85\xc2\x9b", "\\u0085\\u009b", "\\u0085\\u009b"},
    {"\xe2\x80\xae\xe2\x81\xa6\xd8\x9c", "\\u202e\\u2066\\u061c", "\\u202e\\u2066\\u061c"},
    {"\xe2\x80\xa8", "\\u2028", "\\u2028"},
    {"\xff\xc0\x80", "\\xff\\xc0\\x80", "\\\\xff\\\\xc0\\\\x80"},
    {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\\\xed\\\\xa0\\\\x80"},
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\\\xf4\\\\x90\\\\x80\\\\x80"},
    {"\xe2\x82", "\\xe2\\x82", "\\\\xe2\\\\x82"},
    {"a\"b\\c", "a\"b\\c", "a\\\"b\\\\c"},
};

static void escape_table(void)
{
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        char out[128];
        size_t len = strlen(escapes[i].in);
        const char *in = (const char *)guard_copy(escapes[i].in, len);
        test_context("row %zu", i);
        size_t n = escape_bytes(out, sizeof out, in, len, ESCAPE_PLAIN);
        CHECK_BYTES(out, n, escapes[i].plain, strlen(escapes[i].plain));
        n = escape_bytes(out, sizeof out, in, len, ESCAPE_JSON);
        CHECK_BYTES(out, n, escapes[i].json, strlen(escapes[i].json));
    }
    test_context(NULL);
}

/* The inside of a JSON string (RFC 8259 §7) in valid UTF-8. */
static bool json_inside(const char *s, size_t len)
{
    if (!utf8_valid((const uint8_t *)s, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] < 0x20 || s[i] == '"')
            return false;
        if (s[i] != '\\')
            continue;
        if (++i == len || !strchr("\"\\/bfnrtu", s[i]))
            return false;
        if (s[i] == 'u' && (len - i < 5 || strspn(s + i + 1, "0123456789abcdef") < 4))
            return false;
    }
    return true;
}

/*
 * Random bytes in every form, with every room: never a byte too many, nothing left half, nothing
 * forbidden.
 */
static void escape_random(void)
{
    uint64_t seed = 20261122;
    for (int round = 0; round < 20000; round++) {
        uint8_t in[24];
        char out[256];
        size_t len = random_next(&seed) % sizeof in, room = random_next(&seed) % 160;
        bool bits = random_next(&seed) % 2; /* bytes of few kinds hit the borders more often */
        for (size_t i = 0; i < len; i++)
            in[i] = bits ? (uint8_t)random_next(&seed)
                         : "\xe2\x80\xae\xc2\x85\xf0\x9f\"\\\n a"[random_next(&seed) % 12];
        const char *at = (const char *)guard_copy(in, len);
        memset(out, '!', sizeof out);
        size_t n = escape_bytes(out, room, at, len, ESCAPE_JSON);
        if (!CHECK(n <= room && out[room] == '!' && json_inside(out, n)))
            return;
        n = escape_bytes(out, room, at, len, ESCAPE_PLAIN);
        if (!CHECK(n <= room && utf8_valid((const uint8_t *)out, n) && !memchr(out, '\n', n)))
            return;
    }
}

static void cut_is_marked(void)
{
    char out[16];
    size_t n = escape_bytes(out, 8, "0123456789", 10, ESCAPE_PLAIN);
    CHECK_BYTES(out, n, "01234\xe2\x80\xa6", 8);
    n = escape_bytes(out, 10, "0123456789", 10, ESCAPE_PLAIN);
    CHECK_BYTES(out, n, "0123456789", 10);
    n = escape_bytes(out, 5, "ab\x01", 3, ESCAPE_PLAIN);
    CHECK_BYTES(out, n, "ab\xe2\x80\xa6", 5);
    n = escape_bytes(out, 2, "abc", 3, ESCAPE_PLAIN);
    CHECK_BYTES(out, n, "ab", 2);
}

/*
 * A message and fields that are far too long: one line, at most 8 KiB, and its worker still told.
 */
static void long_lines(void)
{
    static char big[100000];
    memset(big, '\n', sizeof big - 1);
    for (int json = 0; json < 2; json++) {
        int fd = log_on_file(json);
        struct log_field fields[] = {{.key = "agent", .value = big}, {.key = "path", .value = big}};
        log_set_worker(7);
        log_bytes(LOG_INFO, fields, 2, big, sizeof big - 1);
        log_set_worker(-1);
        char *text = file_text(fd);
        size_t len = strlen(text);
        CHECK(len > 6000 && len <= 8192);
        CHECK(strchr(text, '\n') == text + len - 1);
        CHECK(strstr(text, json ? "\xe2\x80\xa6\",\"worker\":7}\n" : "\xe2\x80\xa6\" worker=7\n") !=
              NULL);
        CHECK(strstr(text, json ? "\"agent\":\"" : " agent=\"") != NULL);
        log_off();
        close(fd);
    }
}

/* What a client sends cannot forge a line (H69). */
static void forged_line(void)
{
    int fd = log_on_file(false);
    struct log_field agent = {.key = "agent",
                              .value = "x\n2026-11-22T00:00:00.000Z error fake \x1b[31m"};
    log_event(LOG_INFO, &agent, 1, "request");
    char *text = file_text(fd);
    CHECK(strchr(text, '\n') == text + strlen(text) - 1);
    CHECK(strstr(text, " agent=\"x\\n2026-11-22T00:00:00.000Z error fake \\x1b[31m\"\n") != NULL);
    log_off();
    close(fd);
}

static void takes_no_memory(void)
{
    int fd = log_on_file(false);
    struct log_field field = {.key = "k", .value = "a value"};
    log_info("first"); /* the C library reads the time zone once */
    alloc_watch(0, false);
    log_event(LOG_INFO, &field, 1, "second %s", "time");
    CHECK_INT(alloc_end().calls, 0);
    log_off();
    close(fd);
}

/* --- Sinks ---------------------------------------------------------------------------------- */

enum { FLOOD = 3 * 1024 };

/*
 * Logs 3 MiB into something that nobody reads, then reads it all: what is there plus what was
 * dropped is all.
 */
static void flood(int reader)
{
    static char text[4 << 20], body[1000];
    memset(body, 'x', sizeof body - 1);
    double start = now();
    for (int i = 0; i < FLOOD; i++)
        log_info("line %d %s", i, body);
    CHECK(now() - start < 2);
    CHECK(log_flush());
    size_t len = 0;
    for (double end = now() + 10; log_flush() && now() < end;)
        len = read_more(reader, text, len, sizeof text - 1);
    log_info("the end");
    CHECK(!log_flush());
    len = read_more(reader, text, len, sizeof text - 1);
    text[len] = '\0';
    int next = 0, dropped = 0, ended = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        int number = -1;
        *end = '\0';
        if (sscanf(line, "%*s info  line %d x", &number) == 1) {
            CHECK_INT(number, next++);
            CHECK(end - line > 1000);
        } else if (sscanf(line, "%*s warn  the log dropped %d lines", &number) == 1) {
            dropped += number;
        } else {
            ended += strstr(line, " info  the end") != NULL;
        }
    }
    CHECK(next >= 1000);
    CHECK(dropped > 0);
    CHECK_INT(next + dropped, FLOOD);
    CHECK_INT(ended, 1);
}

static void blocked_pipe(void)
{
    int fds[2];
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    log_on(fds[1], false);
    CHECK_INT(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0); /* it is shared with others */
    flood(fds[0]);
    log_off();
    close(fds[0]);
}

static void blocked_socket(void)
{
    int fds[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    log_on(fds[1], false);
    CHECK_INT(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    flood(fds[0]);
    log_off();
    close(fds[0]);
}

/*
 * The pipe has no reader when the log opens, so that it cannot be opened anew; a reader comes
 * later.
 */
static void blocked_without_own_description(void)
{
    char path[64];
    int fds[2];
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fds[0]);
    int keep = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    close(fds[0]);
    close(keep);
    log_on(fds[1], false);
    log_info("nobody reads this yet");
    CHECK(log_flush());
    int reader = open("/proc/self/fd/2", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK(reader >= 0);
    CHECK(!log_flush());
    char text[256];
    size_t len = read_more(reader, text, 0, sizeof text - 1);
    text[len] = '\0';
    CHECK(strstr(text, "nobody reads this yet\n") != NULL);
    flood(reader);
    log_off();
    close(reader);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void waiting_is_told(void)
{
    static char text[1 << 20];
    int fds[2], calls = 0;
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    log_on(fds[1], false);
    log_on_wait(count_call, &calls);
    log_info("this does not wait");
    CHECK_INT(calls, 0);
    for (int round = 1; round < 3; round++) {
        for (int i = 0; i < 2000; i++)
            log_info("filling the pipe and what may wait");
        CHECK_INT(calls, round); /* once, however many lines wait */
        while (log_flush())
            read_more(fds[0], text, 0, sizeof text);
        read_more(fds[0], text, 0, sizeof text);
    }
    log_on_wait(NULL, NULL);
    log_off();
    close(fds[0]);
}

static void reader_gone(void)
{
    for (int socket = 0; socket < 2; socket++) {
        int fds[2];
        CHECK_INT(socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe2(fds, O_CLOEXEC), 0);
        log_on(fds[1], false);
        close(fds[0]);
        for (int i = 0; i < 10; i++)
            log_info("into the void");
        double start = now();
        log_close(5);
        CHECK(now() - start < 2);    /* and SIGPIPE has not killed us */
        int fd = log_on_file(false); /* leaves nothing for the next test */
        log_flush();
        log_off();
        close(fd);
    }
}

static void no_space(void)
{
    int fd = log_on_file(false);
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){.rlim_cur = 100, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 10; i++)
        log_info("line %d", i);
    CHECK(log_flush());
    CHECK_INT(strlen(file_text(fd)), 100);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK(!log_flush());
    int lines = 0;
    for (char *s = file_text(fd); (s = strchr(s, '\n')); s++)
        lines++;
    CHECK_INT(lines, 10);
    log_off();
    close(fd);
}

static void closed_stderr(void)
{
    int fd = log_on_file(false);
    close(STDERR_FILENO);
    log_open(LOG_INFO, false);
    log_info("to nowhere");
    CHECK(fcntl(STDERR_FILENO, F_GETFD) >= 0);
    int next = open("/dev/null", O_RDONLY);
    CHECK(next != STDERR_FILENO);
    close(next);
    log_off();
    close(fd);
}

/* --- Several processes ---------------------------------------------------------------------- */

static int wait_for(pid_t pid)
{
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

/* What waits when a process forks is the parent's to write. */
static void fork_keeps_one_copy(void)
{
    static char text[1 << 20];
    int fds[2];
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    log_on(fds[1], false);
    while (!log_flush())
        log_info("filling the pipe");
    log_info("only once");
    pid_t pid = fork();
    if (pid == 0) {
        bool waits = log_flush();
        log_info("from the child");
        _exit(waits ? 1 : log_flush() ? 0 : 2);
    }
    CHECK_INT(wait_for(pid), 0);
    size_t len = read_more(fds[0], text, 0, sizeof text - 1);
    CHECK(!log_flush());
    len = read_more(fds[0], text, len, sizeof text - 1);
    text[len] = '\0';
    char *first = strstr(text, "only once");
    CHECK(first && !strstr(first + 1, "only once"));
    log_off();
    close(fds[0]);
}

static void log_many(char letter)
{
    char body[3500];
    memset(body, letter, sizeof body);
    for (int i = 0; i < 300; i++) {
        log_bytes(LOG_INFO, NULL, 0, body, sizeof body);
        while (log_flush())
            poll(NULL, 0, 1);
    }
    _exit(0);
}

/* Reads to the end of file; true when each line is of one letter. */
static int count_whole_lines(int fd)
{
    FILE *f = fdopen(fd, "r");
    char *line = NULL;
    size_t room = 0;
    int whole = 0;
    while (f && getline(&line, &room, f) > 0) {
        char *body = strstr(line, " info  ");
        size_t len = body ? strspn(body + 7, (char[]){body[7], '\0'}) : 0;
        whole += len == 3500 && body[7 + len] == '\n';
    }
    free(line);
    if (f)
        fclose(f);
    return whole;
}

static void lines_do_not_mix(void)
{
    int fds[2];
    pid_t pids[3];
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    log_on(fds[1], false);
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            log_many((char)('a' + i));
    }
    log_off();
    log_open(LOG_DEBUG, false); /* lets go of the pipe */
    CHECK_INT(count_whole_lines(fds[0]), 900);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(pids[i]), 0);
}

int main(void)
{
    test("text lines", text_lines);
    test("JSON lines", json_lines);
    test("levels", levels);
    test("the worker's number", worker_number);
    test("escapes", escape_table);
    test("escapes of random bytes", escape_random);
    test("a cut is marked", cut_is_marked);
    test("lines that are too long", long_lines);
    test("a forged line (H69)", forged_line);
    test("no memory is allocated", takes_no_memory);
    test("a blocked pipe (L17)", blocked_pipe);
    test("a blocked socket", blocked_socket);
    test("a pipe that cannot be opened anew", blocked_without_own_description);
    test("waiting is told", waiting_is_told);
    test("the reader has gone", reader_gone);
    test("no space (L17)", no_space);
    test("stderr is closed", closed_stderr);
    test("a fork", fork_keeps_one_copy);
    test("lines of several processes", lines_do_not_mix);
    return test_end();
}
