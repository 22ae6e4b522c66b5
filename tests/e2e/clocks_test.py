#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The clocks of a connection: what starts, feeds, ends and holds each, in both directions. A peer
that takes nothing, sends nothing or is gone is ended; one that lives is not, however slow it is or
we are. (idle.*, beat.*, assembly.* of behaviour_wait have the plain rows; head.* of the hostile
suites the time for a request; here is what they must not do, and what they must do all the same.)
"""
import os
import signal
import threading
import time

from behaviour import (
    CLOSE, CONT, PING, PONG, TEXT, App, Failed, Raw, SECONDS, SLACK, Server, Suite, close_payload, frame,
    request, wait_until)
from neaptest.client import machine_load

suite = Suite("clocks")
# How much longer a busy machine may take to answer a ping, or to send one.
HEART = min(0.7 * SECONDS, max(2, SLACK / 2) * machine_load())
app = App("local heart = %g\n" % HEART + r"""
local function flood(_, caller, data)
  local chunk = ("x"):rep(65536)
  for _ = 1, tonumber(data:match "%d+") do
    assert(caller:writeMessage(chunk))
  end
  return "done"
end
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

-- close() with what waits before it.
local function closes(timeout)
  return { onMessage = function(self, caller, data)
    if data ~= "0" then
      flood(self, caller, data)
    end
    caller:close(1000, "bye", timeout)
  end }
end
recorded("closes", { writeTimeout = 0.8, pingInterval = 0 }, closes(0.3))
recorded("closesoff", { writeTimeout = 0, pingInterval = 0, maxBufferedBytes = 1e7 }, closes(0.3))
recorded("patient", { writeTimeout = 0.6, pingInterval = 0.3, pongTimeout = 0.3 * heart }, closes(-1))
recorded("forever", { writeTimeout = 0.6, pingInterval = 0 }, closes(-1))

-- Upgrade functions.
listener:attach("/refused", { writeTimeout = 0.6 }, function()
  return nil, websocket.UpgradeError { status = 400, body = ("z"):rep(1024 * 1024) }
end)

