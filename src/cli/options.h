// SPDX-License-Identifier: MIT
/*
 * The command line of the commands that take an app. A wrong option is one clear line on stderr and
 * exit status 2.
 *
 *      neap run [options] APP [options] [-- ARGUMENTS]
 */
#ifndef NEAP_CLI_OPTIONS_H
#define NEAP_CLI_OPTIONS_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>

/* A Lua heap of less holds the library and little more. */
enum { OPTIONS_MEMORY_MIN = 8 << 20 };

struct options {
    const char *app;
    int workers; /* 1 to 256; "auto" is the number of processors */
    enum log_level log_level;
    bool log_json;
    const char *pid_file;   /* or NULL */
    const char *control;    /* path of the control socket, or NULL */
    double drain;           /* seconds */
    double handler_timeout; /* seconds of processor time for a handler; 0: no limit */
    size_t memory_limit;    /* bytes of a worker's Lua heap; 0: no limit */
    char **words;           /* all of the command line after the command, up to a NULL */
    char **args;            /* what follows "--", up to a NULL; never NULL itself */
};

/* Which options a command takes. */
enum options_for { OPTIONS_RUN, OPTIONS_CHECK, OPTIONS_CONTROL };

/* Parses what follows the command's name. Returns false after printing what is wrong. */
bool options_parse(struct options *o, enum options_for command, char **argv);

/*
 * Whether there is a file, or a folder with init.lua, of that name. A missing app is wrong usage,
 * told before any process is started: returns false after printing it.
 */
bool options_app_exists(const char *path);

#endif
