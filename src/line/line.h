// SPDX-License-Identifier: MIT
/*
 * The line between a worker and its master, seen from the worker: a Unix socket pair with small
 * messages, some of which carry a file descriptor (SCM_RIGHTS).
 *
 *      worker                                   master
 *        │◀────────────── ────── BEGIN page, LOCK ─│ who it is (birth.h)
 *        │── UNFIT why ───────────────────────────▶│ it cannot be a worker: it ends
 *        │── BIND address, scheme, backlog ───────▶│ binds once for all workers, one socket each
 *        │◀────────────── BOUND fd, port | error ──│
 *        │── READY ───────────────────────────────▶│ when all are: "listening …", "ready"
 *        │── RETIRE ──────────────────────────────▶│ another in its place, please
 *        │◀──────────────────────── STOP seconds ──│ drain: the server ends, or another is ready
 *        │◀──────────────────────── TICKETS keys ──│ at the start, and when they change
 *        │◀─────────────────────────────── CERTS ──│ read certificates again (SIGHUP)
 *        │◀──────────────────────── OTHER fd ───────│ a line to another worker (mesh.h)
 *        │── LOST number ──────────────────────────▶│ which is of no use: another, please
 *        │── REFUSED ─────────────────────────────▶│ the app does not load: no use in trying again
 *        │── UNBIND address ──────────────────────▶│ closes its copy: nothing may queue there
 *        │── exit ────────────────────────────────▶│
 *
 * End of file on the line means that the master is gone: the worker drains and exits.
 */
#ifndef NEAP_LINE_LINE_H
#define NEAP_LINE_LINE_H

#include "net/tls.h"

#include <stdbool.h>

/*
 * What a worker's exit status tells the master. One that listens on nothing has run to its end,
 * with this status or one that the script chose (os.exit). One that listens, or is ended by a
 * signal, has died and is started again, unless it said before that its app does not load
 * (line_refused).
 */
enum worker_exit {
    WORKER_DONE = 0,   /* drained, or a script that ended well */
    WORKER_FAILED = 1, /* the app raised while it was loaded */
};

struct line_bind {
    const char *address; /* "127.0.0.1:9090", "[::1]:9090", "0.0.0.0:0", "unix:/path" */
    const char *scheme;  /* for the log: "ws", "wss", "http", "https" */
    int backlog;         /* of listen(2); 0 means 4096 */
};

struct line_bound {
    int fd;          /* listening, non-blocking, close-on-exec; owned by the caller */
    int port;        /* 0 for unix: */
    char error[256]; /* when it failed: one line that names the address and says why */
};

struct watchdog;
struct line;

/*
 * Asks the master for a listening socket and waits for the answer (the master answers at once, save
 * that a host name must be looked up). Called while the app loads or from a handler. Asking for the
 * same address by another or a restarted worker gives that worker's own socket of the same port; a
 * worker that asks twice for "host:0" gets two ports, the n-th of which is the same in all workers.
 * Asking twice for a port other than 0 fails, as it is in use. Returns 0, or -1 with bound->error
 * filled.
 *
 * "[::]:9090" serves IPv4 too; for a host name that has addresses of both families the IPv4 one is
 * taken.
 */
int line_bind_socket(struct line *line, const struct line_bind *what, struct line_bound *bound);

/*
 * Tells the master that this worker's listener of that address (the text as it was asked for) and
 * port (as it was bound: several listeners may have asked for port 0) is gone.
 */
void line_unbind(struct line *line, const char *address, int port);

/* The app has loaded and this worker accepts. */
void line_ready(struct line *line);

/*
 * The app does not load although it has listeners already: the worker's end, which follows, is no
 * accident, and before any worker was ready it is no use to try again.
 */
void line_refused(struct line *line);

/*
 * Asks to be replaced. The worker goes on until its successor is ready: LINE_SUCCEEDED. Returns 0,
 * or -1 when the master cannot be told.
 */
int line_retire(struct line *line);

/* The descriptor to watch for reading. */
int line_fd(const struct line *line);

enum line_what {
    LINE_NOTHING,
    LINE_STOP,
    LINE_SUCCEEDED,
    LINE_CERTS,
    LINE_TICKETS,
    LINE_OTHER,
    LINE_GONE
};

/*
 * The next message, without waiting: LINE_STOP (then *seconds is the time to drain; told once),
 * LINE_SUCCEEDED (the same, but the listening sockets are another process's now), LINE_CERTS,
 * LINE_TICKETS (line_tickets has them), LINE_OTHER (line_take_other has it), LINE_GONE at end of
 * file (each time), or LINE_NOTHING. Call it when line_fd is readable, or line_waiting says so,
 * until it returns LINE_NOTHING or LINE_GONE.
 */
enum line_what line_next(struct line *line, double *seconds);

/* True when something came while a socket was asked for: line_fd need not become readable. */
bool line_waiting(const struct line *line);

/* The newest keys of session tickets. */
const struct tls_tickets *line_tickets(const struct line *line);

/*
 * The line that LINE_OTHER has told of: a connected socket, the caller's from now on, and in *other
 * the seat of the worker at its other end. A worker that was started again comes once more, with
 * a new socket.
 */
int line_take_other(struct line *line, int *other);

/* The line to that worker is of no use: asks for a new one, which comes within seconds. */
void line_lost(struct line *line, int other);

/* This worker's number, from 0; and how many there are. */
int line_worker(const struct line *line);
int line_workers(const struct line *line);

/*
 * The number by which other workers know this process: a worker that is being replaced is two
 * processes, and they have two. Worker n has n and n + line_workers.
 */
int line_seat(const struct line *line);

/* The folder for files in memory that all workers share (scratch.h); NULL: there is none. */
const char *line_scratch(const struct line *line);

/* Where it says why it ends when it cannot send any more. */
struct watchdog *line_watchdog(const struct line *line);

/*
 * The worker's end, without a page (birth.h makes one as the master has it); takes the descriptor.
 * And its end.
 */
struct line *line_new(int fd, int seat, int workers);
void line_free(struct line *line);

/* Notes that folder, of which it takes a copy, and takes the descriptor of its lock. */
void line_set_scratch(struct line *line, const char *path, int lock);

/* Takes that page. */
void line_set_watchdog(struct line *line, struct watchdog *page);

#endif
