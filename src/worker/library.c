// SPDX-License-Identifier: MIT
/*
 * The program may be moved or installed anywhere together with its library: nothing is compiled in.
 */
#include "worker/library.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *library_path(void)
{
    static const char *const places[] = {"../share/neap/lua", "../lua", "../../lua"};
    static char path[PATH_MAX];
    char program[PATH_MAX - 64];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    program[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char probe[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s/%s", program, places[i]);
        snprintf(probe, sizeof probe, "%s/neap/runtime/main.lua", path);
        if (access(probe, R_OK) == 0)
            return path;
    }
    fprintf(stderr, "neap: the Lua library is missing: no %s/../share/neap/lua and no %s/../lua\n",
            program, program);
    exit(1);
}
