// SPDX-License-Identifier: MIT
//
// What the load generator reads off its instruments: a histogram of latencies, and from /proc
// the processor time and the memory of the server under test.
//
// Processor time comes from /proc/PID/task/*/schedstat, which counts nanoseconds, where
// /proc/PID/stat counts ticks of 10 ms. A thread that ends takes its figure along, hence only
// threads that live through the whole measurement are counted; servers here keep theirs.

#ifndef BENCH_GAUGE_H
#define BENCH_GAUGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { GAUGE_PIDS_MAX = 64, HISTOGRAM_SIZE = 64 * 32 };

// Latencies in nanoseconds, 32 slots to every power of two: an error of 3 % at most.
struct histogram {
    uint64_t count[HISTOGRAM_SIZE];
    uint64_t total;
};

void histogram_add(struct histogram *h, uint64_t ns);

// The latency in microseconds that a share `part` (0..1) of all stayed below; 0 when empty.
double histogram_us(const struct histogram *h, double part);

// The processes that make up the server.
struct server {
    pid_t pids[GAUGE_PIDS_MAX];
    int count;
};

// Reads "12,13,14". Dies on anything else, and on more than GAUGE_PIDS_MAX.
void server_parse(struct server *s, const char *list);

struct usage {
    uint64_t cpu_ns;    // of all threads of the server
    uint64_t user;      // ticks in user mode
    uint64_t system;    // ticks in the kernel
    uint64_t wakeups;   // times that a thread went to sleep by itself, and so was woken
    uint64_t busy_all;  // ticks that any process of the machine used
    uint64_t stolen;    // ticks that the host gave to other guests
    uint64_t client_ns; // of this process
    uint64_t at_ns;     // when, on the monotonic clock
};

void usage_read(struct usage *u, const struct server *s);

// Resident bytes of all processes of the server, exact (smaps_rollup).
uint64_t server_resident(const struct server *s);

// The monotonic clock, in nanoseconds.
uint64_t now_ns(void);

#endif
