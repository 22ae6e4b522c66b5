// SPDX-License-Identifier: MIT
//
// The load generator: many WebSocket connections to 127.0.0.1 (client.c) and one line of JSON
// about what it measured. It is a closed loop: a connection sends its next message when a reply
// came, so that the rate is what client and server reach together. The figure to compare is
// therefore the server's processor time a message, which it reads from /proc (gauge.c).
//
//   echo      --depth messages are in flight on each connection, all the time
//   connect   connect, handshake, closing handshake, and again, on --connections slots
//   idle      opens all connections, sends one message on each, then watches the server rest;
//             its memory is read before, between and after
//   fan       one connection more publishes, --depth messages in flight, and every one is delivered
//             to all others; a message of the figures is a delivery
//
// Exit status: 0 with figures, 1 with a line on stderr when the server did anything wrong,
// 2 for a wrong option.

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"
#include "gauge.h"
#include "packed.h"

static struct client_options opt = {
    .path = "/echo", .connections = 100, .depth = 1, .size = 20, .opcode = CLIENT_TEXT};
static double seconds = 5, warmup = 1;
static struct server server;

static double ratio(uint64_t a, uint64_t b)
{
    return b > 0 ? (double)a / (double)b : 0;
}

static void print_rate(const struct usage *a, const struct usage *b,
                       const struct client_counts *replies, const struct histogram *h)
{
    uint64_t count = replies->replies;
    uint64_t wall = b->at_ns - a->at_ns;
    uint64_t cpu = b->cpu_ns - a->cpu_ns, client = b->client_ns - a->client_ns;
    uint64_t user = b->user - a->user, system = b->system - a->system;
    double tick = 1e9 / (double)sysconf(_SC_CLK_TCK);
    double others = (double)(b->busy_all - a->busy_all) * tick - (double)(cpu + client);
    printf("{\"messages\":%llu,\"reply_bytes\":%.1f,\"final_blocks\":%llu,"
           "\"seconds\":%.3f,\"rate\":%.1f,\"cpu_us\":%.4f,"
           "\"user_share\":%.3f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,"
           "\"p999_us\":%.1f,\"server_load\":%.3f,\"client_load\":%.3f,\"other_load\":%.3f,"
           "\"steal\":%.3f,\"resident\":%llu}\n",
           (unsigned long long)count, ratio(replies->bytes, count),
           (unsigned long long)replies->finals, (double)wall / 1e9, ratio(count, wall) * 1e9,
           ratio(cpu, count) / 1000, ratio(user, user + system), histogram_us(h, 0.5),
           histogram_us(h, 0.9), histogram_us(h, 0.99), histogram_us(h, 0.999), ratio(cpu, wall),
           ratio(client, wall), others / (double)wall,
           (double)(b->stolen - a->stolen) * tick / (double)wall,
           (unsigned long long)server_resident(&server));
}

static void measure_rate(void)
{
    static struct histogram latency;
    struct usage a, b;
    client_open();
    if (opt.mode != CLIENT_CONNECT)
        client_send_all();
    client_run(warmup);
    client_record(&latency);
    struct client_counts before = client_counts();
    usage_read(&a, &server);
    client_run(seconds);
    usage_read(&b, &server);
    struct client_counts replies = client_counts();
    if (opt.mode == CLIENT_FAN)
        client_drain();
    replies.replies -= before.replies;
    replies.bytes -= before.bytes;
    replies.finals -= before.finals;
    if (replies.replies == 0) {
        fprintf(stderr, "loadgen: no reply came in %.1f s\n", seconds);
        exit(1);
    }
    print_rate(&a, &b, &replies, &latency);
}

// Waits until the server has finished what it does by itself, a collection of garbage say, or
// until five seconds have passed, since some servers never rest.
static void settle(void)
{
    struct usage a, b;
    usage_read(&b, &server);
    for (int i = 0; i < 20; i++) {
        a = b;
        client_run(0.25);
        usage_read(&b, &server);
        if (b.cpu_ns - a.cpu_ns < 100000)
            return;
    }
}

