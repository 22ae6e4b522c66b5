#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Messages with a shape, on the wire: binding, dispatch by dispatcherKey, requests side by side.
"""
import json

from behaviour import (
    BINARY, CLOSE, PING, PONG, TEXT, App, Failed, Raw, Suite, close_payload, frame)

suite = Suite("messages")
app = App(r"""
local constraint = require "neap.constraint"

-- Serves /name/:id with these callbacks as they are; notes how the connection begins and ends.
local function served(name, config, callbacks)
  listener:attach("/" .. name .. "/:id", config, function(request)
    local id = request.params.id
    local self = { id = id, note = function(text) note(id, text) end }
    for key, callback in pairs(callbacks) do
      self[key] = callback
    end
    function self.onOpen(_, caller)
      callers[id] = caller
      note(id, "open")
    end
    function self.onError(_, caller, err)
      note(id, "error " .. tostring(err))
      result(self, "write", caller:writeMessage "late")
    end
    function self.onClose(_, _, code, reason)
      note(id, "close " .. code .. (reason == "" and "" or " " .. reason))
    end
    return self
  end)
end

local function shown(_, _, value, binary)
  return { type = type(value), value = type(value) == "table" and value.tag or value, binary = binary }
end
local Point = constraint.record { x = constraint.int {}, y = constraint.int { minValue = 5 } }
local types = { json = "json", string = "string", bytes = "bytes", xml = "xml", point = Point,
  short = constraint.string { maxLength = 3 } }
for name, kind in pairs(types) do
  served("bind-" .. name, {}, { onMessage = websocket.bind(kind, shown) })
  served("text-" .. name, {}, { onTextMessage = websocket.bind(kind, shown) })
  served("binary-" .. name, {}, { onBinaryMessage = websocket.bind(kind, function(_, _, value)
    return websocket.bytes(tostring(type(value) == "table" and json.encode(value) or value))
  end) })
  served("lax-" .. name, { validation = false }, { onMessage = websocket.bind(kind, shown) })
  served("told-" .. name, {}, {
    onMessage = websocket.bind(kind, shown),
    onMessageError = function(self, caller, err)
      self.note("told " .. err.kind)
      caller:writeMessage "first"
      return { problem = err.message }
    end,
  })
end
served("wide", {}, { onMessage = websocket.bind(constraint.record { [("é"):rep(100)] = constraint.int {} }, shown) })
served("fails", {}, { onMessage = websocket.bind("json", shown), onMessageError = function() error "expected" end })
served("refuses", {}, { onMessage = websocket.bind("json", shown), onMessageError = function(_, _, err)
  return nil, err
end })
served("closes", {}, { onMessage = websocket.bind("json", shown), onMessageError = function()
  return websocket.CloseFrame { status = 4001, reason = "learn JSON" }
end })

-- Dispatch.

local function named(name)
  return function(_, _, request) return { [name] = request } end
end
local Events = websocket.service("Events", {
  onOpen = function(self) self.count = 0 end,
  onUnSubscribe = named "unSubscribe",
  onSubscribe = websocket.bind(constraint.record { event = constraint.string {}, n = constraint.int { maxValue = 9 } },
    named "subscribe"),
  onSubscribeError = function(_, _, err) return { problem = err.kind } end,
  onClosed = websocket.dispatch("close", named "closed"),
  onRaw = websocket.bind("string", function(_, _, text) return "raw " .. text end),
  onStrict = websocket.bind("json", named "strict"),
  onMessage = function(_, _, data, binary) return { other = data, binary = binary } end,
})
listener:attach("/events", { dispatcherKey = "event" }, Events)
listener:attach("/types", { dispatcherKey = "type", validation = false }, Events)
listener:attach("/plain", Events)
listener:attach("/made", { dispatcherKey = "event" }, function() return Events { x = 1 } end)
served("silent", { dispatcherKey = "event" }, { onGo = named "go" })
served("kinds", { dispatcherKey = "event" }, {
  onGo = named "go",
  onTextMessage = websocket.bind("json", named "text"),
  onTextMessageError = function(_, _, err) return err.message end,
  onBinaryMessage = function(_, _, data) return data end,
})
local function lifecycle(self) self.note "reached" return { reached = true } end
served("life", { dispatcherKey = "event" }, { onPing = lifecycle, onPong = lifecycle, onIdleTimeout = lifecycle,
  onReload = lifecycle, onStatus = websocket.bind("json", named "status"), onStatusError = lifecycle,
  onMessage = websocket.bind("string", function() return { other = true } end), onMessageError = lifecycle })
served("raises", { dispatcherKey = "event" }, {
  onString = function() error "expected" end,
  onWait = function() task.sleep(0) error "expected" end,
  onLuck = function() return nil, "expected: no luck" end,
  onStrict = websocket.bind(Point, named "strict"),
})
served("turns", { dispatcherKey = "event" }, { onGo = function(self, _, request)
  self.note("began " .. request.n)
  gate(self.id .. request.n):receive()
  self.note("ended " .. request.n)
  return { n = request.n }
end })

