// SPDX-License-Identifier: MIT
/*
 * Options are `--name VALUE` or `--name=VALUE`, before or after the app; a table says which there
 * are.
 */
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_WORKERS = 256 };

/* Unless options say; and what they may say. */
#define DRAIN_SECONDS 10.0
#define HANDLER_SECONDS 1.0
#define HANDLER_MIN_SECONDS 0.01
#define MAX_SECONDS 86400.0

struct option {
    const char *name;
    unsigned commands; /* bits of enum options_for */
    bool (*set)(struct options *o, const char *value);
    const char *expected;
};

static bool whole(const char *s, long min, long max, long *out)
{
    char *end;
    errno = 0;
    *out = strtol(s, &end, 10);
    return *s && !*end && !errno && *out >= min && *out <= max;
}

static bool set_workers(struct options *o, const char *value)
{
    long n;
    if (strcmp(value, "auto") == 0)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    else if (!whole(value, 1, MAX_WORKERS, &n))
        return false;
    o->workers = n < 1 ? 1 : n > MAX_WORKERS ? MAX_WORKERS : (int)n;
    return true;
}

static bool set_log_level(struct options *o, const char *value)
{
    return log_parse_level(value, &o->log_level);
}

static bool set_log_format(struct options *o, const char *value)
{
    o->log_json = strcmp(value, "json") == 0;
    return o->log_json || strcmp(value, "text") == 0;
}

static bool set_pid_file(struct options *o, const char *value)
{
    o->pid_file = value;
    return *value;
}

static bool set_control(struct options *o, const char *value)
{
    o->control = value;
    return *value;
}

static bool set_drain(struct options *o, const char *value)
{
    char *end;
    o->drain = strtod(value, &end);
    return *value && !*end && o->drain >= 0 && o->drain <= MAX_SECONDS;
}

static bool set_handler_timeout(struct options *o, const char *value)
{
    char *end;
    o->handler_timeout = strtod(value, &end);
    return *value && !*end &&
           (o->handler_timeout == 0 ||
            (o->handler_timeout >= HANDLER_MIN_SECONDS && o->handler_timeout <= MAX_SECONDS));
}

/* A number of bytes, perhaps with K, M or G for 2^10, 2^20, 2^30. */
static bool set_memory_limit(struct options *o, const char *value)
{
    static const char units[] = "KMG";
    char *end;
    double bytes = strtod(value, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == value || (*end && (!unit || end[1])))
        return false;
    if (unit)
        bytes *= (double)(1L << (10 * (unit - units + 1)));
    if (bytes != 0 && !(bytes >= OPTIONS_MEMORY_MIN && bytes <= 0x1p50))
        return false;
    o->memory_limit = (size_t)bytes;
    return true;
}

enum { RUN = 1 << OPTIONS_RUN, CHECK = 1 << OPTIONS_CHECK, CONTROL = 1 << OPTIONS_CONTROL };

static const struct option table[] = {
    {"--workers", RUN, set_workers, "a number from 1 to 256, or auto"},
    {"--log-level", RUN, set_log_level, "debug, info, warn or error"},
    {"--log-format", RUN, set_log_format, "text or json"},
    {"--pid-file", RUN, set_pid_file, "a path"},
    {"--control", RUN | CONTROL, set_control, "a path"},
    {"--drain", RUN, set_drain, "seconds, from 0 to 86400"},
    {"--handler-timeout", RUN | CHECK, set_handler_timeout, "seconds, from 0.01 to 86400, or 0"},
    {"--memory-limit", RUN | CHECK, set_memory_limit,
     "bytes, 8M or more (K, M and G are understood), or 0"},
};

static const struct option *find(const char *name, size_t len, enum options_for command)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0 &&
            table[i].commands & 1u << command)
            return &table[i];
    return NULL;
}

/* Handles the option at argv[0]; returns how many words it took, 0 after printing what is wrong. */
static int parse_one(struct options *o, enum options_for command, char **argv)
{
    const char *equals = strchr(argv[0], '=');
    size_t len = equals ? (size_t)(equals - argv[0]) : strlen(argv[0]);
    const struct option *option = find(argv[0], len, command);
    if (!option) {
        fprintf(stderr, "neap: unknown option %.*s; `neap help` lists the options\n", (int)len,
                argv[0]);
        return 0;
    }
    const char *value = equals ? equals + 1 : argv[1];
    if (!value) {
        fprintf(stderr, "neap: %s needs a value: %s\n", option->name, option->expected);
        return 0;
    }
    if (!option->set(o, value)) {
        fprintf(stderr, "neap: %s: expected %s, got \"%s\"\n", option->name, option->expected,
                value);
        return 0;
    }
    return equals ? 1 : 2;
}

static bool take_app(struct options *o, enum options_for command, const char *word)
{
    if (command == OPTIONS_CONTROL || o->app) {
        fprintf(stderr, "neap: unexpected argument \"%s\"%s\n", word,
                o->app ? "; arguments for the app follow \"--\"" : "");
        return false;
    }
    o->app = word;
    return true;
}

bool options_parse(struct options *o, enum options_for command, char **argv)
{
    static char *none[] = {NULL};
    *o = (struct options){.words = argv,
                          .workers = 1,
                          .log_level = LOG_INFO,
                          .drain = DRAIN_SECONDS,
                          .handler_timeout = HANDLER_SECONDS,
                          .memory_limit = 1 << 30,
                          .args = none};
    while (*argv) {
        if (strcmp(*argv, "--") == 0) {
            o->args = argv + 1;
            break;
        }
        if (**argv == '-' && argv[0][1]) {
            int taken = parse_one(o, command, argv);
            if (!taken)
                return false;
            argv += taken;
        } else if (!take_app(o, command, *argv++)) {
            return false;
        }
    }
    if (command != OPTIONS_CONTROL && !o->app) {
        fprintf(stderr, "neap: which app? Give a .lua file or a folder with init.lua\n");
        return false;
    }
    return true;
}

bool options_app_exists(const char *path)
{
    struct stat st;
    char entry[4200];
    if (stat(path, &st) < 0) {
        fprintf(stderr, "neap: there is no app at %s: no such file or folder\n", path);
        return false;
    }
    snprintf(entry, sizeof entry, "%s/init.lua", path);
    if (S_ISDIR(st.st_mode) && access(entry, F_OK) < 0) {
        fprintf(stderr, "neap: there is no app at %s: the folder has no init.lua\n", path);
        return false;
    }
    return true;
}
