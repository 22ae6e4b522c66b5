// SPDX-License-Identifier: MIT
/*
 * What the connections of one worker share, whatever speaks on them and whoever has opened them:
 * the loop, memory for reading and writing, random bytes, and what is done in turns.
 */
#ifndef NEAP_CONN_CONN_SHARED_H
#define NEAP_CONN_CONN_SHARED_H

#include "base/entropy.h"
#include "base/outq.h"
#include "conn/refusal.h"
#include "net/loop.h"
#include "net/wheel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONN_READ_SIZE = 192 * 1024 }; /* stays in the second-level cache */

struct conn_shared {
    struct loop *loop;
    uint8_t *read_buffer;   /* CONN_READ_SIZE bytes, for whoever reads now */
    struct wheel wheel;     /* of the connections' clocks */
    struct outpool pool;    /* of their output queues */
    size_t held_back;       /* output of this turn's batches that waits to be written */
    size_t work;            /* of this turn's connections that go on, as conn.h counts it */
    struct link resting;    /* connections with something left, by their jobs (conn_rest.c) ... */
    struct link turn_mark;  /* ... those of this turn before this one */
    struct loop_job go_on;  /* gives them theirs */
    unsigned shakes;        /* steps of TLS handshakes in this turn */
    struct loop_job rested; /* forgets them at its end */
    struct entropy entropy; /* for connection ids and seeds */
    struct refusals refusals;
};

#endif
