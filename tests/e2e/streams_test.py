#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Streams on the real server: what goes on while one is sent, clients that do not read, that leave,
that start as many as they can, and what is left when they are gone.
"""
import threading
import time

from behaviour import (
    BINARY, CLOSE, INSTRUMENTED, PING, PONG, TEXT, App, Failed, Raw, SECONDS, Server, Suite,
    close_payload, frame, wait_until)

MOST = 32           # streams of a connection

suite = Suite("streams")
app = App(r"""
-- Streams that are alive, as the collector sees it.
local live = setmetatable({}, { __mode = "k" })
local function watched(fn)
  live[fn] = true
  return fn
end
listener:attach("/live", { onTextMessage = function()
  jit.flush() -- a trace keeps the function that it was made for
  collectgarbage()
  collectgarbage()
  local count = 0
  for _ in pairs(live) do count = count + 1 end
  return { streams = count, kilobytes = math.floor(collectgarbage "count") }
end })

-- "gate": a stream of what comes through the gate, three times; anything else is echoed.
recorded("gated", {}, { onMessage = function(self, _, data)
  if data ~= "gate" then
    return data
  end
  local i = 0
  return function()
    i = i + 1
    if i <= 3 then
      gate(self.id):receive()
      return "value " .. i
    end
  end
end })

recorded("counts", {}, { onMessage = function(_, _, data)
  local i, n = 0, tonumber(data)
  if not n then
    return data
  end
  return function()
    i = i + 1
    return i <= n and i or nil
  end
end })

-- Endless ones; /made tells how many values there were.
local made = {}
local function endless(size)
  return function(self, _, data)
    if data == "echo" then
      return data
    end
    made[self.id] = made[self.id] or 0
    local value = ("x"):rep(size)
    return watched(function()
      made[self.id] = made[self.id] + 1
      return value
    end)
  end
end
recorded("endless", { maxBufferedBytes = 200000 }, { onMessage = endless(10000) })
recorded("fast", {}, { onMessage = endless(20) })
recorded("large", {}, { onMessage = endless(2 ^ 20) })
listener:attach("/made", { onTextMessage = function(_, _, id) return made[id] or 0 end })

-- Asleep for an hour, in all the ways there are. What it says when it is stopped is noted.
local sleepers = {}
function sleepers.fn(note)
  return watched(function()
    local ok, err = pcall(task.sleep, 3600)
    note(ok and "slept" or "stopped " .. err.kind)
    return "late"
  end)
end
function sleepers.coroutine(note)
  return coroutine.create(watched(function()
    coroutine.yield "first"
    local _, err = pcall(task.sleep, 3600)
    note("stopped " .. err.kind)
    coroutine.yield "late"
    note "resumed"
  end))
end
function sleepers.twice(note)
  return watched(function()
    pcall(task.sleep, 3600)
    note "stopped once"
    task.sleep(3600)
    note "went on"
  end)
end
function sleepers.channel(note)
  local channel = task.channel()
  return watched(function()
    local _, err = pcall(channel.receive, channel)
    note("stopped " .. err.kind)
    local good, raised = pcall(channel.receive, channel)
    note(tostring(good) .. " " .. tostring(raised))
  end)
end
function sleepers.timeout(note)
  return watched(function()
    local _, err = pcall(task.timeout, 3600, task.sleep, 3600)
    note("stopped " .. err.kind)
  end)
end
function sleepers.nested(note)
  return coroutine.create(watched(function()
    local inner = coroutine.wrap(function()
      local _, err = pcall(task.sleep, 3600)
      note("stopped " .. err.kind)
      coroutine.yield "late"
    end)
    coroutine.yield(inner())
  end))
end
function sleepers.raises(note)
  return watched(function()
    task.sleep(3600)
    note "went on"
  end)
end
function sleepers.careless()
  return watched(function()
    while true do
      task.sleep(3600)
    end
  end)
end
recorded("sleeps", { idleTimeout = 0 }, { onMessage = function(self, caller, data)
  if data == "close" then
    caller:close(4000, "enough", 0.2)
    return nil
  elseif data == "raise" then
    error "expected"
  elseif not sleepers[data] then
    return data
  end
  return sleepers[data](function(text) note("no connection any more " .. self.id, text) end)
end })
recorded("quiet", {}, { onMessage = function(_, _, data)
  return sleepers[data] and sleepers[data](function() end) or data
end })
recorded("idle", { idleTimeout = 0.3 }, { onMessage = function()
  return function()
    task.sleep(0.05)
    return "tick"
  end
end })

