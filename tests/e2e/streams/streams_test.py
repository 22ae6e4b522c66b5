#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Streams on the real server: what goes on while one is sent, as many as a client likes, and stopping.
"""
import os
import sys
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import PING, PONG, SECONDS, TEXT, Failed, Raw, Server, Suite, frame  # noqa: E402
from neaptest.behaviour import App  # noqa: E402
from watched import ENDS, MOST, WATCHED, asked, none_left  # noqa: E402

suite = Suite("streams")
app = App(WATCHED + r"""
-- "gate": a stream of what comes through the gate, three times; anything else is echoed.
recorded("gated", {}, { onMessage = function(self, _, data)
  if data ~= "gate" then
    return data
  end
  local i = 0
  return function()
    i = i + 1
    if i <= 3 then
      gate(self.id):receive()
      return "value " .. i
    end
  end
end })

recorded("counts", {}, { onMessage = function(_, _, data)
  local i, n = 0, tonumber(data)
  if not n then
    return data
  end
  return function()
    i = i + 1
    return i <= n and i or nil
  end
end })

-- Notes each stream that begins; one that is told to end does.
local ends = {}
recorded("many", {}, { onMessage = function(self, _, data)
  if data == "plain" then
    return "plain"
  end
  ends[self.id] = ends[self.id] or task.channel(1)
  return watched(function()
    ends[self.id]:receive()
    return nil
  end)
end })
listener:attach("/end", { onTextMessage = function(_, _, id)
  ends[id]:send(true)
  return "ended"
end })

-- All of them take from one channel.
local feed = task.channel(100)
recorded("feed", {}, { onMessage = function()
  return function() return feed:receive() end
end })
listener:attach("/feeds", { onTextMessage = function(_, _, data)
  feed:send(data)
  return "fed"
end })

-- Within the callbacks, and to others.
recorded("own", {}, { onMessage = function(self, caller)
  local i = 0
  return function()
    i = i + 1
    if i == 3 then
      caller:close(4001, "by itself")
    end
    return i
  end
end })
local twice = {}
recorded("twice", {}, { onMessage = function(self)
  twice[self.id] = twice[self.id] or coroutine.create(function()
    coroutine.yield "once"
    gate(self.id):receive()
  end)
  return twice[self.id]
end })
""")


@suite.case("goes-on", "messages are handled while a stream waits; values come as they are made")
def _():
    with app.open("gated") as c:
        c.send(frame(TEXT, "gate") + frame(TEXT, "a") + frame(PING, "p"))
        c.expect(TEXT, "a")
        c.expect(PONG, "p")
        for i in (1, 2, 3):
            app.go(c.id)
            c.expect(TEXT, "value %d" % i)
            c.text("after %d" % i)
            c.expect(TEXT, "after %d" % i)
        app.finish(c)
    app.told(c.id, "open", "message gate", "message a", *["message after *"] * 3, "close 1000")


@suite.case("batch", "short streams that do not wait are sent before the next message's answer")
def _():
    with app.open("counts") as c:
        c.send(frame(TEXT, "3") + frame(TEXT, "a") + frame(TEXT, "0") + frame(TEXT, "1")
               + frame(TEXT, "b"))
        for text in ("1", "2", "3", "a", "1", "b"):
            c.expect(TEXT, text)
        app.finish(c)


@suite.case("long", "a stream of many values arrives whole and in order")
def _():
    with app.open("counts") as c:
        c.text("20000")
        for i in range(20000):
            c.expect(TEXT, str(i + 1))
        app.finish(c)
    none_left(app)


@suite.case("two", "two streams of a connection alternate")
def _():
    with app.open("counts") as c:
        c.send(frame(TEXT, "500") * 2)
        got = [int(c.recv_message()[1]) for _ in range(1000)]
        app.finish(c)
    if sorted(got) != sorted([*range(1, 501)] * 2):
        raise Failed("values are lost or doubled")
    if got[:500] == [*range(1, 501)]:
        raise Failed("the second had to wait for the first's end")


@suite.case("twice", "one coroutine as two streams: the second fails, since the first waits in it")
def _():
    with app.open("twice") as c:
        c.text("a")
        c.expect(TEXT, "once")
        c.text("b")
        c.expect_close(1011, "streaming failed", reply=True)
    app.told(c.id, "open", "message a", "message b", "error Error: cannot resume*", "close 1011*")


@suite.case("own", "a stream that closes its connection ends with it")
def _():
    with app.open("own") as c:
        c.text("x")
        c.expect(TEXT, "1")
        c.expect(TEXT, "2")
        c.expect_close(4001, "by itself", reply=True)
    app.noted(c.id, "close 4001*")


@suite.case("feed", "a stream whose client is gone takes no value away from others")
def _():
    with app.open("feed") as a, app.open("feed") as b:
        for c in (a, b):
            c.text("x")
            app.noted(c.id, "message x")
        a.reset()
        app.noted(a.id, "close 1006")
        for i in range(5):
            asked(app, "feeds", "value %d" % i)
            b.expect(TEXT, "value %d" % i)
        app.finish(b)


@suite.case("most", "past %d streams the next message waits until one ends; pings do not" % MOST)
def _():
    with app.open("many") as c:
        c.send(frame(TEXT, "x") * (MOST + 1) + frame(TEXT, "plain"))
        c.send_frame(PING, "p")
        c.expect(PONG, "p")
        app.told(c.id, "open", *["message x"] * MOST)
        c.silent()
        asked(app, "end", c.id)
        app.told(c.id, "open", *["message x"] * (MOST + 1))     # as many as before
        c.silent()
        asked(app, "end", c.id)
        c.expect(TEXT, "plain")
        app.finish(c)
    none_left(app)


@suite.case("most.close", "a client that has as many closes: all are stopped, onClose comes")
def _():
    for act, closed in (ENDS["close"], ENDS["reset"], ENDS["fin"]):
        with app.open("many") as c:
            c.send(frame(TEXT, "x") * (MOST + 3))
            app.told(c.id, "open", *["message x"] * MOST)
            act(c)
            app.noted(c.id, closed)
        none_left(app)


for how, act in {"reset": lambda c: c.reset(), "fin": lambda c: c.close()}.items():
    @suite.case("most.unread." + how, "the same when it leaves behind more than is read")
    def _(act=act):
        with app.open("many") as c:
            c.send(frame(TEXT, "x") * MOST + frame(TEXT, "x" * 8000) * 12)
            app.told(c.id, "open", *["message x"] * MOST)
            app.barrier()
            act(c)
            app.noted(c.id, "close 1006", SECONDS * 2)
        begun = app.seen(c.id).count("message x")
        if begun != MOST:
            raise Failed("%d streams" % begun)


def stops(how, script="", status=0):
    text = r"""
