// SPDX-License-Identifier: MIT
/*
 * A second begins with the first refusal in it, so a server that refuses nothing has no timer. The
 * table is searched from the front: there are few reasons.
 */
#include "conn/refusal.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum { LINES_A_SECOND = 10 };
#define WINDOW_SECONDS 1.0

static void on_second(struct loop_timer *timer)
{
    struct refusals *r = LIST_ITEM(timer, struct refusals, second);
    for (int i = 0; i < REFUSAL_REASONS && r->reasons[i][0]; i++)
        if (r->count[i] > LINES_A_SECOND)
            log_info("%s: refused %u more times in this second", r->reasons[i],
                     r->count[i] - LINES_A_SECOND);
    memset(r->count, 0, sizeof r->count);
    memset(r->reasons, 0, sizeof r->reasons);
}

void refusal_init(struct refusals *r, struct loop *loop)
{
    r->loop = loop;
    loop_timer_init(&r->second, on_second);
}

void refusal_deinit(struct refusals *r)
{
    loop_timer_stop(r->loop, &r->second);
}

/* The reason's place: its own, a free one, or the last. */
static int place_of(struct refusals *r, const char *reason)
{
    int i = 0;
    while (i < REFUSAL_REASONS - 1 && r->reasons[i][0] &&
           strncmp(r->reasons[i], reason, REFUSAL_TEXT - 1) != 0)
        i++;
    if (!r->reasons[i][0])
        snprintf(r->reasons[i], REFUSAL_TEXT, "%s", reason);
    return i;
}

bool refusal_may_log(struct refusals *r, const char *reason)
{
    if (!loop_timer_active(&r->second))
        loop_timer_start(r->loop, &r->second, WINDOW_SECONDS);
    return ++r->count[place_of(r, reason)] <= LINES_A_SECOND;
}
