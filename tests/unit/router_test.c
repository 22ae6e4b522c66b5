// SPDX-License-Identifier: MIT
/*
 * Patterns, routes and the paths that they match. Paths come from uri_split, as in the server,
 * and lie before an unreadable page.
 */
#include "http/router.h"
#include "proto/http/uri.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct router router;
static int freed;

static void on_free(struct route *route)
{
    (void)route;
    freed++;
}

/* Attaches a route at the pattern; whether its path was free. */
static bool add(const char *pattern)
{
    struct route_config config = {0};
    struct route *route = route_new(pattern, &config);
    route->on_free = on_free;
    bool added = router_add(&router, route);
    route_unref(route);
    return added;
}

static void begin(const char *const *patterns)
{
    freed = 0;
    router_init(&router);
    for (; *patterns; patterns++) {
        CHECK(!router_check(*patterns));
        CHECK(add(*patterns));
    }
}

static struct str guarded(const char *text)
{
    size_t len = strlen(text);
    return (struct str){(const char *)guard_copy(text, len), len};
}

/* The route for a target: its pattern, "-" for none, or "refused" for what uri_split refuses. */
static const char *matched(const char *target)
{
    struct str path, query;
    if (!uri_split(guarded(target), &path, &query))
        return "refused";
    struct route *route = router_match(&router, path);
    return route ? route->pattern : "-";
}

static void matches(const char *target, const char *pattern)
{
    test_context("%s", target);
    CHECK_TEXT(matched(target), pattern);
    test_context(NULL);
}

/* --- Patterns -------------------------------------------------------------------------------- */

static void good_patterns(void)
{
    static const char *const good[] = {
        "/",         "/chat", "/chat/",    "/a/b/c", "/:room", "/*rest", "/chat/:room/*rest",
        "/:a/:b/:c", "/a:b",  "/a*b",      "/...",   "/.a",    "/a.",    "/:.",
        "/%2e",      "/ä",    "/:a/a/*aa", "/:ab/:a"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *why = router_check(good[i]);
        test_context("%s", good[i]);
        CHECK_TEXT(why ? why : "", "");
    }
    test_context(NULL);
}

