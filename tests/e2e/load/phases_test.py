#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Connections in every phase that are reset (fault L20), or find the server stopping (L26, the accept queue).
"""
import os
import signal
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    BINARY, CLOSE, SECONDS, TEXT, Bystander, Raw, Server, Suite, close_payload, frame, need, over, request, wait_until)
from counted import APP, State  # noqa: E402

suite = Suite("phases")
RESETS = 20
PHASES = {}


def phase(name, path=None):
    """A function that brings a connection into a phase; with `path` it is upgraded before."""
    def take(fn):
        PHASES[name] = (fn, path)
        return fn
    return take


@phase("before-a-byte")
def _(_client, _state, _n):
    pass


@phase("in-the-head")
def _(client, _state, n):
    client.send(request("/counted")[:20 + n])


@phase("upgrade-waits")
def _(client, state, n):
    client.send(request("/decides"))
    state.wait("deciding", n)


@phase("upgrade-waits-with-input")
def _(client, state, n):
    client.send(request("/decides") + frame(TEXT, "early") * 100)
    state.wait("deciding", n)


@phase("idle", "/counted")
def _(_client, _state, _n):
    pass


@phase("in-a-frame", "/counted")
def _(client, _state, n):
    client.send(frame(BINARY, b"x" * 1000)[:1 + n * 20])


@phase("in-a-message", "/counted")
def _(client, _state, n):
    client.send(frame(TEXT, "part of it", fin=False) * n)


@phase("handler-waits", "/waits")
def _(client, state, n):
    client.text("wait")
    state.wait("busy", n)


@phase("handler-waits-with-input", "/waits")
def _(client, state, n):
    client.send(frame(TEXT, "y" * 10000) * 20)
    state.wait("busy", n)


@phase("we-write", "/floods")
def _(client, state, n):
    client.text("go")
    client.recv_until(lambda data: len(data) > 1000)
    state.wait("flooding", n)


@phase("after-our-close", "/closes")
def _(client, _state, _n):
    client.text("close")
    client.expect_close(4000, "bye", eof=False)


@phase("after-its-close", "/counted")
def _(client, _state, _n):
    client.send_frame(CLOSE, close_payload(1000))


@phase("after-its-close-in-a-handler", "/waits")
def _(client, state, n):
    client.text("wait")
    state.wait("busy", n)
    client.send_frame(CLOSE, close_payload(1000))


class Shared:
    """The server of all phases, and the connection that asks it."""
    server = state = None


def shared():
    if Shared.server is None:
        Shared.server = Server(lua=APP)
        Shared.state = State(Shared.server)
    return Shared.server, Shared.state


def reset_all(name):
    """One round: all of them in the phase, then reset, then told and gone."""
    s, state = shared()
    fn, path = PHASES[name]
    clients = []
    for n in range(1, RESETS + 1):
        # What floods would be packed to next to nothing, and never wait.
        clients.append(Raw(s.port, path, compress=False if path == "/floods" else None))
        fn(clients[-1], state, n)
    for client in clients:
        client.reset()
    state.ask("upgrade")

    def over():         # what arrived behind the first message is handled, too
        state.ask("handler")
        c = state.ask()
        return c["opened"] == c["closed"] and not (c["busy"] or c["flooding"] or c["deciding"])
    wait_until(over, SECONDS * 2, "every connection's onClose")


def reset_in(name):
    s, state = shared()
    path = PHASES[name][1]
    reset_all(name)     # whatever memory a round takes is taken now
    before = state.ask()
    # Of the 20 MB that wait to be written to those who read nothing, malloc keeps some.
    grow = 8 << 20 if name == "we-write" else 1 << 20
    with s.unharmed(grow), Bystander(s.port, "/echo") as bystander:
        reset_all(name)
        bystander.check(1)
    after = state.ask()
    need(after["twice"] == 0, "onClose came twice")
    opened = after["opened"] - before["opened"]
    need(opened == (RESETS if path else 0), "%d were opened" % opened)
    if name.startswith("upgrade"):
        need(after["decided"] - before["decided"] == RESETS, "upgrade functions did not return")


for NAME in PHASES:
    suite.add("L20." + NAME, "%d connections are reset in this phase; closed once each" % RESETS,
              lambda name=NAME: reset_in(name))


@suite.final("L20.end", "the server of the phases ends in order, and its log has no error")
def _():
    if Shared.server is None:
        return
    Shared.state.conn.close()
    need(Shared.server.stop() == 0, "status %r" % Shared.server.status)
    bad = Shared.server.records("error") + Shared.server.records("warn")
    need(not bad, "in the log: %r" % bad[:5])


# --- L26: what still waits when the server stops

@suite.case("L26.queue", "what waits to be accepted gets 503, later ones are refused")
def _():
    s = Server(lua=APP, options=["--drain", "30"])
    last = Raw(s.port, "/echo")         # until it answers the close frame the server does not end
    pid = s.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    asked = [Raw(s.port) for _ in range(20)]
    silent = [Raw(s.port) for _ in range(5)]
    begun = Raw(s.port)
    begun.send(request("/echo")[:40])
    silent.append(begun)
    for client in asked:
        client.send(request("/echo"))
    s.signal(signal.SIGTERM)
    s.wait_log("stopping")
    os.kill(pid, signal.SIGCONT)
    for client in asked + silent:
        response = client.recv_response()
        # Some may have been accepted just before the worker heard of the end.
        need(response.status in ((503, 101) if client in asked else (503,)), repr(response))
        if response.status == 101:
            client.expect_close(1001, reply=True)
        client.close()

    def refused():
        try:
            Raw(s.port).close()
        except ConnectionRefusedError:
            return True
    wait_until(refused, SECONDS, "new connections are refused")
    last.expect_close(1001, "server shutting down", reply=True)
    need(s.wait_exit() == 0, "status %d\n%s" % (s.status, s.log()))


@suite.case("L26.deciding", "an upgrade function that waits may finish; then 1001")
def _():
    s = Server(lua=APP, options=["--drain", "30"])
    state = State(s)
    late = Raw(s.port)
    late.send(request("/decides"))
    state.wait("deciding", 1)
    s.signal(signal.SIGTERM)
    state.conn.expect_close(1001, reply=True)       # its onClose lets the upgrade function go on
    need(late.recv_response().status == 101, "refused: %r" % late.response)
    late.expect_close(1001, "server shutting down", reply=True)
    need(s.wait_exit() == 0, "status %d\n%s" % (s.status, s.log()))


@suite.case("L26.no-time", "--drain 0: everybody is told 1001 nevertheless, status 0")
def _():
    s = Server(lua=APP, options=["--drain", "0"])
    idle = [Raw(s.port, "/echo") for _ in range(200)]
    begun = Raw(s.port)
    begun.send(request("/echo")[:40])
    with Bystander(s.port) as bystander:
        bystander.check(1)          # the worker has read what came before
    s.signal(signal.SIGTERM)
    for client in idle:
        client.expect_close(1001, "server shutting down")
    need(begun.recv_response().status == 503, repr(begun.response))
    need(s.wait_exit() == 0, "status %d\n%s" % (s.status, s.log()))


suite.not_over("tls", {
    "L26.queue": "its clients wait in the queue, and a handshake over TLS waits for the server;"
                 " tls/hostile_test.py has a case of its own",
})


if __name__ == "__main__":
    suite.main()
