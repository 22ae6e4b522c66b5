// SPDX-License-Identifier: MIT
/* The plain stream: one system call an operation. A signal or a full buffer is never an error. */
#include "net/stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static ssize_t failed(struct stream *s, enum stream_status not_now)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return not_now;
    /* Buffers that the kernel cannot get now: the socket is as good as full. */
    if (errno == ENOBUFS || errno == ENOMEM)
        return not_now;
    s->error = errno;
    return STREAM_ERROR;
}

static ssize_t plain_read(struct stream *s, void *out, size_t len)
{
    ssize_t n = recv(s->fd, out, len, 0);
    return n >= 0 ? n : failed(s, STREAM_WANT_READ);
}

static ssize_t plain_write(struct stream *s, const struct iovec *iov, int count)
{
    ssize_t n;
    if (count == 1) {
        n = send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr m = {.msg_iov = (struct iovec *)(size_t)iov, .msg_iovlen = (size_t)count};
        n = sendmsg(s->fd, &m, MSG_NOSIGNAL);
    }
    if (n < 0)
        return failed(s, STREAM_WANT_WRITE);
    s->sent += (uint32_t)n;
    return n;
}

static int plain_finish(struct stream *s)
{
    return shutdown(s->fd, SHUT_WR) == 0 || errno == ENOTCONN ? 0 : STREAM_ERROR;
}

static void plain_close(struct stream *s)
{
    close(s->fd);
    s->fd = -1;
}

static const struct stream_ops plain_ops = {plain_read, plain_write, plain_finish, plain_close};

static bool is_unix(const struct stream *s)
{
    int family = 0;
    socklen_t len = sizeof family;
    return getsockopt(s->fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family == AF_UNIX;
}

/*
 * A reset is an error, until some operation has been told of it; after that both directions of the
 * socket are at their end. Those of a Unix socket are when its peer has closed in order, too.
 */
enum stream_peer stream_peer(const struct stream *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLRDHUP};
    if (poll(&p, 1, 0) <= 0)
        return STREAM_PEER_THERE;
    bool gone = p.revents & POLLERR || (p.revents & POLLHUP && !is_unix(s));
    return gone ? STREAM_PEER_GONE : STREAM_PEER_FINISHED;
}

uint32_t stream_acked(const struct stream *s)
{
    int waiting = 0;
    if (ioctl(s->fd, SIOCOUTQ, &waiting) < 0)
        waiting = 0;
    return s->sent - (uint32_t)waiting;
}

void stream_init_plain(struct stream *s, int fd)
{
    *s = (struct stream){.ops = &plain_ops, .fd = fd};
}
