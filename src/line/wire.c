// SPDX-License-Identifier: MIT
/* Datagrams with at most one descriptor in the ancillary data (unix(7), SCM_RIGHTS). */
#include "line/wire.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Ancillary data for one descriptor, aligned as the kernel wants it. */
union ancillary {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

_Static_assert(WIRE_VERSION == 1 && WIRE_KINDS == 14 &&
                   (sizeof(void *) != 8 || sizeof(struct wire) == 1960),
               "the messages are not those of that version: raise WIRE_VERSION");

int wire_pair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}

/* What is sent of a message of that kind. */
static size_t size_of(enum wire_kind kind)
{
    switch (kind) {
    case WIRE_BIND:
    case WIRE_BOUND:
    case WIRE_UNBIND:
    case WIRE_UNFIT:
    case WIRE_TICKETS: return offsetof(struct wire, program);
    case WIRE_BEGIN: return sizeof(struct wire);
    default: return offsetof(struct wire, scheme);
    }
}

static void attach(struct msghdr *h, union ancillary *a, int fd)
{
    memset(a, 0, sizeof *a);
    h->msg_control = a->bytes;
    h->msg_controllen = sizeof a->bytes;
    a->head.cmsg_level = SOL_SOCKET;
    a->head.cmsg_type = SCM_RIGHTS;
    a->head.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&a->head), &fd, sizeof fd);
}

int wire_send(int sock, const struct wire *message, int fd)
{
    struct wire copy = *message;
    copy.version = WIRE_VERSION;
    struct iovec iov = {.iov_base = &copy, .iov_len = size_of(message->kind)};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    union ancillary a;
    if (fd >= 0)
        attach(&h, &a, fd);
    ssize_t n;
    do
        n = sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

static int detach(struct msghdr *h)
{
    int fd = -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

static int ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static int valid(const struct wire *m, size_t len)
{
    return len >= offsetof(struct wire, number) && (unsigned)m->kind < WIRE_KINDS &&
           len == size_of(m->kind) && ends(m->scheme, sizeof m->scheme) &&
           ends(m->address, sizeof m->address) && ends(m->error, sizeof m->error) &&
           m->tickets.count <= TLS_TICKET_KEYS && ends(m->program, sizeof m->program) &&
           ends(m->path, sizeof m->path);
}

int wire_receive(int sock, struct wire *message, int *fd, int wait)
{
    struct iovec iov = {.iov_base = message, .iov_len = sizeof *message};
    union ancillary a;
    struct msghdr h = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = a.bytes,
        .msg_controllen = sizeof a.bytes,
    };
    *fd = -1;
    memset(message, 0, sizeof *message);
    ssize_t n;
    do /* ECONNRESET comes once, when the other end left messages of ours unread: its own follow */
        n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n <= 0)
        return (int)n;
    *fd = detach(&h);
    bool foreign = (size_t)n >= sizeof message->version && message->version != WIRE_VERSION;
    if (!foreign && valid(message, (size_t)n))
        return 1;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = foreign ? EPROTO : EBADMSG;
    return -1;
}
