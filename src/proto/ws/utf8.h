// SPDX-License-Identifier: MIT
/*
 * Incremental UTF-8 check (RFC 3629): text arrives in pieces that may end inside a character. The
 * state is one small integer, so that a session can keep it between frames for nothing. Overlong
 * forms, surrogates and code points above U+10FFFF are refused at the first byte that proves them.
 */
#ifndef NEAP_PROTO_WS_UTF8_H
#define NEAP_PROTO_WS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Between characters; also the state to start with. Any other state is inside a character. */
#define UTF8_START 0

/*
 * Checks `len` more bytes after `state`. Returns the new state (>= 0), UTF8_START when the text
 * ends between two characters, or ERR_UTF8 at a byte that no continuation can mend. Fast on ASCII.
 */
int utf8_feed(int state, const uint8_t *bytes, size_t len);

/* True when the bytes are whole, valid UTF-8. */
bool utf8_valid(const uint8_t *bytes, size_t len);

/*
 * The largest length <= max that does not cut a character of valid UTF-8 in two (of close reasons,
 * FRAME_REASON_MAX).
 */
size_t utf8_cut(const uint8_t *bytes, size_t len, size_t max);

#endif
