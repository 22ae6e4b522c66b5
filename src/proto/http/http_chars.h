// SPDX-License-Identifier: MIT
/*
 * Which bytes may stand where in an HTTP head, as one table of bits; private to the protocol files.
 *
 *      token     RFC 9110 §5.6.2    ! # $ % & ' * + - . ^ _ ` | ~ digits letters
 *      value     RFC 9110 §5.5      tab, space, 0x21 to 0x7e, 0x80 to 0xff
 *      visible   RFC 5234 VCHAR     0x21 to 0x7e: a request target as far as this layer cares
 */
#ifndef NEAP_PROTO_HTTP_HTTP_CHARS_H
#define NEAP_PROTO_HTTP_HTTP_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_class { HTTP_TOKEN = 1, HTTP_VALUE = 2, HTTP_VISIBLE = 4 };

static const uint8_t http_classes[256] = {
    ['\t'] = HTTP_VALUE,
    [' '] = HTTP_VALUE,
    ['!'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    ['"'] = HTTP_VALUE | HTTP_VISIBLE,
    ['#' ... '\''] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    ['(' ... ')'] = HTTP_VALUE | HTTP_VISIBLE,
    ['*' ... '+'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    [','] = HTTP_VALUE | HTTP_VISIBLE,
    ['-' ... '.'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    ['/'] = HTTP_VALUE | HTTP_VISIBLE,
    ['0' ... '9'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    [':' ... '@'] = HTTP_VALUE | HTTP_VISIBLE,
    ['A' ... 'Z'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    ['[' ... ']'] = HTTP_VALUE | HTTP_VISIBLE,
    ['^' ... 'z'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    ['{'] = HTTP_VALUE | HTTP_VISIBLE,
    ['|'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    ['}'] = HTTP_VALUE | HTTP_VISIBLE,
    ['~'] = HTTP_TOKEN | HTTP_VALUE | HTTP_VISIBLE,
    [0x80 ... 0xff] = HTTP_VALUE,
};

static inline bool http_is(uint8_t byte, enum http_class class)
{
    return http_classes[byte] & class;
}

/* The byte in lower case, in ASCII only: header names know no locale. */
static inline uint8_t http_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/* True when the two runs of bytes are equal without regard to ASCII case. */
static inline bool http_same(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return false;
    for (size_t i = 0; i < a_len; i++)
        if (a[i] != b[i] && http_lower((uint8_t)a[i]) != http_lower((uint8_t)b[i]))
            return false;
    return true;
}

#endif
