#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""TLS, end to end: hostile peers, and what a scanner finds."""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from common import (
    APP, INSTRUMENTED, SLACK, TEXT, Bystander, Failed, Raw, Server, Suite, ca, frame, main, need, pem,
    request, source, tls_server, wait_until)

suite = Suite("tls_hostile")


# -- hostile peers

def others_unharmed(s):
    return Bystander(s.port, tls=ca.client())


def explained(response):
    need(response.status == 400 and b"https://" in response.body and b"wss://" in response.body, repr(response))
    need(response.header("Connection") == "close", repr(response))


@suite.case("hostile.plain", "H71: plain HTTP to a TLS port is told so in the open, and closed")
def _():
    with tls_server() as s, others_unharmed(s) as b, s.unharmed():
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", request("/echo"), b"HEAD / HTTP/1.0\r\n\r\n",
                     b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"PUT /x", b"GET /" + b"a" * 300000):
            for size in (1, len(data)):
                with Raw(s.port) as c:
                    c.send_chops(data[:1000] if size == 1 else data, size)
                    explained(c.recv_response())
                    c.expect_eof()
        b.check()


@suite.case("hostile.plain.slow", "... within the time-outs, whether anything follows or not", background=True)
def _():
    with tls_server(header=1) as s, s.unharmed():
        began = time.monotonic()
        with Raw(s.port) as begun, Raw(s.port) as stays, Raw(s.port) as half:
            begun.send(b"GET ")             # too little to know
            stays.send(request("/echo"))    # and never closes its side
            half.send(request("/echo"))
            half.shutdown()
            explained(half.recv_response())
            half.expect_eof()
            begun.expect_eof()
            need(0.9 < time.monotonic() - began < 3 * SLACK, "took %.1f s" % (time.monotonic() - began))
            before = s.fds()
            wait_until(lambda: s.fds() < before, 5 * SLACK, "the one that stays is closed")


@suite.case("hostile.not-tls", "H71: what is neither TLS nor HTTP is closed without a word in the open")
def _():
    with tls_server() as s, others_unharmed(s) as b, s.unharmed():
        for data in (b"\x00" * 100, b"\x16\x03\x01\xff\xff" * 50, b"SSH-2.0-OpenSSH_9\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"EHLO example\r\n",
                     b"\x80\x2e\x01\x00\x02" + b"\x00" * 60, os.urandom(5000)):
            with Raw(s.port) as c:
                c.send(data)
                got = c.recv_all()
                need(b"HTTP" not in got and len(got) < 20, repr(got))     # an alert at the most
        b.check()


@suite.case("hostile.end-behind-data", "a message, and close_notify in the same segment: the message is answered")
def _():
    with tls_server() as s, s.unharmed():
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            wire, coming, going = Raw(s.port), ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = ca.client(version=version).wrap_bio(coming, going, server_hostname="localhost")

            def step(fn, *args):
                while True:
                    try:
                        return fn(*args)
                    except ssl.SSLWantReadError:
                        wire.send(going.read())
                        wire.recv_until(lambda data: coming.write(data) > 0)
            step(tls.do_handshake)
            tls.write(request("/echo"))
            need(b" 101 " in step(tls.read, 4096), "101")
            tls.write(frame(TEXT, "last words"))
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            wire.send(going.read())
            coming.write(wire.recv_all())
            got = step(tls.read, 4096)
            need(got == b"\x81\x0alast words", repr(got))
            wire.close()


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


@suite.case("stopping.queue", "L26: what waits to be accepted at the stop gets its handshake, then 503")
def _():
    s = tls_server(options=["--workers", "1", "--drain", "30"])
    last = Raw(s.port, "/echo", tls=ca.client())    # keeps the server until it has answered the close frame
    answers = []

    def knock():
        with Raw(s.port, tls=ca.client(), seconds=20 * SLACK) as c:
            answers.append(c.handshake("/echo").status)
            if answers[-1] == 101:
                c.expect_close(1001, reply=True)
    pid = s.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    threads = [threading.Thread(target=knock) for _ in range(20)]
    for t in threads:
        t.start()
    wait_until(lambda: waiting(s.port) >= 20, what="20 wait in the queue")
    s.signal(signal.SIGTERM)
    s.wait_log("stopping")
    os.kill(pid, signal.SIGCONT)
    for t in threads:
        t.join()
    # Some may have been accepted just before the worker heard of the end.
    need(len(answers) == 20 and set(answers) <= {503, 101} and 503 in answers, answers)
    last.expect_close(1001, reply=True)
    need(s.wait_exit() == 0, "status %d" % s.status)


def waiting(port):
    """Connections in a listening socket's accept queue."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f][1:]
    return sum(int(r[4].split(":")[1], 16) for r in rows if int(r[1].rpartition(":")[2], 16) == port and r[3] == "0A")


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
    main(suite)
