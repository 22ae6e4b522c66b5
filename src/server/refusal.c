// SPDX-License-Identifier: MIT
/*
 * A second begins with the first refusal in it, so a server that refuses nothing has no timer. The
 * table is searched from the front: there are few reasons.
 */
#include "server/refusal.h"

#include "base/err.h"
#include "base/log.h"
#include "server/conn.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES_A_SECOND = 10 };

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

void refusal_init(struct refusals *r)
{
    loop_timer_init(&r->second, on_second);
}

void refusal_deinit(struct server *s)
{
    loop_timer_stop(s->loop, &s->refusals.second);
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

bool refusal_may_log(struct server *s, const char *reason)
{
    struct refusals *r = &s->refusals;
    if (!loop_timer_active(&r->second))
        loop_timer_start(s->loop, &r->second, 1.0);
    return ++r->count[place_of(r, reason)] <= LINES_A_SECOND;
}

__attribute__((format(printf, 2, 3))) static void tell(const struct conn *c, const char *format,
                                                       ...)
{
    char text[160], id[CONN_ID_SIZE + 1], address[ADDRESS_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    conn_id_text(c, id);
    address_text(&c->peer, address);
    const struct log_field fields[] = {{"connection", id, 0},
                                       {"address", address, 0},
                                       {"path", c->route ? c->route->pattern : NULL, 0}};
    log_event(LOG_INFO, fields, 3, "%s", text);
}

/* By a limit of the session. */

static const char *const settings[] = {
    [WS_LIMIT_FRAME] = "maxFrameSize",
    [WS_LIMIT_MESSAGE] = "maxMessageSize",
    [WS_LIMIT_UNPACKED] = "maxMessageSize",
    [WS_LIMIT_FRAGMENTS] = "maxFragments",
};

/* What was too much: "frame of 70000 bytes". */
static void describe(char *out, size_t room, const struct ws_excess *x)
{
    switch (x->limit) {
    case WS_LIMIT_FRAME: snprintf(out, room, "frame of %" PRIu64 " bytes", x->size); break;
    case WS_LIMIT_FRAGMENTS:
        snprintf(out, room, "message of %" PRIu64 " frames or more", x->size);
        break;
    case WS_LIMIT_UNPACKED:
        snprintf(out, room, "message that unpacks to %" PRIu64 " bytes or more", x->size);
        break;
    default: snprintf(out, room, "message of %" PRIu64 " bytes or more", x->size);
    }
}

void refusal_log_limit(const struct conn *c)
{
    const struct ws_excess *x = &c->ws.shared->excess;
    bool by_limit = c->ws.error == ERR_TOO_BIG || c->ws.error == ERR_POLICY;
    if (!by_limit || x->limit == WS_LIMIT_NONE || !log_enabled(LOG_INFO))
        return;
    const char *setting = settings[x->limit];
    if (!refusal_may_log(c->endpoint->server, setting))
        return;
    char what[80];
    describe(what, sizeof what, x);
    tell(c, "closed with %u: a %s, %s is %" PRIu64, c->ws.close_code, what, setting, x->value);
}

/* By a clock. */

void refusal_log_timeout(const struct conn *c, const char *what, double seconds,
                         const char *setting)
{
    if (log_enabled(LOG_INFO) && refusal_may_log(c->endpoint->server, setting))
        tell(c, "closed: the client %s for %g s (%s)", what, seconds, setting);
}
