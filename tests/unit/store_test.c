// SPDX-License-Identifier: MIT
/*
 * Stores, which apps call shared dictionaries, without Lua: what calls return, expiry, room,
 * several processes on one file, processes that are killed while they write, files that are none,
 * and the writing thread.
 */
#include "net/loop.h"
#include "store/store_queue.h"
#include "support.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static char folder[64], path[96];

/* A folder in memory that has nothing in it. */
static void clean(void)
{
    char lock[128];
    snprintf(lock, sizeof lock, "%s-lock", path);
    unlink(path);
    unlink(lock);
}

static struct store *open_store(size_t size, bool disk)
{
    struct store_config config = {.path = path, .size = size, .disk = disk};
    char error[256] = "";
    struct store *s = store_open(&config, error);
    if (!s)
        fprintf(stderr, "%s\n", error);
    return s;
}

static struct store_key key_of(const char *text)
{
    return (struct store_key){text, strlen(text)};
}

static int set(struct store *s, const char *key, const char *value, double ttl)
{
    struct store_write w = {
        .what = STORE_SET,
        .key = key_of(key),
        .value = {'s', value, strlen(value)},
        .ttl = ttl,
    };
    return store_write(s, &w);
}

static int incr(struct store *s, const char *key, double n, double *sum)
{
    struct store_write w = {.what = STORE_INCR, .key = key_of(key), .number = n};
    int result = store_write(s, &w);
    *sum = w.sum;
    return result;
}

static int delete (struct store *s, const char *key, bool *was)
{
    struct store_write w = {.what = STORE_DELETE, .key = key_of(key)};
    int result = store_write(s, &w);
    *was = w.done;
    return result;
}

/* The value of a key as text; "-" when it is not there. */
static const char *get(struct store *s, const char *key)
{
    static char text[128];
    struct buf b = {0};
    struct store_key k = key_of(key);
    uint8_t kind;
    snprintf(text, sizeof text, "-");
    CHECK_INT(store_get(s, &k, &b, &kind), STORE_OK);
    double n;
    if (kind == STORE_NUMBER && CHECK_INT(buf_len(&b), sizeof n)) {
        memcpy(&n, buf_bytes(&b), sizeof n);
        snprintf(text, sizeof text, "%.17g", n);
    } else if (kind) {
        snprintf(text, sizeof text, "%.*s", (int)buf_len(&b), (const char *)buf_bytes(&b));
    }
    buf_free(&b);
    return text;
}

static void on_found(void *arg, const void *key, size_t len)
{
    char *text = arg;
    size_t used = strlen(text);
    snprintf(text + used, 256 - used, "%.*s ", (int)len, (const char *)key);
}

static const char *list(struct store *s, const char *prefix, unsigned limit, bool *more)
{
    static char text[256];
    struct store_keys q = {key_of(prefix), limit, on_found, text, false};
    text[0] = '\0';
    CHECK_INT(store_keys(s, &q), STORE_OK);
    *more = q.more;
    return text;
}

