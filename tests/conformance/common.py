# SPDX-License-Identifier: MIT
"""What the groups of the conformance suite share: the one server, and the usual kinds of case.

Every case has a connection of its own. Bytes that must reach the server in several reads are
sent with a barrier between them: an echo on another connection of the same worker, which is
answered only after the worker has read what came before. So nothing here waits by the clock.

    echoes     send a message in some way, the same comes back, and the connection goes on
    refused    send bytes, the server must answer with this close code and end the connection
    upgrade    send a request, this status must come back
"""
import contextlib
import functools
import os
import re
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True        # nothing but build/ is ever written in the checkout
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from neaptest import (  # noqa: E402,F401
    BINARY, CLOSE, CONT, PING, PONG, TEXT, Authority, Bystander, Failed, Raw, SECONDS, SLACK, Server, Suite,
    accept_value, close_payload, frame, no_sanitizer_report, request, wait_until)

OVER_TLS = "--tls" in sys.argv
suite = Suite("conformance over TLS" if OVER_TLS else "conformance")
KEY = b"\x37\xfa\x21\x3d"          # a mask without any symmetry (RFC 6455 §5.7)
EXPECTED_ERRORS = re.compile(r"expected by the conformance suite|no luck")


class Shared:
    """The server of the whole run, started by the first case that needs it."""
    lock = threading.Lock()
    server = None
    failure = None              # why it did not start, told to every case that wants it
    workers = None
    descriptors = None          # of the worker, with the barrier's connection alone
    barrier = None
    authority = None            # of the server's certificate, over TLS


def start():
    arguments = ["0"]
    if OVER_TLS:
        Shared.authority = Authority()
        arguments += Shared.authority.issue("server")
        Raw.secure = Shared.authority.client()
    Shared.server = Server(os.path.join(HERE, "app.lua"), args=arguments)
    Shared.workers = Shared.server.workers()
    Shared.barrier = Bystander(Shared.server.port)
    Shared.barrier.check(Shared.barrier.seconds)
    Shared.descriptors = Shared.server.fds()


def server():
    with Shared.lock:
        if Shared.failure:
            raise Failed("no server") from Shared.failure
        if Shared.server is None:
            try:
                start()
            except Exception as err:
                Shared.failure = err
                raise
    return Shared.server


def ws(path="/big", headers=()):
    """A new connection, upgraded. Some messages are large, and the machine may be busy."""
    return Raw(server().port, path, headers, seconds=SECONDS * 4)


def barrier():
    """Returns when the worker has read everything that was sent before on any connection."""
    server()
    with Shared.lock:
        Shared.barrier.check(Shared.barrier.seconds)


def send_parts(c, parts):
    """Send each part so that the server reads it apart from the others."""
    for part in parts[:-1]:
        c.send(part)
        barrier()
    if parts:
        c.send(parts[-1])


def cut(data, *places):
    """Cut bytes at these places."""
    edges = [0, *places, len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:])]


def chop(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


def pattern(size):
    """Bytes that are ASCII and repeat with a period that is no power of two."""
    unit = bytes(32 + (i * 7) % 95 for i in range(95))
    return (unit * (size // 95 + 1))[:size]


def still_open(c, op=TEXT):
    """The connection still answers, and nothing else came before."""
    c.send_frame(op, "still open")
    c.expect(op, "still open")


def good_bye(c):
    """Close in order; the server echoes the code and ends the connection (RFC 6455 §5.5.1)."""
    c.send_frame(CLOSE, close_payload(1000))
    c.expect_close(1000)


def echoes(op, payload, parts=None, path="/big", apart=True):
    """Send `parts` (default: one frame); the message must come back, and one more after it."""
    with ws(path) as c:
        parts = [frame(op, payload)] if parts is None else parts
        if apart:
            send_parts(c, parts)
        else:
            for part in parts:
                c.send(part)
        c.expect(op, payload)
        still_open(c, op)
        good_bye(c)


def refused(code, *parts, path="/big", before=()):
    """Send `parts`, each read apart; the server must close with `code` and end the connection.

    before   messages that must come back first, as (op, payload)
    """
    with ws(path) as c:
        send_parts(c, list(parts))
        for op, payload in before:
            c.expect(op, payload)
        c.expect_close(code)


def upgrade(status, path="/echo", headers=(), check=None, raw=None, parts=None, **options):
    """Send an upgrade request; the answer must have this status (or one of these).

    raw     the request's bytes instead; parts: the same in pieces that are read apart
    check   a function of the response for more
    An accepted upgrade must have the right headers and then really echo.
    """
    wanted = status if isinstance(status, tuple) else (status,)
    data = raw if raw is not None else request(path, headers, **options)
    with Raw(server().port) as c:
        send_parts(c, parts or [data])
        response = c.recv_response(bodiless=data.startswith(b"HEAD "))
        if response.status not in wanted:
            raise Failed("expected %s, got %r" % (status, response))
        if response.status == 101:
            check_101(response, data)
        elif response.status == 426:
            check_426(response)
        if check:
            check(response)
        if response.status == 101:
            good_bye(c)


def check_101(response, data):
    """RFC 6455 §4.2.2 step 5."""
    if (response.header("Upgrade") or "").lower() != "websocket":
        raise Failed("101 without Upgrade: websocket: %r" % response)
    if (response.header("Connection") or "").lower() != "upgrade":
        raise Failed("101 without Connection: Upgrade: %r" % response)
    key = re.search(rb"(?im)^sec-websocket-key:[ \t]*(.*?)[ \t]*\r$", data).group(1)
    if response.header("Sec-WebSocket-Accept") != accept_value(key):
        raise Failed("wrong Sec-WebSocket-Accept: %r" % response)


def check_426(response):
    """RFC 9110 §15.5.22: a 426 names the protocol it wants."""
    if "websocket" not in (response.header("Upgrade") or "").lower():
        raise Failed("426 without Upgrade: websocket: %r" % response)


def answers(text, path, headers=()):
    """The app behind this path must answer a message with this text."""
    with ws(path, headers) as c:
        c.text("?")
        c.expect(TEXT, text)
        good_bye(c)


@contextlib.contextmanager
def lasting(least, most):
    """What is inside must take so many seconds; the upper limit is stretched by SLACK."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    if not least <= took <= most * max(1.0, SLACK / 2):
        raise Failed("took %.2f s instead of %g to %g" % (took, least, most))


def add(ident, what, fn, *args, background=False, **kwargs):
    """One case, one line."""
    suite.add(ident, what, functools.partial(fn, *args, **kwargs), background)


def add_bystander(group):
    """The last case of a group: a new connection and an old one are answered at once."""
    def check():
        barrier()
        with Bystander(server().port) as b:
            for _ in range(5):
                b.check()
        with Shared.lock:
            Shared.barrier.check()
    suite.add(group + ".bystander", "others are answered as quickly as ever", check)