-- Notes each stream that begins; one that is told to end does.
local ends = {}
recorded("many", {}, { onMessage = function(self, _, data)
  if data == "plain" then
    return "plain"
  end
  ends[self.id] = ends[self.id] or task.channel(1)
  return watched(function()
    ends[self.id]:receive()
    return nil
  end)
end })
listener:attach("/end", { onTextMessage = function(_, _, id)
  ends[id]:send(true)
  return "ended"
end })

-- All of them take from one channel.
local feed = task.channel(100)
recorded("feed", {}, { onMessage = function()
  return function() return feed:receive() end
end })
listener:attach("/feeds", { onTextMessage = function(_, _, data)
  feed:send(data)
  return "fed"
end })

-- Within the callbacks, and to others.
recorded("own", {}, { onMessage = function(self, caller)
  local i = 0
  return function()
    i = i + 1
    if i == 3 then
      caller:close(4001, "by itself")
    end
    return i
  end
end })
local twice = {}
recorded("twice", {}, { onMessage = function(self)
  twice[self.id] = twice[self.id] or coroutine.create(function()
    coroutine.yield "once"
    gate(self.id):receive()
  end)
  return twice[self.id]
end })
local refused = {}
listener:attach("/refused", { onTextMessage = function(_, _, id) return refused[id] or {} end })
recorded("writes", { maxBufferedBytes = 50000 }, { onMessage = function(self, caller)
  for t = 1, 8 do
    task.spawn(function()
      for i = 1, 80 do
        local sent, err = caller:writeMessage(("%d %02d "):format(t, i) .. ("x"):rep(9995))
        if not sent then
          refused[self.id] = refused[self.id] or {}
          table.insert(refused[self.id], err.kind)
          return
        end
      end
      self.note("task " .. t)
    end)
  end
end })
""")


def asked(name, text=""):
    with Raw(app.port, "/" + name) as c:
        c.text(text)
        return c.recv_message()[1].decode()


def live():
    import json
    return json.loads(asked("live"))


def none_left(seconds=None):
    wait_until(lambda: live()["streams"] == 0, seconds, "streams are collected")


def finish(c):
    c.send_frame(CLOSE, close_payload(1000))
    c.expect_close(1000, skip=True)


# -- order

@suite.case("goes-on", "messages are handled while a stream waits; values come as they are made")
def _():
    with app.open("gated") as c:
        c.send(frame(TEXT, "gate") + frame(TEXT, "a") + frame(PING, "p"))
        c.expect(TEXT, "a")
        c.expect(PONG, "p")
        for i in (1, 2, 3):
            app.go(c.id)
            c.expect(TEXT, "value %d" % i)
            c.text("after %d" % i)
            c.expect(TEXT, "after %d" % i)
        finish(c)
    app.told(c.id, "open", "message gate", "message a", *["message after *"] * 3, "close 1000")


@suite.case("batch", "short streams that do not wait are sent before the next message's answer")
def _():
    with app.open("counts") as c:
        c.send(frame(TEXT, "3") + frame(TEXT, "a") + frame(TEXT, "0") + frame(TEXT, "1")
               + frame(TEXT, "b"))
        for text in ("1", "2", "3", "a", "1", "b"):
            c.expect(TEXT, text)
        finish(c)


@suite.case("long", "a stream of many values arrives whole and in order")
def _():
    with app.open("counts") as c:
        c.text("20000")
        for i in range(20000):
            c.expect(TEXT, str(i + 1))
        finish(c)
    none_left()


@suite.case("two", "two streams of a connection alternate")
def _():
    with app.open("counts") as c:
        c.send(frame(TEXT, "500") * 2)
        got = [int(c.recv_message()[1]) for _ in range(1000)]
        finish(c)
    if sorted(got) != sorted([*range(1, 501)] * 2):
        raise Failed("values are lost or doubled")
    if got[:500] == [*range(1, 501)]:
        raise Failed("the second had to wait for the first's end")


@suite.case("twice", "one coroutine as two streams: the second fails, since the first waits in it")
def _():
    with app.open("twice") as c:
        c.text("a")
        c.expect(TEXT, "once")
        c.text("b")
        c.expect_close(1011, "streaming failed", reply=True)
    app.told(c.id, "open", "message a", "message b", "error Error: cannot resume*", "close 1011*")


@suite.case("own", "a stream that closes its connection ends with it")
def _():
    with app.open("own") as c:
        c.text("x")
        c.expect(TEXT, "1")
        c.expect(TEXT, "2")
        c.expect_close(4001, "by itself", reply=True)
    app.noted(c.id, "close 4001*")


@suite.case("feed", "a stream whose client is gone takes no value away from others")
def _():
    with app.open("feed") as a, app.open("feed") as b:
        for c in (a, b):
            c.text("x")
            app.noted(c.id, "message x")
        a.reset()
        app.noted(a.id, "close 1006")
        for i in range(5):
            asked("feeds", "value %d" % i)
            b.expect(TEXT, "value %d" % i)
        finish(b)


# -- clients that do not read, or read fast

@suite.case("slow", "a client that does not read: no more is made than may be queued")
def _():
    with app.open("endless", rcvbuf=4096) as c:
        c.text("x")
        count = settled(c.id)
        before = app.get().rss()
        for _ in range(3):
            app.barrier()
        if int(asked("made", c.id)) > count + 3:
            raise Failed("values are made although nobody reads")
        c.recv_until(lambda data: len(data) > 3000000)      # it goes on when the client does
        wait_until(lambda: int(asked("made", c.id)) > 250)
        settled(c.id)
        if not INSTRUMENTED and app.get().rss() > before + (1 << 20):
            raise Failed("memory grew by %d" % (app.get().rss() - before))
        c.reset()
    app.noted(c.id, "close 1006")
    none_left()


def settled(ident):
    """Waits until the stream makes no more values; returns how many there were."""
    last = [-1]

    def same():
        app.barrier()
        time.sleep(0.05)
        now = int(asked("made", ident))
        was, last[0] = last[0], now
        return now > 0 and now == was
    wait_until(same, SECONDS * 4)
    return last[0]


@suite.case("slow.several", "several streams of such a client: each has one value more at most")
def _():
    with app.open("endless", rcvbuf=4096) as c:
        c.send(frame(TEXT, "x") * 10)
        first = settled(c.id)
        with app.open("endless", rcvbuf=4096) as d:
            d.text("x")
            one = settled(d.id)
            d.reset()
        if first > one + 12:
            raise Failed("ten streams queued %d values, one %d" % (first, one))
        c.reset()
    none_left()


def reader(c, stop):
    """Reads and throws away, as fast as it can."""
    c.sock.settimeout(0.2)
    while not stop.is_set():
        try:
            if not c.sock.recv(1 << 20):
                return
        except TimeoutError:
            pass
        except OSError:
            return


def with_readers(name, connections, streams, check):
    stop, open_ = threading.Event(), []
    threads = []
    try:
        for _ in range(connections):
            c = app.open(name)
            open_.append(c)
            c.send(frame(TEXT, "x") * streams)
            threads.append(threading.Thread(target=reader, args=(c, stop), daemon=True))
            threads[-1].start()
        for c in open_:
            wait_until(lambda c=c: int(asked("made", c.id)) > 100 * streams, SECONDS * 6)
        check()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for c in open_:
            c.reset()
    none_left(SECONDS * 4)


for name, connections, streams in (("one", 1, 1), ("some", 4, 8), ("all", 6, MOST)):
    @suite.case("fast." + name, "endless streams to fast readers starve nobody: %d times %d"
                % (connections, streams))
    def _(connections=connections, streams=streams):
        def check():
            for _ in range(20):
                app.bystander.check()
        with app.lock:
            pass
        with_readers("fast", connections, streams, check)


@suite.case("fast.large", "values of a mebibyte to a fast reader")
def _():
    stop = threading.Event()
    with app.open("large") as c:
        c.text("x")
        thread = threading.Thread(target=reader, args=(c, stop), daemon=True)
        thread.start()
        try:
            wait_until(lambda: int(asked("made", c.id)) > 50, SECONDS * 6)
            for _ in range(10):
                app.bystander.check(0.1)
        finally:
            stop.set()
            thread.join()
        c.reset()
    none_left(SECONDS * 2)


@suite.case("writes", "several tasks that wait to write to one client: all get through, each in order")
def _():
    with app.open("writes", rcvbuf=8192) as c:
        c.text("x")
        app.noted(c.id, "message x")
        app.barrier()
        last = {}
        for _ in range(640):
            text = c.recv_message()[1].decode()[:5]
            task, i = int(text[0]), int(text[2:])
            if i != last.get(task, 0) + 1:
                raise Failed("task %d wrote %d after %d" % (task, i, last.get(task, 0)))
            last[task] = i
        finish(c)
    if set(last.values()) != {80} or len(last) != 8:
        raise Failed("not all was written: %r" % last)


@suite.case("writes.gone", "and when the client goes, all of them are told")
def _():
    with app.open("writes", rcvbuf=8192) as c:
        c.text("x")
        app.noted(c.id, "message x")
        c.recv_until(lambda data: len(data) > 100000)
        if len([n for n in app.seen(c.id) if n.startswith("task")]) == 8:
            raise Failed("nothing waited")
        c.reset()
    app.noted(c.id, "close 1006")
    done = len([n for n in app.seen(c.id) if n.startswith("task")])
    want = '["%s"]' % '","'.join(["ConnectionError"] * (8 - done))
    wait_until(lambda: asked("refused", c.id) == want, None, "all are told")


# -- the end

ENDS = {
    "reset": (lambda c: c.reset(), "close 1006"),
    "fin": (lambda c: c.close(), "close 1006"),
    "close": (lambda c: c.send(frame(CLOSE, close_payload(1000))), "close 1000"),
    "protocol": (lambda c: c.send(frame(3)), "close 1002*"),
    "own": (lambda c: c.text("close"), "close 1006"),
    "failed": (lambda c: c.text("raise"), "close 1011*"),
}
# What a sleeper notes.
SLEEPERS = {
    "fn": ["stopped Cancelled"], "coroutine": ["stopped Cancelled"], "twice": ["stopped once"],
    "channel": ["stopped Cancelled", "false Cancelled: *"], "timeout": ["stopped Cancelled"],
    "nested": ["stopped Cancelled"], "raises": [], "careless": [],
}

for way in ENDS:
    for kind in SLEEPERS:
        @suite.case("stopped.%s.%s" % (way, kind), "a stream asleep is stopped when its client goes")
        def _(way=way, kind=kind):
            act, closed = ENDS[way]
            with app.open("sleeps") as c:
                c.text(kind)
                app.noted(c.id, "message " + kind)
                if kind == "coroutine":
                    c.expect(TEXT, "first")
                act(c)
                app.noted(c.id, closed)
                app.told("no connection any more " + c.id, *SLEEPERS[kind])
            none_left()
            app.told("no connection any more " + c.id, *SLEEPERS[kind])


@suite.case("idle", "a stream does not keep its connection from being idle")
def _():
    with app.open("idle") as c:
        c.text("x")
        c.expect(TEXT, "tick")
        c.expect_close(1001, "idle timeout", reply=True, skip=True)
    app.noted(c.id, "close 1001*")


@suite.case("leak", "a thousand connections with a sleeping stream each come and go")
def _():
    def round_of(count):
        open_ = []
        for _ in range(count):
            c = app.open("quiet")
            open_.append(c)
            c.send(frame(TEXT, "fn") + frame(TEXT, "coroutine") + frame(TEXT, "careless")
                   + frame(TEXT, "here"))
        for c in open_:
            while c.recv_message()[1] != b"here":
                pass
        seen = live()["streams"]
        if seen < count * 3:
            raise Failed("%d streams of %d are alive" % (seen, count * 3))
        for i, c in enumerate(open_):
            c.reset() if i % 2 else c.close()
        for c in open_:
            app.noted(c.id, "close *")
        none_left(SECONDS * 4)

    round_of(100)
    before, resident = live()["kilobytes"], app.get().rss()
    for _ in range(4):
        round_of(250)
    grown = live()["kilobytes"] - before
    if grown > 1500:        # the notes of a thousand connections are some 600 of them
        raise Failed("Lua has %d KiB more than before" % grown)
    if not INSTRUMENTED and app.get().rss() > resident + (6 << 20):
        raise Failed("memory grew by %d" % (app.get().rss() - resident))


# -- as many as a client likes

@suite.case("most", "past %d streams the next message waits until one ends; pings do not" % MOST)
def _():
    with app.open("many") as c:
        c.send(frame(TEXT, "x") * (MOST + 1) + frame(TEXT, "plain"))
        c.send_frame(PING, "p")
        c.expect(PONG, "p")
        app.told(c.id, "open", *["message x"] * MOST)
        c.silent()
        asked("end", c.id)
        app.told(c.id, "open", *["message x"] * (MOST + 1))     # as many as before
        c.silent()
        asked("end", c.id)
        c.expect(TEXT, "plain")
        finish(c)
    none_left()


@suite.case("most.close", "a client that has as many closes: all are stopped, onClose comes")
def _():
    for act, closed in (ENDS["close"], ENDS["reset"], ENDS["fin"]):
        with app.open("many") as c:
            c.send(frame(TEXT, "x") * (MOST + 3))
            app.told(c.id, "open", *["message x"] * MOST)
            act(c)
            app.noted(c.id, closed)
        none_left()


for how, act in {"reset": lambda c: c.reset(), "fin": lambda c: c.close()}.items():
    @suite.case("most.unread." + how, "the same when it leaves behind more than is read")
    def _(act=act):
        with app.open("many") as c:
            c.send(frame(TEXT, "x") * MOST + frame(TEXT, "x" * 8000) * 12)
            app.told(c.id, "open", *["message x"] * MOST)
            app.barrier()
            act(c)
            app.noted(c.id, "close 1006", SECONDS * 2)
        begun = app.seen(c.id).count("message x")
        if begun != MOST:
            raise Failed("%d streams" % begun)


@suite.case("most.flood", "clients that start streams without end and never read")
def _():
    resident, before = app.get().rss(), live()["kilobytes"]
    open_ = []
    for _ in range(20):
        c = app.open("endless", rcvbuf=4096)
        open_.append(c)
        c.sock.settimeout(0.1)
        try:
            for _ in range(20):
                c.sock.send(frame(TEXT, "x") * 2000)
        except TimeoutError:
            pass
    app.bystander.check()
    streams = live()["streams"]
    if streams > 20 * MOST:
        raise Failed("%d streams of 20 connections" % streams)
    if not INSTRUMENTED and app.get().rss() > resident + 20 * (1 << 20):
        raise Failed("memory grew by %d" % (app.get().rss() - resident))
    for c in open_:
        c.reset()
    none_left(SECONDS * 4)
    wait_until(lambda: live()["kilobytes"] < before + 3000, None, "Lua's memory is back")


# -- shutting down

def stops(how, script="", status=0):
    text = r"""
