// SPDX-License-Identifier: MIT
/* `neap run`: the command line becomes the configs of the master and of its workers. */
#include "cli/run.h"

#include "base/log.h"
#include "cli/version.h"
#include "master/master.h"
#include "worker/library.h"
#include "worker/worker.h"

static int work(struct worker_link *link, void *arg)
{
    const struct options *o = arg;
    struct worker_config config = {
        .lua_path = library_path(),
        .app = o->app,
        .args = o->args,
        .drain = o->drain,
        .handler_timeout = o->handler_timeout,
        .memory_limit = o->memory_limit,
    };
    return worker_run(link, &config);
}

int run_command(const struct options *o)
{
    if (!options_app_exists(o->app))
        return 2;
    log_open(o->log_level, o->log_json);
    struct master_config config = {
        .workers = o->workers,
        .drain = o->drain,
        .handler_timeout = o->handler_timeout,
        .pid_file = o->pid_file,
        .control_path = o->control,
        .version = version_text(),
        .work = work,
        .arg = (void *)(size_t)o,
    };
    int status = master_run(&config);
    log_close(1);
    return status;
}
