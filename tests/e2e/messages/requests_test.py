#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Requests side by side: dispatcherStreamId, on the wire.
"""
import json
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import BINARY, CLOSE, PING, PONG, TEXT, Failed, Raw, Suite, close_payload, frame  # noqa: E402
from neaptest.behaviour import App  # noqa: E402
from served import SERVED, ask, refused  # noqa: E402

suite = Suite("requests")
app = App(SERVED + r"""
local SIDE = { dispatcherKey = "event", dispatcherStreamId = "id", connectionClosureTimeout = 1 }
local function waits(self, _, request)
  self.note("began " .. request.n)
  gate(self.id .. request.n):receive()
  self.note("ended " .. request.n)
  return { n = request.n }
end
served("side", SIDE, {
  onWait = waits,
  onGo = function(_, _, request) return { n = request.n } end,
  onLogin = function(self, _, request) self.user = request.n return { n = request.n } end,
  onShow = function(self) return { user = self.user } end,
  onString = function() return "text" end,
  onList = function() return { 1, 2 } end,
  onOwned = function() return { id = "mine" } end,
  onBye = function() return websocket.CloseFrame { status = 4002, reason = "bye" } end,
  onLeave = function(self, caller, request)
    gate(self.id .. request.n):receive()
    result(self, "closed", caller:close(4003, "leaving"))
  end,
  onFail = function(self, _, request)
    gate(self.id .. request.n):receive()
    error "expected"
  end,
  onLuck = function() return nil, "expected: no luck" end,
  onPlace = websocket.bind(Point, named "place"),
  onPlaceError = function(_, _, err) return { problem = err.kind } end,
  onStrict = websocket.bind(Point, named "strict"),
  onCount = function(self, _, request)
    local n = 0
    return function()
      n = n + 1
      gate(self.id .. request.id):receive()
      return n <= request.n and (n == 2 and "text" or n == 3 and { id = "mine" } or { n = n }) or nil
    end
  end,
  onYield = function() return coroutine.create(function()
    coroutine.yield { a = 1 }
    coroutine.yield { 1, 2 }
    return { b = 2 }
  end) end,
  onArray = function() return websocket.stream { { a = 1 }, websocket.bytes "x", { id = 5 } } end,
  onBroken = function() return function() return nil, "expected: broken" end end,
  onMessage = function(_, _, data) return { other = data } end,
})
listener:attach("/beside", SIDE, { onGo = function(self, _, request) return { n = request.n } end })
listener:attach("/large", { dispatcherKey = "event", dispatcherStreamId = "id", maxFrameSize = 2 ^ 20 }, {
  onGo = function(_, _, message)
    note("no connection: large", tostring(message.id))
    gate("large"):receive()
  end,
})
""")


def request(event, ident, n=0):
    return frame(TEXT, json.dumps({"event": event, "id": ident, "n": n}))


def replies(c, count):
    return [json.loads(c.recv_message()[1]) for _ in range(count)]


@suite.case("side.ids", "replies carry the id")
def _():
    with app.open("side") as c:
        for ident in (1, "1", "", "é\0", 2.5, -1, 9007199254740992, "x" * 5000):
            c.send(request("go", ident, 4))
            if replies(c, 1) != [{"n": 4, "id": ident}]:
                raise Failed("%r" % ident)
        c.send(request("string", 1) + request("list", 1) + request("owned", 1) + request("place", 1))
        c.expect(TEXT, "text")
        c.expect(TEXT, "[1,2]")
        if replies(c, 2) != [{"id": "mine"}, {"id": 1, "problem": "PayloadBindingError"}]:
            raise Failed("owned or place")
    with Raw(app.port, "/beside") as c:
        c.send(request("go", 1, 4))
        if replies(c, 1) != [{"n": 4, "id": 1}]:
            raise Failed("plain table")


@suite.case("side.none", "without an id, or with one that is none, messages are handled as ever")
def _():
    with app.open("side") as c:
        for text in ('{"event":"go","n":1}', '{"event":"go","n":1,"id":null}', '{"event":"go","n":1,"id":true}',
                     '{"event":"go","n":1,"id":{}}', '{"event":"go","n":1,"id":[1]}'):
            ask(c, text, {"n": 1})
        ask(c, '{"event":"unknown","id":1}', {"other": '{"event":"unknown","id":1}'})


@suite.case("side.beside", "different ids are handled at the same time, one id in order")
def _():
    with app.open("side") as c:
        c.send(request("wait", "a", 1) + request("wait", "a", 2) + request("wait", "b", 3) + request("wait", "a", 4))
        app.noted(c.id, "began 3")
        app.barrier()
        if app.seen(c.id) != ["open", "began 1", "began 3"]:
            raise Failed("%r" % app.seen(c.id))
        app.go(c.id + "3")
        if replies(c, 1) != [{"n": 3, "id": "b"}]:
            raise Failed("b")
        for n in (4, 2, 1):
            app.go(c.id + str(n))
        if replies(c, 3) != [{"n": n, "id": "a"} for n in (1, 2, 4)]:
            raise Failed("a")
        c.send(request("go", "a", 5))
        if replies(c, 1) != [{"n": 5, "id": "a"}]:
            raise Failed("a, afterwards")
        c.send_frame(CLOSE)
        c.expect_close(None)
    app.told(c.id, "open", "began 1", "began 3", "ended 3", "ended 1", "began 2", "ended 2", "began 4", "ended 4",
             "close 1005")


@suite.case("side.turn", "each begins in its turn, with an id or without")
def _():
    with app.open("side") as c:
        for n in range(1, 20):
            c.send(request("login", n, n) + frame(TEXT, '{"event":"show"}') + request("login", "x", -n) +
                   request("show", "x"))
            if replies(c, 4) != [{"n": n, "id": n}, {"user": n}, {"n": -n, "id": "x"}, {"user": -n, "id": "x"}]:
                raise Failed("not in their turn")


@suite.case("side.close", "onClose waits for all of them; what waited is not begun any more")
def _():
    with app.open("side") as c:
        c.send(request("wait", 1, 1) + request("wait", 2, 2) + request("wait", 1, 3))
        app.noted(c.id, "began 2")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    app.barrier()
    if app.seen(c.id) != ["open", "began 1", "began 2"]:
        raise Failed("%r" % app.seen(c.id))
    app.go(c.id + "1")
    app.noted(c.id, "ended 1")
    app.barrier()
    app.go(c.id + "2")
    app.told(c.id, "open", "began 1", "began 2", "ended 1", "ended 2", "close 1000")


@suite.case("side.app-close", "a handler may close; those beside it end before onClose")
def _():
    with app.open("side") as c:
        c.send(request("wait", 1, 1) + request("leave", 2, 2) + request("wait", 2, 3))
        app.noted(c.id, "began 1")
        app.go(c.id + "2")
        c.expect_close(4003, "leaving", reply=True)
        app.noted(c.id, "closed: userdata")
        app.go(c.id + "1")
    app.told(c.id, "open", "began 1", "closed: userdata", "ended 1", "close 4003 leaving")


@suite.case("side.streams", "each table of a stream gets the id; the next of the same id does not wait for its end")
def _():
    with app.open("side") as c:
        c.send(request("yield", "y"))
        if replies(c, 3) != [{"a": 1, "id": "y"}, [1, 2], {"b": 2, "id": "y"}]:
            raise Failed("coroutine")
        c.send(request("array", 7))
        if replies(c, 1) != [{"a": 1, "id": 7}]:
            raise Failed("array")
        c.expect(BINARY, "x")
        if replies(c, 1) != [{"id": 5}]:
            raise Failed("the stream's own id")
        c.send(request("count", "s", 4) + request("go", "s", 9) + request("count", "t", 1))
        if replies(c, 1) != [{"n": 9, "id": "s"}]:
            raise Failed("the next of the same id")
        app.go(c.id + "t")
        if replies(c, 1) != [{"n": 1, "id": "t"}]:
            raise Failed("beside")
        for _ in range(4):
            app.go(c.id + "s")
        if replies(c, 1) != [{"n": 1, "id": "s"}]:
            raise Failed("first")
        c.expect(TEXT, "text")
        if replies(c, 2) != [{"id": "mine"}, {"n": 4, "id": "s"}]:
            raise Failed("rest")
        c.send(request("broken", "b"))
        refused(c, 1011, "streaming failed: expected: broken")


@suite.case("side.frame", "a close frame that one returns is sent")
def _():
    with app.open("side") as c:
        c.send(request("bye", 1) + request("go", 2))
        c.expect_close(4002, "bye", reply=True)
    app.told(c.id, "open", "close 4002 bye")


@suite.case("side.fails", "one that fails ends the connection; the others end by themselves, then onClose")
def _():
    with app.open("side") as c:
        c.send(request("wait", 1, 1) + request("fail", 2, 2) + request("wait", 2, 3))
        app.noted(c.id, "began 1")
        app.go(c.id + "2")
        refused(c, 1011, "internal error")
        app.noted(c.id, "error Error: *expected*")
        app.go(c.id + "1")
    app.told(c.id, "open", "began 1", "error Error: *", "write: *", "ended 1", "close 1011 internal error")
    for event, code, reason in (("luck", 1011, "expected: no luck"), ("strict", 1003, None)):
        with app.open("side") as c:
            c.send(request(event, 1))
            refused(c, code, reason)


@suite.case("side.bound", "at most 64 are at work; then the connection is not read, and all are answered in the end")
def _():
    with app.open("side") as c:
        c.send(b"".join(request("wait", n, n) for n in range(64)))
        app.noted(c.id, "began 63")
        c.send(request("wait", "last", 64) + frame(PING, "still there"))
        c.expect(PONG, "still there")
        c.send(b"".join(request("go", "g%d" % (n % 7), n) for n in range(40)))
        app.barrier()
        notes = app.seen(c.id)
        if len(notes) != 65:
            raise Failed("%d began" % (len(notes) - 1))
        app.go(c.id + "5")
        app.noted(c.id, "began 64")
        for n in range(65):
            if n != 5:
                app.go(c.id + str(n))
        got = replies(c, 65 + 40)
        if sorted(r["n"] for r in got if r["id"] in [*range(64), "last"]) != [*range(65)]:
            raise Failed("answers are missing: %r" % got)
        for n in range(7):
            if [r["n"] for r in got if r["id"] == "g%d" % n] != [*range(n, 40, 7)]:
                raise Failed("not in order: %r" % got)
        c.send_frame(CLOSE)
        c.expect_close(None)
    app.noted(c.id, "close 1005")


@suite.case("side.bound.ids", "the bound counts those that wait for their id as well")
def _():
    with app.open("side") as c:
        c.send(b"".join(request("wait", "a", n) for n in range(200)))
        app.noted(c.id, "began 0")
        app.barrier()
        for n in range(200):
            app.go(c.id + str(n))
        if replies(c, 200) != [{"n": n, "id": "a"} for n in range(200)]:
            raise Failed("not in order")


@suite.case("side.bound.ends", "a connection that ends while a message waits for room")
def _():
    for how in ("close", "reset", "fail"):
        with app.open("side") as c:
            c.send(request("fail", "f", 100) + b"".join(request("wait", n, n) for n in range(63)) +
                   request("wait", "last", 64))
            app.noted(c.id, "began 62")
            app.barrier()
            if how == "close":
                c.send_frame(CLOSE, close_payload(1000))
                c.expect_close(1000)
            elif how == "reset":
                c.reset()
            else:
                app.go(c.id + "100")
                refused(c, 1011)
        app.barrier()
        for n in range(63):
            app.go(c.id + str(n))
        if how != "fail":
            app.go(c.id + "100")
        app.noted(c.id, "close *")
        notes = app.seen(c.id)
        if "began 64" in notes or notes[-1][:5] != "close" or len([n for n in notes if n.startswith("ended")]) != 63:
            raise Failed("%s: %r" % (how, notes))


@suite.case("side.many", "thousands of requests, read late: each id in order")
def _():
    with app.open("side") as c:
        for n in range(5000):
            c.send(request("go", n % 10, n))
        seen = replies(c, 5000)
        for n in range(10):
            if [r["n"] for r in seen if r["id"] == n] != [*range(n, 5000, 10)]:
                raise Failed("id %d not in order" % n)
        c.silent()


@suite.case("side.large", "requests side by side: large ones wait in the client, not here")
def _():
    name = "no connection: large"
    with Raw(app.port, "/large") as c:
        padding = ",".join(["[]"] * 30000)
        for i in range(8):
            c.text('{"event":"go","id":%d,"padding":[%s]}' % (i, padding))
        app.noted(name, "1")
        app.barrier()
        if app.seen(name) != ["0", "1"]:
            raise Failed("began %r" % app.seen(name))
        for i in range(8):
            app.go("large")
        app.noted(name, "7")


app.add_finals(suite, r"expected")

if __name__ == "__main__":
    suite.main()
