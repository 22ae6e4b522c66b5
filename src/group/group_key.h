// SPDX-License-Identifier: MIT
/*
 * What a group is called. Each of the three kinds has its own names: a group "x" is not the service
 * "x". Names are byte strings of 1 to GROUP_NAME_MAX bytes.
 */
#ifndef NEAP_GROUP_GROUP_KEY_H
#define NEAP_GROUP_GROUP_KEY_H

#include <stdbool.h>
#include <stddef.h>

enum group_kind {
    GROUP_JOINED,  /* addConnectionToGroup */
    GROUP_SERVICE, /* all connections of a service; joined when they open */
    GROUP_STORED,  /* a stored connection: one holder in the whole deployment */
    GROUP_KINDS
};

enum { GROUP_NAME_MAX = 255 };

struct group_key {
    enum group_kind kind;
    const char *name;
    size_t len;
};

static inline bool group_key_valid(const struct group_key *key)
{
    return key->len > 0 && key->len <= GROUP_NAME_MAX;
}

#endif
