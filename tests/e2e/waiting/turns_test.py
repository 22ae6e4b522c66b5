#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One client's work does not keep others waiting: a connection has a share of each turn of the loop.

Work is counted, not timed. The worker is stopped until what both clients sent lies in its sockets;
the bystander's answer then tells how many of the other's messages were handled before it.
"""
import contextlib
import os
import signal
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    BINARY, CLOSE, PING, Failed, Once, Raw, Server, Suite, close_payload, frame, wait_until)
from neaptest.client import RSV1  # noqa: E402
from neaptest.over import pack  # noqa: E402

suite = Suite("turns")
MESSAGE = 1 << 20       # maxMessageSize
LUA = r"""
local task = require "neap.task"
local websocket = require "neap.websocket"

local handled, order, held = 0, {}, task.channel(1)
local services = {
  ["/count"] = { onMessage = function() handled = handled + 1 return tostring(handled) end },
  ["/who/:id"] = function(request)
    return { onMessage = function() order[#order + 1] = request.params.id return "" end }
  end,
  ["/held"] = { onMessage = function() handled = handled + 1 held:receive() return tostring(handled) end },
  ["/ask"] = { onMessage = function(_, _, what)
    if what == "order" then
      return table.concat(order)
    elseif what == "release" then
      held:close()
    elseif what == "forget" then
      handled, order, held = 0, {}, task.channel(1)
    end
    return tostring(handled)
  end },
  -- How many are handled in each turn of the loop, until so many have been.
  ["/turns"] = { onMessage = function(_, _, total)
    local counts, before = {}, handled
    while handled < tonumber(total) do
      task.sleep(0)
      counts[#counts + 1], before = handled - before, handled
    end
    table.sort(counts, function(a, b) return a > b end)
    return table.concat(counts, " ", 1, math.min(#counts, 2))
  end },
}
for _, keeps in ipairs { false, true } do
  local listener = websocket.listener(0, { host = "127.0.0.1", compression = {
    threshold = 1000, serverNoContextTakeover = not keeps, clientNoContextTakeover = not keeps } })
  for path, service in pairs(services) do
    listener:attach(path, service)
  end
end
"""


def empty_blocks(size):
    """A payload of about so many bytes that has no content: blocks which have tables, and an end."""
    bits = []

    def put(value, width):
        bits.extend(value >> i & 1 for i in range(width))
    for _ in range(size * 8 // 91):
        for value, width in ((0, 1), (2, 2), (0, 5), (0, 5), (14, 4)):      # RFC 1951 §3.2.7
            put(value, width)
        for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
            put(symbol in (1, 18), 3)
        put(0, 1)                                   # symbol 0 has one bit
        put(1, 1), put(138 - 11, 7)                 # 255 have none
        put(1, 1), put(117 - 11, 7)
        put(0, 1), put(0, 1), put(1, 1)             # the end has one, a distance; the end
    put(0, 3)                                       # of an empty stored block
    bits += [0] * (-len(bits) % 8)
    return bytes(sum(bit << i for i, bit in enumerate(bits[at:at + 8]))
                 for at in range(0, len(bits), 8))


def state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0]


class App(Once):
    def _start(self):
        self.server = Server(lua=LUA, args=())
        self.worker = self.server.workers()[0]
        self.ask, self.second = [Raw(self.server.port, "/ask") for _ in range(2)]

    def asked(self, what):
        self.ask.text(what)
        return self.ask.recv_message()[1].decode()

    @contextlib.contextmanager
    def stopped(self):
        """What is sent meanwhile comes in one turn of the loop."""
        os.kill(self.worker, signal.SIGSTOP)
        try:
            wait_until(lambda: state(self.worker) == "T")
            yield
        finally:
            os.kill(self.worker, signal.SIGCONT)


app = App()
BOMB = frame(BINARY, pack(bytes(MESSAGE)), rsv=RSV1)
FEW = 50000 // len(BOMB)        # that many lie in a socket that nobody reads yet


def clients(path, count, port=0):
    return [Raw(app.server.ports[port], path, compress=True) for _ in range(count)]


def between(data, count, port=0):
    """How many of those messages are handled before a bystander's, who sent his at the same time."""
    app.get()
    app.asked("forget")
    attacker, = clients("/count", 1, port)
    with attacker:
        with app.stopped():
            app.ask.text("")                # in which order the loop takes them is its business
            attacker.send(data * count)
            app.second.text("")
        found = max(int(c.recv_message()[1]) for c in (app.ask, app.second))
        for n in range(1, count + 1):       # nothing else wakes the loop, and all are answered
            answered(attacker, n)
    return found


def answered(c, n, controls=None):
    got = c.recv_message(controls=controls)[1]
    if got != b"%d" % n:
        raise Failed("answered %r, not %d" % (got, n))


def bounded(ident, what, data, count, most, port=0):
    @suite.case(ident, what)
    def _():
        found = between(data, count, port)
        if found > most:
            raise Failed("%d of %d messages of another were handled first, not %d" % (found, count, most))


for port, kind in enumerate(("", ".takeover")):
    bounded("bombs" + kind, "messages that inflate to a megabyte: one", BOMB, FEW, 1, port)
    bounded("small" + kind, "messages that inflate to 2,000 bytes", frame(
        BINARY, pack(bytes(2000)), rsv=RSV1), 1500, 120, port)
    bounded("blocks" + kind, "messages that inflate to nothing, and take long", frame(
        BINARY, empty_blocks(1000), rsv=RSV1), 45, 32, port)
    bounded("empty" + kind, "messages of no bytes", frame(BINARY, b"\0", rsv=RSV1), 6000, 512, port)
bounded("plain", "small messages that are not compressed", frame(BINARY, b"x" * 20), 1800, 512)


@suite.case("batch", "an ordinary batch of messages is handled in one turn")
def _():
    for size, count in ((20, 512), (120, 300)):
        if between(frame(BINARY, b"x" * size), count) not in (0, count):
            raise Failed("%d messages of %d bytes were cut" % (count, size))


@suite.case("many", "many such clients have one share of a turn together, once each had one")
def _():
    app.get()
    app.asked("forget")
    attackers = clients("/count", 8)
    total = 8 * FEW
    with contextlib.ExitStack() as stack:
        for c in attackers:
            stack.enter_context(c)
        with Raw(app.server.port, "/turns") as watcher:
            with app.stopped():
                for c in attackers:
                    c.send(BOMB * FEW)
                watcher.text(str(total))
            counts = [int(n) for n in watcher.recv_message(seconds=60)[1].split()]
    if len(counts) < 2 or counts[0] > len(attackers) + 1 or counts[1] > 2:
        raise Failed("in the two longest turns %s were handled" % counts)


@suite.case("fair", "clients that wait for a share get theirs in turn")
def _():
    app.get()
    app.asked("forget")
    with contextlib.ExitStack() as stack:
        them = [stack.enter_context(clients("/who/" + name, 1)[0]) for name in "abc"]
        with app.stopped():
            for c in them:
                c.send(BOMB * 20)
        for c in them:
            for _ in range(20):
                c.expect(BINARY, b"")
        order = app.asked("order")
    for at in range(0, 60, 3):
        if sorted(order[at:at + 3]) != list("abc"):
            raise Failed("served in the order %s" % order)


@suite.case("flood", "more than a read brings, without end: all are answered, in order, others as well")
def _():
    app.get()
    app.asked("forget")
    attacker, = clients("/count", 1)
    with attacker:
        count = 12000
        with app.stopped():
            data = memoryview(frame(BINARY, b"x" * 20) * count)
            attacker.send(data[:50000])
        attacker.send(data[50000:])
        asked = [int(app.asked("")) for _ in range(5)]
        for n in range(1, count + 1):
            answered(attacker, n)
        if asked != sorted(asked):
            raise Failed("counted %s" % asked)


@suite.case("pings", "pings between them are answered, in order")
def _():
    app.get()
    app.asked("forget")
    attacker, = clients("/count", 1)
    with attacker:
        with app.stopped():
            attacker.send((BOMB + frame(PING, b"?")) * 20)
        controls = []
        for n in range(1, 21):
            answered(attacker, n, controls)
        attacker.text("")
        answered(attacker, 21, controls)
        if not controls or any(payload != b"?" for _, payload in controls):
            raise Failed("pongs %r" % controls)


@suite.case("close", "what came before a close frame is told, and then the end")
def _():
    app.get()
    app.asked("forget")
    attacker, = clients("/count", 1)
    with attacker:
        with app.stopped():
            attacker.send(BOMB * FEW + frame(CLOSE, close_payload(4001)))
        for n in range(1, FEW + 1):
            answered(attacker, n)
        attacker.expect_close(4001)


@suite.case("fin", "so is what came before the end of the stream")
def _():
    app.get()
    app.asked("forget")
    attacker, = clients("/count", 1)
    with attacker:
        with app.stopped():
            attacker.send(BOMB * FEW)
            attacker.shutdown()
        wait_until(lambda: app.asked("") == str(FEW))


@suite.case("reset", "who waits for a turn and is gone leaves nothing behind")
def _():
    app.get()
    app.asked("forget")
    before = app.server.fds(app.worker)
    for _ in range(5):
        them = clients("/count", 4)
        with app.stopped():
            for c in them:
                c.send(BOMB * FEW)
        them[0].recv_message()
        for c in them:
            c.reset()
    wait_until(lambda: app.server.fds(app.worker) == before)


@suite.case("held", "what waits for a handler counts after it is inflated")
def _():
    app.get()
    app.asked("forget")
    attacker, = clients("/held", 1)
    with attacker:
        attacker.send(BOMB)
        wait_until(lambda: app.asked("") == "1")
        before = app.server.rss(app.worker)
        with app.stopped():
            attacker.send(BOMB * FEW)
        app.asked("")               # its turn came after the attacker's
        grown = app.server.rss(app.worker) - before
        if grown > FEW * MESSAGE / 2:
            raise Failed("%d KiB wait for one handler" % (grown >> 10))
        app.asked("release")
        wait_until(lambda: app.asked("") == str(FEW + 1))


@suite.case("held.pings", "with a message that waits for a handler, more than a read brings is read on")
def _():
    app.get()
    app.asked("forget")
    attacker, = clients("/held", 1)
    with attacker:
        with app.stopped():
            attacker.send(frame(BINARY, b"x") * 2)
        wait_until(lambda: app.asked("") == "1")
        with app.stopped():
            flood = memoryview(frame(PING, b"?" * 125) * 3000 + frame(PING, b"last"))
            attacker.send(flood[:50000])
        attacker.send(flood[50000:])
        while attacker.recv_frame()[3] != b"last":
            pass
        app.asked("release")
        answered(attacker, 1)
        answered(attacker, 2)


@suite.final("end", "the same worker is there, and ends in order")
def _():
    app.get()
    if app.server.workers() != [app.worker]:
        raise Failed("another worker")
    app.ask.close()
    app.second.close()
    if app.server.stop() != 0:
        raise Failed("ended with %r" % app.server.status)


if __name__ == "__main__":
    suite.main()
