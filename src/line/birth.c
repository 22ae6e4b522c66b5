// SPDX-License-Identifier: MIT
/*
 * The file that was started may be replaced while the server runs, so its name is good only while
 * it leads to the same file: a number of the file system that is not given away while the program
 * runs.
 */
#include "line/birth.h"

#include "base/mem.h"
#include "base/quiet.h"
#include "line/line.h"
#include "line/scratch.h"
#include "line/watchdog.h"
#include "line/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SELF "/proc/self/exe"

static struct {
    char path[PATH_MAX];
    dev_t dev;
    ino_t ino;
} program;

/* --- The master's side ---------------------------------------------------------------------- */

bool birth_learn_program(void)
{
    struct stat st;
    ssize_t len = readlink(SELF, program.path, sizeof program.path - 1);
    if (len < 0)
        return false;
    program.path[len] = '\0';
    if (stat(program.path, &st) < 0)
        program.path[0] = '\0'; /* it is gone already */
    program.dev = st.st_dev;
    program.ino = st.st_ino;
    return true;
}

int birth_announce(int line, const struct birth *b)
{
    struct wire m = {.kind = WIRE_BEGIN, .number = b->seat, .count = b->workers};
    snprintf(m.program, sizeof m.program, "%s", b->program);
    if (b->scratch)
        snprintf(m.path, sizeof m.path, "%s", scratch_path(b->scratch));
    if (wire_send(line, &m, b->page) < 0)
        return -1;
    m = (struct wire){.kind = WIRE_LOCK};
    return b->scratch ? wire_send(line, &m, scratch_lock(b->scratch)) : 0;
}

static const char *current_program(void)
{
    struct stat st;
    bool same = program.path[0] && stat(program.path, &st) == 0 && st.st_dev == program.dev &&
                st.st_ino == program.ino;
    return same ? program.path : SELF;
}

void birth_exec(int line, int number, char *const *words)
{
    char name[32], fd[16];
    size_t count = 0;
    while (words[count])
        count++;
    const char **argv = mem_alloc((count + 4) * sizeof *argv);
    snprintf(name, sizeof name, "neap: worker %d", number);
    snprintf(fd, sizeof fd, "%d", line);
    argv[0] = name;
    argv[1] = BIRTH_COMMAND;
    argv[2] = fd;
    memcpy(argv + 3, words, count * sizeof *argv);
    fcntl(line, F_SETFD, 0);
    execv(current_program(), (char *const *)(uintptr_t)argv);
}

/* --- The worker's side ---------------------------------------------------------------------- */

/* After an exec of /proc/self/exe that is all that the kernel knows as the program's name. */
static void mend_name(void)
{
    char name[17] = "";
    prctl(PR_GET_NAME, name);
    if (strcmp(name, "exe") == 0)
        prctl(PR_SET_NAME, "neap");
}

void birth_begin(void)
{
    static const int quiet[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t none;
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        quiet_signal(quiet[i]);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    mend_name();
}

bool birth_is_line(int fd)
{
    int domain = 0, type = 0;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

/* The next message, which must be of that kind, with its descriptor; false after saying why not. */
static bool take(int line, enum wire_kind kind, struct wire *m, int *fd, char why[BIRTH_WHY])
{
    int got = wire_receive(line, m, fd, true);
    if (got > 0 && m->kind == kind && *fd >= 0)
        return true;
    if (got < 0 && errno == EPROTO)
        snprintf(why, BIRTH_WHY, "the master speaks version %u of the line, this program %d",
                 m->version, WIRE_VERSION);
    else if (got < 0 && errno != EBADMSG)
        snprintf(why, BIRTH_WHY, "nothing can be read from the line: %s", strerror(errno));
    else if (got != 0)
        snprintf(why, BIRTH_WHY, "the line does not begin as a master's does");
    if (got > 0 && *fd >= 0)
        close(*fd);
    return false;
}

/* Why a BEGIN with that page makes no worker of this program; empty when it does. */
static void judge(const struct wire *m, const struct watchdog *page, const char *mine,
                  char why[BIRTH_WHY])
{
    if (strcmp(m->program, mine) != 0)
        snprintf(why, BIRTH_WHY, "the master is %.100s, the program on disk %.100s", m->program,
                 mine);
    else if (!page || m->count < 1 || m->number < 0 || m->number >= 2 * m->count)
        snprintf(why, BIRTH_WHY, "the line does not begin as a master's does");
}

struct line *birth_take(int fd, const char *mine, char why[BIRTH_WHY])
{
    struct wire m, next;
    int file, lock = -1;
    *why = '\0';
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (!take(fd, WIRE_BEGIN, &m, &file, why))
        return NULL;
    struct watchdog *page = watchdog_open(file);
    close(file);
    judge(&m, page, mine, why);
    if (*why || (m.path[0] && !take(fd, WIRE_LOCK, &next, &lock, why))) {
        watchdog_free(page);
        return NULL;
    }
    struct line *line = line_new(fd, m.number, m.count);
    line_set_watchdog(line, page);
    if (lock >= 0)
        line_set_scratch(line, m.path, lock);
    return line;
}

void birth_refuse(int line, const char *why)
{
    struct wire m = {.kind = WIRE_UNFIT};
    snprintf(m.error, sizeof m.error, "%s", why);
    wire_send(line, &m, -1);
}
