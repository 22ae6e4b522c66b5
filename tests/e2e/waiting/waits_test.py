#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Handlers that wait: what comes meanwhile, in which order it is handled, who leaves, and what is read.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    CLOSE, INSTRUMENTED, PING, PONG, SECONDS, TEXT, Failed, Suite, close_payload, frame, wait_until)
from neaptest.behaviour import App  # noqa: E402

suite = Suite("waits")
app = App(r"""
-- Waits for the gate at each message that begins with "wait".
local function waiting(self, _, data)
  if data:find "^wait" then
    gate(self.id):receive()
  end
  return data:sub(1, 20)
end
recorded("waits", { maxFrameSize = 2 ^ 20 }, { onMessage = waiting })
recorded("waitping", {}, { onMessage = waiting, onPing = function(_, _, data) return data end })
recorded("waitopen", {}, {
  onOpen = function(self) gate(self.id):receive(); self.note "went on" end,
  onMessage = echo,
})
recorded("waitclose", {}, {
  onClose = function(self, caller)
    gate(self.id):receive()
    self.note("after close " .. tostring(caller:isOpen()))
  end,
})
recorded("waiterror", {}, {
  onError = function(self) gate(self.id):receive(); self.note "went on" end,
  onMessage = function() error "expected" end,
})
recorded("forever", {}, { onMessage = function() task.channel():receive() end })
recorded("sleeps", {}, { onMessage = function(_, _, data)
  task.sleep(tonumber(data))
  return data
end })
""")


@suite.case("wait.order", "messages that come meanwhile are handled after it, in order")
def _():
    with app.open("waits") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        names = ["m%d" % i for i in range(20)]
        for name in names:
            c.text(name)
        app.barrier()
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        for name in ["wait"] + names:
            c.expect(TEXT, name)
        app.finish(c, "open", "message wait", *["message " + n for n in names])


@suite.case("wait.pings", "pings are answered while a handler waits")
def _():
    with app.open("waits") as c:
        c.send(frame(TEXT, "wait") + frame(PING, "a") + frame(TEXT, "m") + frame(PING, "b"))
        c.expect(PONG, "a")
        c.expect(PONG, "b")
        c.send_frame(PING, "c")
        c.expect(PONG, "c")
        app.go(c.id)
        c.expect(TEXT, "wait")
        c.expect(TEXT, "m")
        app.finish(c, "open", "message wait", "message m")


@suite.case("wait.onping", "with onPing they wait in line, as messages do")
def _():
    with app.open("waitping") as c:
        c.send(frame(TEXT, "wait") + frame(PING, "a") + frame(TEXT, "m"))
        app.noted(c.id, "message wait")
        app.barrier()
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        c.expect(TEXT, "wait")
        c.expect(PONG, "a")
        c.expect(TEXT, "m")
        app.finish(c, "open", "message wait", "ping a", "message m")


@suite.case("wait.others", "other connections go on")
def _():
    with app.open("waits") as c, app.open("waits") as d:
        c.text("wait")
        app.noted(c.id, "message wait")
        d.text("m")
        d.expect(TEXT, "m")
        app.go(c.id)
        c.expect(TEXT, "wait")


@suite.case("wait.open", "messages that come while onOpen waits are handled after it")
def _():
    with app.open("waitopen") as c:
        c.send(frame(TEXT, "a") + frame(PING, "p"))
        c.expect(PONG, "p")
        app.told(c.id, "open")
        app.go(c.id)
        c.expect(TEXT, "a")
        app.finish(c, "open", "went on", "message a")


@suite.case("wait.open.gone", "the client goes while onOpen waits")
def _():
    with app.open("waitopen") as c:
        app.noted(c.id, "open")
        c.reset()
    app.go(c.id)
    app.told(c.id, "open", "went on", "close 1006")


@suite.case("wait.close", "onClose waits: the Caller is of no use, nothing else is told")
def _():
    with app.open("waitclose") as c:
        c.send(frame(CLOSE, close_payload(1000)))
        c.expect_close(1000)
        app.noted(c.id, "close 1000")
        app.go(c.id)
    app.told(c.id, "open", "close 1000", "after close false")


@suite.case("wait.error", "onError waits: onClose comes after it")
def _():
    with app.open("waiterror") as c:
        c.text("x")
        c.expect_close(1011, reply=True)
        app.told(c.id, "open", "message x", "error Error: *expected")
        app.go(c.id)
    app.told(c.id, "open", "message x", "error Error: *expected", "went on", "close 1011*")


