// SPDX-License-Identifier: MIT
/*
 * The master's promises, with real processes and sockets: who is started, started again and ended,
 * with what exit status, and what becomes of connections meanwhile. Faults L08, L09, L10 and L26 as
 * far as they are the master's.
 */
#include "masterrun.h"

#define ONE \
    { \
        .workers = 1, .drain = 5 \
    }

static const struct plan echo = {.addresses = {"127.0.0.1:0"}};

/* --- Starting and stopping ------------------------------------------------------------------ */

static void one_worker(void)
{
    struct server *s = server_start((struct master_config)ONE, &echo);
    int port = server_port(s, 0);
    CHECK(port > 0);
    CHECK_INT(ask(port).worker, 0);
    CHECK_INT(server_count(s, " info  ready\n"), 1);
    CHECK(strstr(s->text, "listening") < strstr(s->text, " ready"));
    CHECK_INT(server_stop(s), 0);
    CHECK(dial(port) < 0);
}

static void several_workers_share_a_port(void)
{
    struct master_config config = {.workers = 3, .drain = 5};
    struct plan plan = {.addresses = {"127.0.0.1:0", "127.0.0.1:0"}};
    struct server *s = server_start(config, &plan);
    int first = server_port(s, 0), second = server_port(s, 1);
    CHECK(first > 0 && second > 0 && first != second);
    CHECK_INT(server_count(s, "listening"), 2);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(ask_worker(first, i, 0).worker, i);
        CHECK_INT(ask_worker(second, i, 0).worker, i);
    }
    CHECK_INT(server_stop(s), 0);
}

static void sigint_to_the_group(void)
{
    struct server *s = server_start((struct master_config){.workers = 2, .drain = 5}, &echo);
    CHECK(server_port(s, 0) > 0);
    kill(-s->pid, SIGINT);
    CHECK_INT(server_end(s), 0);
    CHECK_INT(server_count(s, "died"), 0);
    free(s);
}

static void sighup_reads_certificates(void)
{
    struct server *s = server_start((struct master_config)ONE, &echo);
    int port = server_port(s, 0);
    int pid = ask(port).pid;
    kill(-s->pid, SIGHUP);
    CHECK(server_says(s, "SIGHUP: certificates are read again", 1));
    CHECK(server_says(s, "worker: read certificates", 1));
    CHECK_INT(ask(port).pid, pid);
    CHECK_INT(server_stop(s), 0);
}

/* L26: a worker that does not react is killed a second after its time, and the status is 0. */
static void stuck_worker(void)
{
    struct plan plan = {.kind = STUCK, .addresses = {"127.0.0.1:0"}};
    struct server *s = server_start((struct master_config){.workers = 2, .drain = 0.1}, &plan);
    CHECK(server_port(s, 0) > 0);
    double start = now();
    kill(s->pid, SIGTERM);
    CHECK_INT(server_end(s), 0);
    CHECK(now() - start >= 1.05 && now() - start < 3);
    CHECK_INT(server_count(s, "are killed"), 1);
    free(s);
}

/* L26: a second signal does not wait. */
static void second_signal(void)
{
    struct plan plan = {.kind = STUCK, .addresses = {"127.0.0.1:0"}};
    struct server *s = server_start((struct master_config){.workers = 2, .drain = 60}, &plan);
    CHECK(server_port(s, 0) > 0);
    kill(s->pid, SIGTERM);
    CHECK(server_says(s, "stopping", 1));
    kill(s->pid, SIGINT);
    CHECK(server_says(s, "second signal", 1));
    CHECK_INT(server_end(s), 1);
    free(s);
}

/* Another process that sends a signal when it is continued. */
static pid_t sender(pid_t to, int number)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(kill(to, number) < 0);
    }
    waitpid(pid, &status, WUNTRACED);
    return pid;
}

/* What means something to the master means nothing to a worker, and never ends it. */
static void signals_to_a_worker(void)
{
    static const int numbers[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM};
    struct server *s = server_start((struct master_config){.workers = 1, .drain = 5}, &echo);
    int port = server_port(s, 0), pid = ask(port).pid;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        kill(pid, numbers[i]);
    CHECK_INT(ask(port).pid, pid);
    kill(s->pid, SIGTERM);
    CHECK_INT(server_end(s), 0);
    CHECK_INT(server_count(s, "died"), 0);
    free(s);
}

