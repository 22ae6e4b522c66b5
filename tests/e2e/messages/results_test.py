#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What callbacks return: every kind of value from every callback, on the wire. What a value
becomes is a table here; which callback changes what is said where it does.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import BINARY, CLOSE, PING, PONG, TEXT, Failed, Suite, close_payload, frame  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("results")

# The kinds of values, as Lua: `caller` is the Caller.
LUA = {
    "string": 'return "hé\\0llo"',
    "empty": 'return ""',
    "long": 'return ("x"):rep(200)',
    "bytes": 'return websocket.bytes "\\0\\255"',
    "number": "return 5",
    "true": "return true",
    "false": "return false",
    "null": "return json.null",
    "table": 'return { a = { 1, "é" } }',
    "array": "return json.array {}",
    "xml": 'return websocket.xml { tag = "a", attr = {}, "1 < 2" }',
    "frame": "return websocket.NORMAL_CLOSURE",
    "frame.reason": 'return websocket.GOING_AWAY { reason = "bye é" }',
    "frame.own": 'return websocket.CloseFrame { status = 4444, reason = "Invalid User" }',
    "frame.bare": "return websocket.CloseFrame { status = 4000 }",
    "caller": "return caller",
    "write": 'return caller:writeMessage "written"',
    "push": 'return caller:pushText "pushed"',
    "nothing": "",
    "nil": "return nil",
    "nil.nil": "return nil, nil",
    "error.text": 'return nil, "no luck"',
    "error.object": 'return nil, websocket.Error("RoomError", "no room")',
    "error.first": 'return websocket.Error("RoomError", "no room")',
    "error.long": 'return nil, ("é"):rep(100)',
    "error.bytes": 'return nil, "abc\\255def"',
    "error.table": "return nil, {}",
    "error.line": 'return nil, "line\\nbreak"',
    "error.cr": 'return nil, websocket.Error("RoomError", "no\\rroom")',
    "error.nul": 'return nil, "nul\\0byte"',
    "error.late": 'return nil, ("x"):rep(200) .. "\\n"',
    "raised": 'error "expected"',
    "function": 'local i = 0; return function() i = i + 1; return ({ "a", 2, { i } })[i] end',
    "coroutine": 'return coroutine.create(function() coroutine.yield "a"; coroutine.yield(2) end)',
    "wrapped": 'return coroutine.wrap(function() coroutine.yield "a"; coroutine.yield(2) end)',
    "stream": 'return websocket.stream { "a", websocket.bytes "b", 2 }',
    "stream.ipairs": 'return websocket.stream(ipairs { "a", 2 })',
    "stream.pairs": "return websocket.stream(pairs { x = 2 })",
    "stream.empty": "return websocket.stream {}",
    "stream.frame": 'return websocket.stream { "a", websocket.NORMAL_CLOSURE, "late" }',
    "stream.error": 'return function() return nil, websocket.Error("RoomError", "no room") end',
    "stream.line": 'return function() return nil, "line\\nbreak" end',
    "stream.long": 'return function() return nil, ("é"):rep(100) end',
    "stream.raised": 'return function() error "expected" end',
    "stream.bad": 'return websocket.stream { "a", io.stdout, "b" }',
    "frame.spoilt": 'local f = websocket.CloseFrame { status = 4000 }; f.reason = "a\\nb"; return f',
    "frame.spoilt.status": 'local f = websocket.CloseFrame { status = 4000 }; f.status = 1005; return f',
    "userdata": "return io.stdout",
    "unfit": "return { f = print }",
    "service": 'return websocket.service("Returned", {})',
    "invalid": 'return "\\255"',
    "closed": 'caller:close(4000, "bye", 0); return "late"',
    "closed.stream": 'caller:close(4000, "bye", 0); return websocket.stream { "late" }',
    "closed.frame": 'caller:close(4000, "bye", 0); return websocket.GOING_AWAY',
    "closed.error": 'caller:close(4000, "bye", 0); return nil, "expected too late"',
    "closed.gone": 'caller:close(4000, "bye", 0); return caller:writeMessage "late"',
}
# What comes of a kind: frames in order; a string op is the kind that strings have there.
STRING = "string"
CLOSED = "close"
LONG = "é" * 100
WIRE = {
    "string": [(STRING, "hé\0llo")],
    "empty": [(STRING, "")],
    "long": [(STRING, "x" * 200)],
    "bytes": [(BINARY, b"\0\xff")],
    "number": [(TEXT, "5")],
    "true": [(TEXT, "true")],
    "false": [(TEXT, "false")],
    "null": [(TEXT, "null")],
    "table": [(TEXT, '{"a":[1,"é"]}')],
    "array": [(TEXT, "[]")],
    "xml": [(TEXT, "<a>1 &lt; 2</a>")],
    "frame": [(CLOSED, 1000, "")],
    "frame.reason": [(CLOSED, 1001, "bye é")],
    "frame.own": [(CLOSED, 4444, "Invalid User")],
    "frame.bare": [(CLOSED, 4000, "")],
    "write": [(TEXT, "written")],
    "push": [(TEXT, "pushed")],
    "error.text": [(CLOSED, 1011, "no luck")],
    "error.object": [(CLOSED, 1011, "no room")],
    "error.first": [(CLOSED, 1011, "no room")],
    "error.long": [(CLOSED, 1011, LONG[:61])],
    "error.bytes": [(CLOSED, 1011, "abc")],
    "error.table": [(CLOSED, 1011, "internal error")],
    "error.line": [(CLOSED, 1011, "internal error")],
    "error.cr": [(CLOSED, 1011, "internal error")],
    "error.nul": [(CLOSED, 1011, "internal error")],
    "error.late": [(CLOSED, 1011, "internal error")],
    "raised": [(CLOSED, 1011, "internal error")],
    "function": [("stream", "a"), (TEXT, "2"), (TEXT, "[3]")],
    "coroutine": [("stream", "a"), (TEXT, "2")],
    "wrapped": [("stream", "a"), (TEXT, "2")],
    "stream": [("stream", "a"), (BINARY, "b"), (TEXT, "2")],
    "stream.ipairs": [("stream", "a"), (TEXT, "2")],
    "stream.pairs": [(TEXT, "2")],
    "stream.frame": [("stream", "a"), (CLOSED, 1000, "")],
    "stream.error": [(CLOSED, 1011, "streaming failed: no room")],
    "stream.line": [(CLOSED, 1011, "streaming failed")],
    "stream.long": [(CLOSED, 1011, "streaming failed: " + LONG[:52])],
    "stream.raised": [(CLOSED, 1011, "streaming failed")],
    "stream.bad": [("stream", "a"), (CLOSED, 1011, "streaming failed")],
    "frame.spoilt": [(CLOSED, 1011, "internal error")],
    "frame.spoilt.status": [(CLOSED, 1011, "internal error")],
    "userdata": [(CLOSED, 1011, "internal error")],
    "unfit": [(CLOSED, 1011, "internal error")],
    "service": [(CLOSED, 1011, "internal error")],
    "closed": [(CLOSED, 4000, "bye")],
    "closed.stream": [(CLOSED, 4000, "bye")],
    "closed.frame": [(CLOSED, 4000, "bye")],
    "closed.error": [(CLOSED, 4000, "bye")],
    "closed.gone": [(CLOSED, 4000, "bye")],
}
NOTHING = ("caller", "nothing", "nil", "nil.nil", "stream.empty")
# What makes a callback run: a frame of the client, or nothing.
CALLBACKS = {
    "onOpen": (None, TEXT),
    "onMessage": ((TEXT, "m"), TEXT),
    "onMessage binary": ((BINARY, "m"), BINARY),
    "onTextMessage": ((TEXT, "m"), TEXT),
    "onBinaryMessage": ((BINARY, "m"), BINARY),
    "onPing": ((PING, "p"), PONG),
    "onPong": ((PONG, "p"), TEXT),
    "onIdleTimeout": (None, TEXT),
}

