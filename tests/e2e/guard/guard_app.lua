-- SPDX-License-Identifier: MIT
--
-- Handlers that never end, in every place an app's code runs at: guard_test.py tells which.
--
--      /PLACE/KIND     onOpen, onMessage, …, upgrade, task, timer, stream, bound, dispatched, beside
--      /good           handlers that do end, with results that are checked
--      /memory/KIND    handlers that use up the heap
--      arg[2]          a kind to loop in right here, at load

local log = require "neap.log"
local task = require "neap.task"
local websocket = require "neap.websocket"

local loops = {}

loops["while"] = function()
  while true do end
end

loops["repeat"] = function()
  repeat until false
end

loops["for"] = function()
  local n = 0
  for i = 1, math.huge do n = n + i % 3 end
end

loops["tail calls"] = function()
  local function f() return f() end
  f()
end

loops["recursion"] = function()
  local function f(n) return 1 + f(n + 1) end
  while true do pcall(f, 1) end
end

loops["pcall"] = function()
  while true do pcall(function() while true do end end) end
end

loops["xpcall"] = function()
  while true do
    xpcall(function() while true do end end, function() while true do end end)
  end
end

loops["message handler"] = function()
  xpcall(function() error "x" end, function() while true do end end)
  while true do end
end

loops["metamethods"] = function()
  local t = setmetatable({}, {
    __index = function(_, k) return k end,
    __add = function(a) return a end,
    __lt = function() return true end,
  })
  while t < t do t = t + t[1] end
end

loops["an index"] = function()
  return setmetatable({}, { __index = function() while true do end end }).x
end

loops["coroutines"] = function()
  while true do
    local co = coroutine.wrap(function() for i = 1, 10 do coroutine.yield(i) end end)
    for _ = 1, 10 do co() end
  end
end

loops["nested coroutines"] = function()
  local function nest(depth)
    if depth == 0 then while true do end end
    return coroutine.wrap(function() return pcall(nest, depth - 1) end)()
  end
  while true do nest(5) end
end

loops["a resumed one"] = function()
  while true do coroutine.resume(coroutine.create(function() while true do end end)) end
end

loops["iterator"] = function()
  for _ in function() return 1 end do end
end

loops["sort"] = function()
  local t = {}
  for i = 1, 100 do t[i] = i % 7 end
  while true do pcall(table.sort, t, function() return true end) end
end

loops["gsub"] = function()
  while true do
    local _ = ("x"):rep(1000):gsub(".", function(c) return c .. c end)
  end
end

loops["strings"] = function()
  local s = ""
  while true do s = (s .. "x"):rep(3):sub(-20) end
end

loops["tables"] = function()
  while true do
    local t = {}
    t.a, t.b = {}, t
    if not t.b.a then return end
  end
end

loops["after a wait"] = function()
  task.sleep(0)
  while true do end
end

loops["a wait in pcall"] = function()
  while true do
    pcall(function()
      task.sleep(0)
      while true do end
    end)
  end
end

-- These no error reaches.

loops["pattern"] = function()
  local found = ("a"):rep(50):find(("a*"):rep(50) .. "b")
  return found
end

-- Set as C modules do it.
loops["finalizer"] = function()
  debug.getmetatable(newproxy(true)).__gc = function() while true do end end
  collectgarbage()
end

-- Machine code of `jmp .` or `b .`: a C function that does not return.
loops["c function"] = function()
  local ffi = require "ffi"
  ffi.cdef "void *mmap(void *, size_t, int, int, int, long);"
  local code = ffi.C.mmap(nil, 4096, 7, 0x22, -1, 0)
  ffi.copy(code, ffi.arch == "arm64" and "\0\0\0\20" or "\235\254", 4)
  ffi.cast("void (*)(void)", code)()
end

-- And these not even the guard's timer.

-- With `all`, no signal whatever.
local function block(all)
  local ffi = require "ffi"
  ffi.cdef [[
    int sigemptyset(void *);
    int sigfillset(void *);
    int sigaddset(void *, int);
    int pthread_sigmask(int, const void *, void *);
  ]]
  local set = ffi.new "char[1024]"
  ffi.C.sigemptyset(set)
  ffi.C.sigaddset(set, 27)
  if all then ffi.C.sigfillset(set) end
  assert(ffi.C.pthread_sigmask(0, set, nil) == 0)
end

loops["blind"] = function()
  block(false)
  while true do end -- nobody is told
end

loops["deaf"] = function()
  block(true)
  while true do end
end

if arg[2] then loops[arg[2]]() end

-- ---------------------------------------------------------------------------------------------------

local listener = websocket.listener(tonumber(arg[1]), { host = "127.0.0.1" })

local function echo(_, _, data)
  return data
end

listener:attach("/echo", { onMessage = echo })

-- Which worker it is, by an address that only it has.
local me = tostring({})
listener:attach("/who", { onMessage = function() return me end })

local function service(callbacks)
  return setmetatable({}, { __index = callbacks })
end

local places = {}

function places.onOpen(loop)
  return { onOpen = loop }
end

function places.onMessage(loop)
  return { onMessage = loop }
end

for _, callback in ipairs { "onTextMessage", "onBinaryMessage", "onPing", "onPong", "onClose" } do
  places[callback] = function(loop) return { [callback] = loop } end
end

function places.onIdleTimeout(loop)
  return { onIdleTimeout = loop }, { idleTimeout = 0.05 }
end

function places.onError(loop)
  return { onError = loop, onMessage = function() error "to be told to onError" end }
end