static void bad_patterns(void)
{
    static const struct {
        const char *pattern, *why; /* what the sentence begins with */
    } bad[] = {
        {"", "a path starts"},
        {"chat", "a path starts"},
        {"*rest", "a path starts"},
        {"//", "a path has no empty segment"},
        {"/a//b", "a path has no empty segment"},
        {"/a//", "a path has no empty segment"},
        {"/.", "a path has no segment"},
        {"/..", "a path has no segment"},
        {"/a/../b", "a path has no segment"},
        {"/./a", "a path has no segment"},
        {"/:", "\":\" and \"*\" are followed"},
        {"/a/*", "\":\" and \"*\" are followed"},
        {"/:/b", "\":\" and \"*\" are followed"},
        {"/*rest/b", "\"*name\" must be the last"},
        {"/*rest/:b", "\"*name\" must be the last"},
        {"/*rest/*more", "\"*name\" must be the last"},
        {"/:a/:a", "two captures"},
        {"/:a/b/*a", "two captures"},
        {"/:a/:b/:a", "two captures"},
        {"/a?b", "a path has no \"?\""},
        {"/a#b", "a path has no \"?\""},
        {"/a b", "a path has no \"?\""},
        {"/a\tb", "a path has no \"?\""},
        {"/a\n", "a path has no \"?\""},
        {"/a\r", "a path has no \"?\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *why = router_check(bad[i].pattern);
        test_context("%s", bad[i].pattern);
        if (CHECK(why != NULL))
            CHECK(strncmp(why, bad[i].why, strlen(bad[i].why)) == 0);
    }
    test_context(NULL);
}

/* --- Matching -------------------------------------------------------------------------------- */

static void literals(void)
{
    begin((const char *const[]){"/", "/chat", "/chat/blue", "/cha", "/chats", "/b/", NULL});
    matches("/", "/");
    matches("/?x=1", "/");
    matches("/chat", "/chat");
    matches("/chat/", "/chat");
    matches("/chat?x=/blue", "/chat");
    matches("/chat/blue", "/chat/blue");
    matches("/chat/blue/", "/chat/blue");
    matches("/cha", "/cha");
    matches("/chats", "/chats");
    matches("/b", "/b/");
    matches("/b/", "/b/");
    matches("/ch", "-");
    matches("/chatss", "-");
    matches("/Chat", "-");
    matches("/chat/red", "-");
    matches("/chat/blue/x", "-");
    matches("//", "-");
    matches("//chat", "-");
    matches("/chat//", "-");
    matches("/chat//blue", "-");
    router_deinit(&router);
    CHECK_INT(freed, 6);
}

static void no_routes(void)
{
    begin((const char *const[]){NULL});
    matches("/", "-");
    matches("/a/b", "-");
    router_deinit(&router);
}

static void captures(void)
{
    begin((const char *const[]){"/:a", "/room/:b", "/room/:b/log", "/:a/:c/:d/end", NULL});
    matches("/x", "/:a");
    matches("/room", "/:a");
    matches("/:", "/:a");
    matches("/*", "/:a");
    matches("/room/x", "/room/:b");
    matches("/room/x/", "/room/:b");
    matches("/room/x/log", "/room/:b/log");
    matches("/x/y/z/end", "/:a/:c/:d/end");
    matches("/", "-");
    matches("//", "-"); /* a capture takes no empty segment */
    matches("/room//", "-");
    matches("/room//log", "-");
    matches("/x/y/z", "-");
    router_deinit(&router);
}

static void rests(void)
{
    begin((const char *const[]){"/files/*path", "/a/b", "/a/*rest", NULL});
    matches("/files", "/files/*path");
    matches("/files/", "/files/*path");
    matches("/files//", "/files/*path");
    matches("/files/a", "/files/*path");
    matches("/files/a/b/c/", "/files/*path");
    matches("/files//a//", "/files/*path");
    matches("/a", "/a/*rest");
    matches("/a/b", "/a/b");
    matches("/a/b/c", "/a/*rest");
    matches("/files2", "-");
    matches("/", "-");
    router_deinit(&router);
    begin((const char *const[]){"/*all", NULL});
    matches("/", "/*all");
    matches("//", "/*all");
    matches("/a/b", "/*all");
    router_deinit(&router);
}

/* At each segment a literal before a capture before the rest; back from what leads nowhere. */
static void precedence(void)
{
    begin((const char *const[]){"/*all", "/:a", "/x", "/x/*rest", "/x/:b", "/x/y", "/x/y/z",
                                "/:a/y/w", "/x/:b/v", "/:a/:b/:c", NULL});
    matches("/x", "/x");
    matches("/w", "/:a");
    matches("/", "/*all");
    matches("/x/y", "/x/y");
    matches("/x/w", "/x/:b");
    matches("/x/y/z", "/x/y/z");
    matches("/x/y/v", "/x/:b/v");  /* "/x/y" leads nowhere */
    matches("/x/y/w", "/x/*rest"); /* the rest there is nearer than "/:a" at the root */
    matches("/w/y/w", "/:a/y/w");
    matches("/w/y/z", "/:a/:b/:c");
    matches("/w/y", "/*all");
    matches("/w/x/y/z", "/*all");
    matches("/x//z", "/x/*rest");
    router_deinit(&router);
}

/* --- What is encoded ------------------------------------------------------------------------- */

static void encoded(void)
{
    begin((const char *const[]){"/chat", "/a/b", "/:one", "/café/x", "/per%63ent", NULL});
    matches("/%63hat", "/chat");
    matches("/%63%68%61%74", "/chat");
    matches("/chat%2F", "/:one"); /* it divides nothing */
    matches("/a%2Fb", "/:one");
    matches("/a%2fb/", "/:one");
    matches("/%61/%62", "/a/b");
    matches("/caf%C3%A9/x", "/café/x");
    matches("/per%2563ent", "/per%63ent"); /* a pattern is not decoded */
    matches("/per%63ent", "/:one");
    matches("/%2F", "/:one");
    matches("/%3Aone", "/:one");
    matches("/%ff", "/:one");
    router_deinit(&router);
}

static void refused(void)
{
    begin((const char *const[]){"/*all", NULL});
    static const char *const targets[] = {"/.",        "/..",     "/a/../b", "/a/./b", "/%2e",
                                          "/%2E%2e/a", "/a/%2e.", "/a%2f..", "/%2",    "/%zz",
                                          "/%00",      "/%0a",    "/a b",    "chat",   "/a#b"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        matches(targets[i], "refused");
    matches("/...", "/*all");
    matches("/.a", "/*all");
    router_deinit(&router);
}

/* A path that nobody has checked is matched by nothing, and harms nothing. */
static void unchecked(void)
{
    begin((const char *const[]){"/chat", "/:one", "/x/*rest", NULL});
    static const char *const paths[] = {"/%", "/%4", "/%00", "/x%", "/chat/%0"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        test_context("%s", paths[i]);
        CHECK(!router_match(&router, guarded(paths[i])));
    }
    test_context(NULL);
    router_deinit(&router);
}

/* --- Captured values ------------------------------------------------------------------------- */

/* "name=value;name=value;" of all captures of the route that matches. */
static void captured(const char *target, const char *expected)
{
    char text[256] = "", out[128];
    struct str path, query;
    struct route_capture capture;
    test_context("%s", target);
    CHECK(uri_split(guarded(target), &path, &query));
    struct route *route = router_match(&router, path);
    size_t used = 0, i = 0;
    if (!CHECK(route != NULL))
        return;
    for (; route_capture(route, path, i, &capture, out); i++) {
        CHECK_INT(strlen(out), capture.len);
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s=%s;", (int)capture.name.len,
                                 capture.name.s, out);
    }
    CHECK_TEXT(text, expected);
    CHECK(!route_capture(route, path, i + 1, &capture, out));
    test_context(NULL);
}

static void values(void)
{
    begin((const char *const[]){"/none", "/one/:a", "/two/:a/x/:b", "/files/*path",
                                "/both/:a/*path", NULL});
    captured("/none", "");
    captured("/one/x", "a=x;");
    captured("/one/x/", "a=x;");
    captured("/one/a%2Fb%20c", "a=a/b c;");
    captured("/one/+", "a=+;");
    captured("/two/1/x/2", "a=1;b=2;");
    captured("/files", "path=;");
    captured("/files/", "path=;");
    captured("/files/a/b/", "path=a/b/;");
    captured("/files//a//b", "path=a//b;");
    captured("/files/a%2fb/%63", "path=a/b/c;");
    captured("/both/1", "a=1;path=;");
    captured("/both/1/2/3", "a=1;path=2/3;");
    captured("/%6Fne/x", "a=x;");
    router_deinit(&router);
}

/* --- Attaching and detaching ----------------------------------------------------------------- */

static void attached_twice(void)
{
    begin((const char *const[]){"/chat", "/:a", "/x/*rest", "/", NULL});
    CHECK(!add("/chat"));
    CHECK(!add("/chat/"));
    CHECK(!add("/:b")); /* the same paths by another name */
    CHECK(!add("/x/*other"));
    CHECK(!add("/"));
    CHECK_INT(freed, 5);
    CHECK(add("/chat/:a"));
    CHECK(add("/x"));
    router_deinit(&router);
    CHECK_INT(freed, 5 + 6);
}

static void detached(void)
{
    begin((const char *const[]){"/chat", "/chat/:room", "/chat/*rest", NULL});
    CHECK(!router_remove(&router, "/cha"));
    CHECK(!router_remove(&router, "/chat/blue")); /* what a path matches is not attached there */
    CHECK(!router_remove(&router, "/"));
    CHECK(!router_remove(&router, "/chat/:room/x"));
    CHECK_INT(freed, 0);
    CHECK(router_remove(&router, "/chat/"));
    CHECK_INT(freed, 1);
    CHECK(!router_remove(&router, "/chat"));
    matches("/chat", "/chat/*rest");
    matches("/chat/blue", "/chat/:room");
    CHECK(router_remove(&router, "/chat/:room"));
    matches("/chat/blue", "/chat/*rest");
    CHECK(router_remove(&router, "/chat/*rest"));
    matches("/chat/blue", "-");
    CHECK_INT(freed, 3);
    CHECK(add("/chat"));
    matches("/chat", "/chat");
    router_deinit(&router);
    CHECK_INT(freed, 4);
}

/* A connection keeps its route when it is detached. */
static void kept(void)
{
    begin((const char *const[]){"/chat", NULL});
    struct route *route = route_ref(router_match(&router, guarded("/chat")));
    CHECK(router_remove(&router, "/chat"));
    CHECK_INT(freed, 0);
    CHECK_TEXT(route->pattern, "/chat");
    router_deinit(&router);
    route_unref(route);
    CHECK_INT(freed, 1);
}

static void takes_over(void)
{
    struct route_config config = {.session.idle_timeout = 3, .subprotocol_count = 2};
    config.subprotocols = calloc(2, sizeof *config.subprotocols);
    config.subprotocols[0] = strdup("chat");
    config.subprotocols[1] = strdup("chat2");
    char pattern[] = "/chat";
    struct route *route = route_new(pattern, &config);
    pattern[1] = 'X';
    CHECK_TEXT(route->pattern, "/chat");
    CHECK_TEXT(route->config.subprotocols[1], "chat2");
    CHECK(route->config.session.idle_timeout > 2);
    route_unref(route); /* without on_free; the sanitizer sees what is left */
}

/* --- Many, and long -------------------------------------------------------------------------- */

enum { MANY = 1000 };

static void many(void)
{
    char pattern[32];
    begin((const char *const[]){"/:other", NULL});
    for (int i = 0; i < MANY; i++) {
        snprintf(pattern, sizeof pattern, "/r%d", i * 7919 % MANY);
        CHECK(add(pattern));
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(pattern, sizeof pattern, "/r%d", i);
        CHECK_TEXT(matched(pattern), pattern);
        CHECK(!add(pattern));
    }
    matches("/r", "/:other");
    matches("/r1000", "/:other");
    matches("/q", "/:other");
    matches("/s", "/:other");
    for (int i = 0; i < MANY; i += 2) {
        snprintf(pattern, sizeof pattern, "/r%d", i);
        CHECK(router_remove(&router, pattern));
        CHECK_TEXT(matched(pattern), "/:other");
    }
    router_deinit(&router);
}

/* The depth of the search is the patterns', whatever the path. */
static void long_paths(void)
{
    enum { LONG = 1 << 20 };
    char *path = malloc(LONG + 1);
    begin((const char *const[]){"/*all", "/a/a/a", "/:a/:b/:c/:d", NULL});
    for (int i = 0; i < LONG; i++)
        path[i] = i & 1 ? 'a' : '/';
    path[LONG] = '\0';
    matches(path, "/*all");
    memset(path, '/', LONG);
    matches(path, "/*all");
    memset(path + 1, 'a', LONG - 1);
    matches(path, "/*all");
    path[2] = path[4] = path[6] = '/';
    matches(path, "/:a/:b/:c/:d");
    router_deinit(&router);
    free(path);
}

/* Captures that might each be taken two ways cost no more than the nodes there are. */
static void no_explosion(void)
{
    char pattern[128], path[128] = "";
    begin((const char *const[]){NULL});
    for (int ways = 0; ways < 1 << 10; ways++) {
        pattern[0] = '\0';
        for (int i = 0; i < 10; i++)
            snprintf(pattern + strlen(pattern), sizeof pattern - strlen(pattern),
                     ways >> i & 1 ? "/a" : "/:p%d", i);
        CHECK(add(pattern));
    }
    for (int i = 0; i < 10; i++)
        strcat(path, "/a");
    matches(path, "/a/a/a/a/a/a/a/a/a/a");
    strcat(path, "/a");
    matches(path, "-");
    router_deinit(&router);
}

/* --- Memory ---------------------------------------------------------------------------------- */

static void match_short_of_memory(void *arg)
{
    struct str path = {"/chat/blue", 10};
    (void)arg;
    struct route *route = router_match(&router, path);
    CHECK(route == NULL || strcmp(route->pattern, "/chat/:room") == 0);
}

static void short_of_memory(void)
{
    begin((const char *const[]){"/chat/:room", "/*all", NULL});
    each_alloc_failure(match_short_of_memory, NULL);
    alloc_watch(1, true);
    struct route *none = router_match(&router, (struct str){"/chat/blue", 10});
    CHECK(alloc_end().failed);
    CHECK(none == NULL);
    matches("/chat/blue", "/chat/:room");
    router_deinit(&router);
}

int main(void)
{
    test("good patterns", good_patterns);
    test("bad patterns", bad_patterns);
    test("literals", literals);
    test("no routes", no_routes);
    test("captures", captures);
    test("rests", rests);
    test("precedence", precedence);
    test("encoded paths", encoded);
    test("refused paths", refused);
    test("unchecked paths", unchecked);
    test("captured values", values);
    test("attached twice", attached_twice);
    test("detached", detached);
    test("kept by a connection", kept);
    test("what a route takes over", takes_over);
    test("many routes", many);
    test("long paths", long_paths);
    test("no explosion", no_explosion);
    test("short of memory", short_of_memory);
    return test_end();
}
