// SPDX-License-Identifier: MIT
/*
 * Neap's command line: the first word selects the command, each of which lives in src/cli/.
 * Exit status: 0 good, 1 the app's fault, 2 wrong usage.
 */
#include "cli/check.h"
#include "cli/control.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/run.h"
#include "cli/version.h"
#include "cli/work.h"
#include "line/birth.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is(const char *word, const char *name)
{
    return strcmp(word, name) == 0;
}

static bool asks_for_help(char **argv)
{
    for (; *argv && !is(*argv, "--"); argv++)
        if (is(*argv, "--help") || is(*argv, "-h"))
            return true;
    return false;
}

static int control(const char *command, char **argv)
{
    struct options o;
    return options_parse(&o, OPTIONS_CONTROL, argv) ? control_command(command, o.control) : 2;
}

static int dispatch(const char *command, char **argv)
{
    struct options o;
    if (is(command, "run"))
        return options_parse(&o, OPTIONS_RUN, argv) ? run_command(&o) : 2;
    if (is(command, "check"))
        return options_parse(&o, OPTIONS_CHECK, argv) ? check_command(&o) : 2;
    if (is(command, "status") || is(command, "stop") || is(command, "reload"))
        return control(command, argv);
    return help_command(command);
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : NULL;
    if (!command) {
        help_command(NULL);
        return 2;
    }
    if (is(command, "--version") || is(command, "-V")) {
        puts(version_text());
        return 0;
    }
    if (is(command, "--help") || is(command, "-h"))
        return help_command(NULL);
    if (is(command, "help"))
        return help_command(argv[2]);
    if (is(command, BIRTH_COMMAND))
        return work_command(argv + 2);
    if (asks_for_help(argv + 2))
        return help_command(command);
    return dispatch(command, argv + 2);
}