@suite.case("wait.gone", "the client closes while a handler waits: onClose comes after it")
def _():
    with app.open("waits") as c:
        c.send(frame(TEXT, "wait") + frame(TEXT, "m") + frame(CLOSE, close_payload(1000, "bye")))
        c.expect_close(1000)
        app.told(c.id, "open", "message wait")
        app.go(c.id)
    app.told(c.id, "open", "message wait", "message m", "close 1000 bye")


for how, act in {"reset": lambda c: c.reset(), "fin": lambda c: c.close()}.items():
    @suite.case("wait.gone." + how, "the same without a close frame")
    def _(how=how, act=act):
        before = app.get().fds()
        with app.open("waits") as c:
            c.send(frame(TEXT, "wait") + frame(TEXT, "m"))
            app.noted(c.id, "message wait")
            act(c)
        app.barrier()
        wait_until(lambda: app.get().fds() <= before, what="the socket is closed at once")
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        queued = ["message m"] if how == "fin" else []     # nobody waits for it after a reset
        app.told(c.id, "open", "message wait", *queued, "close 1006")


@suite.case("wait.forever", "a handler that never ends holds no socket when its client has gone")
def _():
    before = app.get().fds()
    for act in (lambda c: c.reset(), lambda c: c.close(), lambda c: c.send(frame(CLOSE))):
        with app.open("forever", "forever-%d" % id(act)) as c:
            c.text("x")
            app.noted(c.id, "message x")
            act(c)
    wait_until(lambda: app.get().fds() <= before, what="descriptors back")


@suite.case("wait.forever.unread", "also when the client has left more behind than is read")
def _():
    before = app.get().fds()
    with app.open("forever", "forever-unread") as c:
        c.send(frame(TEXT, "x") + frame(TEXT, "y" * 8000) * 12)
        app.noted(c.id, "message x")
        app.barrier()
        c.reset()
    wait_until(lambda: app.get().fds() <= before, what="descriptors back")


@suite.case("wait.much", "more than 64 KiB wait: reading stops, nothing is lost")
def _():
    with app.open("waits") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        big = [b"%04d " % i + b"x" * 8000 for i in range(2000)]     # 16 MB: no socket buffer has that
        data = b"".join(frame(TEXT, m, mask=b"abcd") for m in big)
        sent = fill(c, data)
        if sent > 12 << 20:
            raise Failed("the server took %d bytes while the handler waited" % sent)
        grown = app.get().rss()
        app.go(c.id)
        read_while_sending(c, data[sent:], ["wait"] + [m[:20].decode() for m in big])
        app.finish(c, "open", *["message *"] * 2001)
        if not INSTRUMENTED and app.get().rss() > grown + (8 << 20):
            raise Failed("memory grew by %d" % (app.get().rss() - grown))


def fill(c, data):
    """Sends until nothing more is taken; returns how much was."""
    c.sock.settimeout(0.3)
    sent = 0
    try:
        while sent < len(data):
            sent += c.sock.send(data[sent:sent + 65536])
    except TimeoutError:
        pass
    return sent


def read_while_sending(c, data, messages):
    c.seconds = SECONDS * 4     # of the socket, and so of both directions
    thread = threading.Thread(target=lambda: c.send(data), daemon=True)
    thread.start()
    for message in messages:
        c.expect(TEXT, message, SECONDS * 4)
    thread.join(SECONDS)
    if thread.is_alive():
        raise Failed("not all was read")


@suite.case("wait.much.fin", "what was sent before the end of the stream is handled")
def _():
    with app.open("waits") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        count = 40
        c.send(b"".join(frame(TEXT, b"%04d" % i + b"x" * 4000) for i in range(count)))
        c.shutdown()
        app.barrier()
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        app.told(c.id, "open", "message wait", *["message %04d*" % i for i in range(count)],
                 "close 1006")


@suite.case("wait.sleeps", "many handlers sleep at once, each its own time", background=True)
def _():
    clients = [app.open("sleeps") for _ in range(50)]
    began = time.monotonic()
    for i, c in enumerate(clients):
        c.text("%g" % (0.2 + 0.2 * (i % 3)))
    for i, c in enumerate(clients):
        c.expect(TEXT, "%g" % (0.2 + 0.2 * (i % 3)))
        took = time.monotonic() - began
        if i % 3 == 2 and took < 0.55:
            raise Failed("0.6 s took %.3f s" % took)
        c.close()


app.add_finals(suite, r"expected")

if __name__ == "__main__":
    suite.main()