local task = require "neap.task"
local websocket = require "neap.websocket"
local listener = websocket.listener(0, { host = "127.0.0.1" })
listener:attach("/", { onOpen = function() return function() task.sleep(3600) end end,
  onClose = function(_, _, code) print("closed " .. code) io.stdout:flush() end })
""" + script
    with Server(lua=text, options=("--workers", "1"), args=()) as s:
        open_ = [Raw(s.port, "/") for _ in range(20)]
        began = time.monotonic()
        how(s)
        for c in open_:
            c.expect_close(1001, reply=True, eof=False)
        if s.wait_exit(SECONDS * 3) != status:
            raise Failed("ended with %r" % s.status)
        if time.monotonic() - began > 8:
            raise Failed("the streams held up the end for %.1f s" % (time.monotonic() - began))
        if s.stdout().count("closed 1001") != 20:
            raise Failed("told %r" % s.stdout())
        if "error" in s.log():
            raise Failed(s.log())


@suite.case("drain", "SIGTERM: streams are cut off with their connections, nothing waits for them")
def _():
    stops(lambda s: s.signal(15))


@suite.case("drain.listener", "gracefulStop does not wait for streams")
def _():
    stops(lambda s: None, "task.after(0.5, function() listener:gracefulStop(30) end)")


@suite.case("drain.fed", "an endless stream to a client that does not read is cut off as well")
def _():
    text = r"""
local websocket = require "neap.websocket"
websocket.listener(0, { host = "127.0.0.1" }):attach("/", {
  onOpen = function() return function() return ("x"):rep(10000) end end })
"""
    with Server(lua=text, options=("--workers", "1", "--drain", "1"), args=()) as s:
        c = Raw(s.port, "/", rcvbuf=4096)
        s.signal(15)
        if s.wait_exit(SECONDS * 3) != 0:
            raise Failed("ended with %r" % s.status)
        c.close()


app.add_finals(suite, r"expected|cannot resume")

if __name__ == "__main__":
    suite.main()
