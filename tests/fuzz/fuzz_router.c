// SPDX-License-Identifier: MIT
/*
 * The router. The input is lines: patterns, an empty line, then targets as they come. Beyond
 * crashes:
 *
 *      - a pattern is refused if and only if a slow reference refuses it, and attached unless one
 *        of the same form is there;
 *      - a target gets the route that comes first of all that match, by a reference that looks at
 *        each pattern by itself;
 *      - captures have the reference's values, and are as many as the pattern says;
 *      - each pattern can be detached once, and then nothing is left.
 */
#include "head_fuzz.h"
#include "http/router.h"
#include "proto/http/uri.h"

enum { PATTERNS = 32, SEGMENTS = 40, LINE = 200 };

/* A pattern or path in pieces; of a path decoded, with where the rest begins before each. */
struct pieces {
    size_t count;
    bool slashed[SEGMENTS]; /* the piece is empty */
    char text[SEGMENTS][LINE];
    char rest[SEGMENTS + 1][LINE];
};

static struct {
    char text[LINE];
    struct pieces pieces;
    struct route *route;
} patterns[PATTERNS];
static size_t pattern_count;
static struct router router;

/* What follows the slashes at `at`, decoded. */
static void take_rest(const char *at, char *out)
{
    at += strspn(at, "/");
    long n = uri_decode((struct str){at, strlen(at)}, out, false);
    MUST(n >= 0);
    out[n] = '\0';
}

/* Cuts at each slash after the first; one slash at the end ends nothing. False: too many pieces. */
static bool cut(struct pieces *p, const char *text, bool decode)
{
    p->count = 0;
    while (text[0] && text[1]) {
        size_t len = strcspn(text + 1, "/");
        if (p->count == SEGMENTS)
            return false;
        char *out = p->text[p->count];
        if (decode) {
            take_rest(text, p->rest[p->count]);
            out[uri_decode((struct str){text + 1, len}, out, false)] = '\0';
        } else {
            snprintf(out, LINE, "%.*s", (int)len, text + 1);
        }
        p->slashed[p->count++] = len == 0;
        text += 1 + len;
    }
    p->rest[p->count][0] = '\0';
    return true;
}

/* --- Patterns ------------------------------------------------------------------------------- */

static bool reference_sound(const char *text, const struct pieces *p)
{
    if (text[0] != '/' || strpbrk(text, "?# \t\r\n"))
        return false;
    for (size_t i = 0; i < p->count; i++) {
        const char *piece = p->text[i];
        bool captures = piece[0] == ':' || piece[0] == '*';
        if (!piece[0] || strcmp(piece, ".") == 0 || strcmp(piece, "..") == 0)
            return false;
        if ((captures && !piece[1]) || (piece[0] == '*' && i + 1 < p->count))
            return false;
        for (size_t j = 0; captures && j < i; j++)
            if ((p->text[j][0] == ':' || p->text[j][0] == '*') &&
                strcmp(p->text[j] + 1, piece + 1) == 0)
                return false;
    }
    return true;
}

/* Two patterns match the same paths. */
static bool same_form(const struct pieces *a, const struct pieces *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        char kind = a->text[i][0];
        bool same = kind == ':' || kind == '*' ? kind == b->text[i][0]
                                               : strcmp(a->text[i], b->text[i]) == 0;
        if (!same)
            return false;
    }
    return true;
}

static void add_pattern(const char *text)
{
    static const struct route_config plain;
    struct pieces pieces;
    if (pattern_count == PATTERNS || !cut(&pieces, text, false))
        return;
    bool sound = router_check(text) == NULL, free_path = true;
    MUST(sound == reference_sound(text, &pieces));
    if (!sound)
        return;
    for (size_t i = 0; i < pattern_count; i++)
        free_path &= !same_form(&patterns[i].pieces, &pieces);
    struct route *route = route_new(text, &plain);
    bool added = router_add(&router, route);
    MUST(added == free_path && route->refs == (added ? 2 : 1));
    if (!added) {
        route_unref(route);
        return;
    }
    snprintf(patterns[pattern_count].text, LINE, "%s", text);
    patterns[pattern_count].pieces = pieces;
    patterns[pattern_count++].route = route;
}

