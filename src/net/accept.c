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
#define COMPLAINT_SECONDS 1.0 /* from one warning to the next */

/*
 * True when the failure is of this one connection, which is gone already, and the next one may be
 * accepted.
 */
static bool passing(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == EPERM ||
           error == ENETDOWN || error == EHOSTDOWN || error == ENETUNREACH || error == EHOSTUNREACH;
}

static void pause_accepting(struct accept *a, int error)
{
    loop_io_watch(a->loop, &a->io, 0);
    loop_timer_start(a->loop, &a->retry, RETRY_SECONDS);
    double now = loop_now(a->loop);
    if (now - a->complained < COMPLAINT_SECONDS)
        return;
    a->complained = now;
    log_warn("cannot accept connections: %s; trying again", strerror(error));
}

/* Accepts one connection: 1, 0 when none waits, -1 when paused. */
static int accept_one(struct accept *a)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    int fd = accept4(a->io.ev.fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (passing(errno))
            return 1;
        pause_accepting(a, errno);
        return -1;
    }
    if (len == 0)
        sa.ss_family = AF_UNIX;
    struct address peer;
    address_from(&peer, (struct sockaddr *)&sa);
    int on = 1;
    if (!peer.local)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* messages are written whole */
    a->on_accept(a, fd, &peer);
    return 1;
}

static void accept_batch(struct accept *a, int max)
{
    for (int i = 0; i < max && a->io.ev.fd >= 0; i++)
        if (accept_one(a) <= 0)
            return;
}

static void on_ready(struct loop_io *io, int events)
{
    (void)events;
    accept_batch(LIST_ITEM(io, struct accept, io), BATCH);
}

static void on_retry(struct loop_timer *timer)
{
    struct accept *a = LIST_ITEM(timer, struct accept, retry);
    if (a->accepting)
        loop_io_watch(a->loop, &a->io, LOOP_READ);
}

void accept_init(struct accept *a, struct loop *loop, int fd,
                 void (*on_accept)(struct accept *, int, const struct address *))
{
    *a = (struct accept){.loop = loop, .on_accept = on_accept, .complained = -COMPLAINT_SECONDS};
    loop_io_init(&a->io, fd, on_ready);
    loop_timer_init(&a->retry, on_retry);
}

void accept_start(struct accept *a)
{
    if (a->io.ev.fd < 0)
        return;
    a->accepting = true;
    loop_io_watch(a->loop, &a->io, LOOP_READ);
}

void accept_stop(struct accept *a)
{
    a->accepting = false;
    loop_io_watch(a->loop, &a->io, 0);
    loop_timer_stop(a->loop, &a->retry);
}

void accept_all(struct accept *a)
{
    accept_batch(a, DRAIN_MAX);
}

void accept_close(struct accept *a)
{
    accept_stop(a);
    if (a->io.ev.fd >= 0)
        close(a->io.ev.fd);
    a->io.ev.fd = -1;
}
