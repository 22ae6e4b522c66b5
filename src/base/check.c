// SPDX-License-Identifier: MIT
/* The end of a process that is wrong about itself. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: must hold: %s\n", file, line, what);
    abort();
}
