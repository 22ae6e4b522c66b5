-- SPDX-License-Identifier: MIT
--
-- Recursion without end, in every place an app's code runs at: overflow_test.py tells which.
--
--      /PLACE/KIND/LOCALS      a frame has so many local variables: what is left of the stack when it
--                              overflows is another amount each time
--      /echo                   to see whether the worker is well

local constraint = require "neap.constraint"
local task = require "neap.task"
local websocket = require "neap.websocket"

local function deep(body, locals)
  local names = {}
  for i = 1, locals do names[i] = "v" .. i end
  local declared = locals > 0 and "local " .. table.concat(names, ", ") .. " = n" or ""
  return load(("local f\nf = function(n)\n%s\n%s\nend\nf(1)"):format(declared, body), "=deep")
end

local kinds = {
  plain = "return 1 + f(n + 1)",
  metamethod = "return setmetatable({}, { __index = function(_, k) return f(k) + 1 end })[n] + 1",
  coroutines = "local ok, err = coroutine.resume(coroutine.create(f), n + 1) if not ok then error(err, 0) end return 1",
  sorted = "local t = { 1, 2, 3 } table.sort(t, function(a, b) return f(n + 1) < 1 end) return 1",
  ["in pcall"] = "local ok, err = pcall(f, n + 1) error(err, 0)",
  handled = "return 1 + select(2, xpcall(f, function(err) return { err } end, n + 1))",
}

-- What people look at when a coroutine of theirs has failed.
local function examined(locals)
  return function()
    local co = coroutine.create(deep(kinds.plain, locals))
    local _, err = coroutine.resume(co)
    assert(coroutine.status(co) == "dead" and not coroutine.resume(co))
    assert(debug.traceback(co, err):find "stack overflow.*stack traceback:\n.*deep:.*in function")
    assert(debug.getinfo(co, 0, "S").short_src == "deep" and debug.getinfo(co, 1).currentline > 0)
    debug.getlocal(co, 0, 1)
    assert(coroutine.status(co) == "dead" and not coroutine.resume(co))
    error(err, 0)
  end
end

local function overflow(kind, locals)
  return kind == "examined" and examined(locals) or deep(kinds[kind], locals)
end

local listener = websocket.listener(tonumber(arg[1]), { host = "127.0.0.1" })

listener:attach("/echo", { onMessage = function(_, _, data) return data end })

local function service(callbacks)
  return setmetatable({}, { __index = callbacks })
end

local places = {}

for _, callback in ipairs {
  "onOpen", "onMessage", "onTextMessage", "onBinaryMessage", "onPing", "onPong", "onClose",
} do
  places[callback] = function(fn) return { [callback] = fn } end
end

function places.onIdleTimeout(fn)
  return { onIdleTimeout = fn }, { idleTimeout = 0.02 }
end

function places.onError(fn)
  return { onError = fn, onMessage = function() error "to be told to onError" end }
end

places["after a wait"] = function(fn)
  return { onMessage = function() task.sleep(0) return fn() + 1 end }
end

function places.bound(fn)
  return { onMessage = websocket.bind("json", fn) }
end

function places.constraint(fn)
  local odd = setmetatable({}, { __index = fn, __newindex = fn })
  return {
    onMessage = function(_, _, data)
      local _, err = constraint.record { x = constraint.int {} }:validate(odd)
      return data, err
    end,
  }
end

function places.dispatched(fn)
  return { onGo = fn }, { dispatcherKey = "event" }
end

function places.beside(fn)
  return { onGo = fn }, { dispatcherKey = "event", dispatcherStreamId = "id" }
end

function places.task(fn)
  return { onMessage = function() return tostring(select(2, task.spawn(fn):join())) end }
end

function places.timeout(fn)
  return { onMessage = function() return task.timeout(60, fn) end }
end

function places.timer(fn)
  return { onMessage = function() task.after(0, fn) return "set" end }
end

function places.stream(fn)
  return { onMessage = function() return fn end }
end

places["stream of a coroutine"] = function(fn)
  return { onMessage = function() return coroutine.create(fn) end }
end

places["stream of a loop"] = function(fn)
  return { onMessage = function() return websocket.stream(fn, {}, 1) end }
end

for name, place in pairs(places) do
  local _, config = place(function() end)
  listener:attach("/" .. name:gsub(" ", "-") .. "/:kind/:locals", config or {}, function(request)
    local params = request.params
    return service((place(overflow(params.kind, tonumber(params.locals)))))
  end)
end

listener:attach("/upgrade/:kind/:locals", function(request)
  overflow(request.params.kind, tonumber(request.params.locals))()
  return service {}
end)