/* Waits until a value has expired. */
static void wait_until_gone(struct store *s, const char *key)
{
    time_t deadline = time(NULL) + 10;
    while (strcmp(get(s, key), "-") != 0 && CHECK(time(NULL) < deadline))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* --- Calls ---------------------------------------------------------------------------------- */

static void calls_tell_what_they_did(void)
{
    struct store *s = open_store(MIB, false);
    double sum;
    bool was;
    CHECK_TEXT(get(s, "a"), "-");
    CHECK_INT(set(s, "a", "one", 0), STORE_OK);
    CHECK_TEXT(get(s, "a"), "one");
    CHECK_INT(set(s, "a", "", 0), STORE_OK);
    CHECK_TEXT(get(s, "a"), "");
    CHECK_INT(incr(s, "a", 1, &sum), STORE_KIND);
    CHECK_TEXT(get(s, "a"), "");
    CHECK_INT(incr(s, "n", 1.5, &sum), STORE_OK);
    CHECK_INT(incr(s, "n", 2, &sum), STORE_OK);
    CHECK(sum == 3.5);
    CHECK_TEXT(get(s, "n"), "3.5");
    CHECK_INT(incr(s, "n", HUGE_VAL, &sum), STORE_RANGE);
    CHECK_TEXT(get(s, "n"), "3.5");
    CHECK_INT(delete (s, "n", &was), STORE_OK);
    CHECK(was);
    CHECK_INT(delete (s, "n", &was), STORE_OK);
    CHECK(!was);
    store_close(s);
    clean();
}

static void add_takes_a_free_key_only(void)
{
    struct store *s = open_store(MIB, false);
    struct store_write w = {.what = STORE_ADD, .key = key_of("k"), .value = {'s', "first", 5}};
    CHECK_INT(store_write(s, &w), STORE_OK);
    CHECK(w.done);
    w.value = (struct store_value){'s', "second", 6};
    CHECK_INT(store_write(s, &w), STORE_OK);
    CHECK(!w.done);
    CHECK_TEXT(get(s, "k"), "first");
    store_close(s);
    clean();
}

static void keys_and_values_have_bounds(void)
{
    struct store *s = open_store(4 * MIB, false);
    static char large[STORE_VALUE_MAX + 1];
    struct store_write w = {.what = STORE_SET, .value = {'s', large, STORE_VALUE_MAX}};
    uint8_t kind;
    struct buf b = {0};
    const size_t lengths[] = {0, 1, STORE_KEY_MAX, STORE_KEY_MAX + 1};
    for (int i = 0; i < 4; i++) {
        test_context("key of %zu", lengths[i]);
        w.key = (struct store_key){large, lengths[i]};
        int expected = i == 1 || i == 2 ? STORE_OK : STORE_ARGUMENT;
        CHECK_INT(store_write(s, &w), expected);
        CHECK_INT(store_get(s, &w.key, &b, &kind), expected);
        CHECK_INT(buf_len(&b), expected == STORE_OK ? STORE_VALUE_MAX : 0);
        buf_free(&b);
    }
    w.key = key_of("k");
    w.value.len++;
    CHECK_INT(store_write(s, &w), STORE_ARGUMENT);
    CHECK_TEXT(get(s, "k"), "-");
    store_close(s);
    clean();
}

static void keys_are_in_order(void)
{
    struct store *s = open_store(MIB, false);
    bool more;
    CHECK_TEXT(list(s, "", 10, &more), "");
    const char *const keys[] = {"b", "a:2", "a", "a:1", "m", "t"};
    for (int i = 0; i < 6; i++)
        CHECK_INT(set(s, keys[i], "v", i % 2 ? 100 : 0), STORE_OK);
    CHECK_TEXT(list(s, "", 10, &more), "a a:1 a:2 b m t ");
    CHECK(!more);
    CHECK_TEXT(list(s, "", 6, &more), "a a:1 a:2 b m t ");
    CHECK(!more);
    CHECK_TEXT(list(s, "a:", 1, &more), "a:1 ");
    CHECK(more);
    CHECK_TEXT(list(s, "n", 1, &more), "");
    CHECK(!more);
    store_close(s);
    clean();
}

/* --- Expiry and room ------------------------------------------------------------------------ */

static void what_expires_is_gone(void)
{
    struct store *s = open_store(MIB, false);
    double seconds, sum;
    bool more, was;
    struct store_key k = key_of("k");
    set(s, "k", "v", 100);
    CHECK_INT(store_ttl(s, &k, &seconds), STORE_OK);
    CHECK(seconds > 50 && seconds <= 100);
    set(s, "k", "v", 0);
    store_ttl(s, &k, &seconds);
    CHECK(seconds == HUGE_VAL);
    set(s, "k", "v", 0.001);
    wait_until_gone(s, "k");
    store_ttl(s, &k, &seconds);
    CHECK(seconds == -1);
    CHECK_TEXT(list(s, "", 10, &more), "");
    CHECK_INT(delete (s, "k", &was), STORE_OK);
    CHECK(!was);
    set(s, "k", "v", 0.001);
    wait_until_gone(s, "k");
    CHECK_INT(incr(s, "k", 1, &sum), STORE_OK);
    CHECK(sum == 1);
    store_ttl(s, &k, &seconds);
    CHECK(seconds == HUGE_VAL);
    store_close(s);
    clean();
}

/* Far more than fits goes through a small store when it expires. */
static void expired_entries_make_room(void)
{
    struct store *s = open_store(MIB, false);
    static char value[1001];
    char key[16];
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "%d", i);
        if (!CHECK_INT(set(s, key, value, 0.001), STORE_OK))
            break;
        if (i % 200 == 0)
            wait_until_gone(s, key);
    }
    store_close(s);
    clean();
}

