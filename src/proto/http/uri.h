// SPDX-License-Identifier: MIT
/*
 * Request targets (RFC 9112 §3.2, RFC 3986): split into path and query, percent-decoding, query
 * parameters. Pure functions over bytes; the router and the request object are their users. Not a
 * normaliser: doubled slashes stay what they are, dot segments are refused.
 */
#ifndef NEAP_PROTO_HTTP_URI_H
#define NEAP_PROTO_HTTP_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/http/http.h"

/*
 * Splits an origin-form or absolute-form target into path (starts with "/") and query (without "?",
 * empty when there is none); both are views into the target. False when it is neither, or has a
 * fragment, a byte outside visible ASCII or a malformed escape, when its decoded path has a
 * control character or a dot segment ("." or "..", beside an escaped slash, too), or its decoded
 * query a NUL.
 */
bool uri_split(struct str target, struct str *path, struct str *query);

/*
 * Percent-decodes `in` to `out` (room for in.len bytes; no NUL is added). `plus` turns "+" into a
 * space (queries). Returns the length, or -1 for a malformed escape or a decoded NUL.
 */
long uri_decode(struct str in, char *out, bool plus);

/*
 * The next path segment, still encoded: the cursor starts at 0. Empty segments from doubled slashes
 * are given out as empty, except that one trailing slash ends the path. False at the end.
 */
bool uri_next_segment(struct str path, size_t *cursor, struct str *segment);

/*
 * The next `key=value` of a query, still encoded (value empty when there is no "="); empty pieces
 * are skipped: the cursor starts at 0. False at the end.
 */
bool uri_next_pair(struct str query, size_t *cursor, struct str *key, struct str *value);

#endif
