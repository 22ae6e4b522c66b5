#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""TLS, end to end: what works, settings and their errors, clients' certificates."""
import os
import shutil
import socket
import ssl
import tempfile
import time

from common import (
    APP, CERT, CLOSE, KEY, SLACK, TEXT, Failed, Raw, Server, Suite, ca, close_payload, echoes, frame, handshake_fails,
    main, mutual, need, openssl, other, pem, run_neap, source, tls_server)

suite = Suite("tls")


# -- what works

@suite.case("works.both", "an echo over TLS 1.2 and 1.3; the log says wss")
def _():
    with tls_server() as s:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            need(echoes(s.port, ca.client(version=version)) == version.name.replace("_", "."), version)
        s.wait_log(r"listening wss://127\.0\.0\.1:\d+")


@suite.case("works.versions", "protocol.versions leaves only those")
def _():
    only = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
    for name, version in only.items():
        with tls_server(pem() + ', protocol = { versions = { "%s" } }' % name) as s:
            need(echoes(s.port) == name, name)
            rest = [v for n, v in only.items() if n != name][0]
            handshake_fails(s.port, ca.client(version=rest))


@suite.case("works.ciphers", "by the names of IANA and of OpenSSL")
def _():
    for name in ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        with tls_server(pem() + ', ciphers = { "%s", "TLS_CHACHA20_POLY1305_SHA256" }' % name) as s:
            for version, want in ((ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
                                  (ssl.TLSVersion.TLSv1_3, "TLS_CHACHA20_POLY1305_SHA256")):
                with Raw(s.port, "/echo", tls=ca.client(version=version)) as c:
                    need(c.sock.cipher()[0] == want, c.sock.cipher())


@suite.case("works.pkcs12", "certificate and key from a PKCS#12 file")
def _():
    path = ca.pkcs12("server", "open sesame")
    with tls_server('key = { path = "%s", password = "open sesame" }' % path) as s:
        echoes(s.port)


@suite.case("works.encrypted", "an encrypted PEM key")
def _():
    path = ca.path("encrypted.key")
    openssl("pkey", "-in", KEY, "-out", path, "-aes256", "-passout", "pass:hush")
    with tls_server(pem(key=path, keyPassword="hush")) as s:
        echoes(s.port)


@suite.case("works.relative", "files are looked for in the app's folder")
def _():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(CERT, os.path.join(folder, "cert.pem"))
        shutil.copy(KEY, os.path.join(folder, "key.pem"))
        with open(os.path.join(folder, "init.lua"), "w") as f:
            f.write(source(pem("cert.pem", "key.pem")))
        with Server(folder, args=(), cwd="/") as s:
            echoes(s.port)


@suite.case("works.alpn", "http/1.1 is agreed upon; only other protocols are refused (RFC 7301)")
def _():
    with tls_server() as s:
        with Raw(s.port, "/echo", tls=ca.client(alpn=["h2", "http/1.1"])) as c:
            need(c.sock.selected_alpn_protocol() == "http/1.1", c.sock.selected_alpn_protocol())
        with Raw(s.port, "/echo", tls=ca.client()) as c:
            need(c.sock.selected_alpn_protocol() is None, "nobody asked")
        why = handshake_fails(s.port, ca.client(alpn=["h2", "h3"])).replace(" ", "_").upper()
        need("NO_APPLICATION_PROTOCOL" in why, why)


@suite.case("works.close-notify", "close_notify comes before the end of the socket")
def _():
    with tls_server() as s, Raw(s.port, "/echo", tls=ca.client()) as c:
        c.sock.suppress_ragged_eofs = False
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000, eof=False)
        need(c.sock.recv(1) == b"", "an end")       # raises when it is cut off


def request_frames(count):
    return [frame(TEXT, "%05d" % i * 100) for i in range(count)]


