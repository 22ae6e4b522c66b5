// SPDX-License-Identifier: MIT
/*
 * The thread takes what is pending, at most BATCH at a time, makes it one transaction, and hands it
 * back. When the transaction as a whole fails (no room), each change is tried by itself, so that
 * one that does not fit does not take the others along.
 */
#include "store/store_queue.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 64 };

struct store_queue {
    struct store *store;
    struct loop *loop;
    struct loop_io io; /* on the eventfd by which the thread tells that something is finished */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more;
    struct link pending, finished;
    bool ending;
};

/* With the lock held: what is pending has a thread that takes it. */
static void queue_check(const struct store_queue *q)
{
    CHECK(q->running || link_empty(&q->pending));
    link_check(&q->pending);
    link_check(&q->finished);
}

/* --- The thread ----------------------------------------------------------------------------- */

static void write_together(struct store_queue *q, struct store_job *const *jobs, int count)
{
    struct store_write *writes[BATCH];
    int results[BATCH];
    for (int i = 0; i < count; i++)
        writes[i] = &jobs[i]->write;
    int all = store_write_all(q->store, writes, results, count);
    for (int i = 0; i < count; i++) {
        if (all < 0 && count > 1)
            jobs[i]->result = store_write(q->store, writes[i]);
        else
            jobs[i]->result = all < 0 ? all : results[i];
    }
}

/* Takes at most BATCH jobs, waiting for the first; 0 when there will be none. */
static int take(struct store_queue *q, struct store_job **jobs)
{
    int count = 0;
    pthread_mutex_lock(&q->lock);
    while (link_empty(&q->pending) && !q->ending)
        pthread_cond_wait(&q->more, &q->lock);
    for (; count < BATCH && !link_empty(&q->pending); count++) {
        jobs[count] = LIST_ITEM(q->pending.next, struct store_job, link);
        list_remove(&jobs[count]->link);
    }
    CHECK(count || q->ending);
    queue_check(q);
    pthread_mutex_unlock(&q->lock);
    return count;
}

static void give_back(struct store_queue *q, struct store_job *const *jobs, int count)
{
    uint64_t one = 1;
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < count; i++)
        list_append(&q->finished, &jobs[i]->link);
    queue_check(q);
    pthread_mutex_unlock(&q->lock);
    while (write(q->io.ev.fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static void *work(void *arg)
{
    struct store_queue *q = arg;
    struct store_job *jobs[BATCH];
    int count;
    while ((count = take(q, jobs)) > 0) {
        write_together(q, jobs, count);
        give_back(q, jobs, count);
    }
    return NULL;
}

/* --- The loop ------------------------------------------------------------------------------- */

static void tell_finished(struct store_queue *q)
{
    struct link finished;
    pthread_mutex_lock(&q->lock);
    list_move(&finished, &q->finished);
    link_init(&q->finished);
    pthread_mutex_unlock(&q->lock);
    while (!link_empty(&finished)) {
        struct store_job *job = LIST_ITEM(finished.next, struct store_job, link);
        list_remove(&job->link);
        job->done(job);
    }
}

static void on_finished(struct loop_io *io, int events)
{
    struct store_queue *q = LIST_ITEM(io, struct store_queue, io);
    uint64_t count;
    (void)events;
    if (read(io->ev.fd, &count, sizeof count) == sizeof count)
        tell_finished(q);
}

struct store_queue *store_queue_new(struct store *s, struct loop *loop)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return NULL;
    struct store_queue *q = mem_alloc(sizeof *q);
    q->store = s;
    q->loop = loop;
    link_init(&q->pending);
    link_init(&q->finished);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    loop_io_init(&q->io, fd, on_finished);
    loop_io_watch(loop, &q->io, LOOP_READ);
    return q;
}

/* With all signals blocked: they are for the loop's thread. */
static int start(struct store_queue *q)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&q->thread, NULL, work, q);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    q->running = rc == 0;
    return rc;
}

/* No thread can be had: the loop waits for the disk itself. */
static void do_it_here(struct store_queue *q, struct store_job *job, int error)
{
    log_warn("cannot start a thread, so a handler's write holds up the others: %s",
             strerror(error));
    job->result = store_write(q->store, &job->write);
    give_back(q, &job, 1);
}

void store_queue_add(struct store_queue *q, struct store_job *job)
{
    int error = q->running ? 0 : start(q);
    link_init(&job->link);
    if (error) {
        do_it_here(q, job, error);
        return;
    }
    pthread_mutex_lock(&q->lock);
    list_append(&q->pending, &job->link);
    queue_check(q);
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void store_queue_free(struct store_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->ending = true;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
    if (q->running)
        pthread_join(q->thread, NULL);
    tell_finished(q);
    CHECK(link_empty(&q->pending) && link_empty(&q->finished));
    loop_io_watch(q->loop, &q->io, 0);
    close(q->io.ev.fd);
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}