/* --- Targets -------------------------------------------------------------------------------- */

/*
 * Whether the pattern matches. `order` gets a letter a piece, literal before capture before rest:
 * of two that match, the one whose text is less goes first.
 */
static bool reference_matches(const struct pieces *pattern, const struct pieces *path, char *order)
{
    for (size_t i = 0; i < pattern->count; i++, order++) {
        const char *piece = pattern->text[i];
        if (piece[0] == '*') {
            memcpy(order, "c", 2);
            return true;
        }
        if (i >= path->count)
            return false;
        if (piece[0] == ':' ? path->slashed[i] : strcmp(piece, path->text[i]) != 0)
            return false;
        *order = piece[0] == ':' ? 'b' : 'a';
    }
    *order = '\0';
    return pattern->count == path->count;
}

static size_t reference_match(const struct pieces *path)
{
    char best[SEGMENTS + 2] = "~", order[SEGMENTS + 2];
    size_t found = PATTERNS;
    for (size_t i = 0; i < pattern_count; i++) {
        if (!reference_matches(&patterns[i].pieces, path, order) || strcmp(order, best) >= 0)
            continue;
        memcpy(best, order, sizeof best);
        found = i;
    }
    return found;
}

static void check_captures(size_t which, struct str path, const struct pieces *pieces)
{
    const struct pieces *pattern = &patterns[which].pieces;
    const struct route *route = patterns[which].route;
    struct route_capture capture;
    char *out = malloc(path.len + 1);
    size_t n = 0;
    MUST(out);
    for (size_t i = 0; i < pattern->count; i++) {
        char kind = pattern->text[i][0];
        if (kind != ':' && kind != '*')
            continue;
        MUST(route_capture(route, path, n++, &capture, out));
        MUST(capture.name.len == strlen(pattern->text[i] + 1));
        MUST(memcmp(capture.name.s, pattern->text[i] + 1, capture.name.len) == 0);
        MUST(capture.len == strlen(out));
        MUST(strcmp(out, kind == ':' ? pieces->text[i] : pieces->rest[i]) == 0);
    }
    MUST(!route_capture(route, path, n, &capture, out));
    free(out);
}

static void try_target(const char *text)
{
    struct str target, path, query;
    struct pieces pieces;
    char cut_text[LINE];
    size_t len = strlen(text);
    char *copy = malloc(len); /* in memory of its own, so that reading past it is seen */
    MUST(copy);
    memcpy(copy, text, len);
    target = (struct str){copy, len};
    if (uri_split(target, &path, &query)) {
        snprintf(cut_text, sizeof cut_text, "%.*s", (int)path.len, path.s);
        struct route *route = router_match(&router, path);
        if (cut(&pieces, cut_text, true)) {
            size_t expected = reference_match(&pieces);
            MUST(route == (expected < PATTERNS ? patterns[expected].route : NULL));
            if (route)
                check_captures(expected, path, &pieces);
        }
    }
    free(copy);
}

static void detach_all(void)
{
    for (size_t i = 0; i < pattern_count; i++) {
        MUST(router_remove(&router, patterns[i].text));
        MUST(!router_remove(&router, patterns[i].text));
        MUST(patterns[i].route->refs == 1);
        route_unref(patterns[i].route);
    }
    MUST(!router_match(&router, (struct str){"/", 1}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[LINE];
    bool targets = false;
    router_init(&router);
    pattern_count = 0;
    for (size_t at = 0, len; at < size; at += len + 1) {
        const void *end = memchr(data + at, '\n', size - at);
        len = end ? (size_t)((const uint8_t *)end - data) - at : size - at;
        if (len >= LINE || memchr(data + at, 0, len))
            continue;
        memcpy(line, data + at, len);
        line[len] = '\0';
        if (len == 0)
            targets = true;
        else if (targets)
            try_target(line);
        else
            add_pattern(line);
    }
    detach_all();
    router_deinit(&router);
    return 0;
}