/* As a terminal and the parent, which passes on what it got: that is one request to stop. */
static void echoed_signal(void)
{
    struct plan plan = {.kind = STUCK, .addresses = {"127.0.0.1:0"}};
    struct server *s = server_start((struct master_config){.workers = 1, .drain = 0.1}, &plan);
    CHECK(server_port(s, 0) > 0);
    pid_t other = sender(s->pid, SIGTERM);
    kill(s->pid, SIGTERM);
    CHECK(server_says(s, "stopping", 1));
    kill(other, SIGCONT);
    CHECK(server_says(s, "the same request", 1));
    waitpid(other, NULL, 0);
    CHECK_INT(server_end(s), 0);
    CHECK_INT(server_count(s, "second signal"), 0);
    CHECK_INT(server_count(s, "are killed"), 1);
    free(s);
}

static void stop_before_a_worker_binds(void)
{
    struct plan plan = {.kind = BINDS_LATE, .addresses = {"127.0.0.1:0"}};
    struct server *s = server_start((struct master_config){.workers = 1, .drain = 2.5}, &plan);
    /* The signal's handler may not be there before the control socket is: ask until it is. */
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/neap/%d.sock", folder, (int)s->pid);
    for (double end = now() + SECONDS; now() < end && stat(path, &st) < 0;)
        nap();
    kill(s->pid, SIGTERM);
    CHECK_INT(server_end(s), 0);
    CHECK_INT(server_count(s, "cannot listen on 127.0.0.1:0: the server is stopping"), 1);
    CHECK_INT(server_count(s, "late: fd -1, message 1, 2.5 seconds"), 1);
    free(s);
}

/* L10: without their master the workers end. */
static void master_killed(void)
{
    struct server *s = server_start((struct master_config){.workers = 3, .drain = 5}, &echo);
    int port = server_port(s, 0);
    kill(s->pid, SIGKILL);
    CHECK_INT(server_end(s), -1); /* waits for the end of all that hold the log */
    CHECK(dial(port) < 0);
    free(s);
}

/* --- Deaths --------------------------------------------------------------------------------- */

/*
 * L08: each time a worker of the same port answers within a second, and no descriptor is left
 * behind.
 */
static void killed_again_and_again(void)
{
    static const int signals[] = {SIGKILL, SIGABRT, SIGXCPU};
    struct server *s = server_start((struct master_config){.workers = 2, .drain = 5}, &echo);
    int port = server_port(s, 0);
    struct info first = ask_worker(port, 1, 0), bystander = ask_worker(port, 0, 0), last = first;
    for (int i = 0; i < 12; i++) {
        test_context("death %d", i);
        double start = now();
        kill(last.pid, signals[i % 3]);
        struct info next = ask_worker(port, 1, last.pid);
        CHECK_INT(next.worker, 1);
        CHECK(now() - start < 1);
        last = next;
    }
    test_context(NULL);
    CHECK_INT(last.fds, first.fds);
    CHECK_INT(ask_worker(port, 0, 0).pid, bystander.pid);
    CHECK_INT(server_count(s, " info  ready\n"), 1);
    CHECK(server_says(s, " info  worker ready worker=1", 12));
    CHECK_INT(server_count(s, "signal=SIGKILL"), 4);
    CHECK_INT(server_stop(s), 0);
}

/* A worker that wants to be replaced serves until another one does: everybody is answered. */
static void retirement(void)
{
    char text[80];
    for (int workers = 1; workers <= 2; workers++) {
        struct server *s =
            server_start((struct master_config){.workers = workers, .drain = 5}, &echo);
        int port = server_port(s, 0), fds = ask(port).fds;
        for (int life = 1; life <= 3; life++) {
            test_context("%d workers, life %d", workers, life);
            CHECK(ask_fd(dial(port), 'r', text, sizeof text) && strstr(text, "retires"));
            while (server_count(s, "worker ended worker=") < life && server_read(s, 1))
                if (!CHECK(ask(port).worker >= 0))
                    break;
            CHECK(server_says(s, "worker ready worker=", life));
            CHECK(strstr(s->text, "ready worker=") < strstr(s->text, "ended worker="));
        }
        test_context(NULL);
        if (workers == 1)
            CHECK_INT(ask(port).fds, fds);
        kill(s->pid, SIGTERM);
        CHECK_INT(server_end(s), 0);
        CHECK_INT(server_count(s, "died"), 0);
        free(s);
    }
}

