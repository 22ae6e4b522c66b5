// SPDX-License-Identifier: MIT
/*
 * The folder for files in memory: private, gone when its server ends, and when it was killed, gone
 * when the next one starts. Others' folders, and those of servers that live, stay.
 */
#include "line/scratch.h"
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void write_file(const char *folder, const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    close(open(path, O_WRONLY | O_CREAT, 0600));
}

/* A folder beside those of servers, as if it were one. */
static void make_beside(const struct scratch *s, const char *end, mode_t mode, char path[1200])
{
    snprintf(path, 1200, "%.*s%s", (int)(strlen(scratch_path(s)) - 6), scratch_path(s), end);
    CHECK_INT(mkdir(path, mode), 0);
    CHECK_INT(chmod(path, mode), 0);
}

static void it_is_private_and_goes_with_what_is_in_it(void)
{
    struct stat st;
    char path[1200];
    struct scratch *s = scratch_open();
    if (!CHECK(s != NULL))
        return;
    snprintf(path, sizeof path, "%s", scratch_path(s));
    CHECK(stat(path, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0700);
    write_file(path, "a.dict");
    write_file(path, "a.dict-lock");
    scratch_close(s);
    CHECK(!exists(path));
    scratch_close(NULL);
}

static void two_servers_have_two(void)
{
    struct scratch *a = scratch_open(), *b = scratch_open();
    CHECK(strcmp(scratch_path(a), scratch_path(b)) != 0);
    CHECK(exists(scratch_path(a)));
    scratch_close(b);
    CHECK(exists(scratch_path(a)));
    scratch_close(a);
}

/* In a child: the folder's path goes into the pipe, and it waits to be killed. */
static void be_a_server(int fd)
{
    struct scratch *s = scratch_open();
    write_file(scratch_path(s), "a.dict");
    const char *path = scratch_path(s);
    if (write(fd, path, strlen(path) + 1) < 0)
        _exit(1);
    for (;;)
        pause();
}

static pid_t start_server(char text[1200], void (*be)(int fd))
{
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0)
        be(ends[1]);
    close(ends[1]);
    ssize_t n = read(ends[0], text, 1200);
    CHECK(n > 0);
    close(ends[0]);
    return pid;
}

static void one_that_was_killed_leaves_it_to_the_next(void)
{
    char path[1200] = "";
    pid_t pid = start_server(path, be_a_server);
    struct scratch *s = scratch_open();
    CHECK(exists(path));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    struct scratch *next = scratch_open();
    CHECK(!exists(path));
    scratch_close(next);
    scratch_close(s);
}

/* A master that forks a worker; both wait to be killed. */
static void be_a_server_with_a_worker(int fd)
{
    struct scratch *s = scratch_open();
    pid_t worker = fork();
    if (worker == 0) {
        CHECK(fcntl(scratch_lock(s), F_GETFD) >= 0);
        for (;;)
            pause();
    }
    char text[1200];
    memset(text, 0, sizeof text);
    snprintf(text, sizeof text, "%d %s", (int)worker, scratch_path(s));
    if (write(fd, text, sizeof text) < 0)
        _exit(1);
    for (;;)
        pause();
}

/* A worker that is left when the master was killed still has it. */
static void it_is_there_while_a_worker_lives(void)
{
    int worker, at = 0;
    char text[1200] = "";
    pid_t master = start_server(text, be_a_server_with_a_worker);
    if (!CHECK_INT(sscanf(text, "%d %n", &worker, &at), 1))
        return;
    kill(master, SIGKILL);
    waitpid(master, NULL, 0);
    scratch_close(scratch_open());
    CHECK(exists(text + at));
    kill(worker, SIGKILL);
    time_t deadline = time(NULL) + 10;
    while (exists(text + at) && CHECK(time(NULL) < deadline))
        scratch_close(scratch_open()); /* it is not ours to wait for */
}

/* What only looks like one of ours stays: open to others, a link, a young one without an owner. */
static void what_may_not_be_ours_stays(void)
{
    char open_one[1200], young[1200], old[1200], link[1200];
    struct scratch *s = scratch_open();
    make_beside(s, "open00", 0755, open_one);
    make_beside(s, "young0", 0700, young);
    make_beside(s, "old000", 0700, old);
    struct timespec past[2] = {{.tv_sec = time(NULL) - 120}, {.tv_sec = time(NULL) - 120}};
    CHECK_INT(utimensat(AT_FDCWD, old, past, 0), 0);
    snprintf(link, sizeof link, "%.*slink00", (int)(strlen(scratch_path(s)) - 6), scratch_path(s));
    CHECK_INT(symlink(open_one, link), 0);
    struct scratch *next = scratch_open();
    CHECK(exists(open_one));
    CHECK(exists(link));
    CHECK(exists(young));
    CHECK(!exists(old));
    scratch_close(next);
    scratch_close(s);
    unlink(link);
    rmdir(open_one);
    rmdir(young);
}

int main(void)
{
    test("it is private and goes with what is in it", it_is_private_and_goes_with_what_is_in_it);
    test("two servers have two", two_servers_have_two);
    test("one that was killed leaves it to the next", one_that_was_killed_leaves_it_to_the_next);
    test("it is there while a worker lives", it_is_there_while_a_worker_lives);
    test("what may not be ours stays", what_may_not_be_ours_stays);
    return test_end();
}
