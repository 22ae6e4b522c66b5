// SPDX-License-Identifier: MIT
/*
 * The TLS stream and its settings, against an OpenSSL client at the other end of a socket pair. Key
 * and certificates are made here, each time anew, in a temporary folder.
 *
 *      stream under test ──[fd 0]── socket pair ──[fd 1]── client (SSL of the test)
 */
#include "net/tls.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BIG = 100000 };

static char folder[] = "/tmp/neaptlsXXXXXX";
static struct tls_tickets tickets;

/* --- Files ------------------------------------------------------------------------------------ */

static const char *path(const char *name)
{
    static char paths[8][128];
    static int next;
    char *out = paths[next++ % 8];
    snprintf(out, sizeof paths[0], "%s/%s", folder, name);
    return out;
}

static X509 *certificate(EVP_PKEY *key, const char *name, long from, long to)
{
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 0x1234);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), to);
    X509_set_pubkey(x, key);
    X509_NAME *subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(x, key, EVP_sha256());
    return x;
}

static void write_key(const char *name, EVP_PKEY *key, const char *password)
{
    FILE *f = fopen(path(name), "w");
    PEM_write_PrivateKey(f, key, password ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                         (void *)(size_t)password);
    fclose(f);
}

static void write_cert(const char *name, X509 *cert)
{
    FILE *f = fopen(path(name), "w");
    PEM_write_X509(f, cert);
    fclose(f);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "w");
    fputs(text, f);
    fclose(f);
}

