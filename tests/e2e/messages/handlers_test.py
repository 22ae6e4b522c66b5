#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Handlers beside the callbacks of a connection, as dispatching by content starts them: core.start,
core.fail and core.handlers, which the library alone calls and this app for once as well.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    CLOSE, PING, PONG, TEXT, Failed, Raw, SECONDS, Server, Suite, close_payload, frame, wait_until)
from neaptest.behaviour import App  # noqa: E402

suite = Suite("handlers")
app = App(r"""
local core = require "neap.core"
local doing = {}

function doing.wait(self, caller, arg)
  self.note("begins " .. arg)
  gate(self.id .. arg):receive()
  self.note("ends " .. arg .. " " .. tostring(caller:isOpen()))
  return "done " .. arg
end
function doing.sleep(_, _, arg) task.sleep(tonumber(arg)); return arg end
function doing.raise(self) gate(self.id .. "raise"):receive(); error "expected" end
function doing.refuse(self)
  gate(self.id .. "refuse"):receive()
  return nil, websocket.Error("RoomError", "expected")
end
function doing.stream() return websocket.stream { 1, 2, 3 } end
function doing.close() return websocket.CloseFrame { status = 4000, reason = "bye" } end
function doing.values(_, _, ...) return { n = select("#", ...), all = tostring(...) } end
function doing.many(self, caller, arg)
  return tostring(core.start(caller, "onInner", doing.wait, self, caller, arg))
end
function doing.fail(self, caller, arg)
  local status, reason = arg:match "^(%d+) ?(.*)$"
  reason = reason:gsub("\\(%d%d%d)", function(n) return string.char(n) end)
  local err = websocket.Error("Mine", "expected")
  for _ = 1, 2 do
    self.note("failed " .. tostring(core.fail(caller, tonumber(status), reason, err)))
  end
end

recorded("beside", {}, {
  onMessage = function(self, caller, data)
    local what, arg = data:match "^(%w+) ?(.*)$"
    if not doing[what] then
      return data .. " " .. core.handlers(caller)
    elseif what == "values" then
      assert(core.start(caller, "onValues", doing.values, self, caller, 1, nil, "x", nil))
    elseif what == "fail" then
      doing.fail(self, caller, arg)
    else
      assert(core.start(caller, "on" .. what, doing[what], self, caller, arg))
    end
  end,
  onClose = function(self, caller)
    self.note("beside " .. core.handlers(caller))
    self.note("no more " .. tostring(core.start(caller, "onX", print)))
    self.note("nor this " .. tostring(core.fail(caller, 1011, "x", websocket.Error("Error", "x"))))
  end,
})
recorded("idle", { idleTimeout = 0.1 }, { onMessage = function(self, caller, arg)
  core.start(caller, "onWait", doing.wait, self, caller, arg)
end })
recorded("mistakes", {}, { onMessage = function(_, caller)
  local out = {}
  for _, args in ipairs {
    { core.start, caller, "x", 5 }, { core.start, caller }, { core.start, 5, "x", print },
    { core.fail, caller, 1005, "x", {} }, { core.fail, caller, 1011, "x", "text" },
    { core.fail, caller, -1, "x", {} }, { core.handlers, "x" } } do
    out[#out + 1] = select(2, pcall(unpack(args))):match "#%d"
  end
  local function more(n, ...) -- one more each time: unpack itself stops at 8,000
    if n == 0 then
      return ...
    end
    return more(n - 1, 1, ...)
  end
  local function few(fn, ...)
    return select(2, pcall(fn, ...)):match "too many arguments"
  end
  local values = {}
  for i = 1, 7000 do values[i] = i end
  out[#out + 1] = few(core.spawn, print, more(1100, unpack(values)))
  out[#out + 1] = few(core.start, caller, "x", print, more(1100, unpack(values)))
  return table.concat(out, " ")
end })
""")


def opened(*messages, ident=None, name="beside"):
    c = app.open(name, ident)
    for message in messages:
        c.text(message)
    return c


def go(c, arg):
    app.go(c.id + arg)


LAST = ("beside 0", "no more false", "nor this false")


@suite.case("beside", "several run at once; messages and pings are handled meanwhile")
def _():
    with opened("wait a", "wait b", "count") as c:
        c.expect(TEXT, "count 2")
        c.send_frame(PING, "p")
        c.expect(PONG, "p")
        go(c, "b")
        c.expect(TEXT, "done b")
        go(c, "a")
        c.expect(TEXT, "done a")
        c.text("count")
        c.expect(TEXT, "count 0")


@suite.case("values", "arguments arrive as they are, results are sent as those of callbacks")
def _():
    with opened("values", "stream", "close") as c:
        _, text = c.recv_message()
        if sorted(text.decode()) != sorted('{"all":"1","n":4}'):
            raise Failed("got %r" % text)
        for i in (1, 2, 3):
            c.expect(TEXT, str(i))
        c.expect_close(4000, "bye", reply=True)


@suite.case("nested", "a handler starts another")
def _():
    with opened("many x") as c:
        c.expect(TEXT, "true")
        app.noted(c.id, "begins x")
        go(c, "x")
        c.expect(TEXT, "done x")


