// SPDX-License-Identifier: MIT
/* `neap run`: the master, whose workers are given the same command line (work.c). */
#include "cli/run.h"

#include "base/log.h"
#include "cli/version.h"
#include "line/birth.h"
#include "master/master.h"
#include "worker/library.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void become(int line, int number, void *arg)
{
    const struct options *o = arg;
    birth_exec(line, number, o->words);
}

/* Without these no worker could start. */
static bool complete(void)
{
    char why[LIBRARY_WHY];
    if (!birth_learn_program()) {
        fprintf(stderr,
                "neap: workers cannot be started: /proc/self/exe, which names the program, "
                "cannot be read: %s; is /proc mounted?\n",
                strerror(errno));
        return false;
    }
    if (library_find(version_number(), why, sizeof why))
        return true;
    fprintf(stderr, "neap: %s\n", why);
    return false;
}

int run_command(const struct options *o)
{
    if (!options_app_exists(o->app))
        return 2;
    if (!complete())
        return 1;
    log_open(o->log_level, o->log_json);
    struct master_config config = {
        .workers = o->workers,
        .drain = o->drain,
        .handler_timeout = o->handler_timeout,
        .pid_file = o->pid_file,
        .control_path = o->control,
        .version = version_text(),
        .become = become,
        .arg = (void *)(size_t)o,
    };
    int status = master_run(&config);
    log_close(LOG_CLOSE_SECONDS);
    return status;
}
