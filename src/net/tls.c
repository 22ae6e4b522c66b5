// SPDX-License-Identifier: MIT
/*
 * The TLS stream. OpenSSL reads and writes through a BIO of ours, one system call each:
 *
 *      socket ── recv ──▶ OpenSSL's record buffer ── decrypted ──▶ the reader's buffer
 *      output segments ── put together ──▶ record ── encrypted ── send ──▶ socket
 *
 * Reading: OpenSSL reads ahead, so a batch of records costs one recv; after a recv that got less
 * than it asked for the socket is taken to be empty and not asked again (the loop is
 * level-triggered and tells if it is not). A read goes on until nothing more comes or the reader's
 * buffer is full; data that then waits inside OpenSSL, where no descriptor tells of it, is told by
 * stream->pending. So is an end or an error that came behind data.
 *
 * Writing: pieces up to 16 KiB become one record. A record that the socket took in part stays in
 * OpenSSL, and the same bytes must be offered again; a stream's user does that anyway, because they
 * have not been taken.
 *
 * Either operation may have to wait for the other direction: the handshake writes inside reads and
 * reads inside writes, and answering a KeyUpdate (RFC 8446 §4.6.3) writes inside a read.
 *
 * One call of SSL_read makes one recv at most, so that records without data (KeyUpdate, warnings)
 * cannot hold the loop however many of them come. OpenSSL's buffer has room for the largest record,
 * so a recv that fills it brings one to its end.
 *
 * An idle connection owns no record buffers (SSL_MODE_RELEASE_BUFFERS).
 */
#include "base/mem.h"
#include "net/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- The BIO: OpenSSL's way to the socket ----------------------------------------------------- */

static int on_bio_read(BIO *bio, char *out, int len)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = -1;
    if (!t->drained && !t->tried) {
        n = recv(t->fd, out, (size_t)len, 0);
        t->drained = n < len;
        t->tried = true;
        t->eof = n == 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM) {
            t->error = errno;
            return -1;
        }
    }
    if (n < 0)
        BIO_set_retry_read(bio);
    return (int)n;
}

static int on_bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = send(t->fd, bytes, (size_t)len, MSG_NOSIGNAL);
    if (n >= 0) {
        t->sent += (uint32_t)n;
        return (int)n;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM)
        BIO_set_retry_write(bio);
    else
        t->error = errno;
    return -1;
}

static long on_bio_ctrl(BIO *bio, int what, long number, void *arg)
{
    (void)number, (void)arg;
    const struct tls *t = BIO_get_data(bio);
    if (what == BIO_CTRL_EOF)
        return t->eof;
    return what == BIO_CTRL_FLUSH;
}

static const BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;
    if (method)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "neap socket");
    if (method) {
        BIO_meth_set_read(method, on_bio_read);
        BIO_meth_set_write(method, on_bio_write);
        BIO_meth_set_ctrl(method, on_bio_ctrl);
    }
    return method;
}

/* --- Outcomes --------------------------------------------------------------------------------- */

/* OpenSSL judges an operation by its error queue: what anybody left there would look like ours. */
static void begin(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
}

static int fatal(struct stream *s, const char *why)
{
    struct tls *t = s->tls;
    t->broken = true;
    s->error = t->error ? t->error : EPROTO;
    s->why = why;
    return STREAM_ERROR;
}

/* The socket's end without close_notify: somebody may have cut it off (RFC 8446 §6.1). */
static int truncated(struct stream *s)
{
    s->error = ECONNRESET;
    s->cut_off = true;
    s->why = "ended without close_notify";
    return STREAM_ERROR;
}

/* What an operation that returned `r` <= 0 means for the user of the stream. */
static int outcome(struct stream *s, int r)
{
    struct tls *t = s->tls;
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ: return STREAM_WANT_READ;
    case SSL_ERROR_WANT_WRITE: return STREAM_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN: return t->eof ? truncated(s) : 0; /* 0: close_notify */
    case SSL_ERROR_SYSCALL: ERR_clear_error(); return fatal(s, "connection broken");
    default:
        s->plain_http = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST;
        return fatal(s, tls_reason());
    }
}

static void note_progress(struct stream *s)
{
    const struct tls *t = s->tls;
    s->sent = t->sent;
    if (s->handshaking)
        s->handshaking = !SSL_is_init_finished(t->ssl);
}

/* --- The stream ------------------------------------------------------------------------------- */

/* The end, now or after what has been read before it. */
static ssize_t read_ended(struct stream *s, int end, size_t total)
{
    struct tls *t = s->tls;
    if (end == 0 || end == STREAM_ERROR) {
        t->ended = true;
        t->end = end;
    }
    /* The descriptor need not tell of it again, nor of data behind a write that is due first. */
    s->pending = total && end != STREAM_WANT_READ;
    return total ? (ssize_t)total : end;
}

