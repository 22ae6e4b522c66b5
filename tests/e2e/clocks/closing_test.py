#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The clocks at the end of a connection: how long a close may take, what is read after a refusal, and what
of clients that have gone is still told.
"""
import os
import sys
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    CLOSE, PING, SECONDS, TEXT, Failed, Raw, Server, Suite, close_payload, frame, request, wait_until)
from neaptest.behaviour import App  # noqa: E402
from clocked import FLOOD, drain, unread, wait_a_moment  # noqa: E402

suite = Suite("closing")
app = App(FLOOD + r"""
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
recorded("atonce", {}, closes(0))

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


def ended(ident, *notes, seconds=None):
    app.told(ident, *notes, "close 1006", seconds=seconds or SECONDS)


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
    with unread(app, "closes", "1") as c, unread(app, "patient", "1") as d:
        del d
        wait_until(lambda: app.seen(c.id)[-1:] in (["close 1006"], ["close 1000 bye"]), SECONDS)


@suite.case("closure.off", "without writeTimeout its time begins at once", background=True)
def _():
    with unread(app, "closesoff", "100") as c:
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


@suite.case("closure.silent", "timeout 0: a client that answers, and keeps its side open, is let go", background=True)
def _():
    with app.open("atonce") as c:
        c.text("0")
        c.expect_close(1000, "bye", eof=False)
        c.send_frame(CLOSE, close_payload(1000))
        app.noted(c.id, "close 1000*")
        wait_until(lambda: gone(c), 5 * SECONDS)


def gone(c):
    """Whether the server has no socket for it any more: what is sent is answered by a reset."""
    try:
        c.sock.sendall(b"x")
    except OSError:
        return True
    return False


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


@suite.case("gone.many", "... also when that is more than a turn's share")
def _():
    with app.open("queue") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        for i in range(700):
            c.text("%d" % i)
        c.shutdown()
        app.barrier()
        app.go(c.id)
        ended(c.id, "open", "message wait", *["message %d" % i for i in range(700)])


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

if __name__ == "__main__":
    suite.main()