// One phase of the idle mode: does it, lets the server settle, tells its cost and its memory.
static uint64_t phase(void (*step)(void), double *cpu_us)
{
    struct usage a, b;
    usage_read(&a, &server);
    step();
    settle();
    usage_read(&b, &server);
    *cpu_us = ratio(b.cpu_ns - a.cpu_ns, (uint64_t)opt.connections) / 1000;
    return server_resident(&server);
}

static void measure_idle(void)
{
    struct usage a, b;
    double open_us, message_us, count = opt.connections;
    settle();
    double before = (double)server_resident(&server);
    double open = (double)phase(client_open, &open_us);
    double used = (double)phase(client_send_all, &message_us);
    usage_read(&a, &server);
    client_run(seconds);
    usage_read(&b, &server);
    printf("{\"connections\":%d,\"resident\":%.0f,\"bytes_open\":%.1f,\"bytes_used\":%.1f,"
           "\"final_blocks\":%llu,\"open_cpu_us\":%.2f,\"message_cpu_us\":%.2f,"
           "\"rest_seconds\":%.3f,"
           "\"rest_cpu_us\":%.1f,\"rest_wakeups\":%llu}\n",
           opt.connections, before, (open - before) / count, (used - before) / count,
           (unsigned long long)client_counts().finals, open_us, message_us,
           (double)(b.at_ns - a.at_ns) / 1e9, (double)(b.cpu_ns - a.cpu_ns) / 1000,
           (unsigned long long)(b.wakeups - a.wakeups));
}

static const char usage_text[] =
    "Usage: loadgen --port PORT --pids PID,... [options]\n"
    "  --mode echo|connect|idle|fan   what to measure (echo)\n"
    "  --path PATH                of the request (/echo)\n"
    "  --connections N            or slots, in connect mode, or receivers (100)\n"
    "  --size BYTES               of a payload, at least 16 (20)\n"
    "  --depth N                  messages in flight on each connection (1)\n"
    "  --binary                   binary messages instead of text\n"
    "  --tls                      wss\n"
    "  --packed                   compressed both ways, nothing kept; JSON of at most 1 MiB\n"
    "  --seconds S, --warmup S    of measuring, and before it (5, 1)\n"
    "  --pids PID,...             the server's processes\n";

static void wrong_usage(void)
{
    fputs(usage_text, stderr);
    exit(2);
}

static enum client_mode mode_named(const char *name)
{
    static const char *const names[] = {"echo", "connect", "idle", "fan"};
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum client_mode)i;
    }
    wrong_usage();
    return CLIENT_ECHO;
}

static void parse_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, 0, 'p'},
        {"mode", 1, 0, 'm'},
        {"path", 1, 0, 'u'},
        {"size", 1, 0, 's'},
        {"depth", 1, 0, 'd'},
        {"connections", 1, 0, 'c'},
        {"seconds", 1, 0, 't'},
        {"warmup", 1, 0, 'w'},
        {"binary", 0, 0, 'b'},
        {"tls", 0, 0, 'T'},
        {"packed", 0, 0, 'z'},
        {"pids", 1, 0, 'P'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p': opt.port = (uint16_t)atoi(optarg); break;
        case 'm': opt.mode = mode_named(optarg); break;
        case 'u': opt.path = optarg; break;
        case 's': opt.size = strtoull(optarg, NULL, 10); break;
        case 'd': opt.depth = atoi(optarg); break;
        case 'c': opt.connections = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warmup = atof(optarg); break;
        case 'b': opt.opcode = CLIENT_BINARY; break;
        case 'T': opt.tls = true; break;
        case 'z': opt.packed = true; break;
        case 'P': server_parse(&server, optarg); break;
        default: wrong_usage();
        }
    }
    if (opt.port == 0 || server.count == 0 || opt.connections < 1 || opt.depth < 1 ||
        opt.depth > CLIENT_DEPTH_MAX || opt.size < CLIENT_SIZE_MIN ||
        opt.size > (opt.packed ? PACKED_SIZE_MAX : CLIENT_SIZE_MAX) ||
        (opt.packed && opt.mode == CLIENT_FAN))
        wrong_usage();
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    raise_descriptor_limit();
    client_init(&opt);
    if (opt.mode == CLIENT_IDLE)
        measure_idle();
    else
        measure_rate();
    return 0;
}
