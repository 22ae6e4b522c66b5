// SPDX-License-Identifier: MIT
/*
 * Accepting. A readable listening socket is emptied in batches, so that a storm of new connections
 * cannot keep the established ones waiting for long. libev's manual ("The special problem of
 * accept()ing when you can't") describes the trap at the descriptor limit.
 */
#include "net/accept.h"

#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, DRAIN_MAX = 65536 };

#define RETRY_SECONDS 0.1

/*
 * True when the failure is of this one connection, which is gone already, and the next one may be
 * accepted.
 */
static bool passing(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == EPERM ||
           error == ENETDOWN || error == EHOSTDOWN || error == ENETUNREACH || error == EHOSTUNREACH;
}

static void pause_accepting(struct listener *l, int error)
{
    loop_io_watch(l->loop, &l->io, 0);
    loop_timer_start(l->loop, &l->retry, RETRY_SECONDS);
    double now = loop_now(l->loop);
    if (now - l->complained < 1)
        return;
    l->complained = now;
    log_warn("cannot accept connections: %s; trying again", strerror(error));
}

/* Accepts one connection: 1, 0 when none waits, -1 when paused. */
static int accept_one(struct listener *l)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    int fd = accept4(l->io.ev.fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (passing(errno))
            return 1;
        pause_accepting(l, errno);
        return -1;
    }
    if (len == 0)
        sa.ss_family = AF_UNIX;
    struct address peer;
    address_from(&peer, (struct sockaddr *)&sa);
    int on = 1;
    if (!peer.local)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* messages are written whole */
    l->on_accept(l, fd, &peer);
    return 1;
}

static void accept_batch(struct listener *l, int max)
{
    for (int i = 0; i < max && l->io.ev.fd >= 0; i++)
        if (accept_one(l) <= 0)
            return;
}

static void on_ready(struct loop_io *io, int events)
{
    (void)events;
    accept_batch(LIST_ITEM(io, struct listener, io), BATCH);
}

static void on_retry(struct loop_timer *timer)
{
    struct listener *l = LIST_ITEM(timer, struct listener, retry);
    if (l->accepting)
        loop_io_watch(l->loop, &l->io, LOOP_READ);
}

void listener_init(struct listener *l, struct loop *loop, int fd,
                   void (*on_accept)(struct listener *, int, const struct address *))
{
    *l = (struct listener){.loop = loop, .on_accept = on_accept, .complained = -1e9};
    loop_io_init(&l->io, fd, on_ready);
    loop_timer_init(&l->retry, on_retry);
}

void listener_start(struct listener *l)
{
    if (l->io.ev.fd < 0)
        return;
    l->accepting = true;
    loop_io_watch(l->loop, &l->io, LOOP_READ);
}

void listener_stop(struct listener *l)
{
    l->accepting = false;
    loop_io_watch(l->loop, &l->io, 0);
    loop_timer_stop(l->loop, &l->retry);
}

void listener_accept_all(struct listener *l)
{
    accept_batch(l, DRAIN_MAX);
}

void listener_close(struct listener *l)
{
    listener_stop(l);
    if (l->io.ev.fd >= 0)
        close(l->io.ev.fd);
    l->io.ev.fd = -1;
}
