// SPDX-License-Identifier: MIT
/* What the control socket can ask of the master: one function a command, and a table of them. */
#include "base/buf.h"
#include "master/master_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds one line. Replies are small; if memory is short even so, the reply lacks it. */
static void put(struct buf *b, const char *format, ...)
{
    char line[640];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line - 1, format, ap);
    va_end(ap);
    if (n < 0 || n >= (int)sizeof line - 1)
        return;
    line[n] = '\n';
    (void)buf_append(b, line, (size_t)n + 1);
}

static const char *state(const struct place *place, const struct process *p)
{
    static const char *const names[] = {"waiting", "starting", "ready", "ended"};
    if (p->pid && place->master->stopping)
        return "stopping";
    return p == place->now ? names[place->life] : "leaving";
}

static void put_process(struct buf *reply, const struct process *p)
{
    const struct place *place = p->place;
    double uptime = p->pid ? loop_now(&place->master->loop) - p->started : 0;
    put(reply, "worker %d pid=%d state=%s restarts=%u uptime=%.0f", place->number, (int)p->pid,
        state(place, p), place->restarts, uptime);
}

static enum control_result status(struct master *m, struct buf *reply)
{
    double now = loop_now(&m->loop);
    char text[512];
    put(reply, "pid %d", (int)getpid());
    put(reply, "version %s", m->config->version ? m->config->version : "unknown");
    put(reply, "uptime %.0f", now - m->started);
    for (int i = 0; sockets_text(m->sockets, i, text, sizeof text); i++)
        put(reply, "listener %s", text);
    for (int i = 0; i < m->config->workers; i++) {
        put_process(reply, m->places[i].now);
        if (place_leaving(&m->places[i]))
            put_process(reply, place_leaving(&m->places[i]));
    }
    return CONTROL_OK;
}

/* As SIGTERM, once; asked again it waits along. The answer comes when all workers have ended. */
static enum control_result stop(struct master *m, struct buf *reply)
{
    put(reply, "stopping");
    master_stop(m);
    return CONTROL_LATER;
}

static enum control_result reload(struct master *m, struct buf *reply)
{
    (void)m;
    put(reply, "error: this version cannot reload an app; restart the server "
               "(SIGHUP reads certificates again)");
    return CONTROL_ANSWERED;
}

static const struct {
    const char *name;
    enum control_result (*run)(struct master *m, struct buf *reply);
} commands[] = {{"status", status}, {"stop", stop}, {"reload", reload}};

enum control_result commands_run(void *arg, const char *command, struct buf *reply)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(command, commands[i].name) == 0)
            return commands[i].run(arg, reply);
    return CONTROL_UNKNOWN;
}