app = App("local kinds = {}\n"
          + "".join('kinds["%s"] = function(caller) %s end\n' % pair for pair in LUA.items())
          + r"""
for kind, fn in pairs(kinds) do
  for _, callback in ipairs { "onOpen", "onMessage", "onTextMessage", "onBinaryMessage", "onPing",
      "onPong", "onClose", "onError" } do
    recorded(kind .. "-" .. callback, {}, { [callback] = function(_, caller) return fn(caller) end })
  end
  recorded(kind .. "-onIdleTimeout", { idleTimeout = 0.05 }, {
    onIdleTimeout = function(self, caller)
      if not self.told then
        self.told = true
        return fn(caller)
      end
    end,
  })
end

-- Waits before it returns, so that the result is sent from another turn.
recorded("late", {}, { onMessage = function(_, caller, kind)
  task.sleep(0)
  return kinds[kind](caller)
end })
""")


def expect_text(c, op, payload):
    data = payload if isinstance(payload, bytes) else payload.encode()
    c.expect(op, data[:125] if op == PONG else data)


def expect_result(c, kind, strings):
    """The frames that a value becomes; returns the close code, or None when it stays open."""
    if kind == "invalid" and strings != TEXT:
        expect_text(c, strings, b"\xff")
        return None
    if kind == "invalid":
        c.expect_close(1011, "internal error", reply=True)
        return 1011
    for want in WIRE.get(kind, ()):
        if want[0] == CLOSED:
            c.expect_close(want[1], want[2], reply=True)
            return want[1]
        ops = {STRING: strings, "stream": BINARY if strings == BINARY else TEXT}
        expect_text(c, ops.get(want[0], want[0]), want[1])
    return None


