// SPDX-License-Identifier: MIT
/*
 * The settings of a TLS server, as RFC 9325 recommends them where an app does not say otherwise.
 * They are given here one by one, so that the machine's openssl.cnf can weaken none of them.
 */
#include "base/mem.h"
#include "net/tls_private.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Not const: OpenSSL's macros cast that away, which clang refuses. */
static char groups[] = "X25519:P-256:P-384:P-521";
static char signatures[] =
    "ECDSA+SHA256:ed25519:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384:"
    "ECDSA+SHA512:RSA-PSS+SHA512:RSA+SHA512:ed448";

bool tls_fail(char error[TLS_ERROR_SIZE], const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(error, TLS_ERROR_SIZE, format, ap);
    va_end(ap);
    return false;
}

const char *tls_reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *why = e && !ERR_SYSTEM_ERROR(e) ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return why ? why : "OpenSSL gives no reason";
}

/* ALPN: http/1.1 if the client offers it; alert no_application_protocol if it offers only others
 * (RFC 7301 §3.2). */
// NOLINTNEXTLINE(readability-function-size): OpenSSL says which arguments there are
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl, (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool use_versions(SSL_CTX *ctx, const struct tls_config *config, char error[TLS_ERROR_SIZE])
{
    if (!config->tls12 && !config->tls13)
        return tls_fail(error, "there is no version of TLS to use");
    int least = config->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    int most = config->tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (!SSL_CTX_set_min_proto_version(ctx, least) || !SSL_CTX_set_max_proto_version(ctx, most))
        return tls_fail(error, "TLS versions: %s", tls_reason());
    return true;
}

static void use_modes(SSL_CTX *ctx)
{
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set1_groups_list(ctx, groups);
    SSL_CTX_set1_sigalgs_list(ctx, signatures);
    SSL_CTX_set1_client_sigalgs_list(ctx, signatures);
}

/*
 * A ticket is good only where clients are judged in the same way: all workers have the same keys,
 * and a session begun where no certificate is asked for must not open a door where one is.
 */
static void use_session_scope(SSL_CTX *ctx, const struct tls_config *config)
{
    uint8_t scope[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t verify = (uint8_t)config->verify;
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    EVP_DigestUpdate(md, &verify, 1);
    STACK_OF(X509_OBJECT) *trusted = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
    for (int i = 0; i < sk_X509_OBJECT_num(trusted); i++) {
        uint8_t print[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        const X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(trusted, i));
        if (cert && X509_digest(cert, EVP_sha256(), print, &size))
            EVP_DigestUpdate(md, print, size);
    }
    EVP_DigestFinal_ex(md, scope, &len);
    EVP_MD_CTX_free(md);
    SSL_CTX_set_session_id_context(ctx, scope, SSL_MAX_SID_CTX_LENGTH);
}

static void use_sessions(struct tls_context *c, const struct tls_config *config)
{
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(c->ctx, (long)config->session_timeout);
    SSL_CTX_set_num_tickets(c->ctx, config->share_session ? 1 : 0);
    use_session_scope(c->ctx, config);
    if (config->share_session)
        tls_use_tickets(c);
    else
        SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
}

static bool configure(struct tls_context *c, const struct tls_config *config,
                      char error[TLS_ERROR_SIZE])
{
    use_modes(c->ctx);
    if (!use_versions(c->ctx, config, error) || !tls_use_ciphers(c->ctx, config, error) ||
        !tls_use_identity(c->ctx, config, error))
        return false;
    if (config->verify != TLS_VERIFY_NONE && !tls_use_authorities(c->ctx, config, error))
        return false;
    use_sessions(c, config);
    return true;
}

struct tls_context *tls_context_new(const struct tls_config *config,
                                    const struct tls_tickets *tickets, char error[TLS_ERROR_SIZE])
{
    ERR_clear_error();
    error[0] = '\0';
    struct tls_context *c = mem_alloc(sizeof *c);
    c->refs = 1;
    c->tickets = tickets;
    c->ctx = SSL_CTX_new(TLS_server_method());
    if (!c->ctx)
        tls_fail(error, "TLS cannot be used: %s", tls_reason());
    if (c->ctx && configure(c, config, error)) {
        ERR_clear_error();
        return c;
    }
    tls_context_unref(c);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    c->refs++;
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (!c || --c->refs)
        return;
    SSL_CTX_free(c->ctx);
    mem_free(c);
}