/* A connection that waits to be accepted by a worker that dies is accepted by the next one. */
static void queue_survives(void)
{
    struct server *s = server_start((struct master_config)ONE, &echo);
    int port = server_port(s, 0);
    int pid = ask(port).pid;
    kill(pid, SIGSTOP);
    int waiting[20];
    for (int i = 0; i < 20; i++)
        waiting[i] = dial(port);
    kill(pid, SIGKILL);
    for (int i = 0; i < 20; i++) {
        char text[80] = "";
        CHECK(ask_fd(waiting[i], 'i', text, sizeof text));
        CHECK(strncmp(text, "worker 0 ", 9) == 0);
    }
    CHECK_INT(server_stop(s), 0);
}

/* L09: workers that always die at start. */
static void crash_loop(void)
{
    struct plan plan = {.kind = DIES, .addresses = {"127.0.0.1:0"}};
    struct server *s = server_start((struct master_config)ONE, &plan);
    double start = now();
    CHECK_INT(server_end(s), 1);
    CHECK(now() - start >= 1.4); /* 0.1 + 0.2 + 0.4 + 0.8 s of waiting */
    CHECK_INT(server_count(s, "error worker died worker=0"), 5);
    CHECK_INT(server_count(s, "error giving up: no worker became ready in 5 attempts\n"), 1);
    free(s);
}

/* A worker that ends while it listens is no script that has come to its end. */
static void ends_before_ready(void)
{
    for (int status = 0; status < 6; status += 3) {
        struct plan plan = {.kind = BINDS_AND_ENDS, .status = status, .addresses = {"127.0.0.1:0"}};
        struct server *s = server_start((struct master_config)ONE, &plan);
        CHECK_INT(server_end(s), 1);
        CHECK_INT(server_count(s, status ? "worker died" : "worker ended"), 5);
        CHECK_INT(server_count(s, "giving up"), 1);
        free(s);
    }
}

static void stop_while_waiting_to_restart(void)
{
    struct plan plan = {.kind = DIES, .addresses = {"127.0.0.1:0"}};
    struct server *s = server_start((struct master_config)ONE, &plan);
    CHECK(server_says(s, "worker died", 3));
    CHECK_INT(server_stop(s), 0);
}

static void refused_app(void)
{
    struct plan plan = {.kind = BINDS_AND_REFUSES, .addresses = {"127.0.0.1:0"}};
    struct server *s = server_start((struct master_config){.workers = 3, .drain = 60}, &plan);
    CHECK_INT(server_end(s), 1);
    CHECK_INT(server_count(s, "died"), 0);
    free(s);
}

/*
 * What is no worker of this master's is told by the master, in words, and nothing is tried again
 * before any worker was ready.
 */
