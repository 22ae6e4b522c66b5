#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Coroutines and tasks of the app around the waits of the scheduler: where a wait passes through, where it
cannot, and what is said then.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import TEXT, Suite  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("coroutines")
app = App(r"""
recorded("coroutines", {}, { onMessage = function(self, caller, data)
  local co = coroutine.wrap(function(first)
    gate(self.id):receive()
    local second = coroutine.yield(first .. " yielded")
    local inner = coroutine.wrap(function()
      task.sleep(0)
      coroutine.yield "inner"
      assert(caller:writeMessage "from inside")
      return "end"
    end)
    coroutine.yield(inner() .. " " .. second)
    return inner()
  end)
  caller:writeMessage(co(data))
  caller:writeMessage(co "second")
  return co()
end })
recorded("pcalls", {}, { onMessage = function(self, _, data)
  local ok, err = pcall(function()
    gate(self.id):receive()
    error("expected " .. data, 0)
  end)
  local _, traced = xpcall(function()
    task.sleep(0)
    error("expected too", 0)
  end, function(e) return "handled " .. e end)
  return tostring(ok) .. " " .. err .. ", " .. traced
end })
recorded("cannot", {}, { onMessage = function()
  local ok, err = pcall(table.sort, { 2, 1 }, function(a, b) task.sleep(0); return a < b end)
  local ok2, err2 = pcall(string.gsub, "x", "x", function() task.sleep(0) end)
  return tostring(ok or ok2) .. " " .. tostring(err):gsub("^.*: cannot", "cannot"):sub(1, 16) ..
    " " .. tostring(err2):gsub("^.*: cannot", "cannot"):sub(1, 16)
end })
recorded("tasks", {}, { onMessage = function(self, caller, data)
  local handle = task.spawn(function()
    gate(self.id):receive()
    caller:writeMessage("task " .. data)
    return "joined"
  end)
  task.after(0, function() caller:writeMessage "after" end)
  return (handle:join())
end })

-- A comparison of table.sort cannot be suspended; a coroutine that it resumes hides that.
local function sorted(wait)
  local got, why
  local ok, err = pcall(table.sort, { 2, 1 }, function(a, b)
    got, why = coroutine.wrap(wait)()
    return a < b
  end)
  return ok, tostring(got), tostring(why or err)
end
recorded("sorts", {}, { onMessage = function(self, caller, data)
  local ok, got, why = sorted(function() return task.sleep(0.01) end)
  caller:writeMessage(("%s %s %s"):format(tostring(ok), got, why:match "cannot wait here" or why))
  if data == "wait" then
    return tostring(gate(self.id):receive())
  end
end })
recorded("sortsloop", {}, { onMessage = function()
  local ok, _, why = sorted(function() while true do task.sleep(0) end end)
  return ("%s %s"):format(tostring(ok), why:match "cannot wait here" or why)
end })

recorded("itself", {}, { onMessage = function(self, _, data)
  return data == "itself" and coroutine.running() or data
end })
""")


@suite.case("coroutine.wrap", "waits pass through the app's coroutines")
def _():
    with app.open("coroutines") as c:
        c.text("first")
        app.noted(c.id, "message first")
        app.go(c.id)
        for text in ("first yielded", "inner second", "from inside", "end"):
            c.expect(TEXT, text)
        app.finish(c, "open", "message first")


@suite.case("coroutine.pcall", "waits pass through pcall and xpcall; errors are caught there")
def _():
    with app.open("pcalls") as c:
        c.text("x")
        app.noted(c.id, "message x")
        app.go(c.id)
        c.expect(TEXT, "false expected x, handled expected too")
        app.finish(c, "open", "message x")


@suite.case("coroutine.cannot", "a wait inside table.sort or gsub is an error that says so")
def _():
    with app.open("cannot") as c:
        c.text("x")
        c.expect(TEXT, "false cannot wait here cannot wait here")
        app.finish(c, "open", "message x")


@suite.case("coroutine.tasks", "tasks write to the connection; join waits")
def _():
    with app.open("tasks") as c:
        c.text("x")
        c.expect(TEXT, "after")
        app.go(c.id)
        c.expect(TEXT, "task x")
        c.expect(TEXT, "joined")
        app.finish(c, "open", "message x")


@suite.case("wait.in_c", "a wait in a coroutine that a C function resumes is refused, not begun")
def _():
    c = app.open("sorts", "in_c")
    for _ in range(20):
        c.text("go on")
        c.expect(TEXT, "true nil cannot wait here")
    c.text("wait")
    c.expect(TEXT, "true nil cannot wait here")
    c.silent(0.2)               # the sleep that was refused does not end this wait
    app.go("in_c")
    c.expect(TEXT, "true")


@suite.case("wait.in_c_loop", "a coroutine that insists on waiting there is given up")
def _():
    c = app.open("sortsloop")
    c.text("go on")
    c.expect(TEXT, "false cannot wait here")


@suite.case("itself", "a handler that returns its own coroutine breaks no other handler")
def _():
    c = app.open("itself")
    c.text("itself")
    c.expect_close(1011, "streaming failed", reply=True)
    app.told(c.id, "open", "message itself", "error Error: *attempt to call a *",
             "close 1011 streaming failed")
    for _ in range(3):
        c = app.open("itself")
        c.text("other")
        c.expect(TEXT, "other")


app.add_finals(suite, r"expected|stream of onMessage")

if __name__ == "__main__":
    suite.main()
