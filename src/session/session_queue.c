// SPDX-License-Identifier: MIT
/* What waits to be told: a ring of messages, of which the session knows the last one. */
#include "session/session_private.h"

#include "base/mem.h"

#include <string.h>

struct session_message *session_queue_take(struct session *s)
{
    struct session_message *m = s->queue->next;
    if (m == s->queue)
        s->queue = NULL;
    else
        s->queue->next = m->next;
    s->queued -= (uint32_t)sizeof *m + m->len;
    return m;
}

void session_queue_free(struct session *s)
{
    while (s->queue)
        mem_free(session_queue_take(s));
}

bool session_queue_add(struct session *s, const struct ws_event *ev)
{
    struct session_message *m = mem_try(sizeof *m + ev->len);
    if (!m)
        return false;
    m->len = (uint32_t)ev->len;
    m->type = (uint8_t)ev->type;
    if (ev->len)
        memcpy(m->bytes, ev->data, ev->len);
    m->next = s->queue ? s->queue->next : m;
    if (s->queue)
        s->queue->next = m;
    s->queue = m;
    s->queued += (uint32_t)(sizeof *m + ev->len);
    return true;
}
