#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Cancelled tasks, on the real scheduler: whatever a task waits for, the wait raises, and so does
every later call that may wait; shields; streams whose client has gone. The rules themselves are in
tests/spec/task_spec.lua.
"""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import CLOSE, TEXT, Failed, Raw, Suite, close_payload  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("cancel")
folder = tempfile.mkdtemp(prefix="neaptest-")

LUA = r"""
local shared = require "neap.shared"
local disk = shared.dict("disk", { persist = "%s/disk" })
local memory = shared.dict "memory"
local big = ("x"):rep(100000)

local function kindOf(good, err)
  return tostring(good) .. " " .. tostring(type(err) == "table" and err.kind or err)
end

-- Writes to a client that does not read, in a task that is out of time. `form` is how the call is written.
local function nothing(...) return ... end
local lookup = setmetatable({}, { __index = function(_, caller) return caller:writeBinaryMessage(big) end,
  __concat = function(caller) caller:writeBinaryMessage(big) return "" end,
  __call = function(_, caller) return caller:writeBinaryMessage(big) end })
local forms = {
  statement = function(caller) caller:writeBinaryMessage(big) end,
  value = function(caller) return (caller:writeBinaryMessage(big)) end,
  converted = function(caller) caller:writeMessage { big } end,
  ping = function(caller) caller:writeBinaryMessage(big) caller:ping "x" end,
  argument = function(caller) nothing(1, caller:writeBinaryMessage(big)) end,
  assert = function(caller) assert(caller:writeBinaryMessage(big)) end,
  condition = function(caller) if not caller:writeBinaryMessage(big) then error "it went on" end end,
  tail = function(caller) local r = (function() return caller:writeBinaryMessage(big) end)() return r and 1 end,
  vararg = function(caller, ...) local t = { caller:writeBinaryMessage(big), ... } return #t end,
  index = function(caller) local r = lookup[caller] return r and 1 end,
  call = function(caller) return (lookup(caller)) end,
  iterator = function(caller) for _ in caller.writeBinaryMessage, caller, big do return end end,
  wrapped = function(caller)
    local results = { coroutine.wrap(function() caller:writeBinaryMessage(big) return "went on" end)() }
    return results[1] and 1
  end,
  nested = function(caller)
    coroutine.wrap(function()
      coroutine.wrap(function() caller:writeBinaryMessage(big) end)()
    end)()
  end,
  inner = function(caller)
    local good, err = pcall(function() caller:writeBinaryMessage(big) end)
    if not good then error(err, 0) end
  end,
  traced = function(caller)
    local good, err = xpcall(function() caller:writeBinaryMessage(big) end, function(e) return e end)
    if not good then error(err, 0) end
  end,
}

-- The loop gets hot, so that it is compiled code that calls.
local function flood(form, caller, note)
  for i = 1, 100 do
    forms[form](caller, i)
  end
  note "all was sent"
end

recorded("writes", { maxBufferedBytes = 100000 }, { onMessage = function(self, caller, form)
  local caught
  local ok, err = task.timeout(0.1, function()
    caught = { pcall(flood, form, caller, self.note) }
    self.note("caught " .. kindOf(unpack(caught)))
    for _, again in ipairs { "statement", "ping", "converted" } do
      self.note(again .. " " .. kindOf(pcall(forms[again], caller)))
    end
    error(caught[2], 0)
  end)
  self.note("timeout " .. kindOf(ok, err))
  task.sleep(0)
end })

-- Where nothing catches it, and where no function is there to raise in.
recorded("ends", { maxBufferedBytes = 100000 }, { onMessage = function(self, caller, how)
  local went = false
  local ways = {
    plain = function() while true do caller:writeBinaryMessage(big) end end,
    direct = function() while pcall(caller.writeBinaryMessage, caller, big) do end end,
    base = function()
      repeat
        caller:writeBinaryMessage(big:sub(1, 90000))
        task.sleep(0.01)
      until caller:bufferedAmount() > 0 -- the system takes no more
      return caller:writeBinaryMessage(big)
    end,
  }
  local handle = task.spawn(function()
    local result, err = ways[how]()
    if how == "direct" then task.sleep(0) end
    went = how ~= "base"
    return result, err
  end)
  repeat task.sleep(0.01) until caller:bufferedAmount() > 100000
  task.sleep(0.05)
  handle:cancel()
  local ok, err = handle:join()
  self.note(kindOf(ok, err) .. " " .. tostring(went))
end })

local function cancelled(work)
  local handle = task.spawn(function()
    pcall(task.sleep, 3600)
    return work()
  end)
  task.sleep(0)
  handle:cancel()
  return handle:join()
end

