#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Faults of the world around the server: descriptors run out, peers vanish, crowds come at once.

Faults L11, L20, L26 (the accept queue), L29, L31 and L08 under load. What happens to processes
themselves is in processes_test.py. NEAP_CROWD scales the crowds (1; they fit into 20,000
descriptors up to 3).
"""
import contextlib
import datetime
import json
import os
import resource
import select
import signal
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from neaptest import (  # noqa: E402
    BINARY, CLOSE, INSTRUMENTED, PING, SECONDS, SLACK, TEXT, Bystander, Failed, Raw, Server, Suite,
    close_payload, cpu, fds, frame, over, request, rss, wait_until)

suite = Suite("faults")
# A handshake of TLS costs both sides a thousand times what a connection costs.
SCALE = float(os.environ.get("NEAP_CROWD") or (0.2 if INSTRUMENTED or over.TLS else 1))

APP = r"""
local json = require "neap.json"
local task = require "neap.task"
local websocket = require "neap.websocket"

-- What happened so far; `busy`, `flooding` and `deciding` are what is going on now. Who floods waits
-- at no gate: counted as busy, it would open a gate once too often, and the next would not wait.
local count = { opened = 0, closed = 0, twice = 0, busy = 0, flooding = 0, deciding = 0, decided = 0 }
local gates = { handler = task.channel(1000), upgrade = task.channel(1000) }

local function wait(what, gate)
  count[what] = count[what] + 1
  gates[gate]:receive()
  count[what] = count[what] - 1
end

-- A service whose connections are counted, whatever else its callbacks do.
local function counted(callbacks)
  callbacks.onOpen = function(self)
    self.ends = 0
    count.opened = count.opened + 1
  end
  callbacks.onClose = function(self)
    self.ends = self.ends + 1
    count.closed = count.closed + 1
    if self.ends > 1 then count.twice = count.twice + 1 end
  end
  return callbacks
end

local function route(listener, path, callbacks)
  listener:attach(path, function() return setmetatable({}, { __index = counted(callbacks) }) end)
end

local listener = websocket.listener(arg[1], { host = "127.0.0.1" })
listener:attach("/echo", { onMessage = function(_, _, data) return data end })
route(listener, "/counted", { onMessage = function(_, _, data) return data end })
route(listener, "/waits", {
  onMessage = function(_, _, data)
    wait("busy", "handler")
    return data
  end,
})
route(listener, "/floods", {
  onMessage = function(_, caller)
    count.flooding = count.flooding + 1
    local piece = ("x"):rep(30000)
    while caller:writeMessage(piece) do end
    count.flooding = count.flooding - 1
  end,
})
route(listener, "/closes", { onMessage = function(_, caller) caller:close(4000, "bye") end })
listener:attach("/decides", function()
  wait("deciding", "upgrade")
  count.decided = count.decided + 1
  return setmetatable({}, { __index = counted {} })
end)

local function open_gate(name)
  local waiting = { handler = count.busy, upgrade = count.deciding }
  for _ = 1, waiting[name] or 0 do gates[name]:send(true) end
end