-- Messages of clients that are gone.
recorded("queue", {}, { onMessage = function(self, _, data)
  if data == "wait" then
    gate(self.id):receive()
  end
end })
local few = websocket.listener(0, { host = "127.0.0.1", maxConnections = 1 })
few:attach("/id/:id", function(request)
  local id = request.params.id
  return {
    onOpen = function() note(id, "open") end,
    onMessage = function(_, _, data)
      note(id, "message " .. data)
      gate(id):receive()
    end,
    onClose = function(_, _, code) note(id, "close " .. code) end,
  }
end)
few:start()
listener:attach("/few", { onMessage = function() return few.port end })
""")


def unread(name, text, **options):
    """A client that asks for much and reads nothing."""
    c = app.open(name, rcvbuf=4096, compress=False, **options)
    c.text(text)
    return c


def drain(c, size, piece=65536, pause=0.02, pings=True):
    """Reads `size` bytes of messages slowly, answers pings at once; returns the rest, unread."""
    got, began = 0, time.monotonic()
    while got < size:
        _, _, op, data = c.recv_frame(SECONDS * 2)
        if op == PING and pings:
            c.send_frame(PONG, data)
        elif op in (TEXT, CONT):
            got += len(data)
            if got % piece < len(data):
                c.arrived(0) if pause == 0 else wait_a_moment(pause)
        else:
            raise Failed("opcode %d after %d bytes: %r" % (op, got, data[:50]))
    return time.monotonic() - began


def wait_a_moment(seconds):
    """What a slow client does: time is what these cases are about."""
    threading.Event().wait(seconds)


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
    with unread("flood", "1000") as c:
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
    with unread("floodoff", "500") as c:
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
    with unread("idletold", "600") as c:
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


# -- closure

@suite.case("closure.ends", "without an answer the connection ends, whatever else is sent", background=True)
def _():
    with app.open("closes") as c:
        c.text("0")
        _, _, op, _ = c.recv_frame()
        if op != CLOSE:
            raise Failed("no close")
        began = time.monotonic()
        try:
            while time.monotonic() - began < SECONDS * 2:
                c.sock.sendall(frame(TEXT, "in vain"))
                wait_a_moment(0.02)
            raise Failed("still open")
        except OSError:
            pass


@suite.case("closure.waits", "its time begins when the close frame has left: a slow reader gets all", background=True)
def _():
    with app.open("closes", rcvbuf=65536, compress=False) as c:
        c.text("40")
        if drain(c, 40 * 65536, pause=0.03) < 1:
            raise Failed("was not slow")
        c.expect(TEXT, "done") if c.buf[:1] == b"\x81" else None
        c.expect_close(1000, "bye", reply=True)
    app.noted(c.id, "close 1000*")


@suite.case("closure.write", "before it has, writeTimeout ends a peer that takes nothing", background=True)
def _():
    with unread("closes", "1") as c, unread("patient", "1") as d:
        del d
        wait_until(lambda: app.seen(c.id)[-1:] in (["close 1006"], ["close 1000 bye"]), SECONDS)


@suite.case("closure.off", "without writeTimeout its time begins at once", background=True)
def _():
    with unread("closesoff", "100") as c:
        wait_until(lambda: app.seen(c.id)[-1:] == ["close 1006"], SECONDS * 2)


@suite.case("closure.never", "-1: a peer that is never heard of again ends with the heartbeat's time", background=True)
def _():
    with app.open("patient") as c:
        c.text("0")
        while c.recv_frame()[2] != CLOSE:
            pass
        wait_until(lambda: app.seen(c.id)[-1:] == ["close 1006"], SECONDS)


@suite.case("closure.patient", "... one that sends anything may take its time", background=True)
def _():
    with app.open("patient") as c:
        c.text("0")
        while c.recv_frame()[2] != CLOSE:
            pass
        for _ in range(16):
            c.send_frame(PING, b"here")
            wait_a_moment(0.1)
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_eof()
    app.noted(c.id, "close 1000*")


@suite.case("closure.forever", "... and without a heartbeat nothing ends it", background=True)
def _():
    with app.open("forever") as c:
        c.text("0")
        while c.recv_frame()[2] != CLOSE:
            pass
        wait_a_moment(1.5)
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_eof()
    app.noted(c.id, "close 1000*")


# -- linger, upgrade

@suite.case("linger.bound", "after a refusal little is read: then a reset", background=True)
def _():
    with Raw(app.port) as c:
        c.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
        c.recv_until(b"nothing is attached")
        sent = 0
        try:
            while sent < 1 << 28:
                c.sock.sendall(b"x" * 65536)
                sent += 65536
        except OSError:
            pass
        if sent > 32 << 20:
            raise Failed("%d bytes were taken" % sent)


WAITING = """
local task, websocket = require "neap.task", require "neap.websocket"
websocket.listener(0, { host = "127.0.0.1" }):attach("/", function()
  task.channel():receive()
end)
"""


@suite.case("upgrade.gone", "a client that talked before it was answered and resets holds no descriptor",
            background=True)
def _():
    with Server(lua=WAITING, args=(), options=("--workers", "1", "--drain", "0.1")) as server:
        before = server.fds()
        some = [Raw(server.port) for _ in range(5)]
        for c in some:
            c.send(request("/") + frame(TEXT, "early" * 2000) * 3)
        wait_until(lambda: server.fds() == before + 5, SECONDS)
        for c in some:
            c.reset()
        wait_until(lambda: server.fds() == before, SECONDS * 2)


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


# -- clients that are gone

@suite.case("gone.reset", "what waited when a connection was reset is not told")
def _():
    with app.open("queue") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        for i in range(20):
            c.text("later %d" % i + "." * 2000)
        app.barrier()
        c.reset()
    app.barrier()
    app.go(c.id)
    ended(c.id, "open", "message wait")


@suite.case("gone.fin", "after an end without a close frame it is")
def _():
    with app.open("queue") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        for i in range(20):
            c.text("later %d" % i)
        c.shutdown()
        app.barrier()
        app.go(c.id)
        ended(c.id, "open", "message wait", *["message later *"] * 20)


@suite.case("gone.counts", "until all is told the connection counts for maxConnections")
def _():
    with Raw(app.port, "/few") as c:
        c.text("port")
        port = int(c.recv_message()[1])
    with Raw(port, "/id/counted") as c:
        c.text("1")
        app.noted("counted", "message 1")
        c.reset()
    app.barrier()
    with Raw(port) as c:
        c.send(request("/id/other"))
        if c.recv_response().status != 503:
            raise Failed("let in while the handler of the one before still runs")
    app.go("counted")
    app.told("counted", "open", "message 1", "close 1006")

    def let_in():
        with Raw(port) as c:
            c.send(request("/id/next"))
            return c.recv_response().status == 101
    wait_until(let_in, SECONDS)


app.add_finals(suite, errors="connection closed")
suite.main()
