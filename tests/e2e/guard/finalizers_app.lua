-- SPDX-License-Identifier: MIT
--
-- Finalizers that do what they can, at the worst moments: finalizers_test.py tells which.
--
--      arg[1]   port
--      arg[2]   folder for files
--
-- `collector` sets a finalizer as C modules do, so that it runs wherever memory is asked for; the
-- usual ways (newproxy, ffi.gc, ffi.metatype) have it run in a task of its own.

local log = require "neap.log"
local shared = require "neap.shared"
local task = require "neap.task"
local websocket = require "neap.websocket"

local listener = websocket.listener(tonumber(arg[1]), { host = "127.0.0.1" })
local folder = arg[2]

local function collector(fn)
  debug.getmetatable(newproxy(true)).__gc = fn
end

local function proxy(fn)
  local new = newproxy(true)
  getmetatable(new).__gc = fn
  return new
end

local function on(path, fn)
  listener:attach(path, { onMessage = function(_, caller, data) return fn(data, caller) end })
end

on("/echo", function(data) return data end)

-- Raising inside of the finalizer is enough: LuaJIT then takes the coroutine for one that runs.
local raised = 0
local function raises()
  pcall(error, "in a finalizer")
  raised = raised + 1
end

local function litter(fn, count)
  for _ = 1, count do collector(fn) end
end

-- The collector never rests, and does a little at each allocation.
collectgarbage("setpause", 1)
collectgarbage("setstepmul", 40)

-- --- Tasks that wait are woken ------------------------------------------------------------------

local function sleepers(count)
  local tasks = {}
  for i = 1, count do tasks[i] = task.spawn(task.sleep, 3600) end
  task.sleep(0)
  return tasks
end

local function joined(tasks)
  local ended = 0
  for _, handle in ipairs(tasks) do
    local _, err = handle:join()
    ended = ended + (err and err.kind == "Cancelled" and 1 or 0)
  end
  return ended
end

on("/cancel", function(data)
  local ended = 0
  for _ = 1, tonumber(data) do
    local tasks = sleepers(50)
    litter(raises, 50)
    for _, handle in ipairs(tasks) do handle:cancel() end
    ended = ended + joined(tasks)
  end
  return ("%d %s"):format(ended, raised > 0)
end)

-- A finalizer cancels the task that is just being cancelled, and others.
on("/twice", function(data)
  local ended = 0
  for _ = 1, tonumber(data) do
    local tasks = sleepers(50)
    local current
    litter(function()
      if current then tasks[current]:cancel() end
      tasks[math.random(50)]:cancel()
      raises()
    end, 50)
    for i, handle in ipairs(tasks) do
      current = i
      handle:cancel()
    end
    current = nil
    ended = ended + joined(tasks)
  end
  return ("%d %s"):format(ended, raised > 0)
end)

-- Waits for the answer to a close frame: it does not come.
on("/closing", function(_, caller)
  task.spawn(function()
    litter(raises, 5000)
    local _, err = caller:close(1000, "", 0.05)
    log.info("closed: " .. tostring(err and err.kind))
  end)
end)

-- Waits for the other workers: for a list of their members, which is made as they answer.
on("/members", function(data, caller)
  websocket.addConnectionToGroup("all", caller)
  for _ = 1, tonumber(data) do
    litter(raises, 20)
    local members, err = websocket.groupMembers("all")
    if not members then return "failed: " .. tostring(err) end
  end
  return "done"
end)

-- Waits for a disk.
local stored = shared.dict("stored", { persist = folder .. "/stored.dict" })

on("/stored", function(data)
  stored:set("text", "no number")
  for i = 1, tonumber(data) do
    litter(raises, 20)
    local sum, err = stored:incr "text"
    if sum or not tostring(err):find "no number" then return "no error: " .. tostring(err) end
    local good, why = stored:set("key", i)
    if not good then return "failed: " .. tostring(why) end
  end
  return "done"
end)

-- --- Dictionaries -------------------------------------------------------------------------------

