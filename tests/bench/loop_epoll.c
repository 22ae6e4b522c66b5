// SPDX-License-Identifier: MIT
//
// The least that a WebSocket server which echoes or fans out can do on epoll: the yardstick of the
// benchmarks.
//
// It accepts, answers the opening handshake, unmasks, and sends every text or binary frame
// back, with one recv and one send for each batch of frames that arrived together. It is
// NOT a server to use: it checks no UTF-8, knows no fragments, keeps no timers, sets no limit
// but the size of one frame, and believes that its client behaves.
//
// A masked frame is four bytes longer than the same frame from a server, so that the replies
// to a batch are written over the batch itself, from its start, and go out as one piece:
//
//   arena   | head mask payload | head mask payload | part of a frame ... |
//   replies | head payload | head payload |         ^ kept in peer->in until the rest comes
//
// With a certificate it speaks TLS (transport.c), and is the yardstick for that.
//
// Who asks for /fan is a member of the one group there is, and gets what any other member sends:
// unmasked once, with one send to each member for the whole batch, from the arena.
//
// RFC 6455 §4.2 (handshake), §5.2 (frame layout), §5.3 (masking), §5.5.1 (close).
//
// Usage: loop_epoll [PORT [CERT KEY]]      (0 or none: any free port; the choice is printed)

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "transport.h"

enum {
    ARENA_SIZE = 192 * 1024, // stays in the second-level cache; frames must fit into it
    EVENTS_PER_TURN = 256,
    ACCEPTS_PER_TURN = 64,
    KEY_LENGTH = 24,
    OPCODE_CLOSE = 8,
};

struct bytes {
    uint8_t *data;
    size_t size;
};

struct peer {
    struct transport transport;
    bool is_open;   // the handshake has been answered
    bool is_member; // of the group; its place is in members[]
    size_t place;
    struct bytes in;  // the part of a frame that came without its end
    struct bytes out; // what the socket did not take; nothing is read meanwhile
};

// One frame as found in the arena.
struct frame {
    uint8_t first; // FIN, reserved bits and opcode
    size_t head;   // bytes before the payload, the mask's four included
    size_t payload;
};

static uint8_t arena[ARENA_SIZE];
static int epoll;
static struct peer **members;
static size_t member_count;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void bytes_set(struct bytes *b, const uint8_t *data, size_t size)
{
    free(b->data);
    b->data = size > 0 ? malloc(size) : NULL;
    b->size = size;
    if (size == 0)
        return;
    if (b->data == NULL)
        die("malloc");
    memcpy(b->data, data, size);
}

static void join(struct peer *peer)
{
    members = realloc(members, (member_count + 1) * sizeof(*members));
    if (members == NULL)
        die("realloc");
    peer->is_member = true;
    peer->place = member_count;
    members[member_count++] = peer;
}

static void leave(struct peer *peer)
{
    members[peer->place] = members[--member_count];
    members[peer->place]->place = peer->place;
    peer->is_member = false;
}

static void peer_free(struct peer *peer)
{
    if (peer->is_member)
        leave(peer);
    transport_close(&peer->transport);
    bytes_set(&peer->in, NULL, 0);
    bytes_set(&peer->out, NULL, 0);
    free(peer);
}

static void peer_wait_for(struct peer *peer, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, peer->transport.fd, &event) < 0)
        die("epoll_ctl");
}

// Sends, keeping what the socket does not take. False when the connection is lost.
static bool peer_send(struct peer *peer, const uint8_t *data, size_t size)
{
    ssize_t sent = transport_send(&peer->transport, data, size);
    if (sent == (ssize_t)size)
        return true;
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    bytes_set(&peer->out, data + sent, size - (size_t)sent);
    peer_wait_for(peer, EPOLLOUT);
    return true;
}

// Puts more behind what the socket has not taken.
static void peer_add(struct peer *peer, const uint8_t *data, size_t size)
{
    peer->out.data = realloc(peer->out.data, peer->out.size + size);
    if (peer->out.data == NULL)
        die("realloc");
    memcpy(peer->out.data + peer->out.size, data, size);
    peer->out.size += size;
}

// Sends to all members but one. Who is lost is found out when it is read.
static void fan_out(const struct peer *except, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < member_count; i++) {
        if (members[i] == except)
            continue;
        if (members[i]->out.size > 0)
            peer_add(members[i], data, size);
        else
            peer_send(members[i], data, size);
    }
}

static bool on_writable(struct peer *peer)
{
    ssize_t sent = transport_send(&peer->transport, peer->out.data, peer->out.size);
    if (sent < 0)
        return errno == EAGAIN;
    peer->out.size -= (size_t)sent;
    if (peer->out.size > 0) {
        memmove(peer->out.data, peer->out.data + sent, peer->out.size);
        return true;
    }
    bytes_set(&peer->out, NULL, 0);
    peer_wait_for(peer, EPOLLIN);
    return true;
}