def check(c, name, callback, kind, strings):
    if name == "onIdleTimeout":             # nothing of ours may come before it
        app.noted(c.id, "idleTimeout")
    code = expect_result(c, kind, strings)
    if code is None:                        # nothing else has come: the next frame is ours
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    called = name[2].lower() + name[3:]
    if CALLBACKS[callback][0]:
        called += " " + CALLBACKS[callback][0][1]
    notes = ["open"] if name == "onOpen" else ["open", called]
    if code == 1011:
        notes.append("error *")
    if name == "onIdleTimeout":             # it may have come again
        app.noted(c.id, "close %d*" % (code or 1000))
        return
    app.told(c.id, *notes, "close %d*" % (code or 1000))


for callback in CALLBACKS:
    for kind in LUA:
        @suite.case("%s.%s" % (callback.replace(" ", "-"), kind), LUA[kind][:60])
        def _(callback=callback, kind=kind):
            if kind not in WIRE and kind not in NOTHING and kind != "invalid":
                raise Failed("this table does not know what becomes of it")
            trigger, strings = CALLBACKS[callback]
            name = callback.split()[0]
            with app.open("%s-%s" % (kind, name)) as c:
                if trigger:
                    c.send(frame(*trigger))
                check(c, name, callback, kind, strings)

for kind in LUA:
    @suite.case("late." + kind, "returned after a wait: " + LUA[kind][:40])
    def _(kind=kind):
        with app.open("late") as c:
            c.text(kind)
            code = expect_result(c, kind, TEXT)
            if code is None:
                c.send_frame(CLOSE, close_payload(1000))
                c.expect_close(1000)

    @suite.case("onClose." + kind, "what onClose returns is nobody's: " + LUA[kind][:40])
    def _(kind=kind):
        with app.open(kind + "-onClose") as c:
            c.send_frame(CLOSE, close_payload(4001))
            c.expect_close(4001)
        app.told(c.id, "open", "close 4001")

    @suite.case("onError." + kind, "nor what onError returns: " + LUA[kind][:40])
    def _(kind=kind):
        with app.open(kind + "-onError") as c:
            c.send_frame(3)
            c.expect_close(1002)
        app.told(c.id, "open", "error CorruptedFrameError: *", "close 1002*")


@suite.case("log.returned", "a returned error is logged with its callback and connection")
def _():
    for name in ("onOpen", "onPing", "onClose", "onError"):
        with app.open("error.text-" + name) as c:
            if name in ("onPing", "onError"):
                c.send_frame(PING if name == "onPing" else 3, "p")
            if name == "onClose":
                c.send_frame(CLOSE)
            c.recv_until(lambda data: data, None)
        app.get().wait_log(r"warn +%s returned an error: no luck .*connection=\S{16}" % name)


@suite.case("log.lines", "a message that is no reason (CR, LF, NUL) is in the log, with its callback")
def _():
    for kind, message in (("error.line", r"line\\nbreak"), ("error.nul", "nul")):
        with app.open(kind + "-onMessage") as c:
            c.text("m")
            c.expect_close(1011, "internal error", reply=True)
        app.get().wait_log(r"onMessage returned an error: " + message)


@suite.case("log.gone", "that the connection is gone is not reported again, anything else is")
def _():
    with app.open("closed.gone-onMessage") as c:
        c.text("m")
        c.expect_close(4000, reply=True)
    app.told(c.id, "open", "message m", "close 4000 bye")
    with app.open("closed.error-onMessage") as c:
        c.text("m")
        c.expect_close(4000, reply=True)
    app.get().wait_log(r"onMessage returned an error: expected too late")
    if any("onMessage returned an error" in r.message and "closed" in r.message
           for r in app.get().records("warn")):
        raise Failed("told that the connection is gone")


@suite.case("log.stream", "a stream's traceback has the app's file and line, and the callback's name")
def _():
    with app.open("stream.raised-onPong") as c:
        c.send_frame(PONG, "p")
        c.expect_close(1011, "streaming failed", reply=True)
    app.get().wait_log(r"error +error in stream of onPong: \S*app\.lua:\d+: expected\\nstack")


app.add_finals(suite, r"expected|returned an error: (no luck|RoomError: no.{1,2}room|é+|abc|line|nul|xxx|{})"
                      r"|stream of \w+: a userdata cannot be sent|returned what cannot be sent|onPing cut its answer"
                      r"|text that is not valid UTF-8|onClose returned|onError returned")

if __name__ == "__main__":
    suite.main()