static void make_files(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    X509 *good = certificate(key, "localhost", -60, 3600);
    X509 *old = certificate(key, "localhost", -7200, -3600);
    write_key("key.pem", key, NULL);
    write_key("locked.pem", key, "hush");
    write_key("other.pem", other, NULL);
    write_cert("cert.pem", good);
    write_cert("old.pem", old);
    write_text("empty.pem", "");
    PKCS12 *p12 = PKCS12_create("sesame", "x", key, good, NULL, 0, 0, 0, 0, 0);
    FILE *f = fopen(path("both.p12"), "w");
    i2d_PKCS12_fp(f, p12);
    fclose(f);
    PKCS12_free(p12);
    X509_free(good);
    X509_free(old);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

/* --- Contexts --------------------------------------------------------------------------------- */

static struct tls_config pem(const char *cert, const char *key)
{
    return (struct tls_config){.cert_file = path(cert),
                               .key_file = path(key),
                               .tls12 = true,
                               .tls13 = true,
                               .session_timeout = 100,
                               .share_session = true};
}

static void accepted(struct tls_config config)
{
    char error[TLS_ERROR_SIZE];
    struct tls_context *c = tls_context_new(&config, &tickets, error);
    if (!CHECK(c))
        printf("    %s\n", error);
    CHECK_INT(ERR_peek_error(), 0);
    tls_context_unref(c);
}

/* The error must contain both texts. */
static void refused(struct tls_config config, const char *file, const char *why)
{
    char error[TLS_ERROR_SIZE];
    struct tls_context *c = tls_context_new(&config, &tickets, error);
    if (!CHECK(!c)) {
        tls_context_unref(c);
        return;
    }
    test_context("%s", error);
    CHECK(strstr(error, file));
    CHECK(strstr(error, why));
    CHECK(!strchr(error, '\n'));
    CHECK_INT(ERR_peek_error(), 0);
    test_context(NULL);
}

static void contexts(void)
{
    struct tls_config c = pem("cert.pem", "key.pem");
    accepted(c);
    c.tls12 = false;
    accepted(c);
    c = pem("cert.pem", "locked.pem");
    c.key_password = "hush";
    accepted(c);
    c = (struct tls_config){.p12_file = path("both.p12"), .p12_password = "sesame", .tls13 = true};
    accepted(c);
    c = pem("cert.pem", "key.pem");
    c.verify = TLS_VERIFY_OPTIONAL;
    c.ca_file = path("cert.pem");
    accepted(c);
    const char *names[] = {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
                           "TLS_AES_256_GCM_SHA384"};
    c.ciphers = names;
    c.cipher_count = 3;
    accepted(c);
}

static void mistakes(void)
{
    refused(pem("none.pem", "key.pem"), "none.pem", "No such file");
    refused(pem("cert.pem", "none.pem"), "none.pem", "No such file");
    refused(pem("", "key.pem"), folder, "is not a file");
    refused(pem("empty.pem", "key.pem"), "empty.pem", "holds no certificate");
    refused(pem("key.pem", "key.pem"), "key.pem", "holds no certificate");
    refused(pem("cert.pem", "cert.pem"), "cert.pem", "holds no private key");
    refused(pem("cert.pem", "other.pem"), "other.pem", "does not belong");
    refused(pem("old.pem", "key.pem"), "old.pem", "expired on");
    refused(pem("cert.pem", "locked.pem"), "locked.pem", "keyPassword is missing");
    struct tls_config c = pem("cert.pem", "locked.pem");
    c.key_password = "hash";
    refused(c, "locked.pem", "wrong");
    c = (struct tls_config){.p12_file = path("both.p12"), .p12_password = "x", .tls13 = true};
    refused(c, "both.p12", "wrong");
    c.p12_file = path("cert.pem");
    refused(c, "cert.pem", "no PKCS#12");
    c = pem("cert.pem", "key.pem");
    c.verify = TLS_VERIFY_REQUIRE;
    c.ca_file = path("empty.pem");
    refused(c, "empty.pem", "holds no certificate");
    static const char *const bad[] = {"HIGH", "RC4-MD5", "TLS_NONE", "ECDHE-RSA-NULL-SHA", "a:b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c = pem("cert.pem", "key.pem");
        c.ciphers = &bad[i];
        c.cipher_count = 1;
        refused(c, bad[i], "no cipher suite");
    }
}

/* --- Two ends --------------------------------------------------------------------------------- */

struct ends {
    struct tls_context *context;
    struct stream s;
    SSL_CTX *client_context;
    SSL *client;
    int fd;
};

static void open_with(struct ends *e, const struct tls_config *config)
{
    int fds[2];
    char error[TLS_ERROR_SIZE];
    e->context = tls_context_new(config, &tickets, error);
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
    CHECK(stream_init_tls(&e->s, fds[0], e->context));
    e->fd = fds[1];
    e->client_context = SSL_CTX_new(TLS_client_method());
    e->client = SSL_new(e->client_context);
    SSL_set_fd(e->client, fds[1]);
    SSL_set_connect_state(e->client);
}

static void ends_open(struct ends *e)
{
    struct tls_config config = pem("cert.pem", "key.pem");
    open_with(e, &config);
}

static void ends_close(struct ends *e)
{
    if (e->s.ops && e->s.fd >= 0)
        e->s.ops->close(&e->s);
    CHECK_INT(e->s.fd, -1);
    CHECK_INT(ERR_peek_error(), 0);
    tls_context_unref(e->context);
    SSL_free(e->client);
    SSL_CTX_free(e->client_context);
    ERR_clear_error();
    if (e->fd >= 0)
        close(e->fd);
}

static ssize_t get(struct ends *e, void *out, size_t len)
{
    return e->s.ops->read(&e->s, out, len);
}

static ssize_t put(struct ends *e, const void *bytes, size_t len)
{
    struct iovec v = {(void *)(size_t)bytes, len};
    return e->s.ops->write(&e->s, &v, 1);
}

/* Runs the handshake to its end from both sides. */
static void shake(struct ends *e)
{
    char none[16];
    for (int i = 0; i < 10 && (e->s.handshaking || !SSL_is_init_finished(e->client)); i++) {
        SSL_do_handshake(e->client);
        CHECK_INT(get(e, none, sizeof none), STREAM_WANT_READ);
    }
    CHECK(!e->s.handshaking);
    SSL_read(e->client, none, 0); /* takes the session ticket */
    ERR_clear_error();
}

/* Reads of the client until it has `want` bytes or nothing comes. */
static size_t client_get(struct ends *e, uint8_t *out, size_t want)
{
    size_t got = 0, n;
    while (got < want && SSL_read_ex(e->client, out + got, want - got, &n))
        got += n;
    ERR_clear_error();
    return got;
}

static void both_ways(void)
{
    struct ends e;
    char bytes[100];
    ends_open(&e);
    CHECK(e.s.handshaking);
    shake(&e);
    CHECK_INT(SSL_write(e.client, "hello", 5), 5);
    CHECK_INT(get(&e, bytes, sizeof bytes), 5);
    CHECK_BYTES(bytes, 5, "hello", 5);
    CHECK(!e.s.pending);
    CHECK_INT(get(&e, bytes, sizeof bytes), STREAM_WANT_READ);
    CHECK_INT(put(&e, "answer", 6), 6);
    CHECK_INT(client_get(&e, (uint8_t *)bytes, 6), 6);
    CHECK_BYTES(bytes, 6, "answer", 6);
    CHECK(!tls_peer_cert(&e.s));
    ends_close(&e);
}

/* A reader with a small buffer is told that more waits, until all has been read. */
static void pending_data(void)
{
    struct ends e;
    char bytes[10];
    ends_open(&e);
    shake(&e);
    SSL_write(e.client, "0123456789abcdefghij", 20);
    SSL_write(e.client, "XYZ", 3);
    CHECK_INT(get(&e, bytes, 10), 10);
    CHECK(e.s.pending);
    CHECK_INT(get(&e, bytes, 10), 10);
    CHECK_BYTES(bytes, 10, "abcdefghij", 10);
    CHECK(e.s.pending);
    CHECK_INT(get(&e, bytes, 10), 3);
    CHECK_BYTES(bytes, 3, "XYZ", 3);
    CHECK(!e.s.pending);
    ends_close(&e);
}

/* Several records that came together are one read; so is an end behind them, told by pending. */
static void batches(void)
{
    struct ends e;
    char bytes[100];
    ends_open(&e);
    shake(&e);
    for (int i = 0; i < 5; i++)
        SSL_write(e.client, "ab", 2);
    SSL_shutdown(e.client);
    CHECK_INT(get(&e, bytes, sizeof bytes), 10);
    CHECK(e.s.pending);
    CHECK_INT(get(&e, bytes, sizeof bytes), 0);
    CHECK_INT(get(&e, bytes, sizeof bytes), 0);
    CHECK_INT(put(&e, "half closed", 11), 11);
    CHECK_INT(client_get(&e, (uint8_t *)bytes, 11), 11);
    ends_close(&e);
}

static void truncation(void)
{
    struct ends e;
    char bytes[100];
    ends_open(&e);
    shake(&e);
    SSL_write(e.client, "cut", 3);
    shutdown(e.fd, SHUT_WR);
    ssize_t n = get(&e, bytes, sizeof bytes);
    CHECK_INT(n, 3);
    CHECK_INT(get(&e, bytes, sizeof bytes), STREAM_ERROR);
    CHECK_INT(e.s.error, ECONNRESET);
    CHECK(e.s.why && strstr(e.s.why, "close_notify"));
    ends_close(&e);
}

static void close_notify(void)
{
    struct ends e;
    uint8_t byte;
    ends_open(&e);
    shake(&e);
    CHECK_INT(e.s.ops->finish(&e.s), 0);
    CHECK_INT(SSL_read(e.client, &byte, 1), 0);
    CHECK_INT(SSL_get_error(e.client, 0), SSL_ERROR_ZERO_RETURN);
    CHECK_INT(put(&e, "x", 1), STREAM_ERROR);
    ends_close(&e);
}

/* A writer that comes before the handshake waits for input, and is served when it has come. */
static void write_wants_read(void)
{
    struct ends e;
    char bytes[16];
    ends_open(&e);
    CHECK_INT(put(&e, "refused", 7), STREAM_WANT_READ);
    SSL_do_handshake(e.client);
    CHECK_INT(put(&e, "refused", 7), STREAM_WANT_READ);
    SSL_do_handshake(e.client);
    CHECK_INT(put(&e, "refused", 7), 7);
    CHECK_INT(client_get(&e, (uint8_t *)bytes, 7), 7);
    ends_close(&e);
}

/* Output stops when the socket is full and goes on where it stopped; nothing is lost or doubled. */
static void slow_reader(void)
{
    struct ends e;
    static uint8_t out[BIG], in[BIG];
    uint64_t seed = 7;
    for (size_t i = 0; i < BIG; i++)
        out[i] = (uint8_t)random_next(&seed);
    ends_open(&e);
    shake(&e);
    int small = 4096;
    setsockopt(e.s.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t sent = 0, got = 0;
    bool waited = false;
    for (int rounds = 0; got < BIG && rounds < 10000; rounds++) {
        ssize_t n = sent < BIG ? put(&e, out + sent, BIG - sent) : 0;
        waited = waited || n == STREAM_WANT_WRITE;
        if (n > 0)
            sent += (size_t)n;
        got += client_get(&e, in + got, BIG - got);
    }
    CHECK(waited);
    CHECK_BYTES(in, got, out, BIG);
    ends_close(&e);
}

/* A KeyUpdate is answered inside a read, which cannot go on while nothing can be written. */
static void read_wants_write(void)
{
    struct ends e;
    static uint8_t bytes[BIG];
    ends_open(&e);
    shake(&e);
    while (put(&e, bytes, sizeof bytes) > 0)
        ;
    SSL_key_update(e.client, SSL_KEY_UPDATE_REQUESTED);
    SSL_write(e.client, "behind", 6);
    ssize_t n = get(&e, bytes, sizeof bytes);
    CHECK(n == STREAM_WANT_WRITE || n == 6);
    for (int i = 0; i < 1000 && n < 0; i++) {
        client_get(&e, bytes, sizeof bytes);
        n = get(&e, bytes, sizeof bytes);
    }
    CHECK_INT(n, 6);
    CHECK_BYTES(bytes, 6, "behind", 6);
    ends_close(&e);
}

/* Records without data, as many as the socket holds, do not keep one read busy for long. */
static void endless_key_updates(void)
{
    struct ends e;
    char bytes[100], *updates;
    int before, waiting, turns = 0;
    ends_open(&e);
    shake(&e);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(e.client, out);
    for (int i = 0; i < 8000; i++) {
        SSL_key_update(e.client, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(e.client);
    }
    size_t len = (size_t)BIO_get_mem_data(out, &updates);
    ssize_t sent = send(e.fd, updates, len, MSG_NOSIGNAL);
    CHECK(sent > BIG);
    for (before = (int)sent; before > 0; before = waiting, turns++) {
        CHECK_INT(get(&e, bytes, sizeof bytes), STREAM_WANT_READ);
        ioctl(e.s.fd, FIONREAD, &waiting);
        if (!CHECK(waiting < before && before - waiting <= 17 * 1024))
            break;
    }
    CHECK(turns > 1);
    ends_close(&e);
}

/* Bytes that wait at the client's socket. */
static size_t on_the_wire(struct ends *e)
{
    static uint8_t raw[4 * BIG];
    ssize_t n = recv(e->fd, raw, sizeof raw, MSG_PEEK);
    return n > 0 ? (size_t)n : 0;
}

/* Many small segments are one record: its overhead comes once. */
static void segments(void)
{
    struct ends e;
    struct iovec v[60];
    uint8_t bytes[600];
    ends_open(&e);
    shake(&e);
    for (int i = 0; i < 60; i++)
        v[i] = (struct iovec){(void *)(size_t) "0123456789", i % 7 ? 10 : 0};
    CHECK_INT(e.s.ops->write(&e.s, v, 60), 510);
    CHECK(on_the_wire(&e) < 510 + 40);
    CHECK_INT(client_get(&e, bytes, 510), 510);
    CHECK_BYTES(bytes + 500, 10, "0123456789", 10);
    ends_close(&e);
}

static void feed(struct ends *e, const void *bytes, size_t len)
{
    CHECK_INT(send(e->fd, bytes, len, MSG_NOSIGNAL), len);
}

/* A browser with the wrong scheme: the stream says so, and can be answered in the open. */
static void plain_http(void)
{
    static const char *const openings[] = {"GET / HTTP/1.1\r\n\r\n", "POST /x HTTP/1.1\r\n",
                                           "HEAD / HTTP/1.0\r\n"};
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++) {
        struct ends e;
        char bytes[100];
        ends_open(&e);
        feed(&e, openings[i], strlen(openings[i]));
        CHECK_INT(get(&e, bytes, sizeof bytes), STREAM_ERROR);
        CHECK(e.s.plain_http);
        CHECK_INT(recv(e.fd, bytes, sizeof bytes, 0), -1); /* nothing of TLS has been sent */
        stream_become_plain(&e.s);
        CHECK(!e.s.tls && !e.s.handshaking && !e.s.why);
        CHECK_INT(put(&e, "in the open", 11), 11);
        CHECK_INT(recv(e.fd, bytes, sizeof bytes, 0), 11);
        CHECK_INT(send(e.fd, "more", 4, 0), 4);
        CHECK_INT(get(&e, bytes, sizeof bytes), 4);
        ends_close(&e);
    }
}

/* What is no TLS ends its own stream alone. */
static void garbage(void)
{
    static const char *const openings[] = {"\x16\x03\x01\xff\xff hello",
                                           "\x80\x2e\x01 an old hello, of version two", "PRI *"};
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++) {
        struct ends e;
        char bytes[100];
        ends_open(&e);
        feed(&e, openings[i], strlen(openings[i]));
        ssize_t n = get(&e, bytes, sizeof bytes);
        if (n == STREAM_WANT_READ) { /* not enough to judge */
            shutdown(e.fd, SHUT_WR);
            n = get(&e, bytes, sizeof bytes);
        }
        CHECK_INT(n, STREAM_ERROR);
        CHECK(e.s.why);
        CHECK(!e.s.plain_http);
        CHECK_INT(put(&e, "x", 1), STREAM_ERROR);
        CHECK_INT(ERR_peek_error(), 0);
        ends_close(&e);
    }
}

static void tampering(void)
{
    struct ends e;
    char bytes[100];
    ends_open(&e);
    shake(&e);
    SSL_write(e.client, "good", 4);
    feed(&e, "\x17\x03\x03\x00\x20 thirty-two bytes that are wrong", 5 + 32);
    CHECK_INT(get(&e, bytes, sizeof bytes), 4);
    CHECK(e.s.pending);
    CHECK_INT(get(&e, bytes, sizeof bytes), STREAM_ERROR);
    ends_close(&e);
}

/* What others left in OpenSSL's error queue is not taken for ours. */
static void foreign_errors(void)
{
    struct ends e;
    char bytes[10];
    ends_open(&e);
    shake(&e);
    ERR_raise(ERR_LIB_USER, 1);
    CHECK_INT(get(&e, bytes, sizeof bytes), STREAM_WANT_READ);
    ERR_raise(ERR_LIB_USER, 1);
    CHECK_INT(put(&e, "x", 1), 1);
    ends_close(&e);
}

/* --- Certificates of clients, tickets --------------------------------------------------------- */

static void client_certificate(void)
{
    struct ends e;
    struct tls_config config = pem("cert.pem", "key.pem");
    config.verify = TLS_VERIFY_REQUIRE;
    config.ca_file = path("cert.pem");
    open_with(&e, &config);
    SSL_use_certificate_file(e.client, path("cert.pem"), SSL_FILETYPE_PEM);
    SSL_use_PrivateKey_file(e.client, path("key.pem"), SSL_FILETYPE_PEM);
    shake(&e);
    struct tls_cert *cert = tls_peer_cert(&e.s);
    struct tls_cert_info info;
    if (CHECK(cert) && CHECK(tls_cert_read(cert, &info))) {
        CHECK_TEXT(info.subject, "CN=localhost");
        CHECK_TEXT(info.issuer, "CN=localhost");
        CHECK_TEXT(info.serial, "1234");
        CHECK_INT(strlen(info.fingerprint), 64);
        CHECK_INT(info.not_after - info.not_before, 3660);
        if (CHECK_INT(info.name_count, 2)) {
            CHECK_TEXT(info.names[0], "localhost");
            CHECK_TEXT(info.names[1], "127.0.0.1");
        }
        tls_cert_info_free(&info);
    }
    tls_cert_unref(cert);
    ends_close(&e);
}

/* One connection; returns the session to resume with, of which one reference is the caller's. */
static SSL_SESSION *visit(SSL_SESSION *session, bool expect_resumed)
{
    struct ends e;
    uint8_t byte;
    struct tls_config config = pem("cert.pem", "key.pem");
    config.tls13 = false; /* a ticket of TLS 1.2 comes with the handshake */
    open_with(&e, &config);
    if (session)
        SSL_set_session(e.client, session);
    shake(&e);
    put(&e, "x", 1);
    client_get(&e, &byte, 1);
    CHECK_INT(SSL_session_reused(e.client), expect_resumed);
    SSL_SESSION *got = SSL_get1_session(e.client);
    SSL_shutdown(e.client);
    ends_close(&e);
    return got;
}

/* A ticket outlives two rotations of the keys, and any context; not the third rotation. */
static void ticket_keys(void)
{
    SSL_SESSION *session = visit(NULL, false);
    for (int i = 0; i < TLS_TICKET_KEYS; i++) {
        SSL_SESSION_free(visit(session, true));
        tls_tickets_rotate(&tickets);
        CHECK_INT(tickets.count, TLS_TICKET_KEYS);
    }
    SSL_SESSION_free(visit(session, false));
    SSL_SESSION_free(session);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    make_files();
    for (int i = 0; i < TLS_TICKET_KEYS; i++)
        tls_tickets_rotate(&tickets);
    test("contexts", contexts);
    test("mistakes", mistakes);
    test("both ways", both_ways);
    test("pending data", pending_data);
    test("batches", batches);
    test("truncation", truncation);
    test("close_notify", close_notify);
    test("a write that wants to read", write_wants_read);
    test("a slow reader", slow_reader);
    test("a read that wants to write", read_wants_write);
    test("endless key updates", endless_key_updates);
    test("segments", segments);
    test("plain HTTP", plain_http);
    test("garbage", garbage);
    test("tampering", tampering);
    test("foreign errors", foreign_errors);
    test("a client's certificate", client_certificate);
    test("ticket keys", ticket_keys);
    static const char *const files[] = {"key.pem", "locked.pem", "other.pem", "cert.pem",
                                        "old.pem", "empty.pem",  "both.p12"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(path(files[i]));
    rmdir(folder);
    return test_end();
}
