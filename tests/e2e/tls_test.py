#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""TLS, end to end: settings and their errors, clients' certificates, sessions, renewal, hostile peers.

Certificates are made at the start, by an authority that nobody else trusts.
"""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from neaptest import (  # noqa: E402
    CLOSE, INSTRUMENTED, SLACK, TEXT, Authority, Bystander, Failed, Raw, Server, Suite,
    close_payload, openssl, request, run_neap, wait_until)

suite = Suite("tls")
ca, other = Authority(), Authority("Another CA")
CERT, KEY = ca.issue("server")
PORT_ASKED = 0

APP = """
local websocket = require "neap.websocket"
local listener = websocket.listener(%(port)s, {
  host = "127.0.0.1", headerTimeout = %(header)s, secureSocket = { %(secure)s } })
listener:attach("/echo", { onMessage = function(_, _, data) return data end })
listener:attach("/who", function(request)
  local c = request.clientCertificate
  local told = c and table.concat({ c.subject, c.issuer, c.serial, c.fingerprint, tostring(c.notAfter - c.notBefore),
    table.concat(c.names, " ") }, "|") or "nobody"
  return { onOpen = function(_, caller) return told .. "|" .. tostring(caller:isSecure() and request.isSecure) end }
end)
"""


def need(condition, what):
    if not condition:
        raise Failed(what)


def pem(cert=CERT, key=KEY, **more):
    fields = dict(certFile=cert, keyFile=key, **more)
    return "key = { %s }" % ", ".join('%s = "%s"' % pair for pair in fields.items())


def source(secure=None, header=10):
    return APP % {"port": PORT_ASKED, "secure": secure or pem(), "header": header}


def tls_server(secure=None, header=10, **options):
    return Server(lua=source(secure, header), args=(), **options)


def echoes(port, context=None):
    with Raw(port, "/echo", tls=context or ca.client()) as c:
        c.text("hello")
        c.expect(TEXT, "hello")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
        return c.sock.version()


def serial(port):
    """The serial number of the certificate that a new connection is shown."""
    with Raw(port, tls=ca.client()) as c:
        return int(c.sock.getpeercert()["serialNumber"], 16)


def handshake_fails(port, context):
    """The handshake, or the first read after it (TLS 1.3: RFC 8446 §4.4.2.4), must fail."""
    try:
        with Raw(port, tls=context) as c:
            c.send(request("/echo"))
            c.sock.recv(1)
    except (ssl.SSLError, ConnectionError) as err:
        return str(err)
    raise Failed("the handshake should fail")


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


@suite.case("works.farewell", "close_notify comes before the end of the socket")
def _():
    with tls_server() as s, Raw(s.port, "/echo", tls=ca.client()) as c:
        c.sock.suppress_ragged_eofs = False
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000, eof=False)
        need(c.sock.recv(1) == b"", "an end")       # raises when it is cut off


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


def request_frames(count):
    from neaptest import frame
    return [frame(TEXT, "%05d" % i * 100) for i in range(count)]


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

def mutual(mode):
    return pem() + ', mutualSsl = { verifyClient = "%s", cert = "%s" }' % (mode, ca.cert)


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


# -- sessions

def resumes(port, context, session):
    """A new connection with that session: whether it was resumed, and the session it ends with."""
    sock = socket.create_connection(("127.0.0.1", port), 10 * SLACK)
    tls = context.wrap_socket(sock, server_hostname="localhost", session=session)
    tls.sendall(request("/echo"))
    tls.recv(4096)      # a ticket of TLS 1.3 comes before the first data
    reused, got = tls.session_reused, tls.session
    tls.close()
    return reused, got


@suite.case("session.shared", "a ticket of one worker is good in all of them, and survives a worker")
def _():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with tls_server(options=["--workers", "3"]) as s:
            context = ca.client(version=version)
            _, session = resumes(s.port, context, None)
            # With three sockets the kernel spreads connections over the workers.
            for _ in range(12):
                reused, newer = resumes(s.port, context, session)
                need(reused, "not resumed")
                session = newer if version == ssl.TLSVersion.TLSv1_3 else session
            before = s.workers()
            os.kill(before[0], signal.SIGKILL)
            s.wait_log("worker ready")
            wait_until(lambda: len(s.workers()) == 3, what="three workers again")
            for _ in range(12):
                reused, newer = resumes(s.port, context, session)
                need(reused, "not resumed after a worker's death")
                session = newer if version == ssl.TLSVersion.TLSv1_3 else session


@suite.case("session.off", "shareSession = false: no tickets")
def _():
    with tls_server(pem() + ", shareSession = false") as s:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ca.client(version=version)
            _, session = resumes(s.port, context, None)
            need(not (session and session.has_ticket), "a ticket")
            need(session is None or not resumes(s.port, context, session)[0], "resumed")


@suite.case("session.scope", "a session from a listener without client certificates opens no other door")
def _():
    two = source(pem()) + source(mutual("OPTIONAL")).replace("local listener", "local second").replace(
        "listener:attach", "second:attach").replace("websocket.second", "websocket.listener")
    with Server(lua=two, args=()) as s:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ca.client(version=version)
            _, session = resumes(s.ports[0], context, None)
            need(resumes(s.ports[0], context, session)[0], "resumed where it began")
            need(not resumes(s.ports[1], context, session)[0], "resumed elsewhere")


# -- renewal (SIGHUP)

class Renewal:
    """A server whose files may be overwritten."""

    def __init__(self, workers=1, settings=pem):
        self.cert, self.key = ca.path("live.pem"), ca.path("live.key")
        self.put(*ca.issue("first", serial=1))
        self.server = tls_server(settings(self.cert, self.key), options=["--workers", str(workers)])
        self.workers, self.times = workers, 0

    def put(self, cert, key):
        for source_, target in ((cert, self.cert), (key, self.key)):
            if os.path.isdir(target):
                os.rmdir(target)
            shutil.copy(source_, target + ".new")
            os.replace(target + ".new", target)

    def hup(self, pattern):
        """SIGHUP, until each worker has said so."""
        count = len(re.findall(pattern, self.server.log()))
        self.server.signal(signal.SIGHUP)
        wait_until(lambda: len(re.findall(pattern, self.server.log())) >= count + self.workers, what=pattern)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.server.__exit__(*failure)


GOOD = r"info +certificates have been read again"
BAD = r"error +the old certificate stays in use: [^\n]*"


@suite.case("renew.new", "new connections see the new certificate, old ones go on")
def _():
    with Renewal(workers=2) as r, Raw(r.server.port, "/echo", tls=ca.client()) as old:
        need(serial(r.server.port) == 1, "the first")
        r.put(*ca.issue("second", serial=2))
        need(serial(r.server.port) == 1, "not before SIGHUP")
        r.hup(GOOD)
        for _ in range(8):
            need(serial(r.server.port) == 2, "the second")
        old.text("still here")
        old.expect(TEXT, "still here")
        need(int(old.sock.getpeercert()["serialNumber"], 16) == 1, "the old connection's")


def broken_renewal(break_it, *words):
    """L24: the old certificate stays, the log names the file and says why."""
    with Renewal() as r, Raw(r.server.port, "/echo", tls=ca.client()) as old:
        break_it(r)
        r.hup(BAD)
        line = re.findall(BAD, r.server.log())[-1]
        for word in words:
            need(word in line, "%r is not in %s" % (word, line))
        need(serial(r.server.port) == 1, "the old certificate")
        old.text("undisturbed")
        old.expect(TEXT, "undisturbed")
        r.put(*ca.issue("mended", serial=9))
        r.hup(GOOD)
        need(serial(r.server.port) == 9, "mended")


def overwrite(path, text):
    with open(path, "w") as f:
        f.write(text)


def chain_in_wrong_order(r):
    cert, key = ca.issue("chain")
    overwrite(r.cert, open(ca.cert).read() + open(cert).read())
    shutil.copy(key, r.key)


def unreadable(r):
    os.remove(r.key)
    os.mkdir(r.key)         # root may read every file, but no folder


for ident, fn, words in (
        ("bad-pem", lambda r: overwrite(r.cert, open(r.cert).read().replace("MII", "MIX", 1)), ("live.pem", "damaged")),
        ("mismatch", lambda r: shutil.copy(ca.issue("stray")[1], r.key), ("live.key", "does not belong")),
        ("expired", lambda r: r.put(*ca.issue("stale", days=-1)), ("live.pem", "expired on")),
        ("empty", lambda r: overwrite(r.cert, ""), ("live.pem", "holds no certificate")),
        ("unreadable", unreadable, ("live.key", "is not a file")),
        ("missing", lambda r: os.remove(r.key), ("live.key", "No such file")),
        ("chain-order", chain_in_wrong_order, ("live.key", "does not belong"))):
    suite.add("renew.broken." + ident, "L24: the old one stays",
              lambda fn=fn, words=words: broken_renewal(fn, *words))


@suite.case("renew.often", "L25: renewed again and again under handshakes, none of which fails")
def _():
    rounds, stop, failures, done = (20 if INSTRUMENTED else 100), threading.Event(), [], [0]
    pairs = [ca.issue("round%d" % i, serial=100 + i) for i in range(4)]
    with Renewal(workers=2) as r:
        def knock():
            context = ca.client()
            while not stop.is_set():
                try:
                    echoes(r.server.port, context)
                    done[0] += 1
                except Exception as err:        # whatever it is, it is a failed handshake
                    failures.append(repr(err))
        threads = [threading.Thread(target=knock, daemon=True) for _ in range(3)]
        for t in threads:
            t.start()
        for i in range(rounds):
            r.put(*pairs[i % 4])
            r.hup(GOOD + "|" + BAD)
        stop.set()
        for t in threads:
            t.join()
        need(not failures and done[0] >= rounds / 4, "%d good, failed: %r" % (done[0], failures[:3]))
        need(not re.search(BAD, r.server.log()), "a good pair was refused")
        need(serial(r.server.port) == 100 + (rounds - 1) % 4, "the last one is shown")


@suite.case("renew.stopping", "SIGHUP while stopping is told and ignored")
def _():
    s = tls_server()
    c = Raw(s.port, "/echo", tls=ca.client())
    s.signal(signal.SIGTERM)
    s.wait_log("stopping")
    s.signal(signal.SIGHUP)
    s.wait_log("SIGHUP is ignored: the server is stopping")
    c.expect_close(1001, reply=True)
    need(s.wait_exit() == 0, "status")


# -- hostile peers

def others_unharmed(s):
    return Bystander(s.port, tls=ca.client())


@suite.case("hostile.plain", "H71: plain HTTP to a TLS port is closed at once")
def _():
    with tls_server() as s, others_unharmed(s) as b, s.unharmed():
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", request("/echo"), b"\x00" * 100,
                     b"\x16\x03\x01\xff\xff" * 50):
            with Raw(s.port) as c:
                c.send(data)
                c.recv_all()
        b.check()


@suite.case("hostile.hello-to-plain", "H71: a TLS ClientHello to a plain port is answered with 400")
def _():
    plain = APP.replace(", secureSocket = { %(secure)s }", "") % {"port": 0, "header": 10}
    with Server(lua=plain, args=()) as s, s.unharmed():
        hello = ssl.MemoryBIO()
        tls = ca.client().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        with Raw(s.port) as c:
            c.send(hello.read())
            need(c.recv_response().status == 400, "400")


@suite.case("hostile.slow", "H38: one byte of a ClientHello, then nothing: closed by headerTimeout", background=True)
def _():
    with tls_server(header=1) as s:
        began = time.monotonic()
        with Raw(s.port) as c, Raw(s.port) as silent:
            c.send(b"\x16")
            c.expect_eof()
            silent.expect_eof()
        need(0.9 < time.monotonic() - began < 3 * SLACK, "took %.1f s" % (time.monotonic() - began))


@suite.case("hostile.timeouts", "handshakeTimeout bounds the handshake, headerTimeout what follows", background=True)
def _():
    with tls_server(pem() + ", handshakeTimeout = 0.7", header=2) as s:
        began = time.monotonic()
        with Raw(s.port) as silent, Raw(s.port, tls=ca.client()) as c:
            c.send(b"GET /echo HTTP/1.1\r\n")
            silent.expect_eof()
            need(0.6 < time.monotonic() - began < 1.9 * SLACK, "the handshake's")
            need(c.recv_response().status == 408, "408")
            need(1.8 < time.monotonic() - began < 4 * SLACK, "the head's")


@suite.case("hostile.abandoned", "H74: 2000 handshakes opened and abandoned: closed in time, memory back")
def _():
    count = 300 if INSTRUMENTED else 2000
    hello = ssl.MemoryBIO()
    try:
        ca.client().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = hello.read()

    def abandon(port):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for i, sock in enumerate(held):
            sock.sendall(hello if i % 2 else hello[:100])
        return held
    with tls_server(header=2 if not INSTRUMENTED else 5) as s, others_unharmed(s) as b:
        for held in (abandon(s.port),):     # the first time warms the allocator up
            wait_until(lambda: s.fds() < 100, 30 * SLACK, "descriptors closed")
            [sock.close() for sock in held]
        with s.unharmed(grow=4 << 20, seconds=30 * SLACK):
            held = abandon(s.port)
            b.check()
            wait_until(lambda: s.fds() < 100, 30 * SLACK, "descriptors closed")
            for sock in held:
                sock.close()
        b.check()


@suite.case("hostile.full", "over maxConnections: the handshake is done, and then 503 is said")
def _():
    lua = source().replace("headerTimeout", "maxConnections = 1, headerTimeout")
    with Server(lua=lua, args=()) as s, Raw(s.port, "/echo", tls=ca.client()) as first:
        with Raw(s.port, tls=ca.client()) as c:
            need(c.handshake("/echo").status == 503, "503")
        first.text("alone")
        first.expect(TEXT, "alone")


@suite.case("hostile.renegotiation", "TLS 1.2: asked to renegotiate, the server does not")
def _():
    with tls_server() as s, s.unharmed():
        done = subprocess.run(
            ["openssl", "s_client", "-connect", "127.0.0.1:%d" % s.port, "-tls1_2", "-CAfile", ca.cert],
            input="R\n", capture_output=True, text=True, timeout=30 * SLACK)
        need("no renegotiation" in done.stderr.lower(), done.stderr[-300:])


@suite.case("hostile.garbage", "a record that was tampered with ends its connection alone")
def _():
    with tls_server() as s, others_unharmed(s) as b, s.unharmed():
        for _ in range(5):
            c = Raw(s.port, "/echo", tls=ca.client())
            raw = socket.socket(fileno=os.dup(c.sock.fileno()))
            raw.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
            try:
                need(c.sock.recv(100) == b"", "an end")
            except (ssl.SSLError, ConnectionError):
                pass            # the alert bad_record_mac
            raw.close()
            c.close()
            b.check()


@suite.case("scan", "sslscan finds TLS 1.2 and 1.3 and nothing weak")
def _():
    if not shutil.which("sslscan"):
        raise Failed("sslscan is missing: tests/setup test installs it")
    with tls_server() as s:
        out = subprocess.run(["sslscan", "--no-colour", "127.0.0.1:%d" % s.port], capture_output=True, text=True,
                             timeout=60 * SLACK).stdout
        for line in ("SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled",
                     "TLSv1.2   enabled", "TLSv1.3   enabled"):
            need(line in out, "%r is not in\n%s" % (line, out))
        accepted = re.findall(r"(?:Preferred|Accepted) +TLSv1\.\d +(\d+) bits +(\S+)", out)
        need(len(accepted) >= 5, out)
        for bits, name in accepted:
            need(int(bits) >= 128 and re.search("GCM|POLY1305", name), "%s bits %s" % (bits, name))
        need("vulnerable to heartbleed" not in out.replace("not vulnerable", ""), out)
        need("Insecure session renegotiation" not in out, out)


if __name__ == "__main__":
    try:
        suite.main()
    finally:
        ca.close()
        other.close()