-- "" tells the counts; the name of a gate lets all go on that wait at it, and so does the end of
-- the connection.
listener:attach("/state", {
  onTextMessage = function(_, _, text)
    open_gate(text)
    return count
  end,
  onClose = function()
    open_gate("upgrade")
    open_gate("handler")
  end,
})
"""


def need(condition, what):
    if not condition:
        raise Failed(what)


class State:
    """A connection that asks the app what it has counted."""

    def __init__(self, server):
        self.conn = Raw(server.port, "/state")

    def ask(self, gate=""):
        self.conn.text(gate)
        return json.loads(self.conn.recv_message()[1])

    def wait(self, what, value):
        seen = {}

        def there():
            seen.update(self.ask())
            return seen[what] == value
        try:
            wait_until(there, SECONDS * 2, what)
        except Failed:
            raise Failed("expected %s=%d, have %r" % (what, value, seen)) from None


class Crowd:
    """Many clients of one thread: connect, shake hands over TLS, upgrade, echo, vanish."""

    def __init__(self, port, count, path="/echo"):
        self.port, self.count = port, count
        self.hello = request(path)
        self.socks, self.refused = {}, 0
        self.shaken = set()
        self.poll = select.epoll()

    def start(self):
        """Begins to connect all of them at once; the requests are sent when they are through."""
        for _ in range(self.count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(("127.0.0.1", self.port))
            if over.TLS:
                sock = over.context().wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
            self.socks[sock.fileno()] = sock
            self.poll.register(sock, select.EPOLLOUT)

    def _drop(self, fd):
        self.poll.unregister(fd)
        self.shaken.discard(fd)
        self.socks.pop(fd).close()

    def upgraded(self, seconds):
        """Waits until each has its 101 or was refused by the kernel; returns how many have it."""
        waiting, done = set(self.socks), 0
        deadline = time.monotonic() + seconds
        while waiting:
            need(time.monotonic() < deadline, "%d of %d wait for an answer after %g s" % (
                len(waiting), self.count, seconds))
            for fd, events in self.poll.poll(0.1):
                broken = events & (select.EPOLLERR | select.EPOLLHUP)
                if fd not in self.shaken and not broken:
                    self._begin(fd)
                    continue
                with contextlib.suppress(ssl.SSLWantReadError):     # a ticket came, no data
                    done += self._answer(fd)
                    waiting.discard(fd)
        return done

    def _begin(self, fd):
        """It is connected: the TLS handshake goes on, or the request is sent."""
        try:
            if over.TLS:
                self.socks[fd].do_handshake()
            self.socks[fd].send(self.hello)
            self.shaken.add(fd)
        except ssl.SSLWantReadError:
            pass
        self.poll.modify(fd, select.EPOLLIN)

    def _answer(self, fd):
        try:
            head = self.socks[fd].recv(4096)
        except (ConnectionError, socket.timeout):
            head = b""
        if not head:
            self.refused += 1
            self._drop(fd)
            return False
        need(head.startswith(b"HTTP/1.1 101 ") and head.endswith(b"\r\n\r\n"), "answer %r" % head)
        return True

    def echo(self, seconds):
        """Every one of them sends a message and gets it back."""
        waiting = {}
        for i, (fd, sock) in enumerate(self.socks.items()):
            text = b"client %d" % i
            sock.send(frame(TEXT, text))
            waiting[fd] = bytes([0x81, len(text)]) + text
        deadline = time.monotonic() + seconds
        while waiting:
            need(time.monotonic() < deadline, "%d echoes are missing" % len(waiting))
            for fd, _ in self.poll.poll(0.1):
                got = self.socks[fd].recv(4096)
                need(got == waiting.pop(fd, None), "got %r" % got)

    def vanish(self, reset=True):
        for fd, sock in list(self.socks.items()):
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self._drop(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vanish()
        self.poll.close()


def scaled(count):
    return int(count * SCALE)


# --- L11: out of descriptors ----------------------------------------------------------------------

def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def complaints(server):
    """Times of the log's lines about accepting, in seconds."""
    return [datetime.datetime.fromisoformat(r.time.replace("Z", "+00:00")).timestamp()
            for r in server.records("warn") if "cannot accept connections" in r.message]


@suite.case("L11.no-descriptors", "no spin, a line a second, traffic goes on, accepts resume")
def _():
    with Server(lua=APP, preexec=few_descriptors) as s:
        pid = s.workers()[0]
        start = fds(pid)
        inside = [Raw(s.port, "/echo") for _ in range(10)]
        crowd = [Raw(s.port) for _ in range(100)]
        for client in crowd:
            client.send(request("/echo"))
        wait_until(lambda: len(complaints(s)) >= 1, SECONDS * 2, "the log tells of it")
        before = cpu(pid)
        wait_until(lambda: len(complaints(s)) >= 4, SECONDS * 3, "it is still told after 3 s")
        used, times = cpu(pid) - before, complaints(s)
        need(used <= 0.15 * SLACK, "used %.2f s of processor time in %.1f s at the limit" % (
            used, times[-1] - times[0]))
        gaps = [b - a for a, b in zip(times, times[1:])]
        need(min(gaps) > 0.98, "log lines %r s apart" % gaps)
        for client in inside:
            client.text("still here")
            client.expect(TEXT, "still here")
        # In the order of the queue some are in and the others wait; leave, and all come in.
        began, served = time.monotonic(), 0
        for client in inside:
            client.close()
        for client in crowd:
            need(client.recv_response(SECONDS * 2).status == 101, "refused: %r" % client.response)
            served += 1
            if served == 30:
                took = time.monotonic() - began
            client.close()
        need(took < 1 * SLACK + 1, "accepting resumed after %.1f s" % took)
        need(s.workers() == [pid], "the worker was replaced")
        wait_until(lambda: fds(pid) <= start, what="descriptors are back")
        with Bystander(s.port) as late:
            late.check(1)


