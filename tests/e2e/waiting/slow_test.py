#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that do not read: handlers that wait to write, slow consumers, and how much is kept for them.
"""
import os
import sys
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    CLOSE, INSTRUMENTED, SECONDS, TEXT, Failed, Raw, Suite, close_payload, frame, wait_until)
from neaptest.behaviour import App  # noqa: E402

suite = Suite("slow")
app = App(r"""
recorded("echo", {}, { onMessage = echo })
local big = ("x"):rep(100000)
recorded("big", {}, { onMessage = function() return big end })
recorded("tight", { maxBufferedBytes = 1 }, { onMessage = echo })
recorded("tightwait", { maxBufferedBytes = 1, messageTimeout = 0.5 }, { onMessage = echo })

local flooded = {}
recorded("flood", { maxBufferedBytes = 200000 }, { onMessage = function(self, caller, data)
  local most = 0
  for i = 1, tonumber(data) do
    local ok, err = caller:writeMessage(("%06d"):format(i) .. ("x"):rep(9994))
    if not ok then
      self.note("stopped: " .. tostring(err))
      return
    end
    most = math.max(most, caller:bufferedAmount())
    flooded[self.id] = i
  end
  self.note("most " .. (most > 230000 and most or "is small"))
  return "done"
end })
listener:attach("/flooded", { onTextMessage = function(_, _, id) return flooded[id] or 0 end })
recorded("impatient", { maxBufferedBytes = 200000 }, { onMessage = function(self, caller)
  local ok, err = task.timeout(0.2, function()
    while true do
      assert(caller:writeBinaryMessage(("x"):rep(10000)))
    end
  end)
  result(self, "timeout", ok, err)
end })
recorded("slowclose", { maxBufferedBytes = 100000 }, { onMessage = echo })
recorded("slowdrop", { maxBufferedBytes = 100000, slowConsumer = "drop" }, { onMessage = echo })
listener:attach("/push", { onTextMessage = function(_, caller, text)
  local id, count = text:match "^(%S+) (%d+)$"
  local sent, failed, why = 0, 0, ""
  for i = 1, tonumber(count) do
    local ok, err = callers[id]:pushText(("%06d"):format(i) .. ("y"):rep(9994))
    if ok then
      sent = sent + 1
    else
      failed, why = failed + 1, tostring(err)
    end
  end
  return ("%d %d %s"):format(sent, failed, why)
end })
listener:attach("/pushtext", { onTextMessage = function(_, _, text)
  local id, data = text:match "^(%S+) (.*)$"
  local ok, err = callers[id]:pushText(data)
  return tostring(err or type(ok))
end })
""")


def stuck(name, text, **options):
    """A client that asks for much and reads nothing; returns once the server has stopped writing."""
    c = app.open(name, rcvbuf=4096, compress=False, **options)
    c.text(text)
    return c


def settled(ident):
    """How many messages the handler of /flood has written, once that does not change any more."""
    with Raw(app.port, "/flooded") as control:
        def ask():
            control.text(ident)
            return int(control.recv_message()[1])
        wait_until(ask)
        last, since = ask(), time.monotonic()
        while time.monotonic() - since < 0.3:
            now = ask()
            if now != last:
                last, since = now, time.monotonic()
        return last


@suite.case("slow.write", "a handler waits while its client does not read, and goes on when it does")
def _():
    count = 2000
    with stuck("flood", str(count)) as c:
        written = settled(c.id)
        if written == count:
            raise Failed("20 MB were written to a client that reads nothing")
        app.barrier()
        app.told(c.id, "open", "message %d" % count)
        for i in range(1, count + 1):
            _, data = c.recv_message(SECONDS * 2)
            if len(data) != 10000 or int(data[:6]) != i:
                raise Failed("message %d is %r" % (i, data[:20]))
        c.expect(TEXT, "done")
        app.finish(c, "open", "message %d" % count, "most is small")


for how, act in {"reset": lambda c: c.reset(), "close": lambda c: c.close()}.items():
    @suite.case("slow.write.gone." + how, "a handler waits to write and its client goes")
    def _(act=act):
        with stuck("flood", "2000") as c:
            settled(c.id)
            act(c)
        app.told(c.id, "open", "message 2000", "stopped: ConnectionError: *", "close 1006")


@suite.case("slow.write.timeout", "a write under task.timeout: its error ends the function, without a word in the log")
def _():
    with stuck("impatient", "x") as c:
        app.noted(c.id, "timeout: Timeout: *", SECONDS * 2)
        c.reset()
    app.noted(c.id, "close 1006")


@suite.case("slow.write.close", "a handler waits to write, the client sends a close and then reads")
def _():
    with stuck("flood", "2000") as c:
        settled(c.id)
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000, skip=True)
        app.noted(c.id, "close *")
    notes = app.seen(c.id)
    if notes[:2] != ["open", "message 2000"] or notes[-1] != "close 1000":
        raise Failed("%r" % notes)


def push(ident, count):
    with Raw(app.port, "/push") as control:
        control.text("%s %d" % (ident, count))
        sent, failed, why = control.recv_message()[1].decode().split(" ", 2)
        return int(sent), int(failed), why


@suite.case("slow.close", "slowConsumer close: 1013, and the rest is refused", background=True)
def _():
    with app.open("slowclose", rcvbuf=4096, compress=False) as c:
        sent, failed, why = push(c.id, 2000)
        if not failed or not sent or "Connection" not in why:
            raise Failed("%d sent, %d failed: %s" % (sent, failed, why))
        app.told(c.id, "open", "error ConnectionError: *", "close 1013*")
        for i in range(1, sent + 1):
            if int(c.recv_message()[1][:6]) != i:
                raise Failed("messages lost before the close")
        c.expect_close(1013)


@suite.case("slow.drop", "slowConsumer drop: new messages are dropped, the connection goes on")
def _():
    with app.open("slowdrop", rcvbuf=4096, compress=False) as c:
        sent, failed, why = push(c.id, 2000)
        if not failed or not sent or "dropped" not in why:
            raise Failed("%d sent, %d failed: %s" % (sent, failed, why))
        for i in range(1, sent + 1):
            if int(c.recv_message()[1][:6]) != i:
                raise Failed("not the first ones came")
        c.text("still here")
        c.expect(TEXT, "still here")
        app.finish(c, "open", "message still here")


@suite.case("push.plain", "pushText to another connection; invalid UTF-8 is refused")
def _():
    with app.open("echo") as c, Raw(app.port, "/pushtext") as control:
        control.text(c.id + " hello")
        c.expect(TEXT, "hello")
        control.expect(TEXT, "userdata")
        app.finish(c, "open")
        control.text(c.id + " late")
        kind, text = control.recv_message()
        if not text.startswith(b"Connection"):
            raise Failed("%r" % text)


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


app.add_finals(suite, r"expected")

if __name__ == "__main__":
    suite.main()