@suite.case("works.large", "a megabyte both ways, in records and pieces of any size")
def _():
    with tls_server() as s, Raw(s.port, "/echo", tls=ca.client(), seconds=20 * SLACK) as c:
        for size in (16383, 16384, 16385, 60000):
            text = os.urandom(size // 2).hex()
            c.text(text)
            c.expect(TEXT, text)
        many = b"".join(request_frames(300))
        c.send(many)
        for i in range(300):
            c.expect(TEXT, "%05d" % i * 100)


@suite.case("works.slow", "a peer that reads late gets everything")
def _():
    with tls_server() as s, Raw(s.port, "/echo", tls=ca.client(), rcvbuf=4096, seconds=30 * SLACK) as c:
        rest = b"".join(request_frames(4000))
        c.sock.setblocking(False)
        while rest:                 # as much as goes, and only then is anything read
            try:
                rest = rest[c.sock.send(rest[:16384]):]
            except ssl.SSLWantWriteError:
                c.arrived(0.01)
                c._fill(time.monotonic() + c.seconds)
                c.sock.setblocking(False)
        for i in range(4000):
            c.expect(TEXT, "%05d" % i * 100)


# -- mistakes, each a load error that names the file

def load_error(secure, *words):
    """The app must not load, say why, and never have tried to open the port: it is taken, which it would say."""
    with socket.socket() as taken, tempfile.TemporaryDirectory() as folder:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = os.path.join(folder, "app.lua")
        with open(path, "w") as f:
            f.write((APP % {"port": taken.getsockname()[1], "secure": secure, "header": 10}))
        server = Server(path, args=(), wait=False)
        status = server.wait_exit()
        log = server.log()
        checked = run_neap("check", path)
    need(status == 1, "status %d" % status)
    need("in use" not in log, "the port was tried: " + log)
    need(checked.returncode == 1, "neap check found nothing")
    for word in words:
        need(word in log, "%r is not in %s" % (word, log))
        need(word in checked.stdout, "neap check: %r is not in %s" % (word, checked.stdout))


def file_with(name, text):
    path = ca.path(name)
    with open(path, "w") as f:
        f.write(text)
    return path


def mistakes():
    """(id, settings, what the message must contain)"""
    expired, expired_key = ca.issue("expired", days=-1)
    _, other_key = ca.issue("other")
    encrypted = ca.path("locked.key")
    openssl("pkey", "-in", KEY, "-out", encrypted, "-aes256", "-passout", "pass:hush")
    weak, weak_key = ca.path("weak.pem"), ca.path("weak.key")
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", weak_key, "-out", weak, "-days", 30,
            "-subj", "/CN=weak")
    p12 = ca.pkcs12("server", "open sesame")
    damaged = file_with("damaged.pem", open(CERT).read().replace("MII", "MIX", 1))
    empty = file_with("empty.pem", "")
    absent = ca.path("absent.pem")
    mutual = pem() + ', mutualSsl = { cert = "%s" }'
    return [
        ("missing", pem(absent), (absent, "No such file")),
        ("missing-key", pem(key=absent), (absent, "No such file")),
        ("folder", pem(ca.folder), (ca.folder, "is not a file")),
        ("empty", pem(empty), (empty, "holds no certificate")),
        ("damaged", pem(damaged), (damaged, "damaged")),
        ("not-a-certificate", pem(KEY), (KEY, "holds no certificate")),
        ("not-a-key", pem(key=CERT), (CERT, "holds no private key")),
        ("mismatch", pem(key=other_key), (other_key, CERT, "does not belong")),
        ("expired", pem(expired, expired_key), (expired, "expired on")),
        ("no-password", pem(key=encrypted), (encrypted, "keyPassword is missing")),
        ("wrong-password", pem(key=encrypted, keyPassword="hash"), (encrypted, "password", "wrong")),
        ("weak", pem(weak, weak_key), (weak, "too small")),
        ("pkcs12.password", 'key = { path = "%s", password = "x" }' % p12, (p12, "password", "wrong")),
        ("pkcs12.none", 'key = { path = "%s" }' % p12, (p12, "needs a password")),
        ("pkcs12.not", 'key = { path = "%s", password = "x" }' % CERT, (CERT, "no PKCS#12")),
        ("authority.missing", mutual % absent, (absent, "No such file")),
        ("authority.empty", mutual % empty, (empty, "holds no certificate")),
        ("cipher", pem() + ', ciphers = { "RC4-MD5" }', ("RC4-MD5", "cipher")),
        ("cipher.keyword", pem() + ', ciphers = { "HIGH" }', ("HIGH", "cipher")),
        ("version", pem() + ', protocol = { versions = { "TLSv1.1" } }', ("TLSv1.1", "not supported")),
        ("key", "shareSession = true", ("secureSocket.key is missing",)),
        ("both", 'key = { certFile = "a", path = "b" }', ("PKCS#12", "PEM")),
        ("half", 'key = { certFile = "a" }', ("lacks keyFile",)),
        ("spelling", 'key = { certfile = "a" }', ("certfile", "did you mean certFile?")),
        ("spelling.top", pem() + ", shareSesion = true", ("did you mean shareSession?",)),
        ("verify", pem() + ', mutualSsl = { verifyClient = "YES", cert = "a" }', ("REQUIRE", "OPTIONAL")),
        ("mutual", pem() + ", mutualSsl = {}", ("mutualSsl.cert is missing",)),
    ]


