// SPDX-License-Identifier: MIT
/*
 * Request targets: splitting, segments, query pairs, escapes; from memory that ends at an
 * unreadable page.
 */
#include "proto/http/uri.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

static struct str guarded(const char *text)
{
    size_t len = strlen(text);
    return (struct str){(const char *)guard_copy(text, len), len};
}

/* Expects "path query", or NULL for a refusal. */
static void splits(const char *target, const char *expected)
{
    char text[256];
    struct str path, query;
    test_context("%s", target);
    bool good = uri_split(guarded(target), &path, &query);
    CHECK(good == (expected != NULL));
    if (!good || !expected)
        return;
    snprintf(text, sizeof text, "%.*s %.*s", (int)path.len, path.s, (int)query.len, query.s);
    CHECK_TEXT(text, expected);
}

static void splitting(void)
{
    splits("/", "/ ");
    splits("/chat/blue", "/chat/blue ");
    splits("/chat?x=1&y=%20", "/chat x=1&y=%20");
    splits("/?", "/ ");
    splits("/??a?", "/ ?a?");
    splits("//a//", "//a// ");
    splits("/a;b=c:@!$'()*+,~", "/a;b=c:@!$'()*+,~ ");
    splits("/\\..\\{}|^`\"<>", "/\\..\\{}|^`\"<> ");
    splits("/...//..a/%2E%2e.%2Fb../.;", "/...//..a/%2E%2e.%2Fb../.; ");
    splits("/a?/../%2e%2E/%2F", "/a /../%2e%2E/%2F");
    splits("/%252e%252e/", "/%252e%252e/ ");
    splits("/%C3%A4%ff%80", "/%C3%A4%ff%80 ");
    splits("/a?%0d%0a%01", "/a %0d%0a%01");
    splits("ws://example.com", "/ ");
    splits("ws://example.com?a=b", "/ a=b");
    splits("WSS://example.com:80/a/b?c", "/a/b c");
    splits("http://[::1]:80/", "/ ");
    splits("https://a/?b", "/ b");
    splits("/http://a/", "/http://a/ ");
}