// Moves a payload to its place in the reply and unmasks it on the way. `to` lies at or before
// `from`, hence whole blocks are read before they are written.
static void unmask(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
    typedef uint32_t block __attribute__((vector_size(32)));
    const block masks = {mask, mask, mask, mask, mask, mask, mask, mask};
    size_t i = 0;
    for (; i + sizeof(block) <= size; i += sizeof(block)) {
        block piece;
        memcpy(&piece, from + i, sizeof(piece));
        piece ^= masks;
        memcpy(to + i, &piece, sizeof(piece));
    }
    for (; i + sizeof(mask) <= size; i += sizeof(mask)) {
        uint32_t piece;
        memcpy(&piece, from + i, sizeof(piece));
        piece ^= mask;
        memcpy(to + i, &piece, sizeof(piece));
    }
    for (; i < size; i++)
        to[i] = (uint8_t)(from[i] ^ (mask >> (8 * (i & 3))));
}

// Reads the head of the frame at `p` (RFC 6455 §5.2). False while it is incomplete.
static bool frame_read(struct frame *f, const uint8_t *p, size_t size)
{
    if (size < 2)
        return false;
    unsigned length_bytes = (p[1] & 127) < 126 ? 0 : (p[1] & 127) == 126 ? 2 : 8;
    f->first = p[0];
    f->head = 2 + length_bytes + 4;
    f->payload = length_bytes == 0 ? p[1] & 127 : 0;
    if (size < f->head)
        return false;
    for (unsigned i = 0; i < length_bytes; i++)
        f->payload = f->payload << 8 | p[2 + i];
    if (f->payload > ARENA_SIZE - f->head) {
        fprintf(stderr, "loop_epoll: a frame larger than the arena\n");
        exit(1);
    }
    return size - f->head >= f->payload;
}

// Turns the frame at `from` into its reply at `to`, which may overlap. Returns the reply's size.
static size_t frame_echo(uint8_t *to, const uint8_t *from, const struct frame *f)
{
    uint32_t mask;
    memcpy(&mask, from + f->head - 4, sizeof(mask));
    memmove(to, from, f->head - 4);
    to[1] &= 127;
    unmask(to + f->head - 4, from + f->head, f->payload, mask);
    return f->head - 4 + f->payload;
}

// Answers every whole frame of `data` with one send, or sends all of them to the other members. A
// close frame is echoed as well and ends the connection; pings are skipped. False when the
// connection is over.
static bool echo_batch(struct peer *peer, uint8_t *data, size_t size)
{
    struct frame f;
    size_t used = 0, replied = 0;
    bool closing = false;
    while (!closing && frame_read(&f, data + used, size - used)) {
        unsigned opcode = f.first & 15;
        if (opcode <= OPCODE_CLOSE)
            replied += frame_echo(data + replied, data + used, &f);
        used += f.head + f.payload;
        closing = opcode == OPCODE_CLOSE;
    }
    if (used < size || peer->in.size > 0)
        bytes_set(&peer->in, data + used, size - used);
    if (replied == 0)
        return !closing;
    if (peer->is_member && !closing)
        fan_out(peer, data, replied);
    else if (!peer_send(peer, data, replied))
        return false;
    return !closing;
}

// RFC 6455 §4.2.2: the answer proves that the key was read.
static void accept_value(char out[32], const char *key)
{
    char text[KEY_LENGTH + 36];
    unsigned char digest[SHA_DIGEST_LENGTH];
    memcpy(text, key, KEY_LENGTH);
    memcpy(text + KEY_LENGTH, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    SHA1((const unsigned char *)text, sizeof(text), digest);
    EVP_EncodeBlock((unsigned char *)out, digest, SHA_DIGEST_LENGTH);
}

// The whole request head must have come in one piece and nothing behind it, which holds for
// any client that waits for the answer. False when it has not.
static bool answer_handshake(struct peer *peer, uint8_t *data, size_t size)
{
    static const char name[] = "Sec-WebSocket-Key: ";
    char *head = (char *)data, accept[32], answer[256];
    head[size] = '\0';
    char *key = strcasestr(head, name);
    if (size < 4 || memcmp(head + size - 4, "\r\n\r\n", 4) != 0 || key == NULL)
        return false;
    accept_value(accept, key + sizeof(name) - 1);
    int length = snprintf(answer, sizeof(answer),
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                          accept);
    peer->is_open = true;
    if (strncmp(head, "GET /fan ", 9) == 0)
        join(peer);
    return peer_send(peer, (const uint8_t *)answer, (size_t)length);
}

static bool on_readable(struct peer *peer)
{
    size_t kept = peer->in.size;
    if (kept > 0)
        memcpy(arena, peer->in.data, kept);
    ssize_t got = transport_recv(&peer->transport, arena + kept, sizeof(arena) - kept - 1);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0)
        return false;
    if (!peer->is_open)
        return answer_handshake(peer, arena, (size_t)got);
    return echo_batch(peer, arena, kept + (size_t)got);
}

static void on_acceptable(int listener)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
        if (fd < 0)
            return;
        struct peer *peer = calloc(1, sizeof(*peer));
        if (peer == NULL)
            die("calloc");
        transport_open(&peer->transport, fd);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 4096) < 0)
        die("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("listening ws://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
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
    static struct epoll_event events[EVENTS_PER_TURN];
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    if (argc > 3)
        transport_serve_tls(argv[2], argv[3]);
    epoll = epoll_create1(0);
    int listener = listen_on(argc > 1 ? (uint16_t)atoi(argv[1]) : 0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            bool alive = true;
            if (peer == NULL)
                on_acceptable(listener);
            else if (events[i].events & EPOLLOUT)
                alive = on_writable(peer);
            else
                alive = on_readable(peer);
            if (peer != NULL && !alive)
                peer_free(peer);
        }
    }
}
