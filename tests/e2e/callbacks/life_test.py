#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The life of a connection as an app observes it: which callbacks come, in which order, and how
often, under every way in which a connection can end.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import BINARY, CLOSE, CONT, PING, PONG, TEXT, Failed, Raw, Suite, close_payload, frame  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("life")
app = App(r"""
recorded("echo", {}, { onMessage = echo })
recorded("none", {}, {})
recorded("kinds", {}, { onTextMessage = echo, onBinaryMessage = echo, onPong = function() end })
recorded("text", {}, { onTextMessage = echo })
recorded("small", { maxFrameSize = 100, maxMessageSize = 150, maxFragments = 3 }, { onMessage = echo })
recorded("waits", {}, { onMessage = function(self, _, data)
  gate(self.id):receive()
  self.note "went on"
  return data
end })

-- The app closes.

local function closing(name, config, ...)
  local args, n = { ... }, select("#", ...)
  recorded(name, config, { onMessage = function(self, caller)
    result(self, "closed", caller:close(unpack(args, 1, n)))
    result(self, "again", caller:close())
    result(self, "write", caller:writeMessage "late")
    result(self, "ping", caller:ping "late")
    self.note("open is " .. tostring(caller:isOpen()))
    return "late as well"
  end })
end
closing("close", {})
closing("close0", {}, 4000, "why", 0)
closing("close-1", {}, 4000, "why", -1)
closing("close.2", {}, 4000, "why", 0.2)
closing("closeroute", { connectionClosureTimeout = 0.2 }, 4000)
recorded("closebad", {}, { onMessage = function(self, caller)
  for _, args in ipairs { { 999 }, { 1005 }, { 5000 }, { 1012 }, { 1014 }, { 2999 }, { 1000.5 }, { 0 / 0 },
    { 1000, ("x"):rep(124) }, { 1000, "\255" }, { 1000, "", -2 }, { 1000, "", 1e10 }, { 1000, "", 0 / 0 } } do
    local ok, err = caller:close(unpack(args))
    self.note(tostring(ok) .. " " .. tostring(err))
  end
  return "still open"
end })
recorded("closelines", {}, { onMessage = function(self, caller)
  for _, reason in ipairs { "a\nb", "a\r", "\0" } do
    local ok, err = pcall(caller.close, caller, 4000, reason, 0)
    self.note(tostring(ok) .. " " .. tostring(err))
  end
  return "still open"
end })
recorded("closeopen", {}, { onOpen = function(_, caller) caller:close(4001, "not now") end })
recorded("closetwice", {}, { onMessage = function(_, _, data)
  return websocket.CloseFrame { status = 4002, reason = data }
end })
listener:attach("/closeother", { onTextMessage = function(_, _, id)
  local ok, err = callers[id]:close(4003, "from elsewhere")
  return tostring(err or type(ok))
end })
recorded("closequeue", {}, { onMessage = function(self, caller, data)
  if data == "1" then
    gate(self.id):receive()
    caller:close(4004, "", 0)
  end
end })

-- Control frames.

recorded("ping", {}, { onPing = function(_, _, data)
  if data == "self" then
    return nil
  end
  return "pong for " .. data
end, onPong = function(_, caller, data) caller:writeMessage("pong " .. data) end,
  onMessage = function(self, caller, data)
    result(self, "ping", caller:ping(data))
    result(self, "long", caller:ping(("x"):rep(126)))
    result(self, "long", caller:pong(("x"):rep(126)))
  end })
""")


# -- the client ends it

def client_end(ident, what, act, *notes):
    def case():
        with app.open("echo") as c:
            act(c)
        app.told(c.id, "open", *notes)
    suite.add("end." + ident, what, case)


def say(*parts):
    def act(c):
        for part in parts:
            c.send(part)
        c.recv_all()
    return act


client_end("client.code", "close with a code", say(frame(CLOSE, close_payload(1000, "bye"))),
           "close 1000 bye")
client_end("client.private", "a private code", say(frame(CLOSE, close_payload(4999, "é"))),
           "close 4999 é")
client_end("client.nocode", "a close frame without code", say(frame(CLOSE)), "close 1005")
client_end("client.reset", "a TCP reset", lambda c: c.reset(), "close 1006")
client_end("client.eof", "the socket is closed", lambda c: c.close(), "close 1006")
client_end("client.fin", "the sending half is closed",
           lambda c: (c.shutdown(), c.expect_eof()), "close 1006")
client_end("client.fin-inside", "the stream ends inside a frame",
           lambda c: (c.send(frame(TEXT, "abc")[:4]), c.shutdown(), c.expect_eof()), "close 1006")
client_end("client.message-close", "a message, then a close in the same segment",
           say(frame(TEXT, "a") + frame(CLOSE, close_payload(1001))), "message a", "close 1001")
client_end("client.message-fin", "messages, then the end of the stream",
           lambda c: (c.send(frame(TEXT, "a") + frame(TEXT, "b")), c.shutdown(), c.recv_all()),
           "message a", "message b", "close 1006")
