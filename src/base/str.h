// SPDX-License-Identifier: MIT
/*
 * A span of bytes that are read only and belong to somebody else. It may end in the middle of a
 * text: the length is what counts, also where a NUL follows for convenience.
 */
#ifndef NEAP_BASE_STR_H
#define NEAP_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *s;
    size_t len;
};

static inline struct str str_of(const char *text)
{
    return (struct str){text, strlen(text)};
}

static inline bool str_is(struct str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.s, text, s.len) == 0;
}

#endif
