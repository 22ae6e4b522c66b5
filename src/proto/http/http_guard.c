// SPDX-License-Identifier: MIT
/*
 * One function a state. Each is called with at least one byte, takes a run from the front and
 * returns how many bytes it took; a refusal takes nothing of the offending byte. Sizes are
 * checked before the bytes are taken: a run is never measured further than one byte past what its
 * limit allows.
 *
 * Grammar: RFC 9112 §3 (request line), §4 (status line), §5 (fields), RFC 9110 §5.5 (values),
 * §5.6.2 (tokens).
 */
#include "proto/http/http_guard.h"

#include "proto/http/http_chars.h"

enum state {
    START,
    START_LF,
    METHOD,
    TARGET,
    VERSION,
    CODE,
    REASON,
    LINE_LF,
    LINE,
    NAME,
    VALUE,
    VALUE_LF,
    END_LF
};

static size_t refuse(struct http_guard *g, int status, const char *why)
{
    g->verdict = -status;
    g->why = why;
    return 0;
}

static void enter(struct http_guard *g, enum state state)
{
    g->state = (uint8_t)state;
    g->count = 0;
}

/*
 * How many of the first min(len, limit + 1) bytes are of the class: more than `limit` means the
 * limit is broken.
 */
static size_t run(const uint8_t *b, size_t len, size_t limit, enum http_class class)
{
    size_t n = 0;
    size_t most = len > limit ? limit + 1 : len;
    while (n < most && http_is(b[n], class))
        n++;
    return n;
}

/* Takes one expected byte and goes on to the next state. */
static size_t expect(struct http_guard *g, uint8_t byte, uint8_t wanted, enum state next)
{
    if (byte != wanted)
        return refuse(g, 400, "Lines must end in CR LF");
    enter(g, next);
    return 1;
}

/*
 * A server ignores a few empty lines before the request line, for clients that end bodies with
 * one (RFC 9112 §2.2).
 */
static size_t on_start(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    if (b[0] == '\r' && g->lines < HTTP_MAX_EMPTY_LINES) {
        g->lines++;
        enter(g, START_LF);
        return 1;
    }
    g->begun = true;
    g->lines = 0;
    if (!http_is(b[0], HTTP_TOKEN))
        return refuse(g, 400, "This is not an HTTP request");
    enter(g, METHOD);
    return 0;
}

static size_t on_start_lf(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    return expect(g, b[0], '\n', START);
}

static size_t on_method(struct http_guard *g, const uint8_t *b, size_t len)
{
    size_t room = HTTP_MAX_METHOD - g->count;
    size_t n = run(b, len, room, HTTP_TOKEN);
    if (n > room) {
        refuse(g, 501, "The request method is not known");
        return room;
    }
    g->count += (uint32_t)n;
    if (n == len)
        return n;
    if (b[n] != ' ') {
        refuse(g, 400, "The request line is malformed");
        return n;
    }
    enter(g, TARGET);
    return n + 1;
}

static size_t on_target(struct http_guard *g, const uint8_t *b, size_t len)
{
    size_t room = g->limits->max_uri - g->count;
    size_t n = run(b, len, room, HTTP_VISIBLE);
    if (n > room) {
        refuse(g, 414, "The request target is too long");
        return room;
    }
    g->count += (uint32_t)n;
    if (n == len)
        return n;
    if (b[n] != ' ' || g->count == 0) {
        refuse(g, 400, "The request target is malformed");
        return n;
    }
    enter(g, VERSION);
    return n + 1;
}

/*
 * The verdict on one byte of "HTTP/1.1": 0, or the status to refuse with. Versions we don't speak
 * are 505; a later minor version is read as the latest that we know (RFC 9110 §2.5).
 */
static int judge_version(struct http_guard *g, uint8_t byte)
{
    static const char form[] = "HTTP/d.d";
    char wanted = form[g->count];
    if (wanted != 'd')
        return byte == (uint8_t)wanted ? 0 : 400;
    if (byte < '0' || byte > '9')
        return 400;
    if (g->count == 5)
        g->major = byte - '0';
    else
        g->minor = byte > '0';
    return g->major == 1 ? 0 : 505;
}

static size_t on_version(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    if (g->count == 8) {
        if (g->response && b[0] == ' ')
            enter(g, CODE);
        else if (!g->response && b[0] == '\r')
            enter(g, LINE_LF);
        else
            return refuse(g, 400, "The HTTP version is malformed");
        return 1;
    }
    g->begun = true;
    int status = judge_version(g, b[0]);
    if (status)
        return refuse(g, status,
                      status == 505 ? "Only HTTP/1.1 is spoken here"
                                    : "The HTTP version is malformed");
    if (g->count == 7 && b[0] > '1')
        g->later = b;
    g->count++;
    return 1;
}

