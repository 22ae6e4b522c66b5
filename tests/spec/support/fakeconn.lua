-- SPDX-License-Identifier: MIT
--
-- A connection for specs of composed callbacks, on top of fakecore: real JSON, what was failed, and further handlers
-- that run when the spec says so. A handler's results are kept as what would be sent.
--
--      local conn = fakeconn.open(handle)       a service as core.service was given it
--      conn:text '{"a":1}'                      what the callback for a text message returns
--      conn:run()                               goes on with the handlers; { name, results … } of those that have ended
--      conn.failed                              { status =, reason =, err = } of core.fail, or nil
--
-- A handler that yields is one that waits: `conn:run()` goes on with it.

local fake = require "fakecore"
local native = require "nativejson"

local core = fake.core
core.jsonDecode, core.jsonEncode = native.jsonDecode, native.jsonEncode
core.jsonNull, core.jsonArray = native.jsonNull, native.jsonArray

local conns = {}
local methods = {}

local function pack(...)
  return { n = select("#", ...), ... }
end

function core.fail(caller, status, reason, err)
  local conn = conns[caller]
  if conn.failed then
    return false
  end
  conn.failed = { status = status, reason = reason, err = err }
  return true
end

local function resume(conn, handler)
  local results = pack(coroutine.resume(handler.co, unpack(handler.arguments, 1, handler.arguments.n)))
  handler.arguments = { n = 0 }
  if coroutine.status(handler.co) ~= "dead" then
    table.insert(conn.handlers, handler)
    return
  elseif not results[1] then
    core.fail(conn.caller, 1011, "internal error", results[2])
  end
  table.insert(conn.ended, { handler.name, unpack(results, 2, results.n) })
end

function core.start(caller, name, fn, ...)
  local conn = conns[caller]
  if conn.failed then
    return false
  end
  table.insert(conn.handlers, { name = name, co = coroutine.create(fn), arguments = pack(...) })
  return true
end

function core.startNow(caller, name, fn, ...)
  local conn = conns[caller]
  if conn.failed then
    return false
  end
  resume(conn, { name = name, co = coroutine.create(fn), arguments = pack(...) })
  return true
end

function core.handlers(caller)
  return #conns[caller].handlers
end

-- A message's callback that waits here is not over; `run` goes on with it once a handler has ended.
function core.awaitHandler(caller)
  local conn = conns[caller]
  if conn.failed or #conn.handlers == 0 then
    return false
  end
  conn.held = true
  return coroutine.yield()
end

local function goOn(conn)
  conn.held = false
  assert(coroutine.resume(conn.main, not conn.failed))
end

--- Goes on with each handler, in order, once; returns what has ended since the call before.
function methods:run()
  local now = self.handlers
  self.handlers = {}
  for _, handler in ipairs(now) do
    local count = #self.ended
    resume(self, handler)
    if #self.ended > count and self.held then
      goOn(self)
    end
  end
  local ended = self.ended
  self.ended = {}
  return ended
end

local function call(conn, name, ...)
  local results
  conn.main = coroutine.create(function(...)
    results = pack(conn.callbacks[name](conn.instance, conn.caller, ...))
  end)
  local good, err = coroutine.resume(conn.main, ...)
  if not good then
    error(err, 0)
  end
  if results then
    return unpack(results, 1, results.n)
  end
end

local function message(conn, name, data, binary)
  if conn.callbacks[name] then
    return call(conn, name, data)
  elseif conn.callbacks.onMessage then
    return call(conn, "onMessage", data, binary)
  end
end

function methods:text(data)
  return message(self, "onTextMessage", data, false)
end

function methods:binary(data)
  return message(self, "onBinaryMessage", data, true)
end

function methods:close()
  if self.callbacks.onClose then
    return call(self, "onClose", 1000, "")
  end
end

local function open(handle, instance)
  local conn = setmetatable({
    callbacks = handle.callbacks,
    instance = instance or {},
    caller = fake.caller(),
    handlers = {},
    ended = {},
  }, { __index = methods })
  conns[conn.caller] = conn
  return conn
end

return { open = open }