-- One that is older than the dictionary, and one that is younger: of those that go together LuaJIT
-- takes the youngest first.
local dict
local function last()
  local found = dict:get "list"
  log.info("at the end: " .. #found .. " entries, " .. #dict:keys "names/" .. " names")
end
local kept = { proxy(last) } -- luacheck: ignore 241
dict = shared.dict "finalized"
kept[2] = proxy(last)

local list, names = {}, {}
for i = 1, 500 do
  list[i] = { name = "entry " .. i, value = ("x"):rep(i) }
  names[("a key that is long enough %04d"):format(i)] = true
end
dict:set("list", list)
for name in pairs(names) do dict:set("names/" .. name, true) end


local function uses()
  dict:set("other", ("y"):rep(math.random(200000)))
  dict:get "other"
  dict:keys()
  raised = raised + 1
end

local function good(found)
  for i = 1, #list do
    local entry = found[i]
    if entry.name ~= list[i].name or entry.value ~= list[i].value then return false end
  end
  return #found == #list
end

on("/dictionary", function(data)
  for _ = 1, tonumber(data) do
    litter(uses, 5)
    if not good(dict:get "list") then return "another list" end
    litter(uses, 5)
    local keys = dict:keys "names/"
    for _, key in ipairs(keys) do
      if not names[key:sub(7)] then return "another key: " .. key end
    end
    if #keys ~= 500 then return "some keys" end
    -- A number as a key becomes a string here, which may collect as well.
    litter(uses, 5)
    dict:set("number", list)
    if not good(dict:get "number") then return "another number" end
  end
  return "done " .. tostring(raised > 0)
end)

-- A read that is cut short leaves nothing behind.
on("/cut", function(data)
  dict:set("deep", (function()
    local t = {}
    for _ = 1, 60 do t = { t } end
    return t
  end)())
  local cut = 0
  local function deeper(n)
    local found, why = true, nil
    if n % 5 == 0 then
      found, why = pcall(dict.get, dict, "deep")
    end
    if not found then
      cut = cut + 1
      error(why, 0)
    end
    return 1 + deeper(n + 1)
  end
  for i = 1, tonumber(data) do pcall(deeper, i) end
  return good(dict:get "list") and cut > 0 and "done" or "cut " .. cut
end)

-- --- Finalizers in tasks ------------------------------------------------------------------------

local ffi = require "ffi"
ffi.cdef "typedef struct { int number; } finalized_t; int abs(int); void *malloc(size_t); void free(void *);"

-- The ways to set one: way(fn) → an object
local ways = {
  proxy = proxy,
  shared = function(fn) return newproxy(proxy(fn)) end,
  callable = function(fn) return proxy(setmetatable({}, { __call = function(_, object) fn(object) end })) end,
  later = function(fn)
    local new = proxy(error)
    getmetatable(new).__gc = fn
    return new
  end,
  debug = function(fn) return debug.setmetatable(newproxy(), { __gc = fn }) end,
  ffi = function(fn) return ffi.gc(ffi.new "finalized_t", fn) end,
}
local called
local metatable = { __gc = function(object) return called(object) end }
local finalized_t = ffi.metatype("finalized_t", metatable)
assert(metatable.__gc, "the app's table is as it was")
function ways.metatype(fn)
  called = fn
  return finalized_t()
end

local function collect()
  jit.flush() -- traces hold objects
  collectgarbage()
  collectgarbage()
end

-- While this is true, code is at work that must not be disturbed.
local busy

on("/turn", function(way)
  local early, late = 0, 0
  do
    local function fn() if busy then early = early + 1 else late = late + 1 end end
    busy = true
    for _ = 1, 100 do ways[way](fn) end
    collect()
    for i = 1, 1000 do local _ = { {}, tostring(i) } end
    busy = false
  end
  local expected = way == "shared" and 200 or 100
  for _ = 1, 200 do
    if late == expected then break end
    collect()
    task.sleep(0.01)
  end
  for _ = 1, 3 do
    collect()
    task.sleep(0)
  end
  return ("early %d, late %d"):format(early, late == expected and 0 or late)
end)

-- An endless one, one that raises, and one that waits; another one after each.
on("/endless", function(way)
  local ran = 0
  local function after() ran = ran + 1 end
  local bad = {
    function() while true do end end,
    function() pcall(function() while true do end end) end,
    function() error("in " .. way) end,
    function() error(setmetatable({}, { __tostring = function() error "again" end })) end,
    function() task.sleep(1) end,
    function() local function f() return 1 + f() end f() end,
  }
  for _, fn in ipairs(bad) do
    ways[way](fn)
    collect()
    task.sleep(0)
    ways[way](after)
    collect()
    task.sleep(0)
  end
  for _ = 1, 200 do
    if ran >= #bad then break end
    task.sleep(0.01)
    collect()
  end
  return "ran " .. math.min(ran, #bad)
end)

-- What no collector may raise into code that happens to ask for memory.
on("/wrong", function()
  for _ = 1, 20 do
    proxy(5)
    proxy "text"
    proxy({})
    ffi.gc(ffi.new "finalized_t", ffi.C.abs)  -- takes no such thing
    ffi.gc(ffi.new "finalized_t", ffi.new "int")
    ffi.gc(ffi.C.malloc(10), ffi.C.free)
    ffi.gc(ffi.gc(ffi.new "finalized_t", error), nil)
  end
  local memory = ffi.gc(ffi.C.malloc(10), ffi.C.free)
  ffi.C.free(ffi.gc(memory, nil))
  collect()
  task.sleep(0)
  return "done"
end)

-- What an app may do with the metatable of a proxy.
on("/metatable", function()
  local closed = 0
  local object = newproxy(true)
  local meta = getmetatable(object)
  meta.__index = { close = function(self) getmetatable(self).__gc(self) end }
  meta.__gc = function() closed = closed + 1 end
  meta.__tostring = function() return "a proxy" end
  object:close()
  assert(closed == 1, "called by the app it runs at once")
  assert(tostring(object) == "a proxy" and meta.__metatable == nil)
  assert(getmetatable(newproxy(object)) == meta)
  meta.__metatable = "locked"
  assert(getmetatable(object) == "locked")
  assert(not pcall(newproxy, 5) and type(newproxy()) == "userdata" and type(newproxy(false)) == "userdata")
  return "done"
end)

-- Garbage that cannot go before its finalizers have run.
on("/memory", function(megabytes)
  for i = 1, tonumber(megabytes) do
    local big = ("x"):rep(1024 * 1024) .. i
    proxy(function() return big end)
  end
  return "done"
end)

-- --- Those that live when the worker ends -------------------------------------------------------

local lasting = {}

on("/last", function(what)
  if what == "all" then
    for name, way in pairs(ways) do
      for i = 1, 3 do
        lasting[#lasting + 1] = way(function() print("finalized " .. name .. " " .. i) end)
      end
    end
    lasting[#lasting + 1] = ways.metatype(function() print "finalized metatype" end)
  elseif what == "endless" then
    for i = 1, 5 do
      lasting[#lasting + 1] = proxy(function() while true do end end)
      lasting[#lasting + 1] = proxy(function() print("finalized " .. i) end)
    end
  elseif what == "long" then
    for _ = 1, 1000 do
      lasting[#lasting + 1] = proxy(function()
        local till = os.clock() + 0.05
        while os.clock() < till do end
      end)
    end
  elseif what == "busy" then -- they do what would outlive the state
    local function start()
      print(pcall(task.spawn, print))
      print(pcall(task.after, 0, print))
      print(pcall(websocket.listener, 0))
      print(dict:set("last", 1), dict:get "last", (stored:set("last", 1)))
      lasting[#lasting + 1] = proxy(function() print "made by a finalizer" end)
    end
    lasting[#lasting + 1] = proxy(start)
    lasting[#lasting + 1] = ways.metatype(start)
  end
  return "kept"
end)
