// SPDX-License-Identifier: MIT
/*
 * What a client's certificate says, as text. Certificates that did not verify are never seen here:
 * they end the handshake, whether clients must have one or may.
 */
#include "base/mem.h"
#include "net/tls_private.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* struct tls_cert is OpenSSL's X509 under a name that others may see. */
static struct tls_cert *wrap(X509 *x)
{
    return (struct tls_cert *)(void *)x;
}

static X509 *x509_of(const struct tls_cert *cert)
{
    return (X509 *)(size_t)cert;
}

struct tls_cert *tls_peer_cert(const struct stream *s)
{
    if (!s->tls)
        return NULL;
    const SSL *ssl = ((const struct tls *)s->tls)->ssl;
    X509 *x = SSL_get0_peer_certificate(ssl);
    if (!x || SSL_get_verify_result(ssl) != X509_V_OK ||
        SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE)
        return NULL;
    X509_up_ref(x);
    return wrap(x);
}

void tls_cert_unref(struct tls_cert *cert)
{
    X509_free(x509_of(cert));
}

static char *copy(const void *text, size_t len)
{
    char *out = mem_try(len + 1);
    if (!out)
        return NULL;
    if (len)
        memcpy(out, text, len);
    out[len] = '\0';
    return out;
}

static char *hex(const uint8_t *bytes, size_t len)
{
    char *out = mem_try(2 * len + 1);
    if (!out)
        return NULL;
    out[0] = '\0';
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return out;
}

static char *name_text(const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes, *out = NULL;
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        long len = BIO_get_mem_data(bio, &bytes);
        out = copy(bytes, len > 0 ? (size_t)len : 0);
    }
    BIO_free(bio);
    return out;
}

static char *serial_text(const X509 *x)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    return hex(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial));
}

static char *fingerprint_text(const X509 *x)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    return X509_digest(x, EVP_sha256(), digest, &len) ? hex(digest, len) : NULL;
}

static int64_t seconds(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

/* One alternative name as text; NULL for kinds that have none. */
static char *alternative(const GENERAL_NAME *name)
{
    int kind;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &kind);
    if (kind != GEN_DNS && kind != GEN_EMAIL && kind != GEN_URI && kind != GEN_IPADD)
        return NULL;
    const uint8_t *bytes = ASN1_STRING_get0_data(value);
    size_t len = (size_t)ASN1_STRING_length(value);
    if (kind == GEN_IPADD) {
        char text[INET6_ADDRSTRLEN] = "";
        if (len == 4 || len == 16)
            inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
        return text[0] ? copy(text, strlen(text)) : NULL;
    }
    return memchr(bytes, '\0', len) ? NULL : copy(bytes, len); /* "good.example\0.evil.example" */
}

static bool read_names(const X509 *x, struct tls_cert_info *info)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int count = all ? sk_GENERAL_NAME_num(all) : 0;
    info->names = mem_try(((size_t)count + 1) * sizeof(char *));
    for (int i = 0; info->names && i < count; i++) {
        char *text = alternative(sk_GENERAL_NAME_value(all, i));
        if (text)
            info->names[info->name_count++] = text;
    }
    GENERAL_NAMES_free(all);
    return info->names;
}

bool tls_cert_read(const struct tls_cert *cert, struct tls_cert_info *info)
{
    const X509 *x = x509_of(cert);
    *info = (struct tls_cert_info){
        .subject = name_text(X509_get_subject_name(x)),
        .issuer = name_text(X509_get_issuer_name(x)),
        .serial = serial_text(x),
        .fingerprint = fingerprint_text(x),
        .not_before = seconds(X509_get0_notBefore(x)),
        .not_after = seconds(X509_get0_notAfter(x)),
    };
    if (info->subject && info->issuer && info->serial && info->fingerprint && read_names(x, info))
        return true;
    tls_cert_info_free(info);
    return false;
}

void tls_cert_info_free(struct tls_cert_info *info)
{
    mem_free(info->subject);
    mem_free(info->issuer);
    mem_free(info->serial);
    mem_free(info->fingerprint);
    for (size_t i = 0; i < info->name_count; i++)
        mem_free(info->names[i]);
    mem_free(info->names);
}
