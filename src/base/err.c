// SPDX-License-Identifier: MIT
/*
 * The sentences for the core's error codes; used in logs and as default messages of error objects.
 */
#include "base/err.h"

const char *err_text(int code)
{
    switch (code) {
    case ERR_OK: return "no error";
    case ERR_NOMEM: return "out of memory";
    case ERR_PROTOCOL: return "protocol error";
    case ERR_CONTINUATION: return "fragments in the wrong order";
    case ERR_UTF8: return "text is not valid UTF-8";
    case ERR_TOO_BIG: return "message too big";
    case ERR_POLICY: return "a limit was exceeded";
    case ERR_CLOSED: return "connection closed";
    case ERR_ARGUMENT: return "invalid argument";
    case ERR_IO: return "input/output error";
    case ERR_HANDLER: return "internal error";
    default: return "unknown error";
    }
}
