-- SPDX-License-Identifier: MIT
--
-- What chaos_app.lua does: a table of acts, each a function of a Caller (or nil, in timers, tasks and finalizers). What
-- the last one of a callback returns is what the callback returns. An act may raise, wait, or never end.

local ffi = require "ffi"
local json = require "neap.json"
local shared = require "neap.shared"
local task = require "neap.task"
local websocket = require "neap.websocket"
local xml = require "neap.xml"
local log = require "neap.log"

local random = math.random
local acts, taken, names = {}, {}, {}

-- At most one of each worker in this time: a second within a minute would replace the worker, as it says.
local SECONDS_BETWEEN_BREACHES = 90
-- Loops that the time limit ends cost everybody that time.
local SECONDS_BETWEEN_LOOPS = 4
-- Acts that are under way beside the callbacks.
local MOST_TASKS = 100

local function one(list)
  return list[random(#list)]
end

local function chance(n)
  return random(n) == 1
end

-- --- Pools ---------------------------------------------------------------------------------------------------------

local pools = { callers = {}, tasks = {}, timers = {}, channels = {}, things = {} }
local SIZE = 24

local function keep(pool, value)
  local at = random(SIZE)
  local old = pools[pool][at]
  pools[pool][at] = value
  return value, old
end

local function any(pool)
  return pools[pool][random(SIZE)]
end

local function text()
  return ("%x"):format(random(2 ^ 30)):rep(random(4) == 1 and random(2000) or random(4))
end

local function group()
  return "group " .. random(5)
end

local function now()
  return task.now and task.now() or os.time()
end

-- --- Ends that are bad ---------------------------------------------------------------------------------------------

-- Functions that call themselves for ever, with 0 to 40 locals: the stack ends at another place in each.
local deep = {}
for count = 0, 40 do
  local locals = {}
  for i = 1, count do
    locals[i] = "a" .. i
  end
  local line = count > 0 and "local " .. table.concat(locals, ",") .. " = n " or ""
  deep[#deep + 1] = loadstring("local f function f(n) " .. line .. "return 1 + f(n + 1) end return f")()
end

local recursions = {
  function() return one(deep)(1) end,
  function() return pcall(one(deep), 1) end,
  function() return xpcall(function() return one(deep)(1) end, function() return one(deep)(1) end) end,
  function()
    local t = {}
    return setmetatable(t, { __index = function(_, k) return t[k .. "x"] end }).x
  end,
  function() local t = {} for i = 1, 300 do t = { t } if i == 299 then return t end end end,
}

function acts.recurse()
  return one(recursions)()
end

local strange = {
  function() error "a plain text" end,
  function() error() end,
  function() error {} end,
  function() error(42) end,
  function() error(setmetatable({}, { __tostring = function() error "in __tostring" end })) end,
  function() error(setmetatable({}, { __tostring = function() return {} end })) end,
  function() error(setmetatable({}, { __index = function() error "in __index" end })) end,
  function() error(websocket.Error("ConnectionError", "made up")) end,
  function() error(newproxy(true)) end,
  function() error(coroutine.create(acts.recurse)) end,
  function() error(("x"):rep(100000)) end,
  function() error("line\nbreak \27[31m\0 \255", 0) end,
  function() return nil + 1 end,
}

function acts.raise()
  return one(strange)()
end

local last = { memory = now() - SECONDS_BETWEEN_BREACHES + 3, loop = now() }

local function due(what, seconds)
  if now() - last[what] < seconds then
    return false
  end
  last[what] = now()
  return true
end

local outOfMemory = {
  function() local t = {} while true do t = { t } end end,
  function() local function f() return coroutine.wrap(f)() end return f() end,
  function() local s = "x" while true do s = s .. s end end,
  function() return pcall(function() local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end) end,
  function() local t = {} while true do t[#t + 1] = coroutine.create(acts.raise) end end,
  function() return ("x"):rep(2 ^ 30) end,
}

function acts.exhaust()
  if due("memory", SECONDS_BETWEEN_BREACHES) then
    return one(outOfMemory)()
  end
end

-- Those that go through C end by themselves, but it takes a while to come back from so many frames.
local endless = {
  function() local function f() return pcall(f) and pcall(f) end return f() end,
  function() local function f(s) return (s:gsub(".", f)) end return f "ab" end,
  function() local function f() table.sort({ 1, 2, 3 }, f) end return f() end,
  function()
    local t = {}
    error(setmetatable(t, { __tostring = function() return tostring(t) end }))
  end,
  function() while true do end end,
  function() while true do pcall(acts.raise) end end,
  function() while true do pcall(error, {}) end end,
  function() while true do coroutine.wrap(function() coroutine.yield(1) end)() end end,
}

function acts.loop()
  if due("loop", SECONDS_BETWEEN_LOOPS) then
    return one(endless)()
  end
end

-- --- The connection ------------------------------------------------------------------------------------------------

local writes = { "writeTextMessage", "writeBinaryMessage", "writeMessage", "pushText", "pushBinary", "push", "ping",
  "pong", "broadcast", "broadcastText", "broadcastBinary" }

local values = {
  text,
  function() return random() * 1000 end,
  function() return chance(2) end,
  function() return { a = { text() }, b = random(9) } end,
  function() local t = {} t[1] = t return t end,
  function() return setmetatable({}, { __index = acts.raise, __tostring = acts.raise }) end,
  function() return one(acts) end,
  function() return 0 / 0 end,
  function() return "\255\254" end,
  function() return websocket.bytes(text()) end,
  function() return ("x"):rep(random(200000)) end,
  function() return newproxy() end,
  function() return nil end,
}

local function value()
  return one(values)()
end

function acts.write(caller)
  if caller then
    return caller[one(writes)](caller, value())
  end
end

function acts.close(caller)
  if caller then
    return caller:close(one { 1000, 1001, 3000, 4999, 1005, 12 }, one { "bye", "", text():sub(1, 100), "a\nb" },
      one { 0, 0.2, -1, -2 })
  end
end

function acts.ask(caller)
  if caller then
    caller:setAttribute(text(), value())
    return { caller:getConnectionId(), tostring(caller:isOpen()), caller:remoteAddress(), caller:bufferedAmount(),
      tostring(caller:request()), tostring(caller), tostring(caller:removeAttribute "k") }
  end
end

-- --- Groups, names, dictionaries -----------------------------------------------------------------------------------

local grouped = {
  function(caller) return websocket.addConnectionToGroup(group(), caller) end,
  function(caller) return websocket.removeConnectionFromGroup(group(), caller) end,
  function(caller) return websocket.storeConnection(group(), caller) end,
  function(caller) return websocket.pushTextToGroup(group(), text(), { except = caller }) end,
  function() return websocket.removeConnectionGroup(group()) end,
  function() return websocket.removeStoredConnection(group()) end,
  function() return websocket.pushToGroup(group(), value()) end,
  function() return websocket.pushBinaryToGroup(group(), text()) end,
  function() return websocket.pushToConnection(group(), value()) end,
  function() return websocket.broadcast("Chaos", value()) end,
  function() return websocket.groupSize(group()) end,
  function() return #websocket.groupMembers(group()) end,
}

function acts.group(caller)
  return one(grouped)(caller)
end

local dicts = { shared.dict("chaos.plain", { maxSize = 2 ^ 20 }), shared.dict "chaos.more" }

local function dictAct(d, k)
  local what = random(7)
  if what == 1 then return d:set(k, value(), chance(2) and random() or nil) end
  if what == 2 then return d:add(k, { text(), { text(), [text()] = 1 } }, 0.05) end
  if what == 3 then return d:incr(k, random(5)) end
  if what == 4 then return d:delete(k) end
  if what == 5 then return #d:keys(chance(2) and "k1" or "", random(20)) end
  if what == 6 then return d:ttl(k) end
  return d:get(k)
end

function acts.dictionary()
  return dictAct(one(dicts), "k" .. random(40))
end

-- --- Tasks ---------------------------------------------------------------------------------------------------------

local running = 0

local function begin(fn, ...)
  if running >= MOST_TASKS then
    return nil
  end
  running = running + 1
  return (keep("tasks", task.spawn(function(...)
    local good, err = pcall(fn, ...)
    running = running - 1
    assert(good, err)
  end, ...)))
end

local tasks = {
  function(caller) return begin(function() task.sleep(random() / 20) return acts.any(caller) end) end,
  function(caller)
    return task.timeout(random() / 20, function() task.sleep(random() / 20) return acts.any(caller) end)
  end,
  function() task.sleep(random() / 50) end,
  function() task.sleep(0) end,
  function() local t = any "tasks" return t and t:cancel() end,
  function() local t = any "tasks" return t and task.timeout(0.05, t.join, t) end,
  function(caller) local t = begin(acts.any, caller) return t and t:cancel() end,
  function()
    local _, old = keep("timers", task.every(0.01 + random() / 10, function() return acts.any(any "callers") end))
    if old then old:cancel() end
  end,
  function() local _, old = keep("timers", task.after(random() / 10, acts.any)) if old then old:cancel() end end,
  function() return keep("channels", task.channel(random(3))) end,
  function() local c = any "channels" return c and task.timeout(0.05, c.send, c, value()) end,
  function() local c = any "channels" return c and task.timeout(0.05, c.receive, c) end,
  function() local c = any "channels" if c then c:trySend(value()) c:tryReceive() c:close() end end,
}

function acts.task(caller)
  return one(tasks)(caller)
end

-- --- Streams, coroutines, conversions ------------------------------------------------------------------------------

local streams = {
  function(caller)
    local n = 0
    return function() n = n + 1 if n < 5 then return acts.any(caller) or "next" end end
  end,
  function(caller)
    return coroutine.create(function()
      for _ = 1, 4 do
        coroutine.yield(value())
        acts.any(caller)
      end
    end)
  end,
  function() return websocket.stream { 1, "two", { 3 } } end,
  function() return websocket.CloseFrame { status = 4000, reason = text():sub(1, 50) } end,
  function() return nil, one { "a reason", {}, websocket.Error("AuthError", "no"), "line\nbreak" } end,
  function() return websocket.NORMAL_CLOSURE end,
}

function acts.stream(caller)
  return one(streams)(caller)
end

local conversions = {
  function() return json.decode(one { "[1,2", '{"a":[{"b":null}]}', ("["):rep(300), text() }) end,
  function() return json.encode(value()) end,
  function() return xml.decode(one { "<a><b/>x</a>", "<a>", ("<a>"):rep(200), text() }) end,
  function() return coroutine.wrap(function(...) coroutine.yield(...) acts.any() end)(value()) end,
  function(caller) local f = coroutine.wrap(acts.any) f(caller) return f() end,
  function() return tostring(one { websocket, task, task.channel(), acts }) .. debug.traceback(text()) end,
  function() log.info(text(), { field = value(), [text()] = text() }) end,
  function() table.sort({ 3, 1, 2 }, function(a, b) acts.any() return a < b end) end,
  function() return (("abc"):gsub(".", acts.any)) end,
}

function acts.convert(caller)
  return one(conversions)(caller)
end

-- --- Garbage with finalizers ---------------------------------------------------------------------------------------

ffi.cdef "struct chaos_thing { int n; };"

-- What a finalizer does: anything, for a caller that may be gone.
local function finalize()
  taken.finalizers = (taken.finalizers or 0) + 1
  return acts.any(any "callers")
end

local function proxy(gc)
  local p = newproxy(true)
  getmetatable(p).__gc = gc
  return p
end

local Thing = ffi.metatype("struct chaos_thing", { __gc = finalize })

local garbage = {
  function() return proxy(finalize) end,
  function() return proxy(acts.raise) end,
  function() return proxy(acts.recurse) end,
  function() return proxy(function() return acts.dictionary() end) end,
  function() return proxy(function() local t = any "tasks" return t and t:cancel() end) end,
  function() return proxy(function(self) keep("things", self) end) end,
  function() return proxy(function() return proxy(finalize) end) end,
  function() return proxy(one { 1, "text", {} }) end,
  function() return ffi.gc(ffi.new "struct chaos_thing", finalize) end,
  function() return ffi.gc(ffi.new "char[5000]", acts.raise) end,
  function() return ffi.gc(ffi.new "char[50]", acts.loop) end,
  function() return proxy(acts.loop) end,
  function() return Thing(1) end,
}

function acts.garbage()
  for _ = 1, random(10) do
    keep("things", one(garbage)())
  end
end

function acts.collect()
  return chance(20) and collectgarbage() or collectgarbage("step", random(100))
end

-- --- Routes --------------------------------------------------------------------------------------------------------

local spares = {}

function acts.routes(caller)
  local spare = one(spares)
  spare.attached = not spare.attached
  if spare.attached then
    spare.listener:attach("/spare", { slowConsumer = "drop" }, spare.service)
  else
    spare.listener:detach "/spare"
  end
  if chance(4) then
    local extra = websocket.listener(0, { host = "127.0.0.1" }):attach("/chaos", spare.service):start()
    return chance(2) and extra:immediateStop() and nil or extra:gracefulStop(0.1) and nil
  end
end

-- --- Choosing ------------------------------------------------------------------------------------------------------

-- Acts named in the fifth argument are left out, to find out which it is.
for name in (arg[5] or ""):gmatch "%w+" do
  acts[name] = function() end
end

for name in pairs(acts) do
  names[#names + 1] = name
end
table.sort(names)

-- Mild ones are more frequent, or no connection would live to see two.
local mild = { "write", "group", "dictionary", "task", "garbage", "collect", "convert", "ask" }

function acts.any(caller)
  local name = chance(4) and one(names) or one(mild)
  taken[name] = (taken[name] or 0) + 1
  return acts[name](caller)
end

local function act(caller)
  for _ = 1, random(4) do
    if chance(3) then
      acts.any(caller)
    else
      pcall(acts.any, caller)
    end
  end
  return acts.any(caller)
end

local upgrades = {
  function(_, class) return class {} end,
  function(_, class) return class end,
  function(_, class) return setmetatable({}, { __index = acts.raise }), class end,
  function() return nil end,
  function() return nil, websocket.UpgradeError { status = 403, reason = text():sub(1, 60) } end,
  function() return acts.any() end,
  function() return acts.recurse() end,
  function(request, class) request:setResponseHeader("X-Chaos", text()) return class {} end,
  function(_, class) task.sleep(random() / 20) return class {} end,
}

return {
  act = act,
  taken = taken,
  met = function(caller)
    keep("callers", caller)
  end,
  upgrade = function(request, class)
    request:originAllowed {}
    return one(upgrades)(request, class)
  end,
  spare = function(listener, service)
    spares[#spares + 1] = { listener = listener, service = service, attached = true }
  end,
}
