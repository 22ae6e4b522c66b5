// SPDX-License-Identifier: MIT
/*
 * Makes bytes from anywhere safe to stand in one line of a log: whatever could end the line, drive
 * a terminal or turn the direction of writing is replaced by a visible escape. These are
 *
 *      C0 and DEL            \n \r \t, others \x1b          (in JSON \u001b)
 *      C1                    \u0085                         U+0080 to U+009F
 *      bidirectional marks   \u202e                         U+061C, U+200E/F, U+202A-E, U+2066-9
 *      line separators       \u2028                         U+2028, U+2029
 *      bytes that are not UTF-8 (RFC 3629)  \xff            (in JSON \\xff, so that it stays valid)
 *
 * It knows nothing of log lines and allocates nothing.
 */
#ifndef NEAP_BASE_ESCAPE_H
#define NEAP_BASE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

enum escape_form {
    ESCAPE_PLAIN,  /* `"` and `\` stay as they are: for the message of a text line */
    ESCAPE_QUOTED, /* `"` and `\` become \" and \\: inside the quotes of a text line */
    ESCAPE_JSON,   /* the inside of a JSON string (RFC 8259 §7) */
};

/*
 * Writes the escaped form of `in` to `out`, at most `room` bytes and never half a character or half
 * an escape. Where not all of it fits the result ends with "…" if there is room for three bytes.
 * Returns the number of bytes written; adds no NUL.
 */
size_t escape_bytes(char *out, size_t room, const char *in, size_t len, enum escape_form form);

/* True when a value must be quoted in a text line: it is empty or has a blank, quote, `=`, `\`, or
 * something to escape. */
bool escape_needs_quotes(const char *in, size_t len);

#endif