/* Fills the store with values of that size; how many went in. */
static int fill(struct store *s, size_t size)
{
    char key[16], *value = calloc(1, size + 1);
    int n = 0, result;
    memset(value, 'x', size);
    do {
        snprintf(key, sizeof key, "%d", n);
        result = set(s, key, value, 0);
    } while (result == STORE_OK && ++n < 1000000);
    CHECK_INT(result, STORE_FULL);
    free(value);
    return n;
}

static void a_full_store_loses_nothing_and_can_be_emptied(void)
{
    static const size_t sizes[] = {1, 100, 2000, 3000, 100000};
    for (int i = 0; i < 5; i++) {
        struct store *s = open_store(MIB, false);
        char key[16];
        bool was, more;
        test_context("values of %zu", sizes[i]);
        int n = fill(s, sizes[i]);
        CHECK(n >= (int)(MIB / 3 / (sizes[i] + 100)));
        for (int k = 0; k < n; k++) {
            snprintf(key, sizeof key, "%d", k);
            if (!CHECK_INT(delete (s, key, &was), STORE_OK) || !CHECK(was))
                break;
        }
        CHECK_TEXT(list(s, "", 10, &more), "");
        CHECK(fill(s, sizes[i]) >= n / 2);
        struct stat st;
        CHECK(stat(path, &st) == 0 && (size_t)st.st_size <= MIB);
        store_close(s);
        clean();
    }
}

/* A file system of 2 MiB on `folder`, for this process alone. */
static bool mount_small(void)
{
    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", folder, "tmpfs", 0, "size=2m") == 0;
}

enum { CANNOT_MOUNT = 77 };

static int fill_the_file_system(bool disk)
{
    char key[16];
    double sum;
    bool was;
    if (!mount_small())
        return CANNOT_MOUNT;
    struct store *s = open_store(16 * MIB, disk);
    int n = fill(s, 1000);
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%d", i);
        if (delete (s, key, &was) < 0 || !was)
            return 1;
    }
    int result = incr(s, "n", 1, &sum);
    store_close(s);
    return result == STORE_OK && n > 500 && n < 2000 ? 0 : 2;
}

/* The system has no more to give: an error, not a SIGBUS. Needs a namespace of its own. */
static void no_room_for(bool disk)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fill_the_file_system(disk));
    CHECK_INT(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_MOUNT)
        fprintf(stderr, "no small file system can be mounted here: not tried\n");
    else
        CHECK_INT(status, 0);
}

static void no_room_in_the_file_system_is_told(void)
{
    no_room_for(false);
    test_context("on disk");
    no_room_for(true);
}

/* --- Several processes ---------------------------------------------------------------------- */

enum { WRITERS = 3, KILLS = 200 };

/* Adds and moves until it is killed; how often it has is in memory that all see. */
static _Noreturn void write_for_ever(volatile unsigned long *count)
{
    struct store *s = open_store(4 * MIB, false);
    char key[16];
    double sum;
    for (unsigned i = 0;; i++) {
        if (!s || incr(s, "total", 1, &sum) < 0)
            _exit(1);
        ++*count;
        snprintf(key, sizeof key, "%u", i % 500);
        if (set(s, key, "some value that takes a little room", i % 3 ? 0.01 : 0) < 0)
            _exit(1);
    }
}

static void sleep_random(uint64_t *seed)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(random_next(seed) % 8000000)}, NULL);
}

