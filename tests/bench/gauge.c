// SPDX-License-Identifier: MIT
//
// The instruments of the load generator; see gauge.h for what they show and how far to trust
// them. Linux only: everything is a file of /proc, described in proc(5).

#include "gauge.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned histogram_slot(uint64_t ns)
{
    if (ns < 32)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    return (power - 4) * 32 + (unsigned)(ns >> (power - 5) & 31);
}

// The middle of a slot, the inverse of the above.
static double slot_ns(unsigned slot)
{
    if (slot < 32)
        return slot;
    return (32.5 + slot % 32) * (double)(1ull << (slot / 32 - 1));
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count[histogram_slot(ns)]++;
    h->total++;
}

double histogram_us(const struct histogram *h, double part)
{
    uint64_t below = 0, wanted = (uint64_t)((double)h->total * part);
    for (unsigned slot = 0; slot < HISTOGRAM_SIZE; slot++) {
        below += h->count[slot];
        if (below > wanted)
            return slot_ns(slot) / 1000;
    }
    return 0;
}

void server_parse(struct server *s, const char *list)
{
    for (char *end; *list != '\0'; list = *end == ',' ? end + 1 : end) {
        long pid = strtol(list, &end, 10);
        if (pid <= 0 || (*end != ',' && *end != '\0') || s->count == GAUGE_PIDS_MAX) {
            fprintf(stderr, "loadgen: bad list of pids at '%s'\n", list);
            exit(2);
        }
        s->pids[s->count++] = (pid_t)pid;
    }
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// A file of /proc whole, or an empty string when it is gone.
static const char *slurp(const char *path)
{
    static char text[16384];
    FILE *f = fopen(path, "r");
    size_t got = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[got] = '\0';
    if (f != NULL)
        fclose(f);
    return text;
}

// The number behind `label`, 0 when there is none.
static uint64_t number_after(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    return at != NULL ? strtoull(at + strlen(label), NULL, 10) : 0;
}

static void add_thread(struct usage *u, pid_t pid, int thread)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, thread);
    u->cpu_ns += strtoull(slurp(path), NULL, 10);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, thread);
    u->wakeups += number_after(slurp(path), "\nvoluntary_ctxt_switches:");
}

static void add_process(struct usage *u, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    const char *fields = strrchr(slurp(path), ')'); // the name before it may hold anything
    unsigned long long user = 0, system = 0;
    if (fields != NULL)
        sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system);
    u->user += user;
    u->system += system;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    for (struct dirent *d; threads != NULL && (d = readdir(threads)) != NULL;) {
        if (d->d_name[0] != '.')
            add_thread(u, pid, atoi(d->d_name));
    }
    if (threads != NULL)
        closedir(threads);
}

void usage_read(struct usage *u, const struct server *s)
{
    unsigned long long t[8] = {0};
    memset(u, 0, sizeof(*u));
    sscanf(slurp("/proc/stat"), "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2],
           &t[3], &t[4], &t[5], &t[6], &t[7]);
    u->busy_all = t[0] + t[1] + t[2] + t[5] + t[6];
    u->stolen = t[7];
    for (int i = 0; i < s->count; i++)
        add_process(u, s->pids[i]);
    struct timespec mine;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mine);
    u->client_ns = (uint64_t)mine.tv_sec * 1000000000u + (uint64_t)mine.tv_nsec;
    u->at_ns = now_ns();
}

uint64_t server_resident(const struct server *s)
{
    uint64_t kib = 0;
    for (int i = 0; i < s->count; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", s->pids[i]);
        kib += number_after(slurp(path), "\nRss:");
    }
    return kib * 1024;
}
