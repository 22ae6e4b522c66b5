// SPDX-License-Identifier: MIT
/*
 * Cipher suites by name. TLS 1.3 and 1.2 have lists of their own in OpenSSL; an app gives one list,
 * with names as OpenSSL or as IANA writes them. The defaults have forward secrecy and authenticated
 * encryption throughout (RFC 9325 §4.2); the server's order counts, save that a client without AES
 * instructions gets ChaCha20.
 */
#include "net/tls_private.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

static const char default_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char default_13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

enum { LIST = 2048 };

struct lists {
    char tls12[LIST], tls13[LIST];
};

static bool append(char list[LIST], const char *name)
{
    size_t used = strlen(list);
    int n = snprintf(list + used, LIST - used, "%s%s", used ? ":" : "", name);
    return n >= 0 && (size_t)n < LIST - used;
}

static bool plain_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return len && len < 100 && name[len] == '\0';
}

/* OpenSSL's name of a suite of TLS 1.2; NULL when there is none. Keywords such as HIGH are none. */
static const char *name_12(SSL_CTX *ctx, const char *name)
{
    const char *own = strncmp(name, "TLS_", 4) == 0 ? OPENSSL_cipher_name(name) : name;
    if (!SSL_CTX_set_cipher_list(ctx, own))
        return NULL;
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        if (strcmp(SSL_CIPHER_get_name(c), own) == 0)
            return SSL_CIPHER_get_bits(c, NULL) >= 128 ? SSL_CIPHER_get_name(c) : NULL;
    }
    return NULL;
}

static bool sort(SSL_CTX *ctx, const char *name, struct lists *lists, char error[TLS_ERROR_SIZE])
{
    const char *own = NULL;
    char *list = lists->tls13;
    if (plain_name(name) && SSL_CTX_set_ciphersuites(ctx, name)) {
        own = name;
    } else if (plain_name(name)) {
        own = name_12(ctx, name);
        list = lists->tls12;
    }
    ERR_clear_error();
    if (!own)
        return tls_fail(error, "ciphers: %.100s is no cipher suite that can be used", name);
    return append(list, own) || tls_fail(error, "ciphers: there are too many names");
}

bool tls_use_ciphers(SSL_CTX *ctx, const struct tls_config *config, char error[TLS_ERROR_SIZE])
{
    struct lists lists = {{0}, {0}};
    for (size_t i = 0; i < config->cipher_count; i++)
        if (!sort(ctx, config->ciphers[i], &lists, error))
            return false;
    const char *tls12 = lists.tls12[0] ? lists.tls12 : default_12;
    const char *tls13 = lists.tls13[0] ? lists.tls13 : default_13;
    if (!SSL_CTX_set_cipher_list(ctx, tls12) || !SSL_CTX_set_ciphersuites(ctx, tls13))
        return tls_fail(error, "ciphers: %s", tls_reason());
    return true;
}
