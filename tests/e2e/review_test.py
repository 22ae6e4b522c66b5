#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Faults that a reading of the server's core found: each case fails without its correction.
"""
from behaviour import (
    CLOSE, INSTRUMENTED, TEXT, App, Failed, Raw, Suite, close_payload, frame)

suite = Suite("review")
app = App(r"""
recorded("echo", {}, { onMessage = echo })

local big = ("x"):rep(100000)
recorded("big", {}, { onMessage = function() return big end })
recorded("tight", { maxBufferedBytes = 1 }, { onMessage = echo })
recorded("tightwait", { maxBufferedBytes = 1, messageTimeout = 0.5 }, { onMessage = echo })

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

-- What raises as soon as a field of it is looked up.
local trap = setmetatable({}, { __index = function() error "the trap" end })
recorded("traps", {}, {
  onMessage = function(_, caller, data)
    if data == "close" then
      caller:close(4000, "", 0)
    elseif data == "raise" then
      error(trap)
    end
    return nil, trap
  end,
  onError = function(self, _, err) self.note(("%s %s"):format(err.kind, websocket.isError(err))) end,
})
recorded("stopped", {}, { onMessage = function(self)
  return function()
    pcall(task.sleep, 3600)
    self.note "stopped"
    error(trap)
  end
end, onClose = function() task.sleep(0.01) end })
recorded("itself", {}, { onMessage = function(self, _, data)
  return data == "itself" and coroutine.running() or data
end })
listener:attach("/large", { dispatcherKey = "event", dispatcherStreamId = "id", maxFrameSize = 2 ^ 20 }, {
  onGo = function(_, _, message)
    note("no connection: large", tostring(message.id))
    gate("large"):receive()
  end,
})
""")


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


@suite.case("memory.answers", "answers to a batch of small requests wait for their reader")
def _():
    server = app.get()
    worker = server.workers()[0]
    before = server.rss(worker)
    c = app.open("big", rcvbuf=4096)
    c.send(frame(TEXT, b"get", mask=b"abcd") * 3000)
    echo = app.open("echo")
    for _ in range(50):
        echo.text("hi")
        echo.expect(TEXT, "hi")
    grown = server.rss(worker) - before
    if grown > (64 if INSTRUMENTED else 16) << 20:
        raise Failed("grew by %d bytes" % grown)
    for _ in range(3000):
        c.expect(TEXT, b"x" * 100000)
    c.text("get")
    c.expect(TEXT, b"x" * 100000)


@suite.case("memory.tight", "with room for next to nothing all is still answered, in order")
def _():
    c = app.open("tight")
    c.send(b"".join(frame(TEXT, b"%d" % i, mask=b"abcd") for i in range(500)) +
           frame(CLOSE, close_payload(1000), mask=b"abcd"))
    for i in range(500):
        c.expect(TEXT, "%d" % i)
    c.expect_close(1000)


@suite.case("memory.tight_deadline", "a message that came whole while answers waited is not late")
def _():
    c = app.open("tightwait")
    c.send(frame(TEXT, b"one", mask=b"abcd") + frame(TEXT, b"tw", fin=False, mask=b"abcd"))
    c.expect(TEXT, "one")
    c.send(frame(0, b"o", mask=b"abcd") + frame(TEXT, b"three", mask=b"abcd"))
    c.expect(TEXT, "two")
    c.expect(TEXT, "three")
    c.silent(1)


@suite.case("traps", "what is raised or returned is never asked anything that could raise outside")
def _():
    for how in ("close", "raise", "return"):
        c = app.open("traps")
        c.text(how)
        if how == "close":
            c.expect_close(4000, "", reply=True)
            continue
        c.expect_close(1011, "internal error", reply=True)
        app.noted(c.id, "Error true")
    c = app.open("stopped", "forever-stopped")
    c.text("x")
    app.noted(c.id, "message x")
    c.close()
    app.noted(c.id, "stopped")


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


@suite.case("memory.requests", "requests side by side: large ones wait in the client, not here")
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


app.add_finals(suite, errors="expected|the trap|stream of onMessage|returned an error: {}|error in onMessage: {}")

if __name__ == "__main__":
    suite.main()
