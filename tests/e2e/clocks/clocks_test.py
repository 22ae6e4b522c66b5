#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The clocks of a connection: what starts, feeds, ends and holds each, in both directions. A peer
that takes nothing, sends nothing or is gone is ended; one that lives is not, however slow it is or
we are. (deadlines_test.py has the plain rows; head.* of the hostile suites the time for a request;
here is what they must not do, and what they must do all the same.)
"""
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    CLOSE, PING, PONG, SECONDS, TEXT, Failed, Raw, Server, Suite, close_payload, frame, request, wait_until)
from neaptest.behaviour import App  # noqa: E402
from clocked import FLOOD, HEART, drain, unread, wait_a_moment  # noqa: E402

suite = Suite("clocks")
app = App(FLOOD + r"""
local quick = { pingInterval = 0.4, pongTimeout = 0.8 * heart, idleTimeout = 5, maxBufferedBytes = 1e6 }
local function with(config)
  for k, v in pairs(quick) do
    if config[k] == nil then config[k] = v end
  end
  return config
end

-- Members that a handler writes to, one after the other.
local members = {}
recorded("member", with { writeTimeout = 0.6 }, {
  onOpen = function(self, caller) members[self.id] = caller end,
  onMessage = function(self, _, data)
    local text = ("m"):rep(tonumber(data) or 1)
    for id, caller in pairs(members) do
      local ok = caller:writeMessage(text)
      self.note((ok and "wrote " or "failed ") .. id)
    end
  end,
  onClose = function(self) members[self.id] = nil end,
})
recorded("flood", with { writeTimeout = 0.6 }, { onMessage = flood })
recorded("floodoff", { writeTimeout = 0 }, { onMessage = flood })
recorded("living", with { writeTimeout = 2 }, {
  onMessage = function(_, _, data) return ("y"):rep(tonumber(data)) end,
})
recorded("echoes", with { writeTimeout = 0.6, maxMessageSize = 4e6 }, { onMessage = echo })
recorded("idle", { idleTimeout = 0.6, pingInterval = 0.1, pongTimeout = 5 }, { onMessage = echo })
recorded("idletold", { idleTimeout = 0.4, pingInterval = 0, writeTimeout = 5 }, {
  onIdleTimeout = function(self) self.note "was idle" end,
  onMessage = flood,
})
recorded("drips", { pingInterval = 0.2, pongTimeout = 0.6 * heart }, { onMessage = echo })
recorded("hurry", { messageTimeout = 0.3 * heart, pingInterval = 0 }, { onMessage = function(self, _, data)
  if data == "wait" then
    gate(self.id):receive()
  end
  return tostring(#data)
end })

-- Upgrade functions.
listener:attach("/refused", { writeTimeout = 0.6 }, function()
  return nil, websocket.UpgradeError { status = 400, body = ("z"):rep(1024 * 1024) }
end)
""")


def ended(ident, *notes, seconds=None):
    app.told(ident, *notes, "close 1006", seconds=seconds or SECONDS)


def logged(what):
    wait_until(lambda: [r for r in app.server.records("info") if what in r.message], SECONDS,
               "a line with %r" % what)


# -- write

@suite.case("write.members", "one member that does not read does not hold up the others for ever", background=True)
def _():
    ids = ["member-%s" % n for n in "abc"]
    first, second = (app.open("member", i, compress=False) for i in ids[:2])
    with first, second, app.open("member", ids[2], rcvbuf=4096, compress=False):
        readers = [threading.Thread(target=c.recv_all, args=(SECONDS * 8,), daemon=True) for c in (first, second)]
        for reader in readers:
            reader.start()
        for _ in range(12):
            first.text("900000")
        ended(ids[2], "open", seconds=SECONDS * 4)
        wait_until(lambda: sum(n == "message 900000" for n in app.seen(ids[0])) == 12, SECONDS * 2)
        logged("took no data for 0.6 s (writeTimeout)")
        if "failed " + ids[2] not in app.seen(ids[0]):
            raise Failed("the write to the deaf one never failed: %r" % app.seen(ids[0]))
        for c, reader in zip((first, second), readers):
            c.shutdown()
            reader.join()


@suite.case("write.flood", "a client that asks and does not read is ended", background=True)
def _():
    with unread(app, "flood", "1000") as c:
        wait_until(lambda: app.seen(c.id)[-1:] == ["close 1006"], SECONDS)


@suite.case("write.sends", "so is one that goes on sending", background=True)
def _():
    with app.open("echoes", rcvbuf=4096, compress=False) as c:
        def send():
            data = frame(TEXT, "e" * 60000)
            try:
                while True:
                    c.sock.sendall(data)
            except OSError:
                pass
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        wait_until(lambda: app.seen(c.id)[-1:] == ["close 1006"], SECONDS * 2)
        sender.join(SECONDS)
        if sender.is_alive():
            raise Failed("still connected")


@suite.case("write.slow", "a client that reads slowly and answers pings gets its 12 MB", background=True)
def _():
    with app.open("living", compress=False) as c:
        c.text("12000000")
        took = drain(c, 12000000)
        if took < 1:
            raise Failed("was not slow: %.1f s" % took)
        c.text("3")
        drain(c, 3)
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000, skip=True)


@suite.case("write.slower", "also one that takes little at a time, for longer than writeTimeout", background=True)
def _():
    with app.open("flood", rcvbuf=4096, compress=False) as c:
        c.text("80")
        if drain(c, 80 * 65536, pause=0.03) < 1.5:
            raise Failed("was not slow")


@suite.case("write.off", "writeTimeout 0: nobody is judged", background=True)
def _():
    with unread(app, "floodoff", "500") as c:
        wait_a_moment(1.5)
        if drain(c, 500 * 65536, pause=0) and "close 1006" in app.seen(c.id):
            raise Failed("ended")


@suite.case("write.reply", "the answer to a refused upgrade: ended when it is not taken", background=True)
def _():
    with Raw(app.port, rcvbuf=4096, compress=False) as c:
        c.send(request("/refused"))
        c.recv_until(b"zzzz")
        wait_a_moment(2)
        got = len(c.recv_all(SECONDS * 2))
        if got >= 1 << 20 or not c.eof:
            raise Failed("%d bytes, %s" % (got, c.eof))


@suite.case("write.reply.slow", "... and not cut when it is taken slowly", background=True)
def _():
    with Raw(app.port, compress=False) as c:
        c.send(request("/refused"))
        c.recv_until(b"\r\n\r\n")
        total = len(c.buf)
        while total < 1 << 20:
            c.buf.clear()
            if not c._fill(time.monotonic() + SECONDS):
                raise Failed("cut after %d bytes" % total)
            total += len(c.buf)
            wait_a_moment(0.003)


# -- idle

@suite.case("idle.pongs", "answers to our pings are not activity", background=True)
def _():
    with app.open("idle") as c:
        began = time.monotonic()
        while True:
            _, _, op, data = c.recv_frame()
            if op == CLOSE:
                break
            c.send_frame(PONG, data)
            if time.monotonic() - began > SECONDS:
                raise Failed("still open")


@suite.case("idle.pings", "pings of the client are", background=True)
def _():
    with app.open("idle") as c:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            c.send_frame(PING, b"p")
            while c.arrived(0.05):
                _, _, op, data = c.recv_frame()
                if op == CLOSE:
                    raise Failed("closed")
                if op == PING:
                    c.send_frame(PONG, data)


@suite.case("idle.held", "a client whose answers wait unread is not idle", background=True)
def _():
    with unread(app, "idletold", "600") as c:
        app.noted(c.id, "message *")
        wait_a_moment(1.2)
        if "was idle" in app.seen(c.id):
            raise Failed("told as idle")
        drain(c, 600 * 65536, pause=0)
        app.noted(c.id, "was idle", SECONDS * 2)


# -- pong

@suite.case("pong.data", "bytes of a message extend the time for a pong", background=True)
def _():
    with app.open("drips", compress=False) as c:
        data = frame(TEXT, "d" * 20)
        for i in range(len(data)):
            c.send(data[i:i + 1])
            wait_a_moment(0.1)
        while True:
            _, _, op, got = c.recv_frame()
            if op == TEXT and got == b"d" * 20:
                break
            if op != PING:
                raise Failed("opcode %d %r" % (op, got))


@suite.case("pong.none", "... and when they end, it is due", background=True)
def _():
    with app.open("drips", compress=False) as c:
        data = frame(TEXT, "d" * 2000)
        c.send(data[:500])
        ended(c.id, "open")


# -- message

@suite.case("message.held", "a message that we do not read is not late", background=True)
def _():
    with app.open("hurry", compress=False) as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        last = frame(TEXT, "l" * 60000)
        c.send(b"".join(frame(TEXT, "m" * 9000) for _ in range(20)) + last[:30000])
        wait_a_moment(0.3 * HEART + 0.7)
        app.go(c.id)
        c.expect(TEXT, "4")
        for _ in range(20):
            c.expect(TEXT, "9000")
        c.send(last[30000:])
        c.expect(TEXT, "60000")


# -- our own time

STOPPED = """
local websocket = require "neap.websocket"
local listener = websocket.listener(0, { host = "127.0.0.1" })
local echo = { onMessage = function(_, _, data) return data end }
listener:attach("/echo", { pingInterval = 0 }, echo)
listener:attach("/beat", { pingInterval = 0.1, pongTimeout = 1 }, echo)
listener:attach("/late", { messageTimeout = 1 }, echo)
listener:attach("/flood", { onMessage = function(_, caller)
  local chunk = ("x"):rep(65536)
  for _ = 1, 200 do
    assert(caller:writeMessage(chunk))
  end
end })
"""


@suite.case("stopped", "time in which the worker does not run judges nobody", background=True)
def _():
    with Server(lua=STOPPED, args=(), options=("--workers", "1", "--drain", "0.1")) as server:
        worker = server.workers()[0]
        with Raw(server.port, "/echo") as other, Raw(server.port, "/beat", compress=False) as beat, \
                Raw(server.port, "/late", compress=False) as late, \
                Raw(server.port, "/flood", rcvbuf=4096, compress=False) as slow:
            if beat.recv_frame()[2] != PING:
                raise Failed("no ping")
            slow.text("output waits")
            data = frame(TEXT, "l" * 100)
            late.send(data[:50])
            other.text("all is read")
            other.expect(TEXT, "all is read")
            os.kill(worker, signal.SIGSTOP)
            try:
                wait_a_moment(3)
                beat.send(frame(PONG) + frame(TEXT, "alive"))
                late.send(data[50:])
            finally:
                os.kill(worker, signal.SIGCONT)
            late.expect(TEXT, "l" * 100)
            wait_a_moment(0.5)      # for a clock that has run wild
            drain(slow, 200 * 65536, pause=0)
            while True:
                _, _, op, got = beat.recv_frame()
                if op == TEXT:
                    break
                if op != PING:
                    raise Failed("opcode %d %r" % (op, got))


app.add_finals(suite, errors="connection closed")

if __name__ == "__main__":
    suite.main()