-- Requests side by side.

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
""")


def bound(name, text, kind=TEXT):
    """The answer of a route whose callback shows what it got."""
    with app.open(name) as c:
        c.send_frame(kind, text)
        return json.loads(c.recv_message()[1])


def refused(c, code, reason=None):
    c.expect_close(code, reason, reply=True)
    c.close()


# -- binding

@suite.case("bind.values", "each type gets its value")
def _():
    for name, text, kind, expected in (
            ("json", '{"a":[1,null]}', "table", {"a": [1, None]}), ("json", "5", "number", 5),
            ("json", "false", "boolean", False), ("json", '""', "string", ""),
            ("string", "é", "string", "é"), ("string", "", "string", ""), ("bytes", "é", "string", "é"),
            ("point", '{"x":1,"y":5}', "table", {"x": 1, "y": 5}), ("short", "abc", "string", "abc"),
            ("short", '"a"', "string", '"a"')):
        for route, extra in (("bind-", {"binary": False}), ("text-", {}), ("lax-", {"binary": False})):
            got = bound(route + name, text)
            if got != dict(extra, type=kind, value=expected):
                raise Failed("%s%s %r: %r" % (route, name, text, got))
    if bound("bind-xml", "<a b='c'>d</a>") != {"type": "table", "value": "a", "binary": False}:
        raise Failed("xml")


@suite.case("bind.binary", "a binary message is taken as its bytes")
def _():
    for name, data in (("json", '{"a":1}'), ("string", "é"), ("point", '{"x":1,"y":5}'), ("short", "a")):
        if bound("bind-" + name, data, BINARY)["binary"] is not True:
            raise Failed(name)
    for name, data in (("bytes", b"\xff\0"), ("string", "é".encode()), ("json", b'{"a":1}')):
        with app.open("binary-" + name) as c:
            c.send_frame(BINARY, data)
            c.expect(BINARY, data)
    for name in ("string", "short", "json"):
        with app.open("bind-" + name) as c:
            c.send_frame(BINARY, b"\xff")
            refused(c, 1003)


@suite.case("bind.refused", "what does not fit ends the connection with 1003, onError, onClose; nothing can be written")
def _():
    for name, text, kind, reason in (
            ("json", "{", "PayloadBindingError",
             "the message is not JSON: line 1, column 2: unexpected end of the text"),
            ("json", "", "PayloadBindingError",
             "the message is not JSON: line 1, column 1: unexpected end of the text"),
            ("xml", "<a>", "PayloadBindingError", None), ("point", "[]", "PayloadBindingError", None),
            ("point", '{"x":1,"y":"5"}', "PayloadBindingError", None),
            ("point", '{"x":1,"y":2}', "PayloadValidationError", "$.y: must be at least 5, is 2"),
            ("short", "abcd", "PayloadValidationError", None)):
        with app.open("bind-" + name) as c:
            c.send(frame(TEXT, text) + frame(TEXT, "again"))
            refused(c, 1003, reason)
        app.told(c.id, "open", "error %s: *" % kind, "write: ConnectionError: *",
                 "close 1003 %s" % (reason.replace("[", "[[]") if reason else "*"))


@suite.case("bind.limits", "with validation = false only types are checked")
def _():
    if bound("lax-point", '{"x":1,"y":2}')["value"] != {"x": 1, "y": 2}:
        raise Failed("y")
    if bound("lax-short", "abcdef")["value"] != "abcdef":
        raise Failed("short")
    with app.open("lax-point") as c:
        c.text('{"x":1}')
        refused(c, 1003)


@suite.case("bind.told", "the error callback writes and returns, and the connection goes on")
def _():
    with app.open("told-point") as c:
        for _ in range(3):
            c.text('{"x":1,"y":2}')
            c.expect(TEXT, "first")
            c.expect(TEXT, '{"problem":"$.y: must be at least 5, is 2"}')
        c.text('{"x":1,"y":6}')
        if json.loads(c.recv_message()[1])["value"] != {"x": 1, "y": 6}:
            raise Failed("not served afterwards")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    app.told(c.id, "open", *["told PayloadValidationError"] * 3, "close 1000")


@suite.case("bind.told.ends", "what an error callback raises or returns counts as a callback's")
def _():
    for name, code, reason in (("fails", 1011, "internal error"), ("closes", 4001, "learn JSON"),
                               ("refuses", 1011, "the message is not JSON: *")):
        with app.open(name) as c:
            c.text("x")
            if "*" in reason:
                refused(c, code)
            else:
                refused(c, code, reason)


@suite.case("bind.reason", "a long reason is cut between two characters")
def _():
    with app.open("wide") as c:
        c.text("{}")
        c.expect_close(1003, reply=True)
    notes = app.seen(c.id)
    if not notes[1].startswith("error PayloadBindingError"):
        raise Failed("%r" % notes)


# -- dispatch

def events(path="/events"):
    return Raw(app.port, path)


def ask(c, text, expected):
    c.text(text if isinstance(text, str) else json.dumps(text))
    got = json.loads(c.recv_message()[1])
    if got != expected:
        raise Failed("%r was answered with %r, not %r" % (text, got, expected))


@suite.case("dispatch.names", "values are spelt in several ways")
def _():
    with events() as c, events("/made") as made:
        for value in ("un subscribe", "unSubscribe", "un_subscribe", "un-subscribe", "UnSubscribe", "un  -_subscribe"):
            m = {"event": value, "deep": [{}, []]}
            ask(c, m, {"unSubscribe": m})
            ask(made, m, {"unSubscribe": m})
        ask(c, {"event": "close"}, {"closed": {"event": "close"}})


@suite.case("dispatch.bound", "bound callbacks of dispatch, and their errors")
def _():
    with events() as c, events("/types") as lax:
        ask(c, {"event": "subscribe", "n": 1}, {"subscribe": {"event": "subscribe", "n": 1}})
        ask(c, {"event": "subscribe", "n": 10}, {"problem": "PayloadValidationError"})
        ask(c, {"event": "subscribe"}, {"problem": "PayloadBindingError"})
        ask(c, {"event": "strict"}, {"strict": {"event": "strict"}})
        c.text('{ "event" : "raw" }')
        c.expect(TEXT, 'raw { "event" : "raw" }')
        m = {"type": "subscribe", "event": "x", "n": 10}
        ask(lax, m, {"subscribe": m})
    with app.open("raises") as c:
        c.text('{"event":"strict"}')
        refused(c, 1003)
    app.told(c.id, "open", "error PayloadBindingError: *", "write: ConnectionError: *", "close 1003 *")


@suite.case("dispatch.others", "what no callback is for goes to onMessage as it came")
def _():
    with events() as c, events("/plain") as plain:
        for text in ("", "x", "[", "[1]", "5", "null", "{}", '{"event":5}', '{"event":null}', '{"event":["strict"]}',
                     '{"event":"unknown"}', '{"event":"closed"}', '{"Event":"strict"}', '"strict"'):
            ask(c, text, {"other": text, "binary": False})
        c.send_frame(BINARY, '{"event":"strict"}')
        if json.loads(c.recv_message()[1]) != {"other": '{"event":"strict"}', "binary": True}:
            raise Failed("binary")
        ask(plain, '{"event":"strict"}', {"other": '{"event":"strict"}', "binary": False})
    with app.open("silent") as c:
        c.send(frame(TEXT, "x") + frame(TEXT, '{"event":"x"}') + frame(BINARY, '{"event":"go"}'))
        ask(c, {"event": "go"}, {"go": {"event": "go"}})
    with app.open("kinds") as c:
        ask(c, {"event": "x"}, {"text": {"event": "x"}})
        ask(c, "[5]", {"text": [5]})
        c.text("[")
        c.expect(TEXT, "the message is not JSON: line 1, column 2: unexpected end of the text")
        c.send_frame(BINARY, b"\xff")
        c.expect(BINARY, b"\xff")


@suite.case("dispatch.lifecycle", "the callbacks of the connection are out of reach")
def _():
    with app.open("life") as c:
        for value in ("open", "message", "ping", "pong", "idle timeout", "idleTimeout", "close", "error", "reload",
                      "text message", "binary_message", "message error", "messageError", "status error",
                      "StatusError", "", "on", "__index"):
            ask(c, {"event": value}, {"other": True})
        ask(c, {"event": "status"}, {"status": {"event": "status"}})
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    app.told(c.id, "open", "close 1000")


@suite.case("dispatch.fails", "a dispatched callback that raises ends its connection")
def _():
    for event, reason in (("string", "internal error"), ("wait", "internal error"), ("luck", "expected: no luck")):
        with app.open("raises") as c:
            c.text(json.dumps({"event": event}))
            refused(c, 1011, reason)
        app.told(c.id, "open", "error Error: *expected*", "write: *", "close 1011 " + reason)


@suite.case("dispatch.order", "without dispatcherStreamId one is handled after the other")
def _():
    with app.open("turns") as c:
        c.send(frame(TEXT, '{"event":"go","n":1}') + frame(TEXT, '{"event":"go","n":2}'))
        app.noted(c.id, "began 1")
        app.barrier()
        if app.seen(c.id) != ["open", "began 1"]:
            raise Failed("%r" % app.seen(c.id))
        app.go(c.id + "2")
        app.go(c.id + "1")
        c.expect(TEXT, '{"n":1}')
        c.expect(TEXT, '{"n":2}')
        c.send_frame(CLOSE)
        c.expect_close(None)
    app.told(c.id, "open", "began 1", "ended 1", "began 2", "ended 2", "close 1005")


# -- requests side by side

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


app.add_finals(suite, r"expected|the message is not JSON")

if __name__ == "__main__":
    suite.main()
