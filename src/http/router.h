// SPDX-License-Identifier: MIT
/*
 * Path patterns to routes. A pattern is made of segments: literal text, `:name` for exactly one
 * segment, or a final `*name` for all that is left (which may be nothing). At each segment a
 * literal is tried before a capture, and a capture before the rest, so that the most literal match
 * wins. `/chat` and `/chat/` are the same.
 *
 *      "/"──"chat"──":room"──"history"       a tree of segments; each node may end a route
 *              └────"*rest"
 *
 * Segments of a request are percent-decoded one by one before they are compared: %2F never divides.
 */
#ifndef NEAP_HTTP_ROUTER_H
#define NEAP_HTTP_ROUTER_H

#include "http/settings.h"
#include "proto/http/http.h"

struct node;

/* One attached path. Counted: connections and requests keep their route when it is detached. */
struct route {
    uint32_t refs;
    char *pattern;
    struct route_config config;
    void *user;                           /* the binding's */
    void (*on_free)(struct route *route); /* frees `user`; may be NULL */
};

/* A route with one reference. Takes over what `config` owns. Dies when memory is short. */
struct route *route_new(const char *pattern, const struct route_config *config);
struct route *route_ref(struct route *r);
void route_unref(struct route *r);

struct router {
    struct node *root;
};

void router_init(struct router *r);
void router_deinit(struct router *r);

/* NULL when the pattern is well-formed, else a sentence that says what is wrong with it. */
const char *router_check(const char *pattern);

/*
 * Attaches a route at its pattern (checked before); takes a reference. False when that path has one
 * already.
 */
bool router_add(struct router *r, struct route *route);

/* Detaches what is attached at exactly this pattern. False when nothing is. */
bool router_remove(struct router *r, const char *pattern);

/*
 * The route that matches an undecoded path (starts with "/", checked by uri_split), or NULL.
 * Borrowed.
 */
struct route *router_match(const struct router *r, struct str path);

/*
 * The i-th capture of the route's pattern in this path: its name, and the decoded value in `out`
 * (room for path.len + 1 bytes, NUL-terminated). False when the pattern has no more.
 */
struct route_capture {
    struct str name;
    size_t len;
};
bool route_capture(const struct route *r, struct str path, size_t i, struct route_capture *capture,
                   char *out);

#endif
