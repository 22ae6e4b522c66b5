// SPDX-License-Identifier: MIT
/* The control socket as clients see it, kind ones and others, while the server goes on. */
#include "masterrun.h"

#include "master/control.h"

static const struct plan echo = {.addresses = {"127.0.0.1:0"}};

static struct server *start(char path[100])
{
    struct master_config config = {
        .workers = 2, .drain = 5, .control_path = path, .version = "1.2"};
    snprintf(path, 100, "%s/control", folder);
    return server_start(config, &echo);
}

static int dial_control(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 2 * (int)SECONDS};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Sends the bytes and reads up to and with the last line of the answer. False when none comes. */
static bool exchange(int fd, const char *bytes, char *text, size_t room)
{
    size_t len = 0;
    ssize_t n;
    text[0] = '\0';
    if (fd < 0 || send(fd, bytes, strlen(bytes), MSG_NOSIGNAL) < 0)
        return false;
    while (len < room - 1 && (n = recv(fd, text + len, room - 1 - len, 0)) > 0) {
        len += (size_t)n;
        text[len] = '\0';
        if (strstr(text, "ok\n") || strstr(text, "error: "))
            return true;
    }
    return false;
}

static void status(void)
{
    char path[100], text[4096], line[100];
    struct server *s = start(path);
    int port = server_port(s, 0), fd = dial_control(path);
    CHECK(exchange(fd, "status\n", text, sizeof text));
    snprintf(line, sizeof line, "pid %d\nversion 1.2\nuptime ", (int)s->pid);
    CHECK(strncmp(text, line, strlen(line)) == 0);
    snprintf(line, sizeof line,
             "\nlistener ws://127.0.0.1:%d\nworker 0 pid=%d state=ready restarts=0 ", port,
             ask_worker(port, 0, 0).pid);
    CHECK(strstr(text, line) != NULL);
    CHECK(strstr(text, "\nworker 1 pid=") != NULL);
    int pid = ask_worker(port, 1, 0).pid;
    kill(pid, SIGKILL);
    ask_worker(port, 1, pid);
    CHECK(exchange(fd, "status\n", text, sizeof text)); /* the same connection again */
    snprintf(line, sizeof line, "\nworker 1 pid=%d state=ready restarts=1 ",
             ask_worker(port, 1, 0).pid);
    CHECK(strstr(text, line) != NULL);
    close(fd);
    CHECK_INT(server_stop(s), 0);
}

static void private_file(void)
{
    char path[100];
    struct stat st;
    mode_t mask = umask(0);
    struct server *s = start(path);
    umask(mask);
    CHECK(server_port(s, 0) > 0);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    CHECK_INT(server_stop(s), 0);
    CHECK(stat(path, &st) < 0);
}

/* The answer to `stop` is whole when the server has ended. */
static void stop(void)
{
    char path[100], text[4096] = "";
    struct server *s = start(path);
    CHECK(server_port(s, 0) > 0);
    int fd = dial_control(path), second = dial_control(path);
    CHECK(exchange(fd, "stop\n", text, sizeof text));
    CHECK_TEXT(text, "stopping\nok\n");
    close(fd);
    close(second);
    CHECK_INT(server_end(s), 0);
    free(s);
}

static void refusals(void)
{
    static char big[5000];
    char path[100], text[4096];
    struct server *s = start(path);
    CHECK(server_port(s, 0) > 0);
    int fd = dial_control(path);
    CHECK(exchange(fd, "reload\n", text, sizeof text));
    CHECK_TEXT(text, "error: this version cannot reload an app; restart the server "
                     "(SIGHUP reads certificates again)\n");
    CHECK(exchange(fd, "statu", text, 1) || exchange(fd, "s2\n", text, sizeof text));
    CHECK_TEXT(text, "error: no such command\n");
    close(fd);
    fd = dial_control(path);
    memset(big, 'x', sizeof big - 1);
    CHECK(exchange(fd, big, text, sizeof text));
    CHECK_TEXT(text, "error: the line is too long\n");
    CHECK(!hear(fd, text, sizeof text)); /* and it has been dropped */
    close(fd);
    CHECK_INT(server_stop(s), 0);
}

