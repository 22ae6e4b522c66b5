// SPDX-License-Identifier: MIT
/*
 * One element of the list is read into a struct, strictly, by a cursor over its bytes; then the two
 * roles decide. Grammar: RFC 6455 §9.1.
 *
 *      token *( OWS ";" OWS token [ OWS "=" OWS ( token | quoted token ) ] )
 */
#include "proto/deflate_offer.h"

#include "proto/http_chars.h"

#include <stdio.h>
#include <string.h>

static const char field[] = "Sec-WebSocket-Extensions";
static const char name[] = "permessage-deflate";

/* The parameters of one element. Bits: 0 when they are not there. */
struct offer {
    bool server_no_takeover, client_no_takeover;
    bool client_bits_allowed; /* client_max_window_bits is there, perhaps without a value */
    uint8_t server_bits, client_bits;
};

enum outcome { OTHER_EXTENSION, ILLEGAL, GOOD };

/* The cursor: what is left of the element. */

static void skip_blanks(struct http_str *rest)
{
    while (rest->len && (*rest->s == ' ' || *rest->s == '\t')) {
        rest->s++;
        rest->len--;
    }
}

static bool take_char(struct http_str *rest, char c)
{
    skip_blanks(rest);
    if (!rest->len || *rest->s != c)
        return false;
    rest->s++;
    rest->len--;
    return true;
}

/* A token, or with no characters when there is none. */
static struct http_str take_token(struct http_str *rest)
{
    skip_blanks(rest);
    struct http_str token = {rest->s, 0};
    while (token.len < rest->len && http_is((uint8_t)token.s[token.len], HTTP_TOKEN))
        token.len++;
    rest->s += token.len;
    rest->len -= token.len;
    return token;
}

/*
 * A value, quoted or not, into `text`; its length, 0 when it is no token or longer than any that
 * means something here.
 */
static size_t take_value(struct http_str *rest, char text[4])
{
    size_t len = 0;
    if (!take_char(rest, '"')) {
        struct http_str token = take_token(rest);
        if (token.len < 4)
            memcpy(text, token.s, len = token.len);
        return len;
    }
    while (rest->len && *rest->s != '"' && len < 3) {
        if (*rest->s == '\\' && rest->len > 1) { /* quoted-pair, RFC 9110 §5.6.4 */
            rest->s++;
            rest->len--;
        }
        if (!http_is((uint8_t)*rest->s, HTTP_TOKEN))
            return 0;
        text[len++] = *rest->s++;
        rest->len--;
    }
    if (!rest->len || *rest->s != '"')
        return 0;
    rest->s++;
    rest->len--;
    return len;
}

/* §7.1.2: a decimal number from 8 to 15 without leading zeros; 0 for anything else. */
static uint8_t window_bits(const char *text, size_t len)
{
    if (len == 1 && (text[0] == '8' || text[0] == '9'))
        return (uint8_t)(text[0] - '0');
    if (len == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5')
        return (uint8_t)(10 + text[1] - '0');
    return 0;
}

static bool is(struct http_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.s, text, s.len) == 0;
}

/* §7.1.1: no value, and once only. */
static bool set_flag(bool *flag, bool has_value)
{
    bool good = !*flag && !has_value;
    *flag = true;
    return good;
}

/* Reads one parameter behind its semicolon. */
static bool read_parameter(struct http_str *rest, struct offer *o)
{
    char text[4];
    struct http_str key = take_token(rest);
    bool has_value = take_char(rest, '=');
    size_t len = has_value ? take_value(rest, text) : 0;
    if (has_value && len == 0)
        return false;
    if (is(key, "server_no_context_takeover"))
        return set_flag(&o->server_no_takeover, has_value);
    if (is(key, "client_no_context_takeover"))
        return set_flag(&o->client_no_takeover, has_value);
    uint8_t bits = window_bits(text, len);
    if (is(key, "server_max_window_bits")) {
        bool good = o->server_bits == 0 && bits;
        o->server_bits = bits;
        return good;
    }
    if (!is(key, "client_max_window_bits") || o->client_bits_allowed || (has_value && !bits))
        return false;
    o->client_bits_allowed = true;
    o->client_bits = bits;
    return true;
}

static enum outcome read_element(struct http_str element, struct offer *o)
{
    *o = (struct offer){0};
    if (!is(take_token(&element), name))
        return OTHER_EXTENSION;
    while (take_char(&element, ';'))
        if (!read_parameter(&element, o))
            return ILLEGAL;
    skip_blanks(&element);
    return element.len ? ILLEGAL : GOOD;
}

/* Server. */

static uint8_t least(unsigned a, unsigned b)
{
    return (uint8_t)(a < b ? a : b);
}

