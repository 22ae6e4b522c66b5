#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Hostile messages for routes that look into them: JSON that is no joy to read, values that try to
reach what they must not, ids without end. Each is answered, or its connection ended with 1003; the
worker, and everybody else, go on.
"""
import json
import socket

from target import (
    INSTRUMENTED, PING, PONG, SECONDS, SLACK, TEXT, Failed, Raw, Suite, Target, cost, frame)

MESSAGE = 1 << 20
suite = Suite("hostile_messages")
target = Target(r"""
local constraint = require "neap.constraint"
local task = require "neap.task"
local websocket = require "neap.websocket"
local listener = websocket.listener(0, { host = "127.0.0.1" })
listener:attach("/echo", { onMessage = function(_, _, data) return data end })

local function reached() return "reached" end
local App = {
  onOpen = function() end, onPing = function(_, _, data) return data end, onPong = reached,
  onIdleTimeout = reached, onError = function() end, onClose = function() end,
  onGo = function() return "went" end,
  onElse = websocket.dispatch("othér.value", function() return "other" end),
  onBound = websocket.bind(constraint.record { event = constraint.string {}, x = constraint.int {} }, reached),
  onBoundError = function() return "refused" end,
  onStatus = websocket.bind("json", function() return "status" end), onStatusError = reached,
  onMessage = function() return "fallback" end,
}
local events = { maxFrameSize = 2 ^ 20, dispatcherKey = "event" }
local side = { maxFrameSize = 2 ^ 20, dispatcherKey = "event", dispatcherStreamId = "id" }
listener:attach("/events", events, App)
listener:attach("/side", side, App)
listener:attach("/strict", events, { onMessage = websocket.bind("json", reached) })
listener:attach("/bound", { maxFrameSize = 2 ^ 20 }, {
  onMessage = websocket.bind("json", function() return "read" end),
})
listener:attach("/stuck", side, {
  onGo = function() task.channel():receive() end,
})
""")
PATHS = ("/events", "/side")


def value(ident, what, event, expected="fallback"):
    """A message whose field event is this; the same with an id. Its answer, and not much work."""
    def act():
        for path in PATHS:
            with Raw(target.port, path) as c:
                for message in ({"event": event}, {"event": event, "id": 1}):
                    c.text(json.dumps(message))
                    c.expect(TEXT, expected)
    target.add(suite, "value." + ident, what, act, grow=16 << 20)


for name in ("open", "message", "text message", "binary message", "ping", "pong", "idle timeout", "idleTimeout",
             "close", "error", "reload", "status error", "bound error", "message error", "Open", "on open", "onOpen"):
    value("lifecycle." + name.replace(" ", "_"), "no way to a callback of the connection", name)
for name in ("__index", "__newindex", "__gc", "__mode", "__call", "__metatable", "__proto__", "constructor", "toString",
             "", " ", "_", "on", "nil", "self", "%s%s%n", "../go", "go\0", "\0", "go\r\n", "\u202ego", "\ud83d\ude00"):
    value("odd.%s" % ascii(name).strip("'\""), "a value that is no event", name)
value("go", "the plain way", "go", "went")
value("spaces", "many separators, still short enough", "_" * 100 + "go", "went")
value("long", "10,000 characters", "g" * 10000)
value("long.separators", "10,000 separators", "_ -" * 3333 + "go")
value("huge", "a value of nearly 1 MiB", "x" * (MESSAGE - 100))
value("huge.separators", "separators of nearly 1 MiB", "_" * (MESSAGE - 100))
for odd in (5, -0.0, 1e300, True, None, [], ["go"], {}, {"event": "go"}):
    value("type.%r" % odd, "a value that is no text", odd)


def text(ident, what, data, expected, **options):
    """A text as it is, on the routes by path: its answer, or None for 1003."""
    def act():
        for path, answer in expected.items():
            with Raw(target.port, path, seconds=SECONDS * 4) as c:
                c.text(data)
                if answer is None:
                    c.expect_close(1003, reply=True)
                else:
                    c.expect(TEXT, answer)
    target.add(suite, "json." + ident, what, act, **options)


BAD = {"/events": "fallback", "/side": "fallback", "/strict": None, "/bound": None}
GOOD = {"/events": "went", "/side": "went", "/strict": "reached", "/bound": "read"}
LARGE = {"grow": 160 << 20, "crowd": False}      # tables of a million members; collected in time

text("deep", "arrays 100,000 deep", "[" * 100000, BAD)
text("deep.objects", "objects 100,000 deep", '{"event":' * 100000, BAD)
text("deep.closed", "129 deep, closed", '{"event":"go","x":' + "[" * 128 + "]" * 128 + "}", BAD)
text("deep.edge", "128 deep", '{"event":"go","x":' + "[" * 127 + "]" * 127 + "}", GOOD)
text("range", "a number out of range", '{"event":"go","id":1e999999}', BAD)
text("surrogate", "a lone surrogate", '{"event":"\\ud800"}', BAD)
text("bom", "a byte order mark", '\ufeff{"event":"go"}', BAD)
text("trailing", "something behind the value", '{"event":"go"} {"event":"go"}', BAD)
text("twice", "the same key twice: the last counts", '{"event":"open","event":"go"}', GOOD)
text("key.long", "a key of nearly 1 MiB", '{"event":"go","%s":1}' % ("k" * (MESSAGE - 100)), GOOD, grow=8 << 20)
text("key.many", "100,000 keys", json.dumps(dict({"k%d" % i: 0 for i in range(70000)}, event="go")), GOOD, **LARGE)
text("number.long", "a number of nearly 1 MiB",
     '{"event":"go","n":%s}' % ("1" * 300 + "." + "1" * (MESSAGE - 400)), GOOD, grow=8 << 20)
text("array.long", "half a million elements", '{"event":"go","a":[%s]}' % ",".join("1" * 500000), GOOD, **LARGE)
text("tables.many", "300,000 tables", '{"event":"go","a":[%s]}' % ",".join(["{}"] * 300000), GOOD, **LARGE)


def id_case(ident, what, value_):
    def act():
        with Raw(target.port, "/side") as c:
            for _ in range(3):
                c.text('{"event":"go","id":%s}' % value_)
                c.expect(TEXT, "went")
    target.add(suite, "id." + ident, what, act, grow=8 << 20)


for name, odd in (("null", "null"), ("true", "true"), ("false", "false"), ("array", "[]"), ("object", '{"a":{}}'),
                  ("deep", "[" * 100 + "]" * 100), ("empty", '""'), ("zero", "-0"), ("large", "1e308"),
                  ("fraction", "0.1"), ("control", '"\\u0000\\n"'), ("name", '"__index"'),
                  ("long", '"%s"' % ("i" * (MESSAGE - 100)))):
    id_case(name, "an id of an odd kind", odd)


def nothing_kept(act):
    """What is kept shows in each run; what the collector leaves lying about comes to rest."""
    for _ in range(12):
        before = target.get().rss()
        target.attack(act, 16 << 20)
        if abs(target.get().rss() - before) <= 1 << 20:
            return
    raise Failed("the worker's memory changed by more than 1 MiB each time")


@suite.case("ids.distinct", "ten thousand distinct ids, and nothing is kept of them")
def _():
    count = 1000 if INSTRUMENTED else 10000

    def act():
        with Raw(target.port, "/side", seconds=SECONDS * 4) as c:
            for start in range(0, count, 500):
                c.send(b"".join(frame(TEXT, '{"event":"go","id":"%064d"}' % i) for i in range(start, start + 500)))
                for _ in range(500):
                    c.expect(TEXT, "went")
    nothing_kept(act)


@suite.case("values.distinct", "ten thousand distinct values, and nothing is kept of them")
def _():
    count = 1000 if INSTRUMENTED else 10000

    def act():
        with Raw(target.port, "/events", seconds=SECONDS * 4) as c:
            for start in range(0, count, 500):
                c.send(b"".join(frame(TEXT, '{"event":"%064d"}' % i) for i in range(start, start + 500)))
                for _ in range(500):
                    c.expect(TEXT, "fallback")
    nothing_kept(act)


def pour(c, data, most):
    """Sends again and again until the server takes no more. Returns the bytes sent."""
    sent = 0
    c.sock.settimeout(0.3 * SLACK)
    try:
        while sent < most:
            sent += c.sock.send(data)
    except socket.timeout:
        pass
    return sent


@suite.case("ids.stuck", "handlers that never end: 64 of them, then the connection is not read")
def _():
    def act():
        with Raw(target.port, "/stuck") as c:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            c.send(b"".join(frame(TEXT, '{"event":"go","id":%d}' % i) for i in range(100)) + frame(PING, "here"))
            c.expect(PONG, "here")
            flood = b"".join(frame(TEXT, '{"event":"go","id":"%s"}' % ("x" * 1000)) for i in range(64))
            if pour(c, flood, 64 << 20) >= 32 << 20:
                raise Failed("a connection that has 64 handlers at work was read on and on")
            target.bystander.check()
    server = target.get()
    before = server.rss()
    act()
    if not INSTRUMENTED and server.rss() > before + (4 << 20):
        raise Failed("grown by %d KiB" % ((server.rss() - before) // 1024))
    for _ in range(20):
        target.bystander.check()


@suite.case("ids.unread", "replies that nobody reads: the connection is not read on either")
def _():
    def act():
        with Raw(target.port, "/side") as c:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            flood = b"".join(frame(TEXT, '{"event":"go","id":%d}' % i) for i in range(1000))
            pour(c, flood, 48 << 20)
            target.bystander.check()
    target.attack(act, 16 << 20)      # what the collector leaves lying about


@suite.case("cost", "no message costs much more than its client's share")
def _():
    server = target.get()
    for what, data, limit in (("value", '{"event":"%s"}' % ("_" * (MESSAGE - 100)), 0.05),
                              ("junk", "[" * (MESSAGE - 100), 0.05),
                              ("escapes", '{"event":"%s"}' % ("\\u0041" * 170000), 0.05),
                              ("members", '{"event":"go","a":[%s]}' % ",".join(["{}"] * 300000), 0.5)):
        with Raw(target.port, "/side", seconds=SECONDS * 4) as c:
            def act(c=c, data=data):
                c.text(data)
                c.recv_message()
            used = min(cost(server, act) for _ in range(3))
            if not INSTRUMENTED and used > limit * SLACK:
                raise Failed("%s: %.0f ms" % (what, used * 1000))


@suite.case("refused", "a thousand connections that are refused one after the other")
def _():
    def act():
        for i in range(100 if INSTRUMENTED else 1000):
            with Raw(target.port, "/strict") as c:
                c.text("[" * (i % 7) + "é" * 40)
                c.expect_close(1003, reply=True)
    target.attack(act, 2 << 20)


target.add_crowd(suite)
target.add_finals(suite, [])

if __name__ == "__main__":
    suite.main()