/* Sixteen may be connected; one more is turned away, and served when another has gone. */
static void many_clients(void)
{
    char path[100], text[4096];
    int fds[16];
    struct server *s = start(path);
    CHECK(server_port(s, 0) > 0);
    for (int i = 0; i < 16; i++) {
        fds[i] = dial_control(path);
        CHECK(exchange(fds[i], "status\n", text, sizeof text));
    }
    int fd = dial_control(path);
    CHECK(!hear(fd, text, sizeof text));
    close(fd);
    close(fds[7]);
    bool served = false;
    for (double end = now() + SECONDS; !served && now() < end; close(fd)) {
        fd = dial_control(path);
        served = exchange(fd, "status\n", text, sizeof text);
    }
    CHECK(served);
    for (int i = 0; i < 16; i++)
        if (i != 7)
            close(fds[i]);
    CHECK_INT(server_stop(s), 0);
}

static void silent_client(void)
{
    char path[100], text[16];
    struct server *s = start(path);
    CHECK(server_port(s, 0) > 0);
    int fd = dial_control(path);
    CHECK(send(fd, "sta", 3, MSG_NOSIGNAL) == 3);
    double begin = now();
    CHECK(!hear(fd, text, sizeof text));
    CHECK(now() - begin > 5 && now() - begin < 15);
    close(fd);
    CHECK_INT(server_stop(s), 0);
}

/* The default place: a folder that only we may enter; what dead servers left there is swept out. */
static void default_place(void)
{
    char path[100], old[128], text[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/neap", folder);
    mkdir(path, 0700);
    pid_t dead = fork();
    if (dead == 0)
        _exit(0);
    waitpid(dead, NULL, 0);
    snprintf(old, sizeof old, "%s/%d.sock", path, (int)dead);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%.100s", old);
    int left = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(left, (struct sockaddr *)&un, sizeof un), 0);
    close(left);
    struct server *s = server_start((struct master_config){.workers = 1, .drain = 5}, &echo);
    CHECK(server_port(s, 0) > 0);
    CHECK(stat(old, &st) < 0);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700);
    snprintf(old, sizeof old, "%s/%d.sock", path, (int)s->pid);
    int fd = dial_control(old);
    CHECK(exchange(fd, "status\n", text, sizeof text));
    close(fd);
    CHECK_INT(server_stop(s), 0);
    CHECK(stat(old, &st) < 0);
    CHECK_INT(rmdir(path), 0);
}

/*
 * A folder that others may write to is not trusted: the server runs without a control socket there.
 */
static void untrusted_folder(void)
{
    char runtime[100], path[128], expected[160];
    struct stat st;
    snprintf(runtime, sizeof runtime, "%s/open", folder);
    snprintf(path, sizeof path, "%s/neap", runtime);
    CHECK_INT(mkdir(runtime, 0700), 0);
    CHECK_INT(mkdir(path, 0777), 0);
    CHECK_INT(chmod(path, 0777), 0);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    struct server *s = server_start((struct master_config){.workers = 1, .drain = 5}, &echo);
    CHECK(server_port(s, 0) > 0);
    snprintf(expected, sizeof expected, "%s/%d.sock", path, (int)s->pid);
    CHECK(stat(expected, &st) < 0);
    CHECK_INT(server_stop(s), 0);
    setenv("XDG_RUNTIME_DIR", folder, 1);
    CHECK_INT(rmdir(path) | rmdir(runtime), 0);
}

static void path_that_cannot_be(void)
{
    struct master_config config = {.workers = 1, .drain = 5, .control_path = "/nowhere/at/all"};
    struct server *s = server_start(config, &echo);
    CHECK_INT(server_end(s), 1);
    CHECK(strstr(s->text, "cannot make the control socket /nowhere/at/all: ") != NULL);
    free(s);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/neap-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    setenv("XDG_RUNTIME_DIR", folder, 1);
    test("status", status);
    test("the file is private", private_file);
    test("stop", stop);
    test("refusals", refusals);
    test("many clients", many_clients);
    test("a silent client", silent_client);
    test("the default place", default_place);
    test("a folder that is not ours alone", untrusted_folder);
    test("a path that cannot be", path_that_cannot_be);
    return rmdir(folder) | test_end();
}
