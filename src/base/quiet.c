// SPDX-License-Identifier: MIT
/* A handler that does nothing: see quiet.h for why that is not SIG_IGN. */
#include "base/quiet.h"

#include <signal.h>
#include <stddef.h>

static void nothing(int number)
{
    (void)number;
}

void quiet_signal(int number)
{
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}
