// SPDX-License-Identifier: MIT
/* Lines of the log about frames and messages that a limit has refused. */
#include "session/session_private.h"

#include "base/err.h"
#include "base/log.h"
#include "conn/refusal.h"

#include <inttypes.h>
#include <stdio.h>

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

void session_log_limit(const struct session *s)
{
    const struct ws_excess *x = &s->ws.shared->excess;
    bool by_limit = s->ws.error == ERR_TOO_BIG || s->ws.error == ERR_POLICY;
    if (!by_limit || x->limit == WS_LIMIT_NONE || !log_enabled(LOG_INFO))
        return;
    const char *setting = settings[x->limit];
    if (!refusal_may_log(&s->conn.shared->refusals, setting))
        return;
    char what[80];
    describe(what, sizeof what, x);
    conn_log_refusal(&s->conn, "closed with %u: a %s, %s is %" PRIu64, s->ws.close_code, what,
                     setting, x->value);
}