@suite.case("L11.at-start", "too few descriptors to open the port at all: said once, exit 1")
def _():
    def none():
        resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7))
    s = Server(lua=APP, preexec=none, wait=False)
    need(s.wait_exit() == 1, "status %d\n%s" % (s.status, s.log()))
    need(s.log(), "nothing was said")


# --- L20: connections that are reset, in every phase ----------------------------------------------

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


# --- L26: what still waits when the server stops --------------------------------------------------

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


# --- L29, L31: crowds -----------------------------------------------------------------------------

@suite.case("L29.backlog", "5,000 connect at once: served, or refused by the kernel")
def _():
    with Server(lua=APP) as s, Bystander(s.port) as bystander, s.unharmed(grow=8 << 20):
        before = fds(s.workers()[0])
        with Crowd(s.port, scaled(5000)) as crowd:
            crowd.start()
            worst, over = [0.0], threading.Event()

            def watch():
                while not over.is_set():
                    worst[0] = max(worst[0], bystander.check(30))
            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                served = crowd.upgraded(SECONDS * 6)
            finally:
                over.set()
                watcher.join()
            need(served + crowd.refused == crowd.count, "some are missing")
            need(served >= crowd.count * 0.8, "only %d of %d were served" % (served, crowd.count))
            need(worst[0] < 0.5 * SLACK * 2, "the bystander waited %.2f s" % worst[0])
            crowd.echo(SECONDS * 4)
            need(fds(s.workers()[0]) == before + served, "descriptors")


@suite.case("L31.storm", "2,000 clients vanish and return at once, three times")
def _():
    with Server(lua=APP, options=["--workers", "2"]) as s:
        pids = s.workers()
        with Crowd(s.port, scaled(2000)) as warm:     # the memory that such a crowd takes
            warm.start()
            warm.upgraded(SECONDS * 6)
        wait_until(lambda: sum(map(fds, pids)) < 100, what="the first crowd has gone")
        with s.unharmed(grow=2 << 20):
            crowd = Crowd(s.port, scaled(2000))
            for n in range(3):
                began = time.monotonic()
                crowd.start()
                need(crowd.upgraded(SECONDS * 4) == crowd.count, "%d refused" % crowd.refused)
                need(time.monotonic() - began < 10 * SLACK, "not back within 10 s")
                crowd.echo(SECONDS * 4)
                crowd.vanish(reset=n % 2 == 0)
            crowd.poll.close()
        need("died" not in s.log() and "killed" not in s.log(), s.log()[-2000:])


# --- L08: a worker dies under load ----------------------------------------------------------------

