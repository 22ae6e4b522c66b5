#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Handlers that wait, clients that do not read, and everything that happens because time passes:
order, backpressure, slow consumers, idle time-outs, heartbeats, coroutines of the app, Callers
that outlive their connections, listeners and routes that come and go at run time.
"""
import threading
import time

from behaviour import (
    CLOSE, CONT, INSTRUMENTED, PING, PONG, TEXT, App, Failed, Raw, SECONDS, Suite, close_payload,
    frame, over, wait_until)

suite = Suite("behaviour_wait")
app = App(r"""
recorded("echo", {}, { onMessage = echo })

-- Waits for the gate at each message that begins with "wait".
local function waiting(self, _, data)
  if data:find "^wait" then
    gate(self.id):receive()
  end
  return data:sub(1, 20)
end
recorded("waits", { maxFrameSize = 2 ^ 20 }, { onMessage = waiting })
recorded("waitping", {}, { onMessage = waiting, onPing = function(_, _, data) return data end })
recorded("waitopen", {}, {
  onOpen = function(self) gate(self.id):receive(); self.note "went on" end,
  onMessage = echo,
})
recorded("waitclose", {}, {
  onClose = function(self, caller)
    gate(self.id):receive()
    self.note("after close " .. tostring(caller:isOpen()))
  end,
})
recorded("waiterror", {}, {
  onError = function(self) gate(self.id):receive(); self.note "went on" end,
  onMessage = function() error "expected" end,
})
recorded("forever", {}, { onMessage = function() task.channel():receive() end })
recorded("sleeps", {}, { onMessage = function(_, _, data)
  task.sleep(tonumber(data))
  return data
end })

-- Coroutines of the app around the scheduler's waits.

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

-- Clients that do not read.

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

-- Time passes.