local task = require "neap.task"
local websocket = require "neap.websocket"
local listener = websocket.listener(0, { host = "127.0.0.1" })
listener:attach("/", { onOpen = function() return function() task.sleep(3600) end end,
  onClose = function(_, _, code) print("closed " .. code) io.stdout:flush() end })
""" + script
    with Server(lua=text, options=("--workers", "1"), args=()) as s:
        open_ = [Raw(s.port, "/") for _ in range(20)]
        began = time.monotonic()
        how(s)
        for c in open_:
            c.expect_close(1001, reply=True, eof=False)
        if s.wait_exit(SECONDS * 3) != status:
            raise Failed("ended with %r" % s.status)
        if time.monotonic() - began > 8:
            raise Failed("the streams held up the end for %.1f s" % (time.monotonic() - began))
        if s.stdout().count("closed 1001") != 20:
            raise Failed("told %r" % s.stdout())
        if "error" in s.log():
            raise Failed(s.log())


@suite.case("drain", "SIGTERM: streams are cut off with their connections, nothing waits for them")
def _():
    stops(lambda s: s.signal(15))


@suite.case("drain.listener", "gracefulStop does not wait for streams")
def _():
    stops(lambda s: None, "task.after(0.5, function() listener:gracefulStop(30) end)")


@suite.case("drain.fed", "an endless stream to a client that does not read is cut off as well")
def _():
    text = r"""
local websocket = require "neap.websocket"
websocket.listener(0, { host = "127.0.0.1" }):attach("/", {
  onOpen = function() return function() return ("x"):rep(10000) end end })
"""
    with Server(lua=text, options=("--workers", "1", "--drain", "1"), args=()) as s:
        c = Raw(s.port, "/", rcvbuf=4096)
        s.signal(15)
        if s.wait_exit(SECONDS * 3) != 0:
            raise Failed("ended with %r" % s.status)
        c.close()


app.add_finals(suite, r"expected|cannot resume")
_ = BINARY

if __name__ == "__main__":
    suite.main()