/* Each call counts whole or not at all, and nobody waits for the dead. */
static void writers_may_be_killed_at_any_instant(void)
{
    volatile unsigned long *count =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[WRITERS];
    uint64_t seed = 88172645463325252u;
    int killed = 0;
    for (int i = 0; i < WRITERS; i++)
        if ((pids[i] = fork()) == 0)
            write_for_ever(count + i * 8);
    for (; killed < KILLS; killed++) {
        int i = (int)(random_next(&seed) % WRITERS), status;
        sleep_random(&seed);
        kill(pids[i], SIGKILL);
        waitpid(pids[i], &status, 0);
        if (!CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
            break;
        if ((pids[i] = fork()) == 0)
            write_for_ever(count + i * 8);
    }
    unsigned long told = 0;
    for (int i = 0; i < WRITERS; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        told += count[i * 8];
    }
    struct store *s = open_store(4 * MIB, false);
    double sum = 0;
    CHECK_INT(incr(s, "total", 0, &sum), STORE_OK);
    CHECK(told > KILLS);
    CHECK(sum >= (double)told && sum <= (double)(told + KILLS + WRITERS));
    CHECK_INT(set(s, "after", "good", 0), STORE_OK);
    CHECK_TEXT(get(s, "after"), "good");
    store_close(s);
    munmap((void *)(size_t)count, 4096);
    clean();
}

/* In a child, which has opened nothing so far. Its exit status tells. */
static void in_child(int (*run)(void))
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run());
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

static int fill_a_larger_one(void)
{
    struct store *s = open_store(16 * MIB, true);
    char key[16];
    static char value[100001];
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "%d", i);
        if (set(s, key, value, 0) < 0)
            return 1;
    }
    store_close(s);
    return 0;
}

static void another_process_may_have_more_room(void)
{
    struct store *s = open_store(MIB, true);
    double sum;
    incr(s, "n", 1, &sum);
    CHECK_TEXT(get(s, "n"), "1");
    in_child(fill_a_larger_one);
    CHECK_INT(strlen(get(s, "59")), 127);
    CHECK_INT(incr(s, "n", 1, &sum), STORE_OK);
    CHECK_TEXT(get(s, "n"), "2");
    static char large[5001];
    memset(large, 'x', sizeof large - 1);
    CHECK_INT(set(s, "new", large, 0), STORE_FULL); /* its own bound stays */
    store_close(s);
    clean();
}

/* --- Files ---------------------------------------------------------------------------------- */

static void a_file_outlives_the_process(void)
{
    struct stat st;
    struct store *s = open_store(MIB, true);
    set(s, "k", "kept", 0);
    store_close(s);
    s = open_store(MIB, true);
    CHECK_TEXT(get(s, "k"), "kept");
    CHECK(store_is(s, path));
    CHECK(!store_is(s, folder));
    store_close(s);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    clean();
}

static void refused(const char *name, const char *why)
{
    char error[256] = "", expected[256];
    struct store_config config = {.path = name, .size = MIB, .disk = true};
    snprintf(expected, sizeof expected, "%s: %s", name, why);
    CHECK(!store_open(&config, error));
    CHECK_TEXT(error, expected);
}

static void write_file(const char *bytes, size_t len)
{
    FILE *f = fopen(path, "wb");
    fwrite(bytes, 1, len, f);
    fclose(f);
}

static void what_is_no_store_is_refused_and_left_alone(void)
{
    char lock[128], missing[128];
    struct stat st;
    snprintf(lock, sizeof lock, "%s-lock", path);
    snprintf(missing, sizeof missing, "%s/missing/store", folder);
    refused(missing, "No such file or directory");
    refused(folder, "Is a directory");
    refused("/dev/null", "the file is not one of neap.shared");
    write_file("some text that is longer than twenty bytes", 42);
    refused(path, "the file is not one of neap.shared");
    CHECK(stat(path, &st) == 0 && st.st_size == 42);
    CHECK(stat(lock, &st) < 0);
    write_file("short", 5);
    refused(path, "the file is not one of neap.shared");
    clean();
}

static void a_link_is_the_file(void)
{
    char name[128];
    struct stat st;
    snprintf(name, sizeof name, "%s/link", folder);
    struct store *s = open_store(MIB, true);
    store_close(s);
    CHECK_INT(symlink(path, name), 0);
    struct store_config config = {.path = name, .size = MIB, .disk = true};
    char error[256];
    s = store_open(&config, error);
    if (CHECK(s != NULL)) {
        CHECK(store_is(s, path));
        store_close(s);
    }
    snprintf(name, sizeof name, "%s/link-lock", folder);
    CHECK(stat(name, &st) < 0);
    snprintf(name, sizeof name, "%s/link", folder);
    unlink(name);
    clean();
}

