// SPDX-License-Identifier: MIT
/* What a worker process does: it loads the app and serves it until the master has it end. */
#ifndef NEAP_WORKER_WORKER_H
#define NEAP_WORKER_WORKER_H

#include <stddef.h>

struct line;

struct worker_config {
    const char *lua_path; /* the folder that holds neap/ */
    const char *app;
    char *const *args;      /* of the app, up to a NULL */
    double drain;           /* seconds, when the master has not said */
    double handler_timeout; /* seconds of processor time; 0: no limit */
    size_t memory_limit;    /* bytes of the Lua heap; 0: no limit */
};

/* Runs to the end; returns the exit status, see line.h. */
int worker_run(struct line *line, const struct worker_config *config);

#endif
