// SPDX-License-Identifier: MIT
/*
 * Negotiation of compression. The first byte chooses the settings, the rest is the value of a
 * Sec-WebSocket-Extensions header, of a request and of a response. Beyond crashes:
 *
 *      - it is refused if and only if a slow reference of the grammar does not know it;
 *      - an answer is legal for one of the offers: a slow reference, which splits the text at
 *        commas and semicolons, finds an offer with good parameters that admits all it says, and
 *        no good one before it;
 *      - what was agreed upon is what the answer says;
 *      - a client that made a legal offer of ours takes an answer of ours to it.
 */
#include "head_fuzz.h"
#include "proto/http/extension.h"
#include "proto/ws/deflate_offer.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct http_limits limits = {4096, 8192, 100};

/* The reference's view of an element. -1: the parameter is not there. */
struct view {
    int server_no, client_no, server_bits, client_bits; /* client_bits 0: without a value */
};

static struct http_head *parse(enum http_kind kind, const char *start, const char *value)
{
    char text[8300];
    size_t used;
    int len = snprintf(text, sizeof text, "%s\r\nHost: a\r\nSec-WebSocket-Extensions: %s\r\n\r\n",
                       start, value);
    struct http_parser *p = http_parser_new(kind, &limits);
    bool good = http_feed(p, (const uint8_t *)text, (size_t)len, &used) == 1;
    struct http_head *h = good ? http_take_head(p) : NULL;
    http_parser_free(p);
    return h;
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    for (size_t n = strlen(s); n && strchr(" \t", s[n - 1]); n--)
        s[n - 1] = '\0';
    return s;
}

static int number(const char *s)
{
    static const char *const all[] = {"8", "9", "10", "11", "12", "13", "14", "15"};
    for (int i = 0; i < 8; i++)
        if (strcmp(s, all[i]) == 0)
            return 8 + i;
    return -1;
}

static bool see_parameter(struct view *v, char *text)
{
    char *value = strchr(text, '=');
    if (value)
        *value++ = '\0';
    const char *name = trim(text);
    int n = value ? number(trim(value)) : 0;
    int *field = strcmp(name, "server_no_context_takeover") == 0   ? &v->server_no
                 : strcmp(name, "client_no_context_takeover") == 0 ? &v->client_no
                 : strcmp(name, "server_max_window_bits") == 0     ? &v->server_bits
                 : strcmp(name, "client_max_window_bits") == 0     ? &v->client_bits
                                                                   : NULL;
    bool flag = field == &v->server_no || field == &v->client_no;
    if (!field || *field != -1 || n < 0 || (flag && value) || (field == &v->server_bits && !value))
        return false;
    *field = n;
    return true;
}

/* Whether it is a good element of ours; text without quotes only. */
static bool see(struct view *v, char *text)
{
    char *rest = text;
    const char *name = trim(strsep(&rest, ";"));
    *v = (struct view){-1, -1, -1, -1};
    bool good = strcmp(name, "permessage-deflate") == 0;
    while (good && rest)
        good = see_parameter(v, strsep(&rest, ";"));
    return good;
}

/* The first good offer in the value. */
static bool first_good(const char *value, struct view *v)
{
    char copy[8300], *rest = copy;
    snprintf(copy, sizeof copy, "%s", value);
    while (rest) {
        if (see(v, strsep(&rest, ",")))
            return true;
    }
    return false;
}

/* §7.1.1 and §7.1.2: what an answer must and must not say. */
static void must_be_legal(const struct view *offer, const struct view *answer)
{
    MUST(offer->server_no == -1 || answer->server_no == 0);
    if (offer->server_bits > 0)
        MUST(answer->server_bits > 0 && answer->server_bits <= offer->server_bits);
    if (answer->client_bits != -1) {
        MUST(answer->client_bits > 0 && offer->client_bits != -1);
        MUST(offer->client_bits == 0 || answer->client_bits <= offer->client_bits);
    }
}

static void must_agree(const struct view *answer, const struct deflate_params *p)
{
    MUST(p->server_no_takeover == (answer->server_no == 0));
    MUST(p->client_no_takeover == (answer->client_no == 0));
    MUST(p->server_bits == (answer->server_bits > 0 ? answer->server_bits : 15));
    MUST(p->client_bits == (answer->client_bits > 0 ? answer->client_bits : 15));
}

static void as_server(const char *value, const struct deflate_config *ours)
{
    struct deflate_answer a;
    struct view offer, said;
    struct http_head *h = parse(HTTP_REQUEST, "GET / HTTP/1.1", value);
    if (!h)
        return;
    MUST(extension_list_valid(h) == reference_list(value, true));
    bool agreed = deflate_accept(h, ours, &a);
    http_head_unref(h);
    if (agreed) {
        char text[DEFLATE_TEXT_SIZE];
        memcpy(text, a.text, sizeof text);
        MUST(see(&said, text));
        must_agree(&said, &a.params);
    }
    if (strpbrk(value, "\"\\")) /* quoted strings are beyond the reference */
        return;
    MUST(agreed == first_good(value, &offer));
    if (agreed)
        must_be_legal(&offer, &said);
}

static void as_client(const char *value, const struct deflate_config *ours)
{
    struct deflate_params p;
    bool on;
    struct http_head *h = parse(HTTP_RESPONSE, "HTTP/1.1 101 x", value);
    if (!h)
        return;
    if (!deflate_judge(h, ours, &p, &on) && on) {
        MUST(p.server_bits >= 8 && p.server_bits <= 15 && p.client_bits >= 8);
        MUST(p.client_bits <= 15 && (p.server_no_takeover || !ours->server_no_takeover));
        MUST(ours->server_no_takeover || p.server_bits <= ours->window_bits);
    }
    http_head_unref(h);
}

/* Our own client and server always come to terms, and to the same ones. */
static void together(const struct deflate_config *client, const struct deflate_config *server)
{
    char offer[DEFLATE_TEXT_SIZE];
    struct deflate_answer a;
    struct deflate_params p;
    bool on;
    deflate_offer(client, offer);
    struct http_head *request = parse(HTTP_REQUEST, "GET / HTTP/1.1", offer);
    MUST(request && deflate_accept(request, server, &a));
    struct http_head *response = parse(HTTP_RESPONSE, "HTTP/1.1 101 x", a.text);
    MUST(response && !deflate_judge(response, client, &p, &on) && on);
    MUST(p.server_no_takeover == a.params.server_no_takeover);
    MUST(p.server_bits == a.params.server_bits && p.client_bits == a.params.client_bits);
    MUST(p.client_no_takeover == a.params.client_no_takeover);
    http_head_unref(request);
    http_head_unref(response);
}

static struct deflate_config config_of(uint8_t choice)
{
    return (struct deflate_config){.mem_level = 5,
                                   .window_bits = (uint8_t)(9 + choice / 4 % 7),
                                   .server_no_takeover = choice & 1,
                                   .client_no_takeover = choice & 2};
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char value[8192];
    if (len < 2 || len > 4000)
        return 0;
    struct deflate_config ours = config_of(bytes[0]), theirs = config_of(bytes[1]);
    memcpy(value, bytes + 2, len - 2);
    value[len - 2] = '\0';
    if (strlen(value) == len - 2 && !strpbrk(value, "\r\n")) {
        as_server(value, &ours);
        as_client(value, &ours);
    }
    together(&theirs, &ours);
    return 0;
}
