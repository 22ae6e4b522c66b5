// SPDX-License-Identifier: MIT
/*
 * The program may be moved or installed anywhere together with its library: nothing is compiled in.
 * The library's version is the last line of a file of its own, so that it can be read before Lua
 * runs anything of another version.
 */
#include "worker/library.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION_FILE "neap/runtime/version.lua"

enum { VERSION_SIZE = 32 };

/* The program's folder. False when the system does not tell. */
static bool program_folder(char *path, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", path, size - 1);
    path[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    return len > 0;
}

/* Reads the version of the library in that folder; false when there is none. */
static bool read_version(const char *path, char version[VERSION_SIZE])
{
    char name[PATH_MAX + sizeof VERSION_FILE + 1], line[256];
    snprintf(name, sizeof name, "%s/" VERSION_FILE, path);
    FILE *f = fopen(name, "re");
    if (!f)
        return false;
    snprintf(version, VERSION_SIZE, "unknown");
    while (fgets(line, sizeof line, f))
        sscanf(line, "return \"%31[^\"]", version);
    fclose(f);
    return true;
}

const char *library_find(const char *version, char *why, size_t size)
{
    static const char *const places[] = {"../share/neap/lua", "../lua", "../../lua"};
    static char path[PATH_MAX];
    char program[PATH_MAX - 64], found[VERSION_SIZE];
    if (!program_folder(program, sizeof program)) {
        snprintf(why, size, "the Lua library cannot be found: /proc/self/exe cannot be read: %s",
                 strerror(errno));
        return NULL;
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", program, places[i]);
        if (!read_version(path, found))
            continue;
        if (strcmp(found, version) == 0)
            return path;
        snprintf(why, size, "the Lua library in %.150s is of version %s, this program of %s", path,
                 found, version);
        return NULL;
    }
    snprintf(why, size,
             "the Lua library is missing: no %.80s/../share/neap/lua and no %.80s/../lua", program,
             program);
    return NULL;
}
