// SPDX-License-Identifier: MIT
/*
 * Pushes: one message to all members of a group, wherever they are.
 */
#ifndef NEAP_GROUP_GROUP_PUSH_H
#define NEAP_GROUP_GROUP_PUSH_H

#include "group/group_key.h"
#include "proto/ws/ws.h"
#include "session/session.h"

struct groups;

/* One message for all members. */
struct group_push {
    struct group_key key;
    enum ws_type type; /* WS_TEXT (UTF-8, checked by the caller) or WS_BINARY */
    const uint8_t *bytes;
    size_t len;
    const struct session *except; /* NULL, or who gets none */
};

/* What became of it; of the members elsewhere, by what their workers told last. */
struct group_pushed {
    uint32_t members;   /* addressed; without `except` */
    uint32_t delivered; /* queued for the client, or taken by the bus */
    uint32_t dropped;   /* not, for whatever reason */
    uint32_t closed;    /* of `dropped`: here, whose connections were ended for being slow */
};

/* Never waits: slow members are dealt with as their route says (session_push). */
void group_push(struct groups *g, const struct group_push *push, struct group_pushed *out);

#endif