static ssize_t tls_read(struct stream *s, void *out, size_t len)
{
    struct tls *t = s->tls;
    size_t total = 0;
    s->pending = false;
    t->drained = false;
    if (t->ended)
        return t->end;
    begin();
    while (total < len) {
        size_t n = 0;
        t->tried = false;
        int r = SSL_read_ex(t->ssl, (uint8_t *)out + total, len - total, &n);
        note_progress(s);
        if (r <= 0)
            return read_ended(s, outcome(s, r), total);
        total += n;
        if (t->drained && !SSL_has_pending(t->ssl))
            return (ssize_t)total;
    }
    s->pending = SSL_has_pending(t->ssl);
    return (ssize_t)total;
}

/* Output that has not been taken yet: segments from `iov` on, the first without `off` bytes. */
struct rest {
    const struct iovec *iov;
    int count;
    size_t off;
};

static void skip(struct rest *rest, size_t len)
{
    rest->off += len;
    while (rest->count && rest->off >= rest->iov->iov_len) {
        rest->off -= rest->iov->iov_len;
        rest->iov++;
        rest->count--;
    }
}

/* What the next record carries: the first segment, or several of them copied together. */
static struct iovec next_record(struct tls_context *c, const struct rest *rest)
{
    uint8_t *first = (uint8_t *)rest->iov->iov_base + rest->off;
    size_t len = rest->iov->iov_len - rest->off;
    if (rest->count == 1 || len >= TLS_RECORD)
        return (struct iovec){first, len < TLS_RECORD ? len : TLS_RECORD};
    struct rest at = *rest;
    size_t used = 0;
    while (at.count && used < TLS_RECORD) {
        size_t n = at.iov->iov_len - at.off;
        if (n > TLS_RECORD - used)
            n = TLS_RECORD - used;
        memcpy(c->record + used, (uint8_t *)at.iov->iov_base + at.off, n);
        used += n;
        skip(&at, n);
    }
    return (struct iovec){c->record, used};
}

static ssize_t tls_write(struct stream *s, const struct iovec *iov, int count)
{
    struct tls *t = s->tls;
    struct rest rest = {iov, count, 0};
    size_t total = 0;
    skip(&rest, 0); /* past empty segments */
    t->drained = t->tried = false;
    if (t->broken)
        return STREAM_ERROR;
    begin();
    while (rest.count) {
        struct iovec record = next_record(t->context, &rest);
        size_t n = 0;
        int r = SSL_write_ex(t->ssl, record.iov_base, record.iov_len, &n);
        note_progress(s);
        if (r <= 0) {
            int status = outcome(s, r);
            if (status == 0) /* no writing after close_notify */
                status = fatal(s, "closed");
            return total ? (ssize_t)total : status;
        }
        total += n;
        skip(&rest, n);
    }
    return (ssize_t)total;
}

/* Once, if the state of things allows it (RFC 8446 §6.1). */
static void send_close_notify(struct tls *t)
{
    if (t->broken || !SSL_is_init_finished(t->ssl) || SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)
        return;
    begin();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

static int tls_finish(struct stream *s)
{
    send_close_notify(s->tls);
    return shutdown(s->fd, SHUT_WR) == 0 || errno == ENOTCONN ? 0 : STREAM_ERROR;
}

static void forget(struct stream *s)
{
    struct tls *t = s->tls;
    SSL_free(t->ssl);
    ERR_clear_error();
    tls_context_unref(t->context);
    mem_free(t);
    s->tls = NULL;
}

void stream_become_plain(struct stream *s)
{
    if (s->tls)
        forget(s);
    stream_init_plain(s, s->fd);
}

static void tls_close(struct stream *s)
{
    send_close_notify(s->tls);
    forget(s);
    close(s->fd);
    s->fd = -1;
}

static const struct stream_ops tls_ops = {tls_read, tls_write, tls_finish, tls_close};

static bool set_up(struct tls *t)
{
    const BIO_METHOD *method = bio_method();
    t->ssl = SSL_new(t->context->ctx);
    BIO *bio = t->ssl && method ? BIO_new(method) : NULL;
    if (!bio) {
        SSL_free(t->ssl);
        ERR_clear_error();
        return false;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_accept_state(t->ssl);
    return true;
}

bool stream_init_tls(struct stream *s, int fd, struct tls_context *context)
{
    struct tls *t = mem_try(sizeof *t);
    if (!t)
        return false;
    *t = (struct tls){.context = context, .fd = fd};
    if (!set_up(t)) {
        mem_free(t);
        return false;
    }
    tls_context_ref(context);
    *s = (struct stream){.ops = &tls_ops, .tls = t, .fd = fd, .handshaking = true};
    return true;
}