static struct deflate_params agree(const struct offer *o, const struct deflate_config *ours)
{
    struct deflate_params p = {
        .server_bits = o->server_bits ? o->server_bits : DEFLATE_BITS_MAX,
        .client_bits = DEFLATE_BITS_MAX,
        .server_no_takeover = o->server_no_takeover || ours->server_no_takeover,
        .client_no_takeover = o->client_no_takeover || ours->client_no_takeover,
    };
    if (!p.server_no_takeover)
        p.server_bits = least(p.server_bits, ours->window_bits);
    if (!p.client_no_takeover && o->client_bits_allowed)
        p.client_bits =
            least(o->client_bits ? o->client_bits : DEFLATE_BITS_MAX, ours->window_bits);
    return p;
}

static void add(char *text, const char *parameter, unsigned bits)
{
    size_t len = strlen(text);
    if (bits)
        snprintf(text + len, DEFLATE_TEXT_SIZE - len, "; %s=%u", parameter, bits);
    else
        snprintf(text + len, DEFLATE_TEXT_SIZE - len, "; %s", parameter);
}

static void write_answer(const struct offer *o, struct deflate_answer *a)
{
    const struct deflate_params *p = &a->params;
    snprintf(a->text, sizeof a->text, "%s", name);
    if (p->server_no_takeover)
        add(a->text, "server_no_context_takeover", 0);
    if (p->client_no_takeover)
        add(a->text, "client_no_context_takeover", 0);
    if (o->server_bits || p->server_bits < DEFLATE_BITS_MAX)
        add(a->text, "server_max_window_bits", p->server_bits);
    if (p->client_bits < DEFLATE_BITS_MAX)
        add(a->text, "client_max_window_bits", p->client_bits);
}

bool deflate_accept(const struct http_head *request, const struct deflate_config *ours,
                    struct deflate_answer *answer)
{
    struct http_cursor cursor = {0};
    struct http_str element;
    struct offer o;
    while (http_next_element(request, field, &cursor, &element)) {
        if (read_element(element, &o) != GOOD)
            continue;
        answer->params = agree(&o, ours);
        write_answer(&o, answer);
        return true;
    }
    return false;
}

/* Client. */

/* The window that we ask of the server; 0: none, since we keep none or take any. */
static uint8_t asked_bits(const struct deflate_config *ours)
{
    bool any = ours->server_no_takeover || ours->window_bits >= DEFLATE_BITS_MAX;
    return any ? 0 : ours->window_bits;
}

void deflate_offer(const struct deflate_config *ours, char text[DEFLATE_TEXT_SIZE])
{
    snprintf(text, DEFLATE_TEXT_SIZE, "%s", name);
    if (ours->server_no_takeover)
        add(text, "server_no_context_takeover", 0);
    if (ours->client_no_takeover)
        add(text, "client_no_context_takeover", 0);
    if (asked_bits(ours))
        add(text, "server_max_window_bits", asked_bits(ours));
    add(text, "client_max_window_bits", 0);
}

static const char *judge_answer(const struct offer *o, const struct deflate_config *ours)
{
    if (o->client_bits_allowed && !o->client_bits)
        return "The server's client_max_window_bits has no value"; /* §7.1.2.2 */
    if (ours->server_no_takeover && !o->server_no_takeover)
        return "The server did not agree to server_no_context_takeover"; /* §7.1.1.1 */
    if (asked_bits(ours) && (!o->server_bits || o->server_bits > asked_bits(ours)))
        return "The server did not agree to server_max_window_bits"; /* §7.1.2.1 */
    return NULL;
}

static void take_answer(const struct offer *o, const struct deflate_config *ours,
                        struct deflate_params *p)
{
    *p = (struct deflate_params){
        .server_bits = o->server_bits ? o->server_bits : DEFLATE_BITS_MAX,
        .client_bits = o->client_bits ? o->client_bits : DEFLATE_BITS_MAX,
        .server_no_takeover = o->server_no_takeover,
        /* what we offered holds even when the server does not repeat it (§7.1.1.2) */
        .client_no_takeover = o->client_no_takeover || ours->client_no_takeover,
    };
}

const char *deflate_judge(const struct http_head *response, const struct deflate_config *ours,
                          struct deflate_params *params, bool *on)
{
    struct http_cursor cursor = {0};
    struct http_str element;
    struct offer o;
    *on = false;
    while (http_next_element(response, field, &cursor, &element)) {
        enum outcome outcome = read_element(element, &o);
        if (outcome == OTHER_EXTENSION)
            continue;
        if (outcome == ILLEGAL || *on)
            return "The server's answer about permessage-deflate is malformed";
        const char *wrong = judge_answer(&o, ours);
        if (wrong)
            return wrong;
        take_answer(&o, ours, params);
        *on = true;
    }
    return NULL;
}
