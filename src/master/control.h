// SPDX-License-Identifier: MIT
/*
 * The control socket: a Unix socket on which `neap status`, `neap stop` and `neap reload` talk to a
 * running master.
 *
 *      client                         master
 *        │── status\n ──────────────────▶│
 *        │◀── pid 4711\n … ok\n ─────────│    lines, the last of which is "ok" or "error: …"
 *
 * Its file is PID.sock in a folder that only the user may enter; who connects must be the user or
 * root.
 */
#ifndef NEAP_MASTER_CONTROL_H
#define NEAP_MASTER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

struct control;
struct loop;
struct buf;

enum control_result {
    CONTROL_OK,       /* done: "ok" is added */
    CONTROL_ANSWERED, /* the reply has its last line */
    CONTROL_LATER,    /* the client waits for control_finish */
    CONTROL_UNKNOWN,  /* no such command: an error is answered */
};

/*
 * What the master does with a command: appends reply lines to `reply`, or returns CONTROL_UNKNOWN.
 */
typedef enum control_result control_handler(void *arg, const char *command, struct buf *reply);

/*
 * Opens the socket at `path`, or at its default place when that is NULL. Returns NULL when that
 * cannot be, which has been logged then.
 */
struct control *control_open(struct loop *loop, const char *path, control_handler *handler,
                             void *arg);

/* Answers all who wait for the end of their command with "ok". */
void control_finish(struct control *c);

/* Drops all clients, closes the socket and removes its file; NULL is allowed. */
void control_close(struct control *c);

/*
 * The folders where default sockets may be, best first: $XDG_RUNTIME_DIR/neap if that is set, then
 * $TMPDIR/neap-UID (/tmp without TMPDIR), which serves where the first cannot be made. Writes the
 * i-th; returns false past the last.
 */
bool control_folder(int i, char *out, size_t size);

#endif
