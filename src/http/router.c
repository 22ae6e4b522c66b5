// SPDX-License-Identifier: MIT
/*
 * The tree behind router.h. Literal children are sorted and found by bisection, so that a thousand
 * routes cost little more than one. Matching may go back from a literal that leads nowhere to the
 * capture beside it; the work is bounded by the nodes that the app has attached, never by what the
 * client sends.
 */
#include "http/router.h"

#include "base/err.h"
#include "base/mem.h"
#include "proto/http/uri.h"

#include <string.h>

struct node {
    char *name; /* of a literal; NULL in the others */
    struct node **literals;
    size_t literal_count;
    struct node *capture, *rest;
    struct route *route;
};

struct route *route_new(const char *pattern, const struct route_config *config)
{
    struct route *r = mem_alloc(sizeof *r);
    r->refs = 1;
    r->pattern = mem_strdup(pattern);
    r->config = *config;
    r->config.session.path = r->pattern;
    return r;
}

struct route *route_ref(struct route *r)
{
    r->refs++;
    return r;
}

void route_unref(struct route *r)
{
    if (--r->refs)
        return;
    if (r->on_free)
        r->on_free(r);
    for (size_t i = 0; i < r->config.subprotocol_count; i++)
        mem_free(r->config.subprotocols[i]);
    mem_free(r->config.subprotocols);
    mem_free(r->pattern);
    mem_free(r);
}

static void node_free(struct node *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->literal_count; i++)
        node_free(n->literals[i]);
    node_free(n->capture);
    node_free(n->rest);
    if (n->route)
        route_unref(n->route);
    mem_free(n->literals);
    mem_free(n->name);
    mem_free(n);
}

void router_init(struct router *r)
{
    r->root = mem_alloc(sizeof *r->root);
}

void router_deinit(struct router *r)
{
    node_free(r->root);
    r->root = NULL;
}

static bool captures(struct str segment)
{
    return segment.len && (segment.s[0] == ':' || segment.s[0] == '*');
}

static bool is_dots(struct str segment)
{
    return segment.len && segment.len <= 2 && memcmp(segment.s, "..", segment.len) == 0;
}

/* True when the name of a capture stands again further on in the pattern. */
static bool repeated(struct str path, size_t cursor, struct str name)
{
    struct str other;
    while (uri_next_segment(path, &cursor, &other))
        if (captures(other) && other.len == name.len &&
            memcmp(other.s + 1, name.s + 1, name.len - 1) == 0)
            return true;
    return false;
}

const char *router_check(const char *pattern)
{
    if (pattern[0] != '/')
        return "a path starts with \"/\", as in \"/chat\"";
    struct str segment, path = str_of(pattern);
    size_t cursor = 0;
    bool rest = false;
    while (uri_next_segment(path, &cursor, &segment)) {
        if (rest)
            return "\"*name\" must be the last segment; \":name\" captures a single one anywhere";
        if (segment.len == 0)
            return "a path has no empty segment; write one \"/\", not \"//\"";
        if (is_dots(segment))
            return "a path has no segment \".\" or \"..\": requests with one are refused";
        if (captures(segment) && segment.len == 1)
            return "\":\" and \"*\" are followed by a name, as in \"/:room\" and \"/*rest\"";
        if (captures(segment) && repeated(path, cursor, segment))
            return "two captures have the same name; request.params has room for one";
        rest = segment.s[0] == '*';
    }
    return strpbrk(pattern, "?# \t\r\n")
               ? "a path has no \"?\", \"#\" or white space; a query is found in request.query"
               : NULL;
}

