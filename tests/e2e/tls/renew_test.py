#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""TLS, end to end: sessions that are resumed, certificates that are renewed."""
import os
import re
import shutil
import signal
import socket
import ssl
import threading

from common import (
    INSTRUMENTED, SLACK, TEXT, Raw, Server, Suite, ca, echoes, main, mutual, need, pem, request, serial, source,
    tls_server, wait_until)

suite = Suite("tls_renew")


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
            wait_until(lambda: s.restored(3, before[0]), what="three workers again")
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


if __name__ == "__main__":
    main(suite)
