// SPDX-License-Identifier: MIT
//
// The connections of the load generator: opens them, sends messages, checks replies. One thread,
// one epoll descriptor, and one set of connections a process, hence no handle in the calls. Any
// fault of the server ends the process with status 1 and a line about it on stderr.
//
// No two messages are alike, so that a server cannot gain from seeing a string again: eight
// hexadecimal digits at the front count the messages and eight at the end name the connection.
// The rest is the same in all, and masked once for all. Compressed messages are those of packed.h.
//
// Every reply's opcode, FIN, length and order are checked, and the content of one in eight.
//
// When fanning out, a reply is a delivery: the same checks on every receiver, with the publisher's
// messages, and nothing may come to the publisher itself. The next message is published when one
// has reached everybody.

#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gauge.h"

enum client_mode {
    CLIENT_ECHO,    // every reply is followed by the next message
    CLIENT_CONNECT, // handshake, closing handshake, and again, without end
    CLIENT_IDLE,    // messages are sent by client_send_all alone
    CLIENT_FAN,     // one connection more publishes, and all others receive what it sends
};

enum { CLIENT_TEXT = 1, CLIENT_BINARY = 2 };

enum { CLIENT_SIZE_MIN = 16, CLIENT_SIZE_MAX = 16 << 20, CLIENT_DEPTH_MAX = 256 };

struct client_options {
    enum client_mode mode;
    const char *path; // of the request
    uint16_t port;    // on 127.0.0.1
    int connections;
    int depth;   // messages in flight on a connection, at most CLIENT_DEPTH_MAX; of the publisher
    size_t size; // of a payload, CLIENT_SIZE_MIN to CLIENT_SIZE_MAX
    bool tls;    // over TLS, verifying nothing
    bool packed; // messages are compressed, both ways
    int opcode;  // CLIENT_TEXT or CLIENT_BINARY
};

// Prepares everything; nothing is connected yet. The options are copied.
void client_init(const struct client_options *options);

// Opens all connections, few at a time, and waits until they are open. In connect mode it only
// starts them.
void client_open(void);

// Sends `depth` messages on every connection (echo mode), on the publisher (fan mode), or one on
// each, some at a time, and waits for the replies (idle mode).
void client_send_all(void);

// Sends no more and waits until all that was published has been delivered, so that none is
// missing (fan mode).
void client_drain(void);

// Serves the connections for so long.
void client_run(double seconds);

struct client_counts {
    uint64_t replies; // in connect mode, rounds
    uint64_t bytes;   // of the frames of replies; 0 in connect mode
    uint64_t finals;  // replies of one in eight that end in a final block
};

// All until now.
struct client_counts client_counts(void);

// From now on latencies are added to `h`; NULL stops that. In connect mode a latency is that
// of a whole round, in fan mode that of the last delivery of a message.
void client_record(struct histogram *h);

#endif
