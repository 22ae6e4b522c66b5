// SPDX-License-Identifier: MIT
/*
 * Session tickets (RFC 5077; RFC 8446 §4.6.1): the session travels with the client, encrypted with
 * AES-256-CBC and authenticated with HMAC-SHA-256, so that any worker can resume it. The master
 * makes the keys and gives them to the workers; here they are used. Random bytes come from the
 * kernel, because the master has no need of OpenSSL.
 */
#include "net/tls_private.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/random.h>

static void fill(void *out, size_t len)
{
    uint8_t *p = out;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

void tls_tickets_rotate(struct tls_tickets *t)
{
    uint32_t kept = t->count < TLS_TICKET_KEYS ? t->count : TLS_TICKET_KEYS - 1;
    memmove(t->keys + 1, t->keys, kept * sizeof t->keys[0]);
    fill(&t->keys[0], sizeof t->keys[0]);
    t->count = kept + 1;
}

static bool set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    uint8_t secret[sizeof key->mac];
    memcpy(secret, key->mac, sizeof secret);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret, sizeof secret),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params);
}

static int encrypt(const struct tls_ticket_key *key, uint8_t *name, uint8_t *iv,
                   EVP_CIPHER_CTX *cipher)
{
    memcpy(name, key->name, sizeof key->name);
    if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) <= 0)
        return -1;
    return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) ? 1 : -1;
}

/* OpenSSL's callback: 1 good, 2 good but give a new ticket, 0 no ticket, -1 failed. */
// NOLINTNEXTLINE(readability-function-size): OpenSSL says which arguments there are
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypting)
{
    const struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_tickets *t = c->tickets;
    if (encrypting)
        return t->count && set_mac(mac, &t->keys[0]) ? encrypt(&t->keys[0], name, iv, cipher) : 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct tls_ticket_key *key = &t->keys[i];
        if (memcmp(name, key->name, sizeof key->name) != 0)
            continue;
        if (!set_mac(mac, key) ||
            !EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv))
            return -1;
        return i == 0 ? 1 : 2;
    }
    return 0;
}

void tls_use_tickets(struct tls_context *c)
{
    SSL_CTX_set_app_data(c->ctx, c);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ctx, on_ticket);
}
