#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Messages with a shape, on the wire: binding, and dispatch by dispatcherKey.
"""
import json
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import BINARY, CLOSE, TEXT, Failed, Raw, Suite, close_payload, frame  # noqa: E402
from neaptest.behaviour import App  # noqa: E402
from served import SERVED, ask, refused  # noqa: E402

suite = Suite("binding")
app = App(SERVED + r"""
local function shown(_, _, value, binary)
  return { type = type(value), value = type(value) == "table" and value.tag or value, binary = binary }
end
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
""")


def bound(name, text, kind=TEXT):
    """The answer of a route whose callback shows what it got."""
    with app.open(name) as c:
        c.send_frame(kind, text)
        return json.loads(c.recv_message()[1])


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


app.add_finals(suite, r"expected|the message is not JSON")

if __name__ == "__main__":
    suite.main()
