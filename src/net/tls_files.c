// SPDX-License-Identifier: MIT
/*
 * Certificates and keys from files, read whole and judged at once, so that every mistake is told
 * when the app loads, by the name of the file:
 *
 *      certFile   PEM: the server's certificate, then those between it and the root
 *      keyFile    PEM: its private key, perhaps encrypted
 *      path       PKCS#12 (RFC 7292): all of that in one file
 *      cert       PEM or PKCS#12: who may sign clients' certificates
 */
#include "base/mem.h"
#include "net/tls_private.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_MAX = 1024 * 1024 };

/* --- Files ------------------------------------------------------------------------------------ */

static bool read_all(int fd, uint8_t *bytes, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = read(fd, bytes + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO; /* it is being written right now */
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static BIO *read_open(const char *path, int fd, char error[TLS_ERROR_SIZE])
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return tls_fail(error, "%s is not a file", path), NULL;
    if (st.st_size > FILE_MAX)
        return tls_fail(error, "%s is too large for a certificate or key", path), NULL;
    size_t size = (size_t)st.st_size;
    uint8_t *bytes = OPENSSL_malloc(size + 1);
    BIO *bio = bytes ? BIO_new(BIO_s_mem()) : NULL;
    if (!bio || !read_all(fd, bytes, size) || (size && BIO_write(bio, bytes, (int)size) <= 0)) {
        tls_fail(error, "cannot read %s: %s", path, strerror(errno));
        BIO_free(bio);
        bio = NULL;
    }
    OPENSSL_clear_free(bytes, size);
    return bio;
}

/* A file's contents; NULL with `error` filled. */
static BIO *open_file(const char *path, char error[TLS_ERROR_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return tls_fail(error, "cannot read %s: %s", path, strerror(errno)), NULL;
    BIO *bio = read_open(path, fd, error);
    close(fd);
    return bio;
}

/* --- What is in them -------------------------------------------------------------------------- */

/* A server's key and certificates on their way from files to OpenSSL. */
struct identity {
    const char *cert_file, *key_file;
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
};

static void identity_free(struct identity *id)
{
    X509_free(id->cert);
    EVP_PKEY_free(id->key);
    sk_X509_pop_free(id->chain, X509_free);
}

static void date_text(const ASN1_TIME *t, char out[32])
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(t, &tm) || !strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm))
        snprintf(out, 32, "an unknown date");
}

static bool check_date(const char *path, const X509 *cert, char error[TLS_ERROR_SIZE])
{
    char date[32];
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) > 0)
        return true;
    date_text(X509_get0_notAfter(cert), date);
    return tls_fail(error, "the certificate in %s expired on %s", path, date);
}

/* All certificates of a PEM file, at least one, in order. NULL with `error` filled. */
static STACK_OF(X509) * read_certs(const char *path, char error[TLS_ERROR_SIZE])
{
    BIO *bio = open_file(path, error);
    if (!bio)
        return NULL;
    STACK_OF(X509) *all = sk_X509_new_null();
    X509 *cert;
    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        sk_X509_push(all, cert);
    bool clean = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    ERR_clear_error();
    if (clean && sk_X509_num(all) > 0)
        return all;
    tls_fail(error, clean ? "%s holds no certificate in PEM form" : "%s is damaged", path);
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

struct password {
    const char *text;
    bool asked;
};

/* OpenSSL asks for the password of an encrypted key; without this it would ask the terminal. */
static int on_password(char *out, int size, int writing, void *arg)
{
    (void)writing;
    struct password *p = arg;
    p->asked = true;
    size_t len = p->text ? strlen(p->text) : 0;
    if (!p->text || len > (size_t)size)
        return -1;
    memcpy(out, p->text, len);
    return (int)len;
}

static EVP_PKEY *read_key(const char *path, const char *password, char error[TLS_ERROR_SIZE])
{
    BIO *bio = open_file(path, error);
    if (!bio)
        return NULL;
    struct password p = {.text = password};
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, on_password, &p);
    BIO_free(bio);
    ERR_clear_error();
    if (key)
        return key;
    if (!p.asked)
        tls_fail(error, "%s holds no private key in PEM form", path);
    else if (!password)
        tls_fail(error, "the key in %s is encrypted: keyPassword is missing", path);
    else
        tls_fail(error, "the password of the key in %s is wrong", path);
    return NULL;
}

