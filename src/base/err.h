// SPDX-License-Identifier: MIT
/*
 * Error codes of the C core: negative, so that functions can return a count or an error in one int.
 * Protocol objects keep the first error and repeat it. What a code means towards the peer (close
 * code, HTTP status) is decided by the layer that knows the protocol, not here.
 */
#ifndef NEAP_BASE_ERR_H
#define NEAP_BASE_ERR_H

enum err {
    ERR_OK = 0,
    ERR_NOMEM = -1,        /* an allocation that the peer sized has failed */
    ERR_PROTOCOL = -2,     /* the peer broke the protocol: 1002 CorruptedFrameError */
    ERR_CONTINUATION = -3, /* wrong order of fragments: 1002 InvalidContinuationFrameError */
    ERR_UTF8 = -4,         /* text or close reason is not UTF-8: 1007 */
    ERR_TOO_BIG = -5,      /* a frame or message is over its limit: 1009 PayloadTooLargeError */
    ERR_POLICY = -6,       /* a limit of count or time: 1008 */
    ERR_CLOSED = -7,       /* the session or stream is closed */
    ERR_ARGUMENT = -8,     /* the caller's mistake */
    ERR_IO = -9,           /* the system refused; errno is kept beside it */
    ERR_HANDLER = -10,     /* a handler of the app failed: 1011 */
};

/* A short English sentence for the code, without a full stop; never NULL. */
const char *err_text(int code);

#endif
