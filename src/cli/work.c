// SPDX-License-Identifier: MIT
/*
 * A worker's process, from its first instruction on. What makes it unfit is told to the master, who
 * logs it: the program and its library may have been replaced since the server was started.
 */
#include "cli/work.h"

#include "base/log.h"
#include "cli/options.h"
#include "cli/version.h"
#include "line/birth.h"
#include "line/line.h"
#include "worker/library.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

/* The descriptor of that number when it is a line, else -1. */
static int line_of(const char *word)
{
    char *end;
    long fd = word ? strtol(word, &end, 10) : -1;
    return fd >= 0 && fd <= 1 << 30 && end != word && !*end && birth_is_line((int)fd) ? (int)fd
                                                                                      : -1;
}

static int live(struct line *line, const char *lua_path, const struct options *o)
{
    struct worker_config config = {
        .lua_path = lua_path,
        .app = o->app,
        .args = o->args,
        .drain = o->drain,
        .handler_timeout = o->handler_timeout,
        .memory_limit = o->memory_limit,
    };
    log_set_worker(line_worker(line));
    int status = worker_run(line, &config);
    line_free(line);
    log_close(LOG_CLOSE_SECONDS);
    return status;
}

static int begin(int fd, const struct options *o)
{
    char why[BIRTH_WHY];
    const char *lua_path = library_find(version_number(), why, sizeof why);
    struct line *line = lua_path ? birth_take(fd, version_text(), why) : NULL;
    if (line)
        return live(line, lua_path, o);
    if (*why)
        birth_refuse(fd, why);
    return *why ? WORKER_FAILED : WORKER_DONE;
}

int work_command(char **argv)
{
    struct options o;
    int line = line_of(argv[0]);
    if (line < 0) {
        fprintf(stderr,
                "neap: %s is how `neap run` starts its workers, and needs the line to it "
                "that they are given; type `neap run APP`\n",
                BIRTH_COMMAND);
        return 2;
    }
    birth_begin();
    if (!options_parse(&o, OPTIONS_RUN, argv + 1))
        return 2;
    log_open(o.log_level, o.log_json);
    return begin(line, &o);
}