static size_t on_code(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    if (g->count == 3) {
        if (b[0] != ' ' && b[0] != '\r')
            return refuse(g, 400, "The status code is malformed");
        enter(g, b[0] == ' ' ? REASON : LINE_LF);
        return 1;
    }
    char least = g->count ? '0' : '1';
    char most = g->count ? '9' : '5';
    if (b[0] < least || b[0] > most)
        return refuse(g, 400, "The status code is malformed");
    g->count++;
    return 1;
}

/* Takes bytes that count as header; on the first byte over the limit the verdict is 431. */
static size_t take_header(struct http_guard *g, const uint8_t *b, size_t len, enum http_class class)
{
    size_t n = run(b, len, g->header_left, class);
    if (n > g->header_left) {
        n = g->header_left;
        refuse(g, 431, "The header is too large");
    }
    g->header_left -= (uint32_t)n;
    return n;
}

/* Takes one byte of a header line and goes on to the next state. */
static size_t take_mark(struct http_guard *g, enum state next)
{
    if (g->header_left == 0)
        return refuse(g, 431, "The header is too large");
    g->header_left--;
    enter(g, next);
    return 1;
}

/* The reason phrase counts as header: it is text from the peer without a limit of its own. */
static size_t on_reason(struct http_guard *g, const uint8_t *b, size_t len)
{
    size_t n = take_header(g, b, len, HTTP_VALUE);
    if (n == len || g->verdict)
        return n;
    if (b[n] == '\r')
        return n + take_mark(g, LINE_LF);
    refuse(g, 400, "The status line is malformed");
    return n;
}

static size_t on_line_lf(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    return expect(g, b[0], '\n', LINE);
}

/* RFC 9112 §2.2: no white space before the first line; §5.2: a folded line is refused. */
static size_t on_line(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    if (b[0] == '\r') {
        enter(g, END_LF);
        return 1;
    }
    if (b[0] == ' ' || b[0] == '\t')
        return refuse(g, 400, "A header line must not begin with white space");
    if (!http_is(b[0], HTTP_TOKEN))
        return refuse(g, 400, "A header name is malformed");
    if (g->lines == g->limits->max_lines)
        return refuse(g, 431, "There are too many header lines");
    g->lines++;
    enter(g, NAME);
    return 0;
}

/* RFC 9112 §5.1: no white space between name and colon. */
static size_t on_name(struct http_guard *g, const uint8_t *b, size_t len)
{
    size_t n = take_header(g, b, len, HTTP_TOKEN);
    if (n == len || g->verdict)
        return n;
    if (b[n] == ':')
        return n + take_mark(g, VALUE);
    refuse(g, 400, "A header name is malformed");
    return n;
}

static size_t on_value(struct http_guard *g, const uint8_t *b, size_t len)
{
    size_t n = take_header(g, b, len, HTTP_VALUE);
    if (n == len || g->verdict)
        return n;
    if (b[n] == '\r')
        return n + take_mark(g, VALUE_LF);
    refuse(g, 400, "A header value has a character that is not allowed");
    return n;
}

static size_t on_value_lf(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    if (b[0] == '\n')
        return take_mark(g, LINE);
    return refuse(g, 400, "Lines must end in CR LF");
}

static size_t on_end_lf(struct http_guard *g, const uint8_t *b, size_t len)
{
    (void)len;
    if (b[0] != '\n')
        return refuse(g, 400, "Lines must end in CR LF");
    g->verdict = 1;
    return 1;
}

void http_guard_init(struct http_guard *g, enum http_kind kind, const struct http_limits *limits)
{
    *g = (struct http_guard){
        .limits = limits,
        .header_left = limits->max_header,
        .response = kind == HTTP_RESPONSE,
        .state = kind == HTTP_RESPONSE ? VERSION : START,
    };
}

size_t http_guard_feed(struct http_guard *g, const uint8_t *bytes, size_t len)
{
    static size_t (*const take[])(struct http_guard *, const uint8_t *, size_t) = {
        [START] = on_start,   [START_LF] = on_start_lf, [METHOD] = on_method,
        [TARGET] = on_target, [VERSION] = on_version,   [CODE] = on_code,
        [REASON] = on_reason, [LINE_LF] = on_line_lf,   [LINE] = on_line,
        [NAME] = on_name,     [VALUE] = on_value,       [VALUE_LF] = on_value_lf,
        [END_LF] = on_end_lf,
    };
    size_t done = 0;
    while (done < len && g->verdict == 0)
        done += take[g->state](g, bytes + done, len - done);
    return done;
}

bool http_guard_past_line(const struct http_guard *g)
{
    return g->state >= LINE;
}
