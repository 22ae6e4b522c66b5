# SPDX-License-Identifier: MIT
"""What the tests of crowds and of connections in every phase share: an app that counts, and many clients.

NEAP_CROWD scales the crowds (1; they fit into 20,000 descriptors up to 3).
"""
import contextlib
import json
import os
import select
import socket
import ssl
import time

from neaptest import INSTRUMENTED, SECONDS, TEXT, Failed, Raw, frame, need, over, request, wait_until

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