client_end("client.message-reset", "a message, then a reset",
           lambda c: (c.text("a"), c.expect(TEXT, "a"), c.reset()), "message a", "close 1006")
client_end("client.close-close", "two close frames",
           say(frame(CLOSE, close_payload(1000)) + frame(CLOSE, close_payload(1001))), "close 1000")
client_end("client.close-message", "a message behind the close frame is nobody's",
           say(frame(CLOSE, close_payload(1000)) + frame(TEXT, "a")), "close 1000")

# -- the client breaks a rule


def broken(ident, what, route, data, code, kind, *before):
    def case():
        with app.open(route) as c:
            c.send(data)
            c.expect_close(code, skip=True)
        app.told(c.id, "open", *before, "error %s: *" % kind, "close %d*" % code)
    suite.add("broken." + ident, what, case)


broken("rsv", "reserved bit", "echo", frame(TEXT, "x", rsv=2), 1002, "CorruptedFrameError")
broken("opcode", "reserved opcode", "echo", frame(3, "x"), 1002, "CorruptedFrameError")
broken("mask", "a frame without mask", "echo", frame(TEXT, "x", mask=None), 1002,
       "CorruptedFrameError")
broken("continuation", "continuation of nothing", "echo", frame(CONT, "x"), 1002,
       "InvalidContinuationFrameError")
broken("inside", "a message inside a message", "echo", frame(TEXT, "x", fin=False) * 2, 1002,
       "InvalidContinuationFrameError")
broken("utf8", "invalid UTF-8", "echo", frame(TEXT, b"\xff"), 1007, "CorruptedFrameError")
broken("code", "invalid close code", "echo", frame(CLOSE, close_payload(1005)), 1002,
       "CorruptedFrameError")
broken("frame", "a frame too big", "small", frame(TEXT, "x" * 101), 1009, "PayloadTooLargeError")
broken("message", "a message too big", "small",
       frame(TEXT, "x" * 100, fin=False) + frame(CONT, "x" * 51), 1009, "PayloadTooLargeError")
broken("fragments", "too many fragments", "small", frame(TEXT, fin=False) + frame(CONT, fin=False) * 3,
       1008, "*")
broken("after-message", "the message before it is handled", "echo",
       frame(TEXT, "a") + frame(3, "x"), 1002, "CorruptedFrameError", "message a")


@suite.case("broken.waiting", "a rule broken while a handler waits: onError and onClose wait")
def _():
    with app.open("waits") as c:
        c.send(frame(TEXT, "a") + frame(TEXT, "b"))
        app.noted(c.id, "message a")
        c.send(frame(3, "x"))
        c.expect_close(1002)
        app.told(c.id, "open", "message a")
        app.go(c.id)
        app.noted(c.id, "message b")
        app.go(c.id)
    app.told(c.id, "open", "message a", "went on", "message b", "went on",
             "error CorruptedFrameError: *", "close 1002*")


# -- the app closes

GONE = ("again: ConnectionClosureError: *", "write: Connection*Error: *",
        "ping: Connection*Error: *", "open is false")


@suite.case("close.default", "close() waits for the client's close frame")
def _():
    with app.open("close") as c:
        c.text("x")
        c.expect_close(1000, "", eof=False)
        app.barrier()
        app.told(c.id, "open", "message x")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_eof()
    app.told(c.id, "open", "message x", "closed: userdata", *GONE, "close 1000")


@suite.case("close.zero", "timeout 0 does not wait; the client's answer still counts")
def _():
    with app.open("close0") as c:
        c.text("x")
        c.expect_close(4000, "why", eof=False)
        app.noted(c.id, "open is false")
        c.send_frame(CLOSE, close_payload(4001, "ok"))
        c.close()
    app.told(c.id, "open", "message x", "closed: userdata", *GONE, "close 4001 ok")


@suite.case("close.zero.silent", "timeout 0 and no answer: ended soon, 1006", background=True)
def _():
    with app.open("close0") as c:
        c.text("x")
        c.expect_close(4000, "why")
        app.told(c.id, "open", "message x", "closed: userdata", *GONE, "close 1006")


@suite.case("close.forever", "timeout -1 waits as long as it takes", background=True)
def _():
    with app.open("close-1") as c:
        c.text("x")
        c.expect_close(4000, "why", eof=False)
        c.silent(2.5)
        app.told(c.id, "open", "message x")
        c.send_frame(CLOSE, close_payload(4000))
        c.expect_eof()
    app.told(c.id, "open", "message x", "closed: userdata", *GONE, "close 4000")


@suite.case("close.forever.gone", "timeout -1, and the client goes without an answer")
def _():
    with app.open("close-1") as c:
        c.text("x")
        c.expect_close(4000, "why", eof=False)
        c.reset()
    app.told(c.id, "open", "message x", "closed: ConnectionClosureError: *", *GONE, "close 1006")


for name in ("close.2", "closeroute"):
    @suite.case("close.timeout." + name, "no answer within the timeout", background=True)
    def _(name=name):
        with app.open(name) as c:
            c.text("x")
            c.expect_close(4000)
        app.told(c.id, "open", "message x", "closed: ConnectionClosureError: *", *GONE,
                 "close 1006")


