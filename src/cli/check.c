// SPDX-License-Identifier: MIT
/*
 * `neap check`: the app loads in this process, without a master. However it ends the program, what
 * was found before is told.
 */
#include "cli/check.h"

#include "base/log.h"
#include "bind/core/lfinal.h"
#include "bind/core/lguard.h"
#include "bind/core/lload.h"
#include "bind/lmodules.h"
#include "cli/version.h"
#include "line/scratch.h"
#include "worker/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In a signal handler. */
static void on_check_stuck(struct lvm *vm, const struct lguard_stuck *report, bool last)
{
    static const char text[] = "the app exceeds its time limit for loading, in a function that "
                               "cannot be interrupted\n";
    (void)vm;
    if (!last)
        return;
    if (*report->where) {
        (void)!write(STDERR_FILENO, report->where, strlen(report->where));
        (void)!write(STDERR_FILENO, ": ", 2);
    }
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

static struct {
    const struct lvm *vm; /* NULL: nothing is being checked */
    struct scratch *scratch;
} checking;

/* The app has ended the program: os.exit has told of that, exit of the C library has not. */
static void on_check_exit(void)
{
    static const char text[] = "neap: the app ended the program while it loaded\n";
    if (!checking.vm)
        return;
    scratch_close(checking.scratch);
    log_close(LOG_CLOSE_SECONDS);
    if (checking.vm->checked)
        return;
    fflush(stdout);
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

int check_command(const struct options *o)
{
    char why[LIBRARY_WHY];
    if (!options_app_exists(o->app))
        return 2;
    const char *lua_path = library_find(version_number(), why, sizeof why);
    if (!lua_path) {
        fprintf(stderr, "neap: %s\n", why);
        return 1;
    }
    log_open(LOG_WARN, false);
    atexit(on_check_exit);
    struct loop loop;
    loop_init(&loop);
    struct lvm *vm = lvm_new(&loop, lua_path, lmodules(), true);
    struct lguard_config guard = {
        .seconds = o->handler_timeout, .bytes = o->memory_limit, .on_stuck = on_check_stuck};
    lguard_start(vm, &guard);
    struct scratch *scratch = scratch_open();
    vm->scratch = scratch ? scratch_path(scratch) : NULL;
    checking.vm = vm;
    checking.scratch = scratch;
    int status = lload_check(vm, o->app, o->args);
    checking.vm = NULL;
    fflush(stdout);
    lfinal_finish(vm, o->drain);
    lvm_free(vm);
    scratch_close(scratch);
    loop_deinit(&loop);
    log_close(LOG_CLOSE_SECONDS);
    return status;
}
