#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What happens because time passes, row by row: idle time-outs, heartbeats, messages that are not finished.
What the clocks must not do, and what they must do all the same, is in clocks_test.py.
"""
import os
import sys
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import CLOSE, CONT, PING, PONG, TEXT, Failed, Suite, frame  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("deadlines")
app = App(r"""
recorded("idle", { idleTimeout = 0.3, connectionClosureTimeout = 0.2 }, { onMessage = echo })
recorded("idlecall", { idleTimeout = 0.2 }, {
  onMessage = echo,
  onIdleTimeout = function(_, caller) caller:writeMessage "idle" end,
})
recorded("idleclose", { idleTimeout = 0.2 }, {
  onIdleTimeout = function() return websocket.NORMAL_CLOSURE { reason = "bored" } end,
})
recorded("idlebusy", { idleTimeout = 0.2 }, { onMessage = function(self)
  gate(self.id):receive()
  return "went on"
end })
recorded("beat", { pingInterval = 0.15, pongTimeout = 0.5 }, { onMessage = echo })
recorded("beatfast", { pingInterval = 0.5, pongTimeout = 0.15 }, { onMessage = echo })
recorded("beatoff", { pingInterval = 0.1, pongTimeout = 0 }, { onMessage = echo })
recorded("beatwait", { pingInterval = 0.15, pongTimeout = 0.5 }, { onMessage = function(self, _, data)
  if data == "wait" then
    gate(self.id):receive()
  end
  return data:sub(1, 10)
end })
recorded("hurry", { messageTimeout = 0.6 }, { onMessage = function(_, _, data) return tostring(#data) end })
""")


@suite.case("idle.close", "idle without a callback: 1001", background=True)
def _():
    with app.open("idle") as c:
        c.text("x")
        c.expect(TEXT, "x")
        c.expect_close(1001, reply=True)
    app.told(c.id, "open", "message x", "close 1001*")


@suite.case("idle.silent", "... and the client does not answer the close", background=True)
def _():
    with app.open("idle") as c:
        c.expect_close(1001)
    app.told(c.id, "open", "close 1006")


@suite.case("idle.callback", "onIdleTimeout comes again after each idle period", background=True)
def _():
    with app.open("idlecall") as c:
        for _ in range(3):
            c.expect(TEXT, "idle")
        c.text("x")
        c.recv_until(b"x")
        app.finish(c, "open", "idleTimeout", "idleTimeout", "idleTimeout", "*", *["*"] * extra(c))


def extra(c):
    """How many more notes there are than the five that are asked for."""
    return max(0, len([n for n in app.seen(c.id) if not n.startswith("close")]) - 5)


@suite.case("idle.returns", "onIdleTimeout returns a close frame", background=True)
def _():
    with app.open("idleclose") as c:
        c.expect_close(1000, "bored", reply=True)
    app.told(c.id, "open", "idleTimeout", "close 1000 bored")


@suite.case("idle.busy", "a handler at work is no idle connection", background=True)
def _():
    with app.open("idlebusy") as c:
        c.text("x")
        c.silent(0.7)
        app.go(c.id)
        c.expect(TEXT, "went on")
        c.expect_close(1001, reply=True)
    app.told(c.id, "open", "message x", "close 1001*")


@suite.case("beat.answered", "a client that answers pings stays", background=True)
def _():
    with app.open("beat") as c:
        for _ in range(8):
            _, _, op, data = c.recv_frame()
            if op != PING:
                raise Failed("got opcode %d" % op)
            c.send_frame(PONG, data)
        c.text("x")
        c.expect(TEXT, "x")
        app.finish(c, "open", "message x")


for name in ("beat", "beatfast"):
    @suite.case("beat.dead." + name, "a client that does not is closed (1001), told as 1006",
                background=True)
    def _(name=name):
        began = time.monotonic()
        with app.open(name) as c:
            pings = 0
            while True:
                _, _, op, data = c.recv_frame()
                if op == CLOSE:
                    break
                pings += 1
            if int.from_bytes(data[:2], "big") != 1001:
                raise Failed("closed with %r" % data)
            c.expect_eof()
            if time.monotonic() - began < 0.6:
                raise Failed("closed after %.3f s" % (time.monotonic() - began))
        app.told(c.id, "open", "close 1006")


@suite.case("beat.message", "data counts as life, pings do not", background=True)
def _():
    with app.open("beat") as c:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            if c.recv_frame()[2] == PING:
                c.text("x")
        c.send_frame(PING)
        while True:
            _, _, op, data = c.recv_frame()
            if op == CLOSE:
                break
            if op == PING:
                c.send_frame(PING, "no answer")
        app.noted(c.id, "close 1006")


@suite.case("beat.off", "pongTimeout 0: nobody is judged by the answer", background=True)
def _():
    with app.open("beatoff") as c:
        for _ in range(8):
            if c.recv_frame()[2] != PING:
                raise Failed("no ping")
        c.text("x")
        c.recv_until(b"x")
        app.finish(c, "open", "message x")


@suite.case("beat.unread", "a client that the server does not read is not judged", background=True)
def _():
    with app.open("beatwait") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        for i in range(40):
            c.text("%04d" % i + "x" * 4000)        # past 64 KiB the socket is not read any more
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            if c.arrived(0.1):
                _, _, op, data = c.recv_frame()
                if op != PING:
                    raise Failed("got opcode %d %r" % (op, data))
                c.send_frame(PONG, data)
        app.go(c.id)
        controls = []
        for text in ["wait"] + ["%04dxxxxxx" % i for i in range(40)]:
            if c.recv_message(controls=controls) != (TEXT, text.encode()):
                raise Failed("no " + text)
        app.finish(c, "open", "message wait", *["message *"] * 40)


@suite.case("assembly.slow", "a message that is not finished in time: 1008", background=True)
def _():
    with app.open("hurry") as c:
        c.send(frame(TEXT, "a", fin=False))
        c.expect_close(1008)
    app.told(c.id, "open", "error ConnectionError: message took too long",
             "close 1008 message took too long")


@suite.case("assembly.header", "so is a header that is not finished", background=True)
def _():
    with app.open("hurry") as c:
        c.send(frame(TEXT, "abc")[:1])
        c.expect_close(1008)
    app.told(c.id, "open", "error ConnectionError: message took too long",
             "close 1008 message took too long")


@suite.case("assembly.stream", "messages one behind the other, each quick, go on as long as they like",
            background=True)
def _():
    with app.open("hurry") as c:
        data = frame(TEXT, "x" * 1000, mask=b"abcd")
        until = time.monotonic() + 2
        c.send(data[:500])
        count = 0
        while time.monotonic() < until:
            c.send(data[500:] + data[:500])        # each segment ends inside the next message
            c.expect(TEXT, "1000")
            count += 1
            c.arrived(0.05)
        c.send(data[500:])
        c.expect(TEXT, "1000")
        app.finish(c, "open", *["message x*"] * (count + 1))


@suite.case("assembly.controls", "pings in between do not save it", background=True)
def _():
    with app.open("hurry") as c:
        c.send(frame(TEXT, "a", fin=False))
        for _ in range(200):
            c.send(frame(CONT, "b", fin=False) + frame(PING, "p"))
            if c.recv_frame()[2] == CLOSE:
                return
            c.arrived(0.05)
        raise Failed("still open")


app.add_finals(suite, r"expected")

if __name__ == "__main__":
    suite.main()
