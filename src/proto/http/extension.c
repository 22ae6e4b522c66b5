// SPDX-License-Identifier: MIT
/*
 * A cursor over the bytes of one element:
 *
 *      token *( OWS ";" OWS token [ OWS "=" OWS ( token | quoted-string ) ] )
 */
#include "proto/http/extension.h"

#include "base/err.h"
#include "proto/http/http_chars.h"

static void skip(struct str *rest, size_t len)
{
    rest->s += len;
    rest->len -= len;
}

static void skip_blanks(struct str *rest)
{
    while (rest->len && (*rest->s == ' ' || *rest->s == '\t'))
        skip(rest, 1);
}

static bool take_char(struct str *rest, char c)
{
    skip_blanks(rest);
    if (!rest->len || *rest->s != c)
        return false;
    skip(rest, 1);
    return true;
}

static bool take_token(struct str *rest, struct str *token)
{
    skip_blanks(rest);
    *token = (struct str){rest->s, 0};
    while (token->len < rest->len && http_is((uint8_t)token->s[token->len], HTTP_TOKEN))
        token->len++;
    skip(rest, token->len);
    return token->len > 0;
}

/* What stands before the closing quote, which is taken, too (RFC 9110 §5.6.4). */
static bool take_quoted(struct str *rest, struct str *text)
{
    size_t len = 0;
    while (len < rest->len && rest->s[len] != '"')
        len += rest->s[len] == '\\' ? 2 : 1;
    if (len >= rest->len)
        return false;
    *text = (struct str){rest->s, len};
    skip(rest, len + 1);
    return true;
}

bool extension_name(struct str *rest, struct str *name)
{
    return take_token(rest, name);
}

int extension_param(struct str *rest, struct extension_param *param)
{
    *param = (struct extension_param){0};
    if (!take_char(rest, ';'))
        return rest->len ? ERR_PROTOCOL : 0;
    if (!take_token(rest, &param->name))
        return ERR_PROTOCOL;
    param->has_value = take_char(rest, '=');
    if (!param->has_value)
        return 1;
    param->quoted = take_char(rest, '"');
    bool good = param->quoted ? take_quoted(rest, &param->value) : take_token(rest, &param->value);
    return good ? 1 : ERR_PROTOCOL;
}

static bool element_valid(struct str element)
{
    struct str name;
    struct extension_param param;
    if (!extension_name(&element, &name))
        return false;
    int r;
    do {
        r = extension_param(&element, &param);
    } while (r > 0);
    return r == 0;
}

bool extension_list_valid(const struct http_head *h)
{
    static const char field[] = "Sec-WebSocket-Extensions";
    struct http_cursor cursor = {0};
    struct str element;
    if (!http_field(h, field, 0, &element))
        return true;
    bool any = false;
    while (http_next_element(h, field, &cursor, &element)) {
        if (!element_valid(element))
            return false;
        any = true;
    }
    return any;
}