-- Calls that may wait, and others, in a task that is cancelled.
listener:attach("/calls", { onTextMessage = function(_, caller)
  local raises = {
    sleep = function() task.sleep(0) end,
    text = function() caller:writeTextMessage "never sent" end,
    binary = function() caller:writeBinaryMessage "never sent" end,
    message = function() caller:writeMessage "never sent" end,
    value = function() caller:writeMessage { "never sent" } end,
    ping = function() caller:ping() end,
    pong = function() caller:pong() end,
    close = function() caller:close() end,
    size = function() websocket.groupSize "g" end,
    members = function() websocket.groupMembers "g" end,
    set = function() disk:set("k", 1) end,
    add = function() disk:add("k", 1) end,
    incr = function() disk:incr "k" end,
    delete = function() disk:delete "k" end,
    sorted = function() table.sort({ 2, 1 }, function() disk:set("k", 1) end) end,
    stop = function() listener:gracefulStop(0) end,
  }
  local passes = {
    memory = function() memory:set("k", 1) memory:incr "k" end,
    get = function() assert(disk:get "k" == nil) end,
    push = function() assert(caller:pushText "pushed") end,
    group = function() websocket.addConnectionToGroup("g", caller) websocket.pushTextToGroup("g", "to all") end,
    tell = function() caller:isOpen() caller:setAttribute("k", 1) caller:getConnectionId() end,
  }
  local wrong = json.array {}
  cancelled(function()
    for name, call in pairs(raises) do
      local good, err = pcall(call)
      if good or not websocket.isError(err, "Cancelled") then
        table.insert(wrong, name .. " " .. kindOf(good, err))
      end
    end
    for name, call in pairs(passes) do
      local good, err = pcall(call)
      if not good then table.insert(wrong, name .. " " .. kindOf(good, err)) end
    end
  end)
  return wrong
end })

recorded("close", {}, { onMessage = function(self, caller)
  local handle = task.spawn(function()
    caller:close(4000, "bye", 30)
    self.note "it went on"
  end)
  task.sleep(0.05)
  handle:cancel()
  local _, err = handle:join()
  self.note("joined " .. err.kind)
end })

recorded("closenow", {}, { onMessage = function(self, caller)
  self.note("result " .. tostring(cancelled(function()
    return caller:close(4000, "bye", 0) == caller
  end)))
end })

recorded("stop", {}, { onMessage = function(self)
  local own = websocket.listener(0, { host = "127.0.0.1" })
  own:attach("/x", { onOpen = function() note(self.id, "guest") end })
  own:start()
  self.note("port " .. own.port)
  gate(self.id):receive()
  local handle = task.spawn(function()
    own:gracefulStop(3600)
    self.note "it went on"
  end)
  task.sleep(0.05)
  handle:cancel()
  self.note("stop " .. kindOf(handle:join()))
  own:immediateStop()
end })

-- Shields.

recorded("shield", {}, { onMessage = function(self, caller, what)
  local work = {
    cleans = function()
      local clean = task.shield(function()
        task.sleep(0.1)
        caller:writeMessage "cleaned"
        disk:set("shielded", 1)
        return websocket.groupSize "none"
      end)
      return "clean " .. clean .. " " .. kindOf(pcall(task.sleep, 0))
    end,
    limit = function()
      local began = task.spawn(function() end) and os.time()
      local good, err = pcall(task.shield, task.sleep, 60)
      return kindOf(good, err) .. " " .. tostring(os.time() - began >= 4 and os.time() - began <= 10)
    end,
  }
  self.note(tostring(cancelled(work[what])))
end })
recorded("stream", {}, { onMessage = function(self)
  return coroutine.create(function()
    coroutine.yield "first"
    local good, err = pcall(task.sleep, 3600)
    note("no connection " .. self.id, "woken " .. kindOf(good, err))
    task.shield(function()
      task.sleep(0.05)
      note("no connection " .. self.id, "cleaned")
    end)
    coroutine.yield "late"
    task.sleep(0)
    note("no connection " .. self.id, "it went on")
  end)
end })

-- pcall against it: the guard ends what else would never end.
recorded("stubborn", {}, { onMessage = function(self)
  local handle = task.spawn(function()
    while true do pcall(task.sleep, 1) end
  end)
  task.sleep(0)
  handle:cancel()
  self.note("joined " .. tostring(select(2, handle:join())):match "exceeded its time limit")
end })