for ident, settings, words in mistakes():
    suite.add("mistake." + ident, "a load error that says %s" % words[-1],
              lambda settings=settings, words=words: load_error(settings, *words))


# -- clients' certificates

def who(port, context):
    with Raw(port, "/who", tls=context) as c:
        return c.recv_message()[1].decode().split("|")


@suite.case("mutual.require", "only clients with a certificate of that authority")
def _():
    cert, key = ca.issue("alice", "alice", "DNS:alice.example,email:alice@example.org,IP:192.0.2.7", serial=0xBEEF)
    stranger = other.issue("mallory", "mallory")
    print_of = openssl("x509", "-in", cert, "-noout", "-fingerprint", "-sha256").split("=")[1]
    with tls_server(mutual("REQUIRE")) as s:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            got = who(s.port, ca.client(cert, key, version))
            need(got == ["CN=alice,O=Neap Test", "CN=Test CA", "beef", print_of.strip().replace(":", "").lower(),
                         str(30 * 86400), "alice.example alice@example.org 192.0.2.7", "true"], got)
            handshake_fails(s.port, ca.client(version=version))
            handshake_fails(s.port, ca.client(*stranger, version))


@suite.case("mutual.optional", "clients without one are nobody; a wrong one is refused")
def _():
    cert, key = ca.issue("bob", "bob")
    late = ca.issue("late", "late", days=-1)
    with tls_server(mutual("OPTIONAL")) as s:
        need(who(s.port, ca.client())[0] == "nobody", "without one")
        need(who(s.port, ca.client(cert, key))[0] == "CN=bob,O=Neap Test", "with one")
        handshake_fails(s.port, ca.client(*other.issue("eve", "eve")))
        handshake_fails(s.port, ca.client(*late))


@suite.case("mutual.none", "without mutualSsl nobody is asked, and what is offered counts for nothing")
def _():
    with tls_server() as s:
        need(who(s.port, ca.client(*ca.issue("carol", "carol")))[0] == "nobody", "not asked")


@suite.case("mutual.pkcs12", "the authority out of a PKCS#12 file")
def _():
    path = ca.path("authority.p12")
    openssl("pkcs12", "-export", "-nokeys", "-in", ca.cert, "-out", path, "-passout", "pass:trust")
    cert, key = ca.issue("dave", "dave")
    with tls_server(pem() + ', mutualSsl = { cert = { path = "%s", password = "trust" } }' % path) as s:
        need(who(s.port, ca.client(cert, key))[0] == "CN=dave,O=Neap Test", "verified")
        handshake_fails(s.port, ca.client())


if __name__ == "__main__":
    main(suite)