static void refusing(void)
{
    static const char *const targets[] = {
        "",          "*",       "a",       "a:80",      "?a",       "http://",    "http:///a",
        "ws://?a",   "ftp://a", "http:/a", "ws:a",      "/a#b",     "/a?b#c",     "#",
        "/a b",      "/a\tb",   "/a\x7f",  "/\xc3\xa4", "/%",       "/%4",        "/%zz",
        "/%4g",      "/%g4",    "/a?%",    "/a?b=%4",   "/%00",     "/a%00b",     "/a?%00",
        "/%0d%0aX:", "/%1f",    "/%7F",    "ws://a%/",  "ws://a#/", "ws://a%00/", "/%%41",
        "/% 41",     "/%+41",   "/%-1",
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        splits(targets[i], NULL);
    struct str path, query;
    CHECK(!uri_split((struct str){"/a\0b", 4}, &path, &query));
}

/* At either end and in the middle, escaped or not, beside slashes that are escaped or not. */
static void dot_segments(void)
{
    static const char *const dots[] = {".", "..", "%2e", "%2E.", ".%2e", "%2e%2E"};
    static const char *const slashes[] = {"/", "%2f", "%2F"};
    char target[64];
    for (size_t d = 0; d < sizeof dots / sizeof *dots; d++) {
        for (size_t s = 0; s < sizeof slashes / sizeof *slashes; s++) {
            snprintf(target, sizeof target, "/%s%sa", dots[d], slashes[s]);
            splits(target, NULL);
            snprintf(target, sizeof target, "/a%s%s%sb", slashes[s], dots[d], slashes[s]);
            splits(target, NULL);
            snprintf(target, sizeof target, "/a%s%s", slashes[s], dots[d]);
            splits(target, NULL);
            snprintf(target, sizeof target, "ws://a/%s%s?b", slashes[s], dots[d]);
            splits(target, NULL);
        }
    }
}

static void segments_are(const char *path, const char *expected)
{
    char text[256] = "";
    size_t cursor = 0, n = 0;
    struct str part, in = guarded(path);
    test_context("%s", path);
    while (uri_next_segment(in, &cursor, &part))
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s|", (int)part.len, part.s);
    CHECK_TEXT(text, expected);
    CHECK(!uri_next_segment(in, &cursor, &part));
}

static void segments(void)
{
    segments_are("/", "");
    segments_are("", "");
    segments_are("/a", "a|");
    segments_are("/a/", "a|");
    segments_are("/a/b/c", "a|b|c|");
    segments_are("/a//b", "a||b|");
    segments_are("/a//", "a||");
    segments_are("//", "|");
    segments_are("///", "||");
    segments_are("//a", "|a|");
    segments_are("/a%2Fb/c", "a%2Fb|c|");
}

static void pairs_are(const char *query, const char *expected)
{
    char text[256] = "";
    size_t cursor = 0, n = 0;
    struct str key, value, in = guarded(query);
    test_context("%s", query);
    while (uri_next_pair(in, &cursor, &key, &value))
        n += (size_t)snprintf(text + n, sizeof text - n, "[%.*s][%.*s]", (int)key.len, key.s,
                              (int)value.len, value.s);
    CHECK_TEXT(text, expected);
    CHECK(!uri_next_pair(in, &cursor, &key, &value));
}

static void pairs(void)
{
    pairs_are("", "");
    pairs_are("&&", "");
    pairs_are("k", "[k][]");
    pairs_are("k=", "[k][]");
    pairs_are("=v", "[][v]");
    pairs_are("=", "[][]");
    pairs_are("k=v&l=w", "[k][v][l][w]");
    pairs_are("&k=v&&l&", "[k][v][l][]");
    pairs_are("k=a=b&k=c?d/e", "[k][a=b][k][c?d/e]");
    pairs_are("a%26b=c%3D;d=e", "[a%26b][c%3D;d=e]");
}

static void decodes(const char *in, bool plus, const char *expected, long len)
{
    char out[64];
    memset(out, '#', sizeof out);
    test_context("%s", in);
    CHECK_INT(uri_decode(guarded(in), out, plus), len);
    if (len >= 0)
        CHECK_BYTES(out, (size_t)len, expected, (size_t)len);
    CHECK_INT(out[strlen(in)], '#');
}

static void decoding(void)
{
    decodes("", false, "", 0);
    decodes("abc", false, "abc", 3);
    decodes("a+b", false, "a+b", 3);
    decodes("a+b%2B", true, "a b+", 4);
    decodes("%41%7a%2F%25", false, "Az/%", 4);
    decodes("%2541", false, "%41", 3);
    decodes("%c3%A4\xff", false, "\xc3\xa4\xff", 3);
    decodes("%0a%7f", false, "\n\x7f", 2);
    decodes("%", false, NULL, -1);
    decodes("a%4", false, NULL, -1);
    decodes("%4x", false, NULL, -1);
    decodes("%x4", false, NULL, -1);
    decodes("a%00b", false, NULL, -1);
    for (int c = 1; c < 256; c++) {
        char in[8], want[2] = {(char)c, '\0'};
        snprintf(in, sizeof in, "%%%02x", (unsigned)c);
        decodes(in, true, want, 1);
        snprintf(in, sizeof in, "%%%02X", (unsigned)c);
        decodes(in, false, want, 1);
    }
    CHECK_INT(uri_decode((struct str){"a\0b", 3}, (char[3]){0}, false), -1);
}

int main(void)
{
    test("splitting", splitting);
    test("refusing", refusing);
    test("dot segments", dot_segments);
    test("segments", segments);
    test("pairs", pairs);
    test("decoding", decoding);
    return test_end();
}