-- All at random, for the sanitizer.
recorded("random", { maxBufferedBytes = 50000 }, { onMessage = function(self, caller, seed)
  math.randomseed(tonumber(seed))
  local channel, live, ended = task.channel(2), {}, 0
  local function act()
    local roll = math.random(9)
    if roll == 1 then task.sleep(math.random() / 100)
    elseif roll == 2 then channel:send(roll)
    elseif roll == 3 then channel:receive()
    elseif roll == 4 then caller:writeBinaryMessage(big)
    elseif roll == 5 then task.timeout(math.random() / 50, act)
    elseif roll == 6 then task.shield(act)
    elseif roll == 7 then coroutine.wrap(act)()
    elseif roll == 8 then disk:incr "n"
    else pcall(act) end
  end
  for i = 1, 200 do
    live[i] = task.spawn(function()
      for _ = 1, 20 do act() end
    end)
  end
  for _ = 1, 400 do
    live[math.random(#live)]:cancel()
    if math.random(4) == 1 then task.sleep(0) end
  end
  for _, handle in ipairs(live) do handle:cancel() end
  local rest = task.every(0.001, function() -- for those that wait in a shield
    if not channel:tryReceive() then channel:trySend(1) end
  end)
  for _, handle in ipairs(live) do
    handle:join()
    ended = ended + 1
  end
  rest:cancel()
  self.note("ended " .. ended)
  return websocket.NORMAL_CLOSURE
end })
"""
app = App(LUA % folder, options=("--workers", "1", "--handler-timeout", "0.5"))
unguarded = App(LUA % (folder + "/2"), options=("--workers", "1", "--handler-timeout", "0", "--memory-limit", "0"))

FORMS = ("statement", "value", "converted", "ping", "argument", "assert", "condition", "tail",
         "vararg", "index", "call", "iterator", "wrapped", "nested", "inner", "traced")
for form_ in FORMS:
    @suite.case("write." + form_, "a write that waits raises where it is")
    def _(form=form_):
        with app.open("writes") as c:
            c.text(form)
            app.told(c.id, "open", "message " + form, "caught false Cancelled",
                     "statement false Cancelled", "ping false Cancelled",
                     "converted false Cancelled", "timeout nil Timeout")


@suite.case("write.unguarded", "also without the guard of time and memory")
def _():
    os.mkdir(folder + "/2")
    with unguarded.open("writes") as c:
        c.text("nested")
        unguarded.noted(c.id, "caught false Cancelled")
        unguarded.noted(c.id, "timeout nil Timeout")


@suite.case("write.ends", "where nothing catches it the task ends; through pcall it is nil, err")
def _():
    for how in ("plain", "direct", "base"):
        with app.open("ends") as c:
            c.text(how)
            app.told(c.id, "open", "message " + how, "nil Cancelled false")


@suite.case("calls", "every call that may wait raises in a cancelled task, and no other")
def _():
    with Raw(app.port, "/calls") as c:
        c.text("x")
        got = sorted(c.recv_message()[1].decode() for _ in range(3))
        if got != ["[]", "pushed", "to all"]:
            raise Failed("got %r" % got)


@suite.case("close", "a close that waits for the answer")
def _():
    with app.open("close") as c:
        c.text("x")
        app.told(c.id, "open", "message x", "joined Cancelled")
        c.expect(CLOSE, close_payload(4000, "bye"))
        c.send_frame(CLOSE, close_payload(4000))
        app.noted(c.id, "close 4000")
    with app.open("closenow") as c:
        c.text("x")
        c.expect_close(4000, "bye", reply=True)
        app.noted(c.id, "result true")


@suite.case("stop", "a gracefulStop that waits for a client")
def _():
    with app.open("stop") as c:
        c.text("x")
        port = int(app.noted(c.id, "port *").split()[1])
        with Raw(port, "/x"):
            app.noted(c.id, "guest")
            app.go(c.id)
            app.noted(c.id, "stop nil Cancelled")


@suite.case("shield", "clean-up may wait, for whatever it likes")
def _():
    with app.open("shield") as c:
        c.text("cleans")
        c.expect(TEXT, "cleaned")
        app.noted(c.id, "clean 0 false Cancelled")


@suite.case("shield.limit", "for 5 s", background=True)
def _():
    with app.open("shield") as c:
        c.text("limit")
        app.noted(c.id, "false Cancelled true", seconds=20)


@suite.case("stream", "a stream whose client has gone cleans up in a shield")
def _():
    c = app.open("stream")
    c.text("x")
    c.expect(TEXT, "first")
    c.reset()
    app.told("no connection " + c.id, "woken false Cancelled", "cleaned")
    app.noted(c.id, "close 1006")
    app.barrier()
    app.told("no connection " + c.id, "woken false Cancelled", "cleaned")


@suite.case("stubborn", "a task that catches it again and again is ended by the guard")
def _():
    with app.open("stubborn") as c:
        c.text("x")
        app.noted(c.id, "joined exceeded its time limit")


@suite.case("random", "many tasks cancelled anywhere: all of them end")
def _():
    for seed in range(5):
        c = app.open("random")
        c.text(str(seed))
        c.expect_close(1000, reply=True, skip=True, seconds=30)
        app.noted(c.id, "ended 200")


@suite.final("end.folder", "the file of the dictionary is removed")
def _():
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.exists(folder):
        raise Failed("it is still there")


app.add_finals(suite, errors="exceeded its time limit")

if __name__ == "__main__":
    suite.main()
