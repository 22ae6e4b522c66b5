// SPDX-License-Identifier: MIT
/*
 * Settings of a session as it uses them, and whom it tells. Names, defaults and checks for the
 * people who write apps are the Lua library's; here everything is filled in. Times are seconds.
 */
#ifndef NEAP_SESSION_SETTINGS_H
#define NEAP_SESSION_SETTINGS_H

#include "proto/ws/ws.h"

#include <stdbool.h>
#include <stddef.h>

struct session;

/*
 * Calls upwards. Those that return bool run a handler: true means that it has not finished (it
 * waits for something); the layer above then calls session_done when it has. Until then nothing
 * else of that session is told, and what arrives is queued.
 */
struct session_hooks {
    /*
     * The session begins, and will be told of in a moment: time to make it a member of what it
     * belongs to. False when memory is short: nothing more is told of it but `ends`.
     */
    bool (*begins)(struct session *s);
    /* It ends, or has begun to close: it is nobody's member any more. Can be told twice. */
    void (*ends)(struct session *s);

    bool (*on_open)(struct session *s);
    /*
     * WS_TEXT, WS_BINARY, WS_PING (only with wants_pings), WS_PONG. The bytes are valid during the
     * call.
     */
    bool (*on_event)(struct session *s, const struct ws_event *ev);
    /*
     * Nothing was received for idle_timeout. Without wants_idle the session is closed with 1001
     * instead.
     */
    bool (*on_idle)(struct session *s);
    /* It ended by an error: session_why tells which. on_close follows. */
    bool (*on_error)(struct session *s);
    /* Exactly once for each session that opened; nothing but on_drain can follow. */
    bool (*on_close)(struct session *s, unsigned code, const char *reason, size_t len);
    /*
     * Output has drained below max_buffered, the session has ended, or the peer has hung up: who
     * waits for one of them may go on. Only after session_await_drain.
     */
    void (*on_drain)(struct session *s);
};

struct session_settings {
    struct ws_limits ws;    /* first: a session finds its settings by its limits */
    double idle_timeout;    /* nothing received; 0: never */
    double message_timeout; /* from the first piece of a message to its last; 0: none */
    double close_timeout;   /* from our close frame to the peer's; -1: for ever */
    double ping_interval;   /* 0: no pings of ours */
    double pong_timeout;    /* after such a ping; 0: none */
    double write_timeout;   /* in which a peer must take something of what waits; 0: none */
    /* bytes queued towards a peer before writers wait and pushes are refused */
    size_t max_buffered;
    /* what happens to a push then: drop it (true) or close the peer with 1013 */
    bool drop_slow;
    const struct session_hooks *hooks;
    const char *path; /* as the app has named it, for the log; borrowed, or NULL */
};

#endif
