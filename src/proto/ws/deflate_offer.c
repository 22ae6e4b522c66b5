// SPDX-License-Identifier: MIT
/* One element of the list is read into a struct, strictly; then the two roles decide. */
#include "proto/ws/deflate_offer.h"

#include "proto/http/extension.h"
#include "proto/http/http_chars.h"

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

/*
 * The value, out of its quotes, into `text`; its length, 0 when it is not a token, or longer than
 * that means something here.
 */
static size_t value_text(const struct extension_param *p, char text[4])
{
    size_t len = 0;
    for (size_t i = 0; i < p->value.len; i++) {
        if (p->quoted && p->value.s[i] == '\\')
            i++; /* quoted-pair, RFC 9110 §5.6.4 */
        if (len == 3 || !http_is((uint8_t)p->value.s[i], HTTP_TOKEN))
            return 0;
        text[len++] = p->value.s[i];
    }
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

/* §7.1.1: no value, and once only. */
static bool set_flag(bool *flag, bool has_value)
{
    bool good = !*flag && !has_value;
    *flag = true;
    return good;
}

static bool set_server_bits(struct offer *o, uint8_t bits)
{
    bool good = o->server_bits == 0 && bits;
    o->server_bits = bits;
    return good;
}

/* §7.1.2.2: once only, with a good value or without any. */
static bool set_client_bits(struct offer *o, bool has_value, uint8_t bits)
{
    if (o->client_bits_allowed || (has_value && !bits))
        return false;
    o->client_bits_allowed = true;
    o->client_bits = bits;
    return true;
}

/* What one parameter says; false when it is illegal, or unknown. */
static bool read_parameter(const struct extension_param *p, struct offer *o)
{
    char text[4] = "";
    size_t len = value_text(p, text);
    uint8_t bits = window_bits(text, len);
    if (str_is(p->name, "server_no_context_takeover"))
        return set_flag(&o->server_no_takeover, p->has_value);
    if (str_is(p->name, "client_no_context_takeover"))
        return set_flag(&o->client_no_takeover, p->has_value);
    if (str_is(p->name, "server_max_window_bits"))
        return set_server_bits(o, bits);
    return str_is(p->name, "client_max_window_bits") && set_client_bits(o, p->has_value, bits);
}

static enum outcome read_element(struct str element, struct offer *o)
{
    struct str extension;
    struct extension_param param;
    int r;
    *o = (struct offer){0};
    if (!extension_name(&element, &extension) || !str_is(extension, name))
        return OTHER_EXTENSION;
    while ((r = extension_param(&element, &param)) > 0)
        if (!read_parameter(&param, o))
            return ILLEGAL;
    return r < 0 ? ILLEGAL : GOOD;
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
    struct str element;
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
    struct str element;
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