function places.bound(loop)
  return { onMessage = websocket.bind("json", loop) }
end

-- One of its own name, and one that runs beside others of its connection.
function places.dispatched(loop)
  return { onGo = loop }, { dispatcherKey = "event" }
end

function places.beside(loop)
  return { onGo = loop }, { dispatcherKey = "event", dispatcherStreamId = "id" }
end

function places.task(loop)
  return {
    onMessage = function()
      local result, err = task.spawn(loop):join()
      return "joined: " .. tostring(result) .. " " .. tostring(err)
    end,
  }
end

function places.timer(loop)
  return {
    onMessage = function()
      task.after(0, loop)
      return "set"
    end,
  }
end

-- A stream's iterator is app code, too.
function places.stream(loop)
  return { onMessage = function() return loop end }
end

for name, place in pairs(places) do
  local _, config = place(loops["while"])
  listener:attach("/" .. name .. "/:kind", config or {}, function(request)
    return service((place(loops[request.params.kind])))
  end)
end

listener:attach("/upgrade/:kind", function(request)
  loops[request.params.kind]()
  return service {}
end)

-- ---------------------------------------------------------------------------------------------------

local function fib(n)
  return n < 2 and n or fib(n - 1) + fib(n - 2)
end

-- Each answers for itself; they wait inside of what LuaJIT can yield across.
local checks = {
  function() return fib(12) == 144 end,
  function(x)
    local ok, v = pcall(function()
      task.sleep(0)
      return x + 1
    end)
    return ok and v == x + 1
  end,
  function(x)
    local t = setmetatable({}, { __index = function(_, k)
      task.sleep(0)
      return k .. x
    end })
    return t.a == "a" .. x and t.b == "b" .. x
  end,
  function()
    local n = 0
    for i in function(_, i)
      task.sleep(0)
      if (i or 0) < 5 then return (i or 0) + 1 end
    end do
      n = n + i
    end
    return n == 15
  end,
  function(x)
    local co = coroutine.wrap(function(a)
      for _ = 1, 20 do
        task.sleep(0)
        a = a + coroutine.yield(a)
      end
      return "end"
    end)
    local last = co(x)
    for _ = 1, 19 do last = co(1) end
    return last == x + 19
  end,
  function(x)
    local t = {}
    for i = 1, 100 do t[i] = (i * 7919 + x) % 211 end
    table.sort(t, function(a, b) return a > b end)
    for i = 2, 100 do
      if t[i - 1] < t[i] then return false end
    end
    return true
  end,
  function(x)
    local ok, err = xpcall(function() error { x } end, function(e) return e[1] end)
    return not ok and err == x
  end,
  function(x)
    local ok, value = task.spawn(function()
      task.sleep(0)
      return true, x
    end):join()
    return ok and value == x
  end,
}

listener:attach("/good", {
  onMessage = function(_, _, data)
    local x = tonumber(data)
    for i, check in ipairs(checks) do
      if not check(x) then return "check " .. i .. " failed" end
    end
    return data
  end,
})

-- Finalizers that raise, run whenever the collector comes by.
listener:attach("/finalizers", {
  onMessage = function(_, _, data)
    local ffi = require "ffi"
    for _ = 1, 50 do
      getmetatable(newproxy(true)).__gc = function() error "in a proxy" end
      ffi.gc(ffi.new "char[8]", function() error "in a cdata" end)
    end
    return data
  end,
})

-- For the processor time of a handler: so much at a time, with a wait in between.
listener:attach("/busy", {
  onMessage = function(_, _, data)
    local seconds, times = data:match "(%S+) (%S+)"
    for _ = 1, tonumber(times) do
      local till = os.clock() + tonumber(seconds)
      while os.clock() < till do end
      task.sleep(0)
    end
    return "done"
  end,
})

-- Waits where nobody else can go on: no use of processor time.
listener:attach("/blocks", {
  onMessage = function(_, _, data)
    local ffi = require "ffi"
    ffi.cdef "int poll(void *, unsigned long, int);"
    ffi.C.poll(nil, 0, tonumber(data))
    return "done"
  end,
})

-- What is left over is collected when the state is closed.
local last
listener:attach("/lasts", {
  onMessage = function()
    last = newproxy(true) -- luacheck: ignore 231
    getmetatable(last).__gc = function() while true do end end
    return "kept"
  end,
})

-- ---------------------------------------------------------------------------------------------------

local kept = {} -- luacheck: ignore 241

-- luacheck: push ignore 241
local eaters = {
  table = function()
    local t = {}
    for i = 1, 1e9 do t[i] = {} end
  end,
  string = function()
    local t = {}
    for i = 1, 1e9 do t[i] = ("x"):rep(100000) .. i end
  end,
  ["one string"] = function() return #("x"):rep(2 ^ 29) end,
  ffi = function()
    local ffi = require "ffi"
    local t = {}
    for i = 1, 1e9 do t[i] = ffi.new("char[?]", 100000) end
  end,
  swallowed = function()
    local t = {}
    while true do pcall(function() for _ = 1, 1000 do t[#t + 1] = {} end end) end
  end,
  kept = function()
    for i = 1, 1e9 do kept[i] = {} end
  end,
  -- Garbage is no use of memory.
  garbage = function()
    local s
    for i = 1, 3000 do s = ("x"):rep(100000) .. i end
    return #s > 0
  end,
}
-- luacheck: pop

listener:attach("/memory/:kind", function(request)
  local eat = eaters[request.params.kind]
  return service {
    onMessage = function()
      log.info "eating"
      return tostring(eat())
    end,
  }
end)