@suite.case("close.refused", "codes, reasons and timeouts that are refused send nothing")
def _():
    with app.open("closebad") as c:
        c.text("x")
        c.expect(TEXT, "still open")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    code = "nil ConnectionClosureError: Failed to execute close. Invalid status code: "
    late = "nil Error: Invalid timeout value: "
    app.told(c.id, "open", "message x", code + "999", code + "1005", code + "5000",
             code + "1012", code + "1014", code + "2999", code + "1000.5", code + "*nan*",
             "nil ConnectionClosureError: *123 bytes*",
             "nil ConnectionClosureError: *UTF-8*", late + "-2", late + "10000000000",
             late + "*nan*", "close 1000")


@suite.case("close.lines", "a reason with CR, LF or NUL is a mistake: it raises, nothing is sent")
def _():
    with app.open("closelines") as c:
        c.text("x")
        c.expect(TEXT, "still open")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    mistake = "false *a reason must not contain CR, LF or NUL*"
    app.told(c.id, "open", "message x", mistake, mistake, mistake, "close 1000")


@suite.case("close.open", "close in onOpen, while the client has sent messages already")
def _():
    with Raw(app.port) as c:
        response = c.handshake("/closeopen/early", extra=frame(TEXT, "never handled"))
        if response.status != 101:
            raise Failed("%r" % response)
        c.expect_close(4001, "not now", reply=True)
    app.told("early", "open", "close 4001 not now")


@suite.case("close.frame", "a returned close frame closes, once")
def _():
    with app.open("closetwice") as c:
        c.send(frame(TEXT, "a") + frame(TEXT, "b"))
        c.expect_close(4002, "a", reply=True)
    app.told(c.id, "open", "message a", "close 4002 a")


@suite.case("close.elsewhere", "close from a handler of another connection")
def _():
    with app.open("echo") as c, Raw(app.port, "/closeother") as other:
        other.text(c.id)
        c.expect_close(4003, "from elsewhere", reply=True)
        other.expect(TEXT, "userdata")
    app.told(c.id, "open", "close 4003 from elsewhere")


@suite.case("close.elsewhere.waiting", "... while a handler waits: onClose waits for it")
def _():
    with app.open("waits") as c, Raw(app.port, "/closeother") as other:
        c.text("a")
        app.noted(c.id, "message a")
        other.text(c.id)
        c.expect_close(4003, "from elsewhere", reply=True)
        other.expect(TEXT, "userdata")
        app.told(c.id, "open", "message a")
        app.go(c.id)
        app.told(c.id, "open", "message a", "went on", "close 4003 from elsewhere")


@suite.case("close.queue", "messages that waited are not handled after close()")
def _():
    with app.open("closequeue") as c:
        c.send(frame(TEXT, "1") + frame(TEXT, "2"))
        app.noted(c.id, "message 1")
        app.go(c.id)
        c.expect_close(4004, reply=True)
    app.told(c.id, "open", "message 1", "close 4004")


# -- messages and control frames

@suite.case("message.none", "a message that no callback takes is ignored")
def _():
    with app.open("none") as c:
        c.send(frame(TEXT, "a") + frame(BINARY, "b") + frame(PING, "p") + frame(PONG, "q"))
        c.expect(PONG, "p")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    app.told(c.id, "open", "close 1000")


@suite.case("message.kinds", "onTextMessage and onBinaryMessage; answers are of the same kind")
def _():
    with app.open("kinds") as c:
        c.send(frame(TEXT, "a") + frame(BINARY, "b") + frame(PONG, "q"))
        c.expect(TEXT, "a")
        c.expect(BINARY, "b")
        c.send_frame(CLOSE)
        c.expect_close(None)
    app.told(c.id, "open", "textMessage a", "binaryMessage b", "pong q", "close 1005")


@suite.case("message.text-only", "a binary message without callback is ignored")
def _():
    with app.open("text") as c:
        c.send(frame(BINARY, "b") + frame(TEXT, "a"))
        c.expect(TEXT, "a")
        c.send_frame(CLOSE)
        c.expect_close(None)
    app.told(c.id, "open", "textMessage a", "close 1005")


@suite.case("ping.handler", "with onPing the handler answers; returning nothing sends nothing")
def _():
    with app.open("ping") as c:
        c.send(frame(PING, "self") + frame(PING, "p"))
        c.expect(PONG, "pong for p")
        c.send_frame(PING, "x" * 125)
        c.expect(PONG, ("pong for " + "x" * 125)[:125])
        c.text("hello")
        c.expect(PING, "hello")
        c.send_frame(PONG, "hello")
        c.expect(TEXT, "pong hello")
        c.send_frame(CLOSE)
        c.expect_close(None)
    app.told(c.id, "open", "ping self", "ping p", "ping x*", "message hello", "ping: userdata",
             "long: Error: *125*", "long: Error: *125*", "pong hello", "close 1005")


app.add_finals(suite, r"expected|onPing cut its answer")

if __name__ == "__main__":
    suite.main()
