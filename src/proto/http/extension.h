// SPDX-License-Identifier: MIT
/*
 * The grammar of Sec-WebSocket-Extensions (RFC 6455 §9.1), of requests and answers alike, whatever
 * the extensions are; what parameters mean is for those who know them (deflate_offer.h).
 *
 *      permessage-deflate; client_max_window_bits="12", x-other; a; b=c
 *      └ name              └ parameter                  └ the next element
 *
 * That a quoted value has to be a token once the quotes are gone is not judged here.
 */
#ifndef NEAP_PROTO_HTTP_EXTENSION_H
#define NEAP_PROTO_HTTP_EXTENSION_H

#include "proto/http/http.h"

/* A parameter; views into the element. */
struct extension_param {
    struct str name;
    struct str value; /* between the quotes, if there are some, escapes as they came */
    bool has_value, quoted;
};

/* Takes the name from the front of an element, as http_next_element gives it. False: malformed. */
bool extension_name(struct str *rest, struct str *name);

/* Takes the next parameter: 1, 0 at the end of the element, or ERR_PROTOCOL: malformed. */
int extension_param(struct str *rest, struct extension_param *param);

/*
 * True when the header is not there, or has at least one element and none that is malformed. Empty
 * elements between commas are passed over, as in every list.
 */
bool extension_list_valid(const struct http_head *h);

#endif