for how, act in {"close": lambda c: c.send(frame(CLOSE, close_payload(1000))),
                 "reset": lambda c: c.reset(), "fin": lambda c: c.close()}.items():
    @suite.case("gone." + how, "onClose waits for all of them, the socket does not")
    def _(how=how, act=act):
        before = app.get().fds()
        with opened("wait a", "wait b") as c:
            app.noted(c.id, "begins b")
            act(c)
            if how == "close":
                c.expect_close(1000)
        app.barrier()
        wait_until(lambda: app.get().fds() <= before, what="the socket is closed")
        began = ["open", "message wait a", "begins a", "message wait b", "begins b"]
        app.noted(c.id, "begins b")
        if sorted(app.seen(c.id)) != sorted(began):
            raise Failed("notes %r" % app.seen(c.id))
        go(c, "a")
        app.noted(c.id, "ends a false")
        if any(n.startswith("close") for n in app.seen(c.id)):
            raise Failed("closed while a handler runs")
        go(c, "b")
        app.noted(c.id, LAST[2])
        if tuple(app.seen(c.id)[-3:]) != LAST:
            raise Failed("notes %r" % app.seen(c.id))


@suite.case("error", "one raises: the session ends, onError comes at once, onClose after the others")
def _():
    with opened("wait a", "raise") as c:
        app.noted(c.id, "begins a")
        go(c, "raise")
        c.expect_close(1011, "internal error", reply=True)
        app.noted(c.id, "error Error: *expected")
        if any(n.startswith("close") for n in app.seen(c.id)):
            raise Failed("closed while a handler runs")
        go(c, "a")
        app.noted(c.id, "close 1011 internal error")
    app.get().wait_log(r"error in onraise: \S*app\.lua:\d+: expected.*connection=")


@suite.case("returned", "one returns nil, err: its message is the reason, its name is in the log")
def _():
    with opened("refuse") as c:
        go(c, "refuse")
        c.expect_close(1011, "expected", reply=True)
    app.told(c.id, "open", "message refuse", "error RoomError: expected", "close 1011 expected",
             *LAST)
    app.get().wait_log(r"onrefuse returned an error: RoomError: expected")


@suite.case("fail", "core.fail ends the session with any code; only the first counts")
def _():
    for status, reason, told in ((1003, "no way", "no way"), (4001, "", ""),
                                 (1011, "é" * 100, "é" * 61), (1011, r"ab\255cd", "ab")):
        with app.open("beside") as c:
            c.text("fail %d %s" % (status, reason))
            c.expect_close(status, told, reply=True)
        app.told(c.id, "open", "message fail*", "failed true", "failed false",
                 "error Mine: expected", "close %d*" % status, *LAST)


@suite.case("idle", "a connection whose handlers work is not idle")
def _():
    with app.open("idle") as c:
        c.text("x")
        app.noted(c.id, "begins x")
        c.silent(0.4)
        go(c, "x")
        c.expect(TEXT, "done x")
        c.expect_close(1001, reply=True)


@suite.case("mistakes", "wrong arguments raise and leave nothing behind")
def _():
    with opened("x", name="mistakes") as c:
        c.expect(TEXT, "#3 #2 #1 #2 #4 #2 #1 too many arguments too many arguments")
        c.send_frame(CLOSE)
        c.expect_close(None)


@suite.case("many", "thousands of them on one connection, all of which end")
def _():
    with app.open("beside") as c:
        data = b"".join(frame(TEXT, "sleep 0.0%d" % (i % 10)) for i in range(3000))
        c.send(data)
        got = sum(1 for _ in range(3000) if c.recv_message(SECONDS * 4))
        c.text("count")
        c.expect(TEXT, "count 0")
    if got != 3000:
        raise Failed("%d answers" % got)


@suite.case("drain", "a shutdown waits for them as for callbacks")
def _():
    text = r"""
local core, task, websocket = require "neap.core", require "neap.task", require "neap.websocket"
websocket.listener(0, { host = "127.0.0.1" }):attach("/", {
  onOpen = function(_, caller)
    core.start(caller, "onSlow", function() task.sleep(0.7); print "ended"; io.stdout:flush() end)
    return "up"
  end,
  onClose = function() print "closed"; io.stdout:flush() end })
"""
    with Server(lua=text, options=("--workers", "1"), args=()) as s:
        c = Raw(s.port, "/")
        c.expect(TEXT, "up")
        s.signal(15)
        c.expect_close(1001, reply=True, eof=False)
        if s.wait_exit(SECONDS * 3) != 0:
            raise Failed("ended with %r" % s.status)
        if s.stdout().split() != ["ended", "closed"]:
            raise Failed("got %r" % s.stdout())


@suite.case("drain.limit", "but not for ever")
def _():
    text = r"""
local core, task, websocket = require "neap.core", require "neap.task", require "neap.websocket"
websocket.listener(0, { host = "127.0.0.1" }):attach("/", { onOpen = function(_, caller)
  core.start(caller, "onSlow", task.sleep, 3600)
  return "up"
end })
"""
    with Server(lua=text, options=("--workers", "1", "--drain", "1"), args=()) as s:
        c = Raw(s.port, "/")
        c.expect(TEXT, "up")
        s.signal(15)
        if s.wait_exit(SECONDS * 3) != 0:
            raise Failed("ended with %r" % s.status)
        c.close()


@suite.final("end.log", "no error in the log but those that were asked for")
def _():
    bad = [r for r in app.get().records("error") + app.get().records("warn")
           if "expected" not in r.message]
    if bad:
        raise Failed("%d unexpected lines, first %r" % (len(bad), bad[0]))


@suite.final("end.stop", "the server ends in order, without a sanitizer report")
def _():
    for c in [*app.control.values(), app.bystander]:
        c.close()
    if app.get().stop() != 0:
        raise Failed("ended with %d" % app.get().status)


if __name__ == "__main__":
    suite.main()