static void unfit_workers(void)
{
    static const struct {
        struct plan plan;
        const char *why;
    } rows[] = {
        {{.kind = CANNOT_RUN}, "the program cannot be run again: Exec format error; "},
        {{.kind = SERVES, .program = "neap 9"},
         "the master is neap 1, the program on disk neap 9; "},
        {{.kind = SPEAKS_OTHERWISE, .addresses = {"127.0.0.1:0"}},
         "it speaks version 2 of the line, this master 1; "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[200];
        struct server *s = server_start(
            (struct master_config){.workers = 1, .drain = 60, .version = "neap 1"}, &rows[i].plan);
        test_context("row %zu", i);
        CHECK_INT(server_end(s), 1);
        snprintf(expected, sizeof expected, "error worker 0 cannot be started: %s", rows[i].why);
        CHECK_INT(server_count(s, expected), 1);
        CHECK_INT(server_count(s, "restart the server\n"), 1);
        CHECK_INT(server_count(s, "cannot be started"), 1);
        free(s);
    }
    test_context(NULL);
}

/* What a script says with its status is the program's, whatever it is. */
static void scripts(void)
{
    for (int status = 0; status < 5; status++) {
        struct plan plan = {.kind = ENDS, .status = status};
        struct server *s = server_start((struct master_config){.workers = 2, .drain = 5}, &plan);
        CHECK_INT(server_end(s), status);
        CHECK_INT(server_count(s, " ready"), 0);
        free(s);
    }
}

/* --- Sockets -------------------------------------------------------------------------------- */

static void port_in_use(void)
{
    for (int workers = 1; workers < 3; workers++) {
        struct master_config config = {.workers = workers, .drain = 5};
        char address[32], expected[100];
        struct server *s = server_start(config, &echo);
        snprintf(address, sizeof address, "127.0.0.1:%d", server_port(s, 0));
        snprintf(expected, sizeof expected, "cannot listen on %s: address already in use", address);
        struct plan plan = {.addresses = {address}};
        struct server *second = server_start(config, &plan);
        CHECK_INT(server_end(second), 1);
        CHECK(strstr(second->text, expected) != NULL);
        free(second);
        CHECK_INT(server_stop(s), 0);
    }
}

static void same_port_after_a_restart(void)
{
    char address[32];
    struct master_config config = {.workers = 2, .drain = 5};
    struct server *s = server_start(config, &echo);
    snprintf(address, sizeof address, "127.0.0.1:%d", server_port(s, 0));
    CHECK_INT(server_stop(s), 0);
    struct plan plan = {.addresses = {address}};
    s = server_start(config, &plan);
    CHECK_INT(server_port(s, 0), atoi(strchr(address, ':') + 1));
    CHECK_INT(server_stop(s), 0);
}

/* Unbinding closes the master's copy too: else connections would queue up where nobody accepts. */
static void unbinding(void)
{
    struct plan plan = {.addresses = {"127.0.0.1:0", "127.0.0.1:0"}, .later = "127.0.0.1:0"};
    struct server *s = server_start((struct master_config)ONE, &plan);
    int first = server_port(s, 0), second = server_port(s, 1), port = -1, fd;
    char text[80];
    CHECK_INT(ask(first).worker, 0);
    ask_fd(dial(first), 'u', text, sizeof text);
    double end = now() + SECONDS;
    while ((fd = dial(first)) >= 0 && now() < end)
        close(fd);
    CHECK(fd < 0);
    CHECK_INT(ask(second).worker, 0);
    CHECK(ask_fd(dial(second), 'b', text, sizeof text));
    CHECK_INT(sscanf(text, "port %d", &port), 1);
    CHECK(port > 0 && port != second);
    CHECK_INT(server_stop(s), 0);
}

static int dial_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
        return fd;
    close(fd);
    return -1;
}

/* One file for all workers; it outlives a killed server, and the next one takes its place. */
static void unix_listener(void)
{
    char address[100], expected[128], text[80];
    struct stat st;
    snprintf(address, sizeof address, "unix:%s/app.sock", folder);
    snprintf(expected, sizeof expected, "listening ws+unix:%s/app.sock\n", folder);
    struct plan plan = {.addresses = {address}};
    struct master_config config = {.workers = 2, .drain = 5};
    struct server *s = server_start(config, &plan);
    CHECK(server_says(s, " info  ready", 1));
    CHECK_INT(server_count(s, expected), 1);
    CHECK(ask_fd(dial_unix(address + 5), 'i', text, sizeof text));
    struct server *second = server_start(config, &plan);
    CHECK_INT(server_end(second), 1);
    CHECK(strstr(second->text, "app.sock: address already in use") != NULL);
    free(second);
    kill(s->pid, SIGKILL);
    server_end(s);
    free(s);
    CHECK_INT(stat(address + 5, &st), 0);
    s = server_start(config, &plan);
    CHECK(server_says(s, " info  ready", 1));
    CHECK(ask_fd(dial_unix(address + 5), 'i', text, sizeof text));
    CHECK_INT(server_stop(s), 0);
    CHECK(stat(address + 5, &st) < 0);
}