/* --- Memory --------------------------------------------------------------------------------- */

static void copies_may_fail(void)
{
    struct store *s = open_store(MIB, false);
    struct buf b = {0};
    struct store_key k = key_of("k");
    uint8_t kind;
    set(s, "k", "value", 0);
    alloc_watch(1, true);
    int result = store_get(s, &k, &b, &kind);
    struct alloc_stats stats = alloc_end();
    CHECK(stats.failed);
    CHECK_INT(result, STORE_NOMEM);
    CHECK_INT(buf_len(&b), 0);
    CHECK_TEXT(get(s, "k"), "value");
    buf_free(&b);
    store_close(s);
    clean();
}

/* --- The queue ------------------------------------------------------------------------------ */

enum { JOBS = 300 };

static struct loop loop;
static int told;

static void on_done(struct store_job *job)
{
    CHECK_INT(job->result,
              job->write.what == STORE_INCR && job->write.key.len == 4 ? STORE_KIND : STORE_OK);
    if (++told == JOBS)
        loop_stop(&loop);
}

static void add_jobs(struct store_queue *q, struct store_job *jobs)
{
    for (int i = 0; i < JOBS; i++) {
        const char *key = i % 10 == 9 ? "text" : "n";
        jobs[i] = (struct store_job){.write = {.what = STORE_INCR, .key = key_of(key), .number = 1},
                                     .done = on_done};
        store_queue_add(q, &jobs[i]);
    }
}

static void a_thread_makes_changes_in_order(void)
{
    static struct store_job jobs[JOBS];
    struct store *s = open_store(MIB, true);
    set(s, "text", "no number", 0);
    loop_init(&loop);
    struct store_queue *q = store_queue_new(s, &loop);
    told = 0;
    add_jobs(q, jobs);
    loop_run(&loop);
    CHECK_INT(told, JOBS);
    double before = 0;
    for (int i = 0; i < JOBS; i++) {
        if (i % 10 == 9)
            continue;
        CHECK(jobs[i].write.sum == before + 1);
        before = jobs[i].write.sum;
    }
    CHECK_TEXT(get(s, "n"), "270");
    store_queue_free(q);
    loop_deinit(&loop);
    store_close(s);
    clean();
}

static void the_end_waits_for_the_thread(void)
{
    static struct store_job jobs[JOBS];
    struct store *s = open_store(MIB, true);
    set(s, "text", "no number", 0);
    loop_init(&loop);
    struct store_queue *q = store_queue_new(s, &loop);
    told = 0;
    add_jobs(q, jobs);
    store_queue_free(q);
    CHECK_INT(told, JOBS);
    CHECK_TEXT(get(s, "n"), "270");
    loop_deinit(&loop);
    store_close(s);
    clean();
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/neap-store-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/store", folder);
    test("calls tell what they did", calls_tell_what_they_did);
    test("add takes a free key only", add_takes_a_free_key_only);
    test("keys and values have bounds", keys_and_values_have_bounds);
    test("keys are in order", keys_are_in_order);
    test("what expires is gone", what_expires_is_gone);
    test("expired entries make room", expired_entries_make_room);
    test("a full store loses nothing", a_full_store_loses_nothing_and_can_be_emptied);
    test("no room in the file system is told", no_room_in_the_file_system_is_told);
    test("writers may be killed at any instant", writers_may_be_killed_at_any_instant);
    test("another process may have more room", another_process_may_have_more_room);
    test("a file outlives the process", a_file_outlives_the_process);
    test("what is no store is refused", what_is_no_store_is_refused_and_left_alone);
    test("a link is the file", a_link_is_the_file);
    test("copies may fail", copies_may_fail);
    test("a thread makes changes in order", a_thread_makes_changes_in_order);
    test("the end waits for the thread", the_end_waits_for_the_thread);
    rmdir(folder);
    return test_end();
}
