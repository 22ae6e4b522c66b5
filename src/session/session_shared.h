// SPDX-License-Identifier: MIT
/* What the sessions of one worker share, beside what their connections do. */
#ifndef NEAP_SESSION_SESSION_SHARED_H
#define NEAP_SESSION_SESSION_SHARED_H

#include "conn/conn_shared.h"
#include "net/loop.h"
#include "proto/ws/ws.h"

#include <stdbool.h>

struct session_shared {
    struct ws_shared ws;
    struct loop *loop;
    struct loop_timer large_rests; /* gives back memory when no large message came for a while */
    bool large_again;
};

/* Sessions write into queues of the pool of `conns`. */
void session_shared_init(struct session_shared *shared, struct conn_shared *conns);
/* No session may be left. */
void session_shared_deinit(struct session_shared *shared);

#endif