static void unix_listener_keeps_files(void)
{
    char address[100];
    snprintf(address, sizeof address, "unix:%s/precious", folder);
    close(open(address + 5, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    struct plan plan = {.addresses = {address}};
    struct server *s = server_start((struct master_config)ONE, &plan);
    CHECK_INT(server_end(s), 1);
    CHECK(strstr(s->text, "precious: a file that is no socket has this name") != NULL);
    CHECK_INT(unlink(address + 5), 0);
    free(s);
}

/* --- The pid file --------------------------------------------------------------------------- */

static int pid_in(const char *path)
{
    int pid = -1;
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%d", &pid) != 1)
        pid = -1;
    if (f)
        fclose(f);
    return pid;
}

static void pid_file(void)
{
    char path[100];
    struct stat st;
    snprintf(path, sizeof path, "%s/pid", folder);
    struct master_config config = {.workers = 1, .drain = 5, .pid_file = path};
    struct server *s = server_start(config, &echo);
    CHECK(server_port(s, 0) > 0);
    CHECK_INT(pid_in(path), s->pid);
    struct server *second = server_start(config, &echo);
    CHECK_INT(server_end(second), 1);
    CHECK(strstr(second->text, "names a running server") != NULL);
    free(second);
    CHECK_INT(pid_in(path), s->pid);
    kill(s->pid, SIGKILL);
    server_end(s);
    free(s);
    s = server_start(config, &echo); /* what a killed server left behind is replaced */
    CHECK(server_port(s, 0) > 0);
    CHECK_INT(pid_in(path), s->pid);
    CHECK_INT(server_stop(s), 0);
    CHECK(stat(path, &st) < 0);
    config.pid_file = "/nowhere/pid";
    s = server_start(config, &echo);
    CHECK_INT(server_end(s), 1);
    CHECK(strstr(s->text, "cannot write the pid file /nowhere/pid: No such file") != NULL);
    free(s);
}

/* --- Session tickets ------------------------------------------------------------------------ */

enum { NAME = 33, ROTATIONS = 5 }; /* a key's name in the log, and the sign behind it */

/* The names in the n-th line of a worker about its keys; NULL when there is none. */
static const char *keys_in_line(const struct server *s, int worker, int n)
{
    char text[40];
    snprintf(text, sizeof text, "worker %d: tickets ", worker);
    const char *at = s->text;
    while ((at = strstr(at, text)) && n-- > 0)
        at++;
    return at ? at + strlen(text) : NULL;
}

/* New keys come in front, the one before stays: a ticket is good for two more periods. */
static void ticket_rotation(void)
{
    struct master_config config = {.workers = 2, .drain = 5, .ticket_period = 0.1};
    struct server *s = server_start(config, &echo);
    CHECK(server_says(s, "worker 0: tickets ", ROTATIONS));
    CHECK(server_says(s, "worker 1: tickets ", ROTATIONS));
    const char *before = keys_in_line(s, 0, 0);
    for (int i = 1; i < ROTATIONS; i++) {
        const char *keys = keys_in_line(s, 0, i), *others = keys_in_line(s, 1, i);
        int kept = i < TLS_TICKET_KEYS ? i : TLS_TICKET_KEYS - 1;
        CHECK(strncmp(keys, before, NAME) != 0);
        CHECK_BYTES(keys + NAME, (size_t)kept * NAME, before, (size_t)kept * NAME);
        CHECK_INT(keys[(kept + 1) * NAME], ' ');
        CHECK(others && strncmp(others, keys, NAME) == 0);
        before = keys;
    }
    CHECK_INT(server_stop(s), 0);
}

static void run_all(void)
{
    test("one worker", one_worker);
    test("several workers share a port", several_workers_share_a_port);
    test("SIGINT to the group", sigint_to_the_group);
    test("SIGHUP", sighup_reads_certificates);
    test("a stuck worker (L26)", stuck_worker);
    test("a second signal (L26)", second_signal);
    test("the echo of a signal", echoed_signal);
    test("signals to a worker", signals_to_a_worker);
    test("stop before a worker binds", stop_before_a_worker_binds);
    test("the master is killed (L10)", master_killed);
    test("killed again and again (L08)", killed_again_and_again);
    test("retirement", retirement);
    test("the accept queue survives", queue_survives);
    test("a crash loop (L09)", crash_loop);
    test("ends before it is ready", ends_before_ready);
    test("stop while waiting to restart", stop_while_waiting_to_restart);
    test("an app that does not load", refused_app);
    test("workers that cannot be", unfit_workers);
    test("scripts", scripts);
    test("a port in use", port_in_use);
    test("the same port after a restart", same_port_after_a_restart);
    test("unbinding", unbinding);
    test("a Unix listener", unix_listener);
    test("a Unix listener keeps files", unix_listener_keeps_files);
    test("the pid file", pid_file);
    test("keys of session tickets", ticket_rotation);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/neap-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    setenv("XDG_RUNTIME_DIR", folder, 1);
    run_all();
    char path[100];
    snprintf(path, sizeof path, "%s/neap", folder);
    DIR *dir = opendir(path);
    struct dirent *d;
    while (dir && (d = readdir(dir))) {
        char file[400];
        snprintf(file, sizeof file, "%s/%s", path, d->d_name);
        unlink(file); /* those of masters that were killed */
    }
    if (dir)
        closedir(dir);
    rmdir(path);
    return rmdir(folder) | test_end();
}
