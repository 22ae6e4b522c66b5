#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Errors in callbacks: whatever is raised or returned, in each of them, what the client is told, what the
log says, and which callbacks still come.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import BINARY, CLOSE, PING, PONG, TEXT, Failed, Suite, close_payload, frame, wait_until  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("failures")
app = App(r"""
local kinds = {
  text = function() error "expected" end,
  table = function() error({}) end,
  ["nil"] = function() error(nil) end,
  object = function() error(websocket.Error("PayloadBindingError", "expected")) end,
  tostring = function()
    error(setmetatable({ message = "expected" }, { __tostring = function() return "expected, shown" end }))
  end,
  number = function() error(42, 0) end,
  long = function() error(("expected"):rep(10000)) end,
  deep = function() local function f() return 1 + f() end; f() end,
  index = function() return (nil).expected end,
  yield = function(self) self.leave(); coroutine.yield "expected" end,
  yieldnone = function(self) self.leave(); coroutine.yield() end,
  wait = function() task.sleep(0); error "expected" end,
  waityield = function(self) task.sleep(0); self.leave(); coroutine.yield(1, 2, 3) end,
  string = function() return nil, "expected: told the client" end,
  returned = function() return nil, websocket.Error("Mine", "expected: as object") end,
  utf8 = function() return nil, "expected: " .. ("é"):rep(100) end,
  badutf8 = function() return nil, "expected: \255" end,
  empty = function() return nil, "" end,
  badtext = function() return "expected \255" end,
  badvalue = function() return { expected = print } end,
}
for kind, fail in pairs(kinds) do
  local function raise(self) return fail(self) end
  recorded("fail-open-" .. kind, {}, { onOpen = raise })
  recorded("fail-message-" .. kind, {}, { onMessage = raise })
  recorded("fail-text-" .. kind, {}, { onTextMessage = raise, onBinaryMessage = raise })
  recorded("fail-ping-" .. kind, {}, { onPing = raise })
  recorded("fail-pong-" .. kind, {}, { onPong = raise })
  recorded("fail-close-" .. kind, {}, { onClose = raise })
  recorded("fail-error-" .. kind, {}, { onError = raise })
end
recorded("fail-idle", { idleTimeout = 0.1 }, { onIdleTimeout = function() error "expected" end })
recorded("fail-closing", {}, { onMessage = function(_, caller)
  caller:close(4000, "", 0)
  error "expected"
end })
recorded("fail-gone", {}, { onMessage = function(self)
  gate(self.id):receive()
  error "expected"
end })
recorded("fail-queue", {}, { onMessage = function(self, _, data)
  if data == "1" then
    gate(self.id):receive()
    error "expected"
  end
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
""")


EXPECTED = {        # notes of onError, and the reason that the client is told
    "text": ("error Error: *app.lua:*: expected", "internal error"),
    "table": ("error Error: {}", "internal error"),
    "nil": ("error Error: nil", "internal error"),
    "object": ("error PayloadBindingError: expected", "internal error"),
    "tostring": ("error Error: expected", "internal error"),
    "number": ("error Error: 42", "internal error"),
    "long": ("error Error: *expectedexpected*", "internal error"),
    "deep": ("error Error: *stack overflow*", "internal error"),
    "index": ("error Error: *app.lua:*attempt to index*", "internal error"),
    "yield": ("error Error: coroutine.yield outside*", "internal error"),
    "yieldnone": ("error Error: coroutine.yield outside*", "internal error"),
    "wait": ("error Error: *app.lua:*: expected", "internal error"),
    "waityield": ("error Error: coroutine.yield outside*", "internal error"),
    "string": ("error Error: expected: told the client", "expected: told the client"),
    "returned": ("error Mine: expected: as object", "expected: as object"),
    "utf8": ("error Error: expected: *", "expected: " + "é" * 56),
    "badutf8": ("error Error: expected: *", None),
    "empty": ("error Error: ", ""),
}
MESSAGE_ONLY = {
    "badtext": ("error Error: *not valid UTF-8*", "internal error"),
    "badvalue": ("error *", None),
}
TRIGGERS = {        # what makes the callback run, and its note
    "open": (None, None),
    "message": (frame(TEXT, "m"), "message m"),
    "text": (frame(TEXT, "t"), "textMessage t"),
    "ping": (frame(PING, "p"), "ping p"),
    "pong": (frame(PONG, "q"), "pong q"),
}