class Traffic(threading.Thread):
    """Echoes on its connections, one after the other, until told to stop; keeps who was lost."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.clients, self.lost = dict(enumerate(clients)), []
        self.over = threading.Event()
        self.rounds, self.worst = 0, 0.0

    def run(self):
        while not self.over.is_set():
            for number, client in list(self.clients.items()):
                began = time.monotonic()
                try:
                    client.text("round %d" % self.rounds)
                    client.expect(TEXT, "round %d" % self.rounds)
                    self.worst = max(self.worst, time.monotonic() - began)
                except (Failed, OSError):
                    self.lost.append(self.clients.pop(number))
            self.rounds += 1

    def stop(self):
        self.over.set()
        self.join(SECONDS * 4)


@suite.case("L08.under-load", "kill -9 one of three workers, under load: the others' go on")
def _():
    with Server(lua=APP, options=["--workers", "3"]) as s:
        by_worker = {pid: [] for pid in s.workers()}
        have = {pid: fds(pid) for pid in by_worker}
        while min(map(len, by_worker.values())) < 5:
            client = Raw(s.port, "/echo")
            owner = wait_until(lambda: next((p for p in have if fds(p) > have[p]), None),
                               what="a worker has one more descriptor")
            have[owner] += 1
            by_worker[owner].append(client)
        victim = max(by_worker, key=lambda pid: len(by_worker[pid]))
        doomed = set(by_worker[victim])
        traffic = Traffic([c for clients in by_worker.values() for c in clients])
        traffic.start()
        wait_until(lambda: traffic.rounds > 3, what="traffic runs")
        os.kill(victim, signal.SIGSTOP)         # so that some wait for just this worker
        waiting = [Raw(s.port) for _ in range(30)]
        for client in waiting:
            client.send(request("/echo"))
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        for client in waiting:
            need(client.recv_response().status == 101, "a waiting connection was refused")
        took = time.monotonic() - began
        need(took < 1 + 1 * SLACK, "the replacement served after %.1f s" % took)
        rounds = traffic.rounds
        wait_until(lambda: traffic.rounds > rounds + 3, what="traffic goes on")
        traffic.stop()
        need(set(traffic.lost) == doomed, "%d were lost, the worker had %d" % (
            len(traffic.lost), len(doomed)))
        for client in list(traffic.clients.values()) + waiting:
            client.text("bye")
            client.expect(TEXT, "bye")
            client.close()


# --- Everything at once, beside a thousand who do nothing -----------------------------------------

def hostile(port, kind):
    """One connection that does something bad; it is left to the server to end it."""
    if kind == "drip":
        client = Raw(port)
        client.send(request("/echo")[:30])
    elif kind == "slow-reader":
        client = Raw(port, "/floods", rcvbuf=4096, compress=False)
        client.text("go")
    elif kind == "ping-flood":
        client = Raw(port, "/echo", rcvbuf=4096)
        client.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ConnectionError):
            for _ in range(200):
                client.sock.send(frame(PING, b"p" * 125, mask=b"\0\0\0\0") * 500)
    elif kind == "huge-frame":
        client = Raw(port, "/echo")
        client.send(frame(BINARY, b"", length_form=64, length=1 << 40))
    elif kind == "unmasked":
        client = Raw(port, "/echo")
        client.send(frame(TEXT, "x", mask=None))
    else:
        client = Raw(port, "/echo")
        client.send(frame(TEXT, "x", fin=False) * 1100)
    return client


@suite.case("bystanders", "1,000 idle connections notice nothing of what the others do")
def _():
    with Server(lua=APP, options=["--drain", "2"]) as s:
        with Crowd(s.port, scaled(1000)) as crowd, Bystander(s.port) as bystander:
            crowd.start()
            need(crowd.upgraded(SECONDS * 6) == crowd.count, "not all came in")
            before, resident = fds(s.workers()[0]), rss(s.workers()[0])
            bad = []
            for kind in ("drip", "slow-reader", "ping-flood", "huge-frame", "unmasked",
                         "fragments"):
                for _ in range(15):
                    bad.append(hostile(s.port, kind))
                    bystander.check(0.5)
            crowd.echo(SECONDS * 4)
            for client in bad:
                client.reset()
            wait_until(lambda: fds(s.workers()[0]) == before, what="their descriptors are back")
            if not INSTRUMENTED:
                grown = rss(s.workers()[0]) - resident
                need(grown < 40 << 20, "grown by %d KiB" % (grown >> 10))
            crowd.echo(SECONDS * 4)
            bystander.check(0.5)


suite.not_over("tls", {
    "L11.no-descriptors": "its clients wait in the queue, and a handshake over TLS waits for the server",
    "L26.queue": "the same; tls_hostile_test.py has a case of its own",
    "L08.under-load": "the same",
})

if __name__ == "__main__":
    suite.main()
