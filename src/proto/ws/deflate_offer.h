// SPDX-License-Identifier: MIT
/*
 * What two peers agree upon about compression: the header field Sec-WebSocket-Extensions with
 * permessage-deflate in it (RFC 6455 §9.1, RFC 7692 §5 and §7.1), both roles. No input or output.
 *
 *      client  offers, best first:  permessage-deflate; client_max_window_bits, permessage-deflate
 *      server  takes one, or none:  permessage-deflate; server_no_context_takeover
 *
 * An offer that has a parameter that is unknown, illegal or there twice is passed over for the next
 * one (§7.1); a client that gets such an answer fails the connection. A list that is not even
 * grammatical is refused before, by handshake_check.
 */
#ifndef NEAP_PROTO_WS_DEFLATE_OFFER_H
#define NEAP_PROTO_WS_DEFLATE_OFFER_H

#include "proto/http/http.h"
#include "proto/ws/deflate.h"

enum { DEFLATE_TEXT_SIZE = 192 };

/* An agreement: its parameters, and the value of the header field that says so. */
struct deflate_answer {
    struct deflate_params params;
    char text[DEFLATE_TEXT_SIZE];
};

/*
 * Server: takes the first acceptable offer of the request (§5.1). False when there is none: the
 * answer has no such header then. The answer is always legal for that offer:
 *
 *      server_no_context_takeover   asked for, or our setting
 *      client_no_context_takeover   asked for, or our setting
 *      server_max_window_bits       asked for; or we keep a window, and ours is smaller than 15
 *      client_max_window_bits       allowed by the client, whose window we keep, and below 15
 */
bool deflate_accept(const struct http_head *request, const struct deflate_config *ours,
                    struct deflate_answer *answer);

/* Client: writes our offer. */
void deflate_offer(const struct deflate_config *ours, char text[DEFLATE_TEXT_SIZE]);

/*
 * Client: judges the answer to that offer. Returns NULL when it is legal; then *on says whether
 * there is compression, and *params how. Else a sentence for people: the connection must fail
 * (§5.1).
 */
const char *deflate_judge(const struct http_head *response, const struct deflate_config *ours,
                          struct deflate_params *params, bool *on);

#endif