recorded("idle", { idleTimeout = 0.3, connectionClosureTimeout = 0.2 }, { onMessage = echo })
recorded("idlecall", { idleTimeout = 0.2 }, {
  onMessage = echo,
  onIdleTimeout = function(_, caller) caller:writeMessage "idle" end,
})
recorded("idleclose", { idleTimeout = 0.2 }, {
  onIdleTimeout = function() return websocket.NORMAL_CLOSURE { reason = "bored" } end,
})
recorded("idlebusy", { idleTimeout = 0.2 }, { onMessage = function(self)
  gate(self.id):receive()
  return "went on"
end })
recorded("beat", { pingInterval = 0.15, pongTimeout = 0.5 }, { onMessage = echo })
recorded("beatfast", { pingInterval = 0.5, pongTimeout = 0.15 }, { onMessage = echo })
recorded("beatoff", { pingInterval = 0.1, pongTimeout = 0 }, { onMessage = echo })
recorded("beatwait", { pingInterval = 0.15, pongTimeout = 0.5 }, { onMessage = function(self, _, data)
  if data == "wait" then
    gate(self.id):receive()
  end
  return data:sub(1, 10)
end })
recorded("hurry", { messageTimeout = 0.6 }, { onMessage = function(_, _, data) return tostring(#data) end })

-- Callers that outlive their connections.

local kept = {}
recorded("kept", {}, { onOpen = function(self, caller)
  kept[self.id] = caller
  caller:setAttribute("colour", "blue"):setAttribute("n", 1)
end, onMessage = function(_, caller, data)
  if data == "attributes" then
    local removed = caller:removeAttribute "n"
    return ("%s %s %s"):format(caller:getAttribute "colour", removed, caller:getAttribute "n")
  end
  return tostring(caller:isOpen()) .. " " .. #caller:getConnectionId() .. " " ..
    tostring(caller:getNegotiatedSubProtocol()) .. " " .. tostring(caller:isSecure()) .. " " ..
    tostring(caller:remoteAddress()) .. " " .. caller:request().path
end, onClose = function(self, caller)
  local same = caller == kept[self.id]
  self.note("after close: caller " .. tostring(same) .. " " .. tostring(caller:getAttribute "colour"))
end })
listener:attach("/use", { onTextMessage = function(_, _, id)
  local caller = kept[id]
  local out = {}
  for _, call in ipairs { { "writeMessage", "x" }, { "writeMessage", { 1 } }, { "writeTextMessage", "x" },
    { "writeBinaryMessage", "x" }, { "pushText", "x" }, { "ping" }, { "pong" }, { "close" },
    { "setAttribute", "k", 1 }, { "getAttribute", "k" }, { "removeAttribute", "k" }, { "getConnectionId" },
    { "getNegotiatedSubProtocol" }, { "isSecure" }, { "remoteAddress" }, { "request" }, { "bufferedAmount" } } do
    local value, err = caller[call[1]](caller, call[2], call[3])
    local kind = call[1] == "close" and "ConnectionClosureError" or "ConnectionError"
    out[#out + 1] = value == nil and websocket.isError(err, kind) and "gone" or call[1] .. " is not"
  end
  collectgarbage()
  return table.concat(out, " ") .. " " .. tostring(caller:isOpen()) .. " " .. tostring(caller)
end })
listener:attach("/forget", { onTextMessage = function(_, _, id)
  kept[id] = nil
  callers[id] = nil
  collectgarbage()
  collectgarbage()
  return "forgotten"
end })

-- Routes and listeners at run time.

local extras = {}
local function extra(seconds)
  local own = websocket.listener(0, { host = "127.0.0.1" })
  local handlers = {
    stop = function(id)
      own:gracefulStop(seconds)
      note(id, "stopped")
    end,
    abort = function(id)
      own:immediateStop()
      note(id, "aborted")
    end,
    wait = function(id)
      gate(id):receive()
      note(id, "went on")
    end,
  }
  own:attach("/id/:id", function(request)
    local id = request.params.id
    return {
      onOpen = function() note(id, "open") end,
      onMessage = function(_, _, what)
        handlers[what](id)
        return what
      end,
      onClose = function(_, _, code) note(id, "close " .. code) end,
    }
  end)
  own:start()
  extras[own.port] = own
  return own.port
end
local orders = {
  attach = function(path) listener:attach(path, { onMessage = function() return path end }) end,
  detach = function(path) listener:detach(path) end,
  listen = extra,
  stop = function(port, seconds) extras[port]:gracefulStop(seconds) end,
  abort = function(port) extras[port]:immediateStop() end,
}
listener:attach("/admin", { onTextMessage = function(_, _, text)
  local what, first, second = text:match "^(%S+) (%S+) ?(%S*)$"
  local ok, result = pcall(orders[what], tonumber(first) or first, tonumber(second))
  return tostring(ok and (result or "done") or result)
end })
""")


def finish(c, *notes):
    c.send_frame(CLOSE, close_payload(1000))
    c.expect_close(1000, skip=True)
    more = ["after close: caller true blue"] if c.id.startswith("kept") else []
    app.told(c.id, *notes, "close 1000", *more)


# -- a handler waits

@suite.case("wait.order", "messages that come meanwhile are handled after it, in order")
def _():
    with app.open("waits") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        names = ["m%d" % i for i in range(20)]
        for name in names:
            c.text(name)
        app.barrier()
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        for name in ["wait"] + names:
            c.expect(TEXT, name)
        finish(c, "open", "message wait", *["message " + n for n in names])


@suite.case("wait.pings", "pings are answered while a handler waits")
def _():
    with app.open("waits") as c:
        c.send(frame(TEXT, "wait") + frame(PING, "a") + frame(TEXT, "m") + frame(PING, "b"))
        c.expect(PONG, "a")
        c.expect(PONG, "b")
        c.send_frame(PING, "c")
        c.expect(PONG, "c")
        app.go(c.id)
        c.expect(TEXT, "wait")
        c.expect(TEXT, "m")
        finish(c, "open", "message wait", "message m")


@suite.case("wait.onping", "with onPing they wait in line, as messages do")
def _():
    with app.open("waitping") as c:
        c.send(frame(TEXT, "wait") + frame(PING, "a") + frame(TEXT, "m"))
        app.noted(c.id, "message wait")
        app.barrier()
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        c.expect(TEXT, "wait")
        c.expect(PONG, "a")
        c.expect(TEXT, "m")
        finish(c, "open", "message wait", "ping a", "message m")


@suite.case("wait.others", "other connections go on")
def _():
    with app.open("waits") as c, app.open("waits") as d:
        c.text("wait")
        app.noted(c.id, "message wait")
        d.text("m")
        d.expect(TEXT, "m")
        app.go(c.id)
        c.expect(TEXT, "wait")


@suite.case("wait.open", "messages that come while onOpen waits are handled after it")
def _():
    with app.open("waitopen") as c:
        c.send(frame(TEXT, "a") + frame(PING, "p"))
        c.expect(PONG, "p")
        app.told(c.id, "open")
        app.go(c.id)
        c.expect(TEXT, "a")
        finish(c, "open", "went on", "message a")


@suite.case("wait.open.gone", "the client goes while onOpen waits")
def _():
    with app.open("waitopen") as c:
        app.noted(c.id, "open")
        c.reset()
    app.go(c.id)
    app.told(c.id, "open", "went on", "close 1006")


@suite.case("wait.close", "onClose waits: the Caller is of no use, nothing else is told")
def _():
    with app.open("waitclose") as c:
        c.send(frame(CLOSE, close_payload(1000)))
        c.expect_close(1000)
        app.noted(c.id, "close 1000")
        app.go(c.id)
    app.told(c.id, "open", "close 1000", "after close false")


@suite.case("wait.error", "onError waits: onClose comes after it")
def _():
    with app.open("waiterror") as c:
        c.text("x")
        c.expect_close(1011, reply=True)
        app.told(c.id, "open", "message x", "error Error: *expected")
        app.go(c.id)
    app.told(c.id, "open", "message x", "error Error: *expected", "went on", "close 1011*")


@suite.case("wait.gone", "the client closes while a handler waits: onClose comes after it")
def _():
    with app.open("waits") as c:
        c.send(frame(TEXT, "wait") + frame(TEXT, "m") + frame(CLOSE, close_payload(1000, "bye")))
        c.expect_close(1000)
        app.told(c.id, "open", "message wait")
        app.go(c.id)
    app.told(c.id, "open", "message wait", "message m", "close 1000 bye")


for how, act in {"reset": lambda c: c.reset(), "fin": lambda c: c.close()}.items():
    @suite.case("wait.gone." + how, "the same without a close frame")
    def _(how=how, act=act):
        before = app.get().fds()
        with app.open("waits") as c:
            c.send(frame(TEXT, "wait") + frame(TEXT, "m"))
            app.noted(c.id, "message wait")
            act(c)
        app.barrier()
        wait_until(lambda: app.get().fds() <= before, what="the socket is closed at once")
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        queued = ["message m"] if how == "fin" else []     # nobody waits for it after a reset
        app.told(c.id, "open", "message wait", *queued, "close 1006")


@suite.case("wait.forever", "a handler that never ends holds no socket when its client has gone")
def _():
    before = app.get().fds()
    for act in (lambda c: c.reset(), lambda c: c.close(), lambda c: c.send(frame(CLOSE))):
        with app.open("forever", "forever-%d" % id(act)) as c:
            c.text("x")
            app.noted(c.id, "message x")
            act(c)
    wait_until(lambda: app.get().fds() <= before, what="descriptors back")


@suite.case("wait.forever.unread", "also when the client has left more behind than is read")
def _():
    before = app.get().fds()
    with app.open("forever", "forever-unread") as c:
        c.send(frame(TEXT, "x") + frame(TEXT, "y" * 8000) * 12)
        app.noted(c.id, "message x")
        app.barrier()
        c.reset()
    wait_until(lambda: app.get().fds() <= before, what="descriptors back")


@suite.case("wait.much", "more than 64 KiB wait: reading stops, nothing is lost")
def _():
    with app.open("waits") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        big = [b"%04d " % i + b"x" * 8000 for i in range(2000)]     # 16 MB: no socket buffer has that
        data = b"".join(frame(TEXT, m, mask=b"abcd") for m in big)
        sent = fill(c, data)
        if sent > 12 << 20:
            raise Failed("the server took %d bytes while the handler waited" % sent)
        grown = app.get().rss()
        app.go(c.id)
        read_while_sending(c, data[sent:], ["wait"] + [m[:20].decode() for m in big])
        finish(c, "open", *["message *"] * 2001)
        if not INSTRUMENTED and app.get().rss() > grown + (8 << 20):
            raise Failed("memory grew by %d" % (app.get().rss() - grown))


def fill(c, data):
    """Sends until nothing more is taken; returns how much was."""
    c.sock.settimeout(0.3)
    sent = 0
    try:
        while sent < len(data):
            sent += c.sock.send(data[sent:sent + 65536])
    except TimeoutError:
        pass
    return sent


def read_while_sending(c, data, messages):
    c.seconds = SECONDS * 4     # of the socket, and so of both directions
    thread = threading.Thread(target=lambda: c.send(data), daemon=True)
    thread.start()
    for message in messages:
        c.expect(TEXT, message, SECONDS * 4)
    thread.join(SECONDS)
    if thread.is_alive():
        raise Failed("not all was read")


@suite.case("wait.much.fin", "what was sent before the end of the stream is handled")
def _():
    with app.open("waits") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        count = 40
        c.send(b"".join(frame(TEXT, b"%04d" % i + b"x" * 4000) for i in range(count)))
        c.shutdown()
        app.barrier()
        app.told(c.id, "open", "message wait")
        app.go(c.id)
        app.told(c.id, "open", "message wait", *["message %04d*" % i for i in range(count)],
                 "close 1006")


@suite.case("wait.sleeps", "many handlers sleep at once, each its own time", background=True)
def _():
    clients = [app.open("sleeps") for _ in range(50)]
    began = time.monotonic()
    for i, c in enumerate(clients):
        c.text("%g" % (0.2 + 0.2 * (i % 3)))
    for i, c in enumerate(clients):
        c.expect(TEXT, "%g" % (0.2 + 0.2 * (i % 3)))
        took = time.monotonic() - began
        if i % 3 == 2 and took < 0.55:
            raise Failed("0.6 s took %.3f s" % took)
        c.close()


# -- coroutines of the app

@suite.case("coroutine.wrap", "waits pass through the app's coroutines")
def _():
    with app.open("coroutines") as c:
        c.text("first")
        app.noted(c.id, "message first")
        app.go(c.id)
        for text in ("first yielded", "inner second", "from inside", "end"):
            c.expect(TEXT, text)
        finish(c, "open", "message first")


@suite.case("coroutine.pcall", "waits pass through pcall and xpcall; errors are caught there")
def _():
    with app.open("pcalls") as c:
        c.text("x")
        app.noted(c.id, "message x")
        app.go(c.id)
        c.expect(TEXT, "false expected x, handled expected too")
        finish(c, "open", "message x")


@suite.case("coroutine.cannot", "a wait inside table.sort or gsub is an error that says so")
def _():
    with app.open("cannot") as c:
        c.text("x")
        c.expect(TEXT, "false cannot wait here cannot wait here")
        finish(c, "open", "message x")


@suite.case("coroutine.tasks", "tasks write to the connection; join waits")
def _():
    with app.open("tasks") as c:
        c.text("x")
        c.expect(TEXT, "after")
        app.go(c.id)
        c.expect(TEXT, "task x")
        c.expect(TEXT, "joined")
        finish(c, "open", "message x")


# -- clients that do not read

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
        finish(c, "open", "message %d" % count, "most is small")


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
        finish(c, "open", "message still here")


@suite.case("push.plain", "pushText to another connection; invalid UTF-8 is refused")
def _():
    with app.open("echo") as c, Raw(app.port, "/pushtext") as control:
        control.text(c.id + " hello")
        c.expect(TEXT, "hello")
        control.expect(TEXT, "userdata")
        finish(c, "open")
        control.text(c.id + " late")
        kind, text = control.recv_message()
        if not text.startswith(b"Connection"):
            raise Failed("%r" % text)


# -- time passes

@suite.case("idle.close", "idle without a callback: 1001", background=True)
def _():
    with app.open("idle") as c:
        c.text("x")
        c.expect(TEXT, "x")
        c.expect_close(1001, reply=True)
    app.told(c.id, "open", "message x", "close 1001*")


@suite.case("idle.silent", "... and the client does not answer the close", background=True)
def _():
    with app.open("idle") as c:
        c.expect_close(1001)
    app.told(c.id, "open", "close 1006")


@suite.case("idle.callback", "onIdleTimeout comes again after each idle period", background=True)
def _():
    with app.open("idlecall") as c:
        for _ in range(3):
            c.expect(TEXT, "idle")
        c.text("x")
        c.recv_until(b"x")
        finish(c, "open", "idleTimeout", "idleTimeout", "idleTimeout", "*", *["*"] * extra(c))


def extra(c):
    """How many more notes there are than the five that are asked for."""
    return max(0, len([n for n in app.seen(c.id) if not n.startswith("close")]) - 5)


@suite.case("idle.returns", "onIdleTimeout returns a close frame", background=True)
def _():
    with app.open("idleclose") as c:
        c.expect_close(1000, "bored", reply=True)
    app.told(c.id, "open", "idleTimeout", "close 1000 bored")


@suite.case("idle.busy", "a handler at work is no idle connection", background=True)
def _():
    with app.open("idlebusy") as c:
        c.text("x")
        c.silent(0.7)
        app.go(c.id)
        c.expect(TEXT, "went on")
        c.expect_close(1001, reply=True)
    app.told(c.id, "open", "message x", "close 1001*")


@suite.case("beat.answered", "a client that answers pings stays", background=True)
def _():
    with app.open("beat") as c:
        for _ in range(8):
            _, _, op, data = c.recv_frame()
            if op != PING:
                raise Failed("got opcode %d" % op)
            c.send_frame(PONG, data)
        c.text("x")
        c.expect(TEXT, "x")
        finish(c, "open", "message x")


for name in ("beat", "beatfast"):
    @suite.case("beat.dead." + name, "a client that does not is closed (1001), told as 1006",
                background=True)
    def _(name=name):
        began = time.monotonic()
        with app.open(name) as c:
            pings = 0
            while True:
                _, _, op, data = c.recv_frame()
                if op == CLOSE:
                    break
                pings += 1
            if int.from_bytes(data[:2], "big") != 1001:
                raise Failed("closed with %r" % data)
            c.expect_eof()
            if time.monotonic() - began < 0.6:
                raise Failed("closed after %.3f s" % (time.monotonic() - began))
        app.told(c.id, "open", "close 1006")


@suite.case("beat.message", "data counts as life, pings do not", background=True)
def _():
    with app.open("beat") as c:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            if c.recv_frame()[2] == PING:
                c.text("x")
        c.send_frame(PING)
        while True:
            _, _, op, data = c.recv_frame()
            if op == CLOSE:
                break
            if op == PING:
                c.send_frame(PING, "no answer")
        app.noted(c.id, "close 1006")


@suite.case("beat.off", "pongTimeout 0: nobody is judged by the answer", background=True)
def _():
    with app.open("beatoff") as c:
        for _ in range(8):
            if c.recv_frame()[2] != PING:
                raise Failed("no ping")
        c.text("x")
        c.recv_until(b"x")
        finish(c, "open", "message x")


@suite.case("beat.unread", "a client that the server does not read is not judged", background=True)
def _():
    with app.open("beatwait") as c:
        c.text("wait")
        app.noted(c.id, "message wait")
        for i in range(40):
            c.text("%04d" % i + "x" * 4000)        # past 64 KiB the socket is not read any more
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            if c.arrived(0.1):
                _, _, op, data = c.recv_frame()
                if op != PING:
                    raise Failed("got opcode %d %r" % (op, data))
                c.send_frame(PONG, data)
        app.go(c.id)
        controls = []
        for text in ["wait"] + ["%04dxxxxxx" % i for i in range(40)]:
            if c.recv_message(controls=controls) != (TEXT, text.encode()):
                raise Failed("no " + text)
        finish(c, "open", "message wait", *["message *"] * 40)


@suite.case("assembly.slow", "a message that is not finished in time: 1008", background=True)
def _():
    with app.open("hurry") as c:
        c.send(frame(TEXT, "a", fin=False))
        c.expect_close(1008)
    app.told(c.id, "open", "error ConnectionError: message took too long",
             "close 1008 message took too long")


@suite.case("assembly.header", "so is a header that is not finished", background=True)
def _():
    with app.open("hurry") as c:
        c.send(frame(TEXT, "abc")[:1])
        c.expect_close(1008)
    app.told(c.id, "open", "error ConnectionError: message took too long",
             "close 1008 message took too long")


@suite.case("assembly.stream", "messages one behind the other, each quick, go on as long as they like",
            background=True)
def _():
    with app.open("hurry") as c:
        data = frame(TEXT, "x" * 1000, mask=b"abcd")
        until = time.monotonic() + 2
        c.send(data[:500])
        count = 0
        while time.monotonic() < until:
            c.send(data[500:] + data[:500])        # each segment ends inside the next message
            c.expect(TEXT, "1000")
            count += 1
            c.arrived(0.05)
        c.send(data[500:])
        c.expect(TEXT, "1000")
        finish(c, "open", *["message x*"] * (count + 1))


@suite.case("assembly.controls", "pings in between do not save it", background=True)
def _():
    with app.open("hurry") as c:
        c.send(frame(TEXT, "a", fin=False))
        for _ in range(200):
            c.send(frame(CONT, "b", fin=False) + frame(PING, "p"))
            if c.recv_frame()[2] == CLOSE:
                return
            c.arrived(0.05)
        raise Failed("still open")


# -- Callers

@suite.case("caller.fields", "what a Caller tells; attributes")
def _():
    with app.open("kept") as c:
        c.text("?")
        c.expect(TEXT, "true 16 nil %s 127.0.0.1 /kept/%s" % (str(over.TLS).lower(), c.id))
        c.text("attributes")
        c.expect(TEXT, "blue 1 nil")
        finish(c, "open", "message ?", "message attributes")


@suite.case("caller.gone", "a Caller in a global is safe after its connection has gone")
def _():
    with app.open("kept") as c, Raw(app.port, "/use") as control, Raw(app.port, "/forget") as forget:
        c.reset()
        app.noted(c.id, "close 1006")
        for _ in range(3):
            control.text(c.id)
            control.expect(TEXT, "gone " * 17 + "false Caller (gone)")
        forget.text(c.id)
        forget.expect(TEXT, "forgotten")


# -- routes and listeners at run time

def admin(text, seconds=None):
    with Raw(app.port, "/admin") as control:
        control.text(text)
        return control.recv_message(seconds)[1].decode()


def status(path, port=None):
    with Raw(port or app.port) as c:
        return c.handshake(path).status


@suite.case("routes.attach", "attach and detach while clients are connected")
def _():
    if status("/later") != 404:
        raise Failed("there already")
    admin("attach /later")
    with Raw(app.port, "/later") as c:
        c.text("x")
        c.expect(TEXT, "/later")
        if "already attached" not in admin("attach /later/"):
            raise Failed("attached twice")
        admin("detach /later")
        if status("/later") != 404:
            raise Failed("still there")
        c.text("x")
        c.expect(TEXT, "/later")
        if "not attached" not in admin("detach /later"):
            raise Failed("detached twice")
    admin("attach /later")
    with Raw(app.port, "/later") as c:
        c.text("x")
        c.expect(TEXT, "/later")
    admin("detach /later/")


def listen(seconds=5):
    return int(admin("listen %g" % seconds))


def second(port, ident):
    return Raw(port, "/id/" + ident)


def refused(port):
    try:
        with Raw(port):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:         # it was in the queue: its handshake over TLS fails
        return False


@suite.case("stop.graceful", "gracefulStop: 1001, onClose, no new connections, others unharmed")
def _():
    port = listen()
    with second(port, "g1") as a, second(port, "g2") as b, app.open("echo") as other:
        thread = threading.Thread(target=admin, args=("stop %d 5" % port,))
        thread.start()
        a.expect_close(1001, "server shutting down", reply=True)
        b.expect_close(1001, "server shutting down", reply=True)
        thread.join(SECONDS * 2)
        if thread.is_alive():
            raise Failed("gracefulStop did not return")
        wait_until(lambda: refused(port), what="refuses connections")
        other.text("x")
        other.expect(TEXT, "x")
    app.told("g1", "open", "close 1001")
    app.told("g2", "open", "close 1001")
    if admin("stop %d 5" % port) != "done":
        raise Failed("a second stop is no error")


@suite.case("stop.limit", "gracefulStop: who does not answer is cut off", background=True)
def _():
    port = listen()
    with second(port, "l1") as a:
        admin("stop %d 0.3" % port)
        a.expect_close(1001)
    app.told("l1", "open", "close 1006")


@suite.case("stop.immediate", "immediateStop: no close frame, 1006")
def _():
    port = listen()
    with second(port, "i1") as a:
        admin("abort %d" % port)
        if a.recv_all():
            raise Failed("something was sent")
        wait_until(lambda: refused(port), what="refuses connections")
    app.told("i1", "open", "close 1006")


@suite.case("stop.self", "gracefulStop from a handler of a connection of that listener")
def _():
    port = listen(5)
    with second(port, "s1") as a, second(port, "s2") as b:
        began = time.monotonic()
        a.text("stop")
        a.expect_close(1001, reply=True)
        b.expect_close(1001, reply=True)
        app.told("s1", "open", "stopped", "close 1001")
        app.told("s2", "open", "close 1001")
        if time.monotonic() - began > 4:
            raise Failed("it waited for itself")


@suite.case("stop.self.limit", "... with a time limit that passes", background=True)
def _():
    port = listen(0.4)
    with second(port, "t1") as a, second(port, "t2") as b:
        b.text("wait")
        a.text("stop")
        a.expect_close(1001)
        b.expect_close(1001)
        app.told("t1", "open", "stopped", "close 1006")
        app.go("t2")
        app.told("t2", "open", "went on", "close 1006")


@suite.case("stop.self.immediate", "immediateStop from a handler of that listener")
def _():
    port = listen()
    with second(port, "u1") as a:
        a.text("abort")
        if a.recv_all():
            raise Failed("something was sent")
    app.told("u1", "open", "aborted", "close 1006")


app.add_finals(suite, r"expected")

if __name__ == "__main__":
    suite.main()
