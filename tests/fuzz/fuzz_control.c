// SPDX-License-Identifier: MIT
/*
 * The control socket as anybody may use it. The input is steps of two clients, each behind a byte:
 *
 *      0-199    client `step % 2` sends so many of the bytes that follow
 *      200-229  client `step % 2` hangs up, and another one takes its place
 *      230-     those who wait for the end of their command are told
 *
 * A client is told what the rules of control.h make of the bytes it has sent, however they were cut
 * into pieces, and is dropped exactly when they say so. Nothing is left of it when it has gone.
 */
#include "base/buf.h"
#include "base/log.h"
#include "master/control.h"
#include "net/loop.h"
#include "wsfuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 2, LINE = 4096, ROOM = 1 << 16 };

/* A client, and what the rules say of it. */
struct client {
    int fd;
    bool waits, dropped;
    size_t len; /* of its unfinished line */
    char line[LINE];
    size_t wanted_len, got_len;
    char wanted[ROOM], got[ROOM];
};

static struct loop loop;
static struct control *control;
static char path[100];
static struct client clients[CLIENTS];

/* Any commands will do, one for each outcome. */
static enum control_result run_command(void *arg, const char *command, struct buf *reply)
{
    MUST(arg == clients);
    static const char said[] = "pid 1\n", answered[] = "error: not today\n";
    if (strcmp(command, "ok") == 0)
        return buf_append(reply, said, sizeof said - 1) < 0 ? CONTROL_UNKNOWN : CONTROL_OK;
    if (strcmp(command, "an") == 0)
        return buf_append(reply, answered, sizeof answered - 1) < 0 ? CONTROL_UNKNOWN
                                                                    : CONTROL_ANSWERED;
    return strcmp(command, "lt") == 0 ? CONTROL_LATER : CONTROL_UNKNOWN;
}

/* --- The rules ------------------------------------------------------------------------------ */

static void want(struct client *c, const char *text)
{
    size_t len = strlen(text);
    MUST(c->wanted_len + len < sizeof c->wanted);
    memcpy(c->wanted + c->wanted_len, text, len);
    c->wanted_len += len;
}

static void want_answer(struct client *c)
{
    if (strcmp(c->line, "ok") == 0)
        want(c, "pid 1\nok\n");
    else if (strcmp(c->line, "an") == 0)
        want(c, "error: not today\n");
    else if (strcmp(c->line, "lt") == 0)
        c->waits = true;
    else
        want(c, "error: no such command\n");
}

/* One more byte has come. */
static void rule(struct client *c, char byte)
{
    if (c->waits || c->dropped)
        return;
    c->line[c->len++] = byte;
    if (byte == '\n') {
        c->line[c->len - 1] = '\0';
        c->len = 0;
        want_answer(c);
    } else if (c->len == LINE) {
        want(c, "error: the line is too long\n");
        c->dropped = true;
    }
}

/* --- The clients ---------------------------------------------------------------------------- */

static void turns(void)
{
    for (int i = 0; i < 3; i++)
        ev_run(loop.ev, EVRUN_NOWAIT);
}

static void hear(struct client *c)
{
    ssize_t n;
    while ((n = recv(c->fd, c->got + c->got_len, sizeof c->got - c->got_len, MSG_DONTWAIT)) > 0)
        c->got_len += (size_t)n;
    MUST(c->got_len == c->wanted_len && memcmp(c->got, c->wanted, c->got_len) == 0);
    MUST((n == 0 || errno != EAGAIN) == c->dropped);
    c->got_len = c->wanted_len = 0;
}

static void come(struct client *c)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->waits = c->dropped = false;
    c->len = c->wanted_len = c->got_len = 0;
    MUST(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&un, sizeof un) == 0);
    turns();
}

static void leave(struct client *c)
{
    hear(c);
    close(c->fd);
    turns();
}

static void tell(struct client *c, const uint8_t *bytes, size_t len)
{
    if (len && send(c->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len)
        for (size_t i = 0; i < len; i++)
            rule(c, (char)bytes[i]);
    turns();
    hear(c);
}

static void finish(void)
{
    control_finish(control);
    for (struct client *c = clients; c < clients + CLIENTS; c++) {
        if (c->waits)
            want(c, "ok\n");
        hear(c);
    }
}

/* The number that the next descriptor gets: it rises when one is left open. */
static int next_fd(void)
{
    int fd = dup(0);
    MUST(fd >= 0);
    close(fd);
    return fd;
}

static void start(void)
{
    log_open(LOG_ERROR, false);
    loop_init(&loop);
    snprintf(path, sizeof path, "/tmp/neap-fuzz-%d.sock", (int)getpid());
    control = control_open(&loop, path, run_command, clients);
    MUST(control);
    turns();
}

static void on_exit_remove(void)
{
    control_close(control);
    loop_deinit(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!control) {
        start();
        atexit(on_exit_remove);
    }
    int fd = next_fd();
    for (struct client *c = clients; c < clients + CLIENTS; c++)
        come(c);
    for (size_t i = 0; i < size;) {
        unsigned step = data[i++];
        struct client *c = &clients[step % CLIENTS];
        size_t len = step < size - i ? step : size - i;
        if (step >= 230) {
            finish();
        } else if (step >= 200) {
            leave(c);
            come(c);
        } else {
            tell(c, data + i, len);
            i += len;
        }
    }
    for (struct client *c = clients; c < clients + CLIENTS; c++)
        leave(c);
    MUST(next_fd() == fd);
    return 0;
}