static PKCS12 *open_pkcs12(const char *path, const char *password, char error[TLS_ERROR_SIZE])
{
    BIO *bio = open_file(path, error);
    if (!bio)
        return NULL;
    PKCS12 *p12 = d2i_PKCS12_bio(bio, NULL);
    BIO_free(bio);
    ERR_clear_error();
    if (!p12)
        tls_fail(error, "%s is no PKCS#12 file", path);
    else if (PKCS12_mac_present(p12) && !PKCS12_verify_mac(p12, password ? password : "", -1) &&
             (password || !PKCS12_verify_mac(p12, NULL, 0)))
        tls_fail(error, password ? "the password of %s is wrong" : "%s needs a password", path);
    else
        return p12;
    PKCS12_free(p12);
    ERR_clear_error();
    return NULL;
}

static bool read_pkcs12(struct identity *id, const char *password, char error[TLS_ERROR_SIZE])
{
    PKCS12 *p12 = open_pkcs12(id->cert_file, password, error);
    if (!p12)
        return false;
    bool good = PKCS12_parse(p12, password ? password : "", &id->key, &id->cert, &id->chain);
    PKCS12_free(p12);
    if (!good) /* files of old programs use ciphers that OpenSSL 3 keeps in a cupboard */
        return tls_fail(error, "cannot read %s: %s", id->cert_file, tls_reason());
    return true;
}

/* --- The server's identity -------------------------------------------------------------------- */

static bool read_pem(struct identity *id, const char *password, char error[TLS_ERROR_SIZE])
{
    id->chain = read_certs(id->cert_file, error);
    if (!id->chain)
        return false;
    id->cert = sk_X509_shift(id->chain);
    id->key = read_key(id->key_file, password, error);
    return id->key;
}

static bool check_identity(const struct identity *id, char error[TLS_ERROR_SIZE])
{
    if (!id->cert)
        return tls_fail(error, "%s holds no certificate with its key", id->cert_file);
    if (!id->key)
        return tls_fail(error, "%s holds no private key", id->cert_file);
    if (!check_date(id->cert_file, id->cert, error))
        return false;
    for (int i = 0; i < sk_X509_num(id->chain); i++)
        if (!check_date(id->cert_file, sk_X509_value(id->chain, i), error))
            return false;
    if (X509_check_private_key(id->cert, id->key))
        return true;
    ERR_clear_error();
    return tls_fail(error, "the key in %s does not belong to the certificate in %s", id->key_file,
                    id->cert_file);
}

bool tls_use_identity(SSL_CTX *ctx, const struct tls_config *config, char error[TLS_ERROR_SIZE])
{
    struct identity id = {.cert_file = config->cert_file, .key_file = config->key_file};
    bool good;
    if (config->p12_file) {
        id.cert_file = id.key_file = config->p12_file;
        good = read_pkcs12(&id, config->p12_password, error);
    } else {
        good = read_pem(&id, config->key_password, error);
    }
    good = good && check_identity(&id, error);
    if (good && !SSL_CTX_use_cert_and_key(ctx, id.cert, id.key, id.chain, 1))
        good = tls_fail(error, "cannot use the certificate in %s: %s", id.cert_file, tls_reason());
    identity_free(&id);
    return good;
}

/* --- Who signs clients' certificates ---------------------------------------------------------- */

static STACK_OF(X509) *
    read_trusted(const char *path, const char *password, char error[TLS_ERROR_SIZE])
{
    if (!password)
        return read_certs(path, error);
    struct identity id = {.cert_file = path};
    if (!read_pkcs12(&id, password, error))
        return NULL;
    STACK_OF(X509) *all = id.chain ? id.chain : sk_X509_new_null();
    if (id.cert) {
        X509_up_ref(id.cert);
        sk_X509_push(all, id.cert);
    }
    id.chain = NULL;
    identity_free(&id);
    if (sk_X509_num(all) > 0)
        return all;
    sk_X509_free(all);
    tls_fail(error, "%s holds no certificate", path);
    return NULL;
}

bool tls_use_authorities(SSL_CTX *ctx, const struct tls_config *config, char error[TLS_ERROR_SIZE])
{
    STACK_OF(X509) *all = read_trusted(config->ca_file, config->ca_password, error);
    if (!all)
        return false;
    bool good = true;
    for (int i = 0; good && i < sk_X509_num(all); i++) {
        X509 *cert = sk_X509_value(all, i);
        good = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) &&
               SSL_CTX_add_client_CA(ctx, cert) && check_date(config->ca_file, cert, error);
    }
    if (!good && !error[0])
        tls_fail(error, "cannot use %s: %s", config->ca_file, tls_reason());
    sk_X509_pop_free(all, X509_free);
    SSL_CTX_set_verify(
        ctx,
        SSL_VERIFY_PEER |
            (config->verify == TLS_VERIFY_REQUIRE ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
    return good;
}