def fails(callback, kind, error, reason):
    send, note = TRIGGERS[callback]

    def case():
        with app.open("fail-%s-%s" % (callback, kind)) as c:
            if send:
                c.send(send + frame(TEXT, "not handled any more"))
            c.expect_close(1011, reason, reply=True)
        notes = ["open"] + [note] * bool(note)
        app.told(c.id, *notes, error, "close 1011*")
    suite.add("fail.%s.%s" % (callback, kind), "an error in the callback", case)


for callback in TRIGGERS:
    for kind, (error, reason) in EXPECTED.items():
        fails(callback, kind, error, reason)
for kind, (error, reason) in MESSAGE_ONLY.items():
    fails("message", kind, error, reason)
    fails("open", kind, error, reason)


@suite.case("fail.binary", "an error in onBinaryMessage")
def _():
    with app.open("fail-text-text") as c:
        c.send_frame(BINARY, "b")
        c.expect_close(1011, "internal error", reply=True)
    app.told(c.id, "open", "binaryMessage b", "error Error: *", "close 1011*")


for kind in EXPECTED:
    @suite.case("fail.close." + kind, "an error in onClose is logged, no more")
    def _(kind=kind):
        with app.open("fail-close-" + kind) as c:
            c.send_frame(CLOSE, close_payload(1000))
            c.expect_close(1000)
        app.told(c.id, "open", "close 1000")

    @suite.case("fail.error." + kind, "an error in onError: onClose comes all the same")
    def _(kind=kind):
        with app.open("fail-error-" + kind) as c:
            c.send_frame(3)
            c.expect_close(1002)
        app.told(c.id, "open", "error CorruptedFrameError: *", "close 1002*")


@suite.case("fail.log", "the log has the traceback, file and line, the callback and the connection")
def _():
    with app.open("fail-message-text") as c:
        c.text("m")
        c.expect_close(1011, reply=True)
    app.get().wait_log(r"error +error in onMessage: \S*app\.lua:\d+: expected")
    app.get().wait_log(r"stack traceback")
    record = next(r for r in app.get().records("error") if "onMessage" in r.message)
    if len(record.fields.get("connection", "")) != 16:
        raise Failed("no connection id: %r" % record)


@suite.case("fail.log.returned", "a returned text that cannot be sent is logged with its connection")
def _():
    with app.open("fail-message-badtext") as c:
        c.text("m")
        c.expect_close(1011, reply=True)
    app.get().wait_log(r"onMessage returned text that is not valid UTF-8")
    record = next(r for r in app.get().records("error") if "onMessage returned text" in r.message)
    if len(record.fields.get("connection", "")) != 16:
        raise Failed("no connection id: %r" % record)


@suite.case("fail.idle", "an error in onIdleTimeout")
def _():
    with app.open("fail-idle") as c:
        c.expect_close(1011, "internal error", reply=True)
    app.told(c.id, "open", "idleTimeout", "error Error: *", "close 1011*")


@suite.case("fail.closing", "an error after close(0): one close frame, onClose once")
def _():
    with app.open("fail-closing") as c:
        c.text("x")
        c.expect_close(4000, reply=True)
    app.told(c.id, "open", "message x", "error Error: *expected", "close *")


@suite.case("fail.gone", "an error when the client has gone meanwhile")
def _():
    with app.open("fail-gone") as c:
        c.text("x")
        app.noted(c.id, "message x")
        c.reset()
    wait_until(lambda: app.get().fds() <= app.descriptors + 30)
    app.go(c.id)
    app.noted(c.id, "close 1006")


@suite.case("fail.queue", "messages that waited are not handled after an error")
def _():
    with app.open("fail-queue") as c:
        c.send(frame(TEXT, "1") + frame(TEXT, "2"))
        app.noted(c.id, "message 1")
        app.go(c.id)
        c.expect_close(1011, reply=True)
    app.told(c.id, "open", "message 1", "error Error: *", "close 1011*")


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


app.add_finals(suite, r"expected|error in \w+: (nil|{})|: 42|stack overflow|the trap|stream of onMessage"
                      r"|attempt to index|coroutine\.yield outside|returned an error: ( *$|{})"
                      r"|text that is not valid UTF-8")

if __name__ == "__main__":
    suite.main()