/* Index of the first literal that is not less than `s`. */
static size_t bisect(const struct node *n, struct str s)
{
    size_t low = 0, high = n->literal_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        const char *name = n->literals[mid]->name;
        size_t len = strlen(name);
        int order = memcmp(name, s.s, len < s.len ? len : s.len);
        if (order < 0 || (order == 0 && len < s.len))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct node *literal(const struct node *n, struct str s)
{
    size_t i = bisect(n, s);
    if (i == n->literal_count)
        return NULL;
    struct node *child = n->literals[i];
    return str_is(s, child->name) ? child : NULL;
}

static struct node *add_literal(struct node *n, struct str s)
{
    size_t at = bisect(n, s);
    struct node **grown = mem_alloc((n->literal_count + 1) * sizeof(struct node *));
    if (n->literal_count) {
        memcpy(grown, n->literals, at * sizeof(struct node *));
        memcpy(grown + at + 1, n->literals + at, (n->literal_count - at) * sizeof(struct node *));
    }
    mem_free(n->literals);
    n->literals = grown;
    n->literal_count++;
    struct node *child = grown[at] = mem_alloc(sizeof *child);
    child->name = mem_alloc(s.len + 1);
    memcpy(child->name, s.s, s.len);
    return child;
}

/* The child for one segment of a pattern; made when `add` is set, else NULL when there is none. */
static struct node *descend(struct node *n, struct str segment, bool add)
{
    if (captures(segment)) {
        struct node **slot = segment.s[0] == ':' ? &n->capture : &n->rest;
        if (!*slot && add)
            *slot = mem_alloc(sizeof **slot);
        return *slot;
    }
    struct node *child = literal(n, segment);
    return child || !add ? child : add_literal(n, segment);
}

static struct node *find(const struct router *r, const char *pattern, bool add)
{
    struct str segment, path = str_of(pattern);
    size_t cursor = 0;
    struct node *n = r->root;
    while (n && uri_next_segment(path, &cursor, &segment))
        n = descend(n, segment, add);
    return n;
}

bool router_add(struct router *r, struct route *route)
{
    struct node *n = find(r, route->pattern, true);
    if (n->route)
        return false;
    n->route = route_ref(route);
    return true;
}

bool router_remove(struct router *r, const char *pattern)
{
    struct node *n = find(r, pattern, false);
    if (!n || !n->route)
        return false;
    route_unref(n->route);
    n->route = NULL;
    return true;
}

static struct route *match(const struct node *n, struct str path, size_t cursor, char *scratch)
{
    struct str segment;
    if (!uri_next_segment(path, &cursor, &segment)) {
        if (n->route)
            return n->route;
        return n->rest ? n->rest->route : NULL;
    }
    long len = uri_decode(segment, scratch, false);
    if (len < 0)
        return NULL;
    const struct node *child = literal(n, (struct str){scratch, (size_t)len});
    struct route *found = child ? match(child, path, cursor, scratch) : NULL;
    if (!found && n->capture && segment.len)
        found = match(n->capture, path, cursor, scratch);
    if (!found && n->rest)
        found = n->rest->route;
    return found;
}

struct route *router_match(const struct router *r, struct str path)
{
    char *scratch = mem_try(path.len + 1);
    if (!scratch)
        return NULL;
    struct route *found = match(r->root, path, 0, scratch);
    mem_free(scratch);
    return found;
}

bool route_capture(const struct route *r, struct str path, size_t i, struct route_capture *capture,
                   char *out)
{
    struct str pattern = str_of(r->pattern), name, value;
    size_t at = 0, pos = 0;
    while (uri_next_segment(pattern, &at, &name)) {
        size_t start = pos;
        if (!uri_next_segment(path, &pos, &value))
            value = (struct str){path.s + path.len, 0};
        if (!captures(name) || i--)
            continue;
        if (name.s[0] == '*') {
            while (start < path.len && path.s[start] == '/')
                start++;
            value = (struct str){path.s + start, path.len - start};
        }
        long len = uri_decode(value, out, false);
        capture->name = (struct str){name.s + 1, name.len - 1};
        capture->len = len < 0 ? 0 : (size_t)len;
        out[capture->len] = '\0';
        return true;
    }
    return false;
}
