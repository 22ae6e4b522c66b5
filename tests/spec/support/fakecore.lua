-- SPDX-License-Identifier: MIT
--
-- A stand-in for neap.core (the C side), so that the Lua library runs under plain busted.  Services and listeners
-- are tables that record what they were given, requests are tables of raw data, and the scheduler is a loop that
-- resumes what may run until nothing may.  It decides nothing that the specs are about.
--
--      local fake = require "fakecore"
--      fake.reset()                        forget listeners, log lines and tasks; mode "run"
--      fake.request { headers = { { "Host", "example.com" } }, target = "/a?b=c" }
--      fake.run(fn, ...)                   runs fn in a task, to the end; returns its results or raises its error
--      fake.listeners, fake.log            what was opened and logged

local fake = { listeners = {}, log = {}, listenError = nil }

local core = {
  errorMetatable = {},
  hooks = {},
  marker = {},
  mode = "run",
  taskMethods = {},
}

-- Scheduler: a task is a table { co =, parked = } and `ready` a queue of { task, arguments }.

local running
local ready = {}

local function isParked(task)
  return task.parked and not task.over
end

function core.spawn(fn, ...)
  local task = setmetatable({ co = coroutine.create(fn) }, { __index = core.taskMethods })
  ready[#ready + 1] = { task, { n = select("#", ...), ... } }
  return task
end

function core.deep()
  return false
end

function core.current()
  return running
end

function core.park()
  running.parked = true
  return coroutine.yield(core.marker)
end

function core.wake(task, ...)
  if not isParked(task) then
    return false
  end
  task.parked = false
  ready[#ready + 1] = { task, { n = select("#", ...), ... } }
  return true
end

function core.sleep()
  core.wake(running)
  ready[#ready + 1] = { running, { n = 1, true } }
  return coroutine.yield(core.marker)
end

function core.checkCancelled() end

function core.checked() end

function core.finished(task)
  return task.over == true
end

local function pack(...)
  return { n = select("#", ...), ... }
end

local function step(entry)
  local task, arguments = entry[1], entry[2]
  running = task
  task.results = pack(fake.rawResume(task.co, unpack(arguments, 1, arguments.n)))
  running = nil
  if fake.rawStatus(task.co) == "dead" then
    task.over = true
  elseif task.results[2] ~= core.marker then
    error "a task yielded a value of its own to the scheduler"
  end
end

--- Runs a function in a task until nothing is left to run.
function fake.run(fn, ...)
  local task = core.spawn(fn, ...)
  while ready[1] do
    step(table.remove(ready, 1))
  end
  if not task.over then
    error "the task waits for something that nobody will do"
  end
  if not task.results[1] then
    error(task.results[2], 0)
  end
  return unpack(task.results, 2, task.results.n)
end

-- Requests.

local DATA = {} -- key of the raw data, so that every name is left to the __index under test

--- A request of raw data: method, target, headers (array of pairs), params, address, port, secure.
function fake.request(fields)
  return setmetatable({ [DATA] = {
    method = fields.method or "GET",
    target = fields.target or "/",
    headers = fields.headers or {},
    params = fields.params or {},
    address = fields.address or "192.0.2.1",
    port = fields.port or 50000,
    secure = fields.secure or false,
    cache = {},
    response = {},
  } }, fake.requestMeta)
end

--- The raw data of a request; its `response` has the headers that were set, `answered` forbids more.
function fake.data(request)
  return rawget(request, DATA)
end

fake.requestMeta = {}

local function raw(name)
  return function(request)
    return fake.data(request)[name]
  end
end

core.requestMethod, core.requestTarget, core.requestParams = raw "method", raw "target", raw "params"
core.requestFields, core.requestSecure, core.requestCache = raw "headers", raw "secure", raw "cache"

function core.requestPath(request)
  return (fake.data(request).target:match "^[^?]*")
end

function core.requestQuery(request)
  return fake.data(request).target:match "%?(.*)$" or ""
end

function core.requestAddress(request)
  return fake.data(request).address, fake.data(request).port
end

function core.requestField(request, name)
  local values = {}
  for _, field in ipairs(fake.data(request).headers) do
    if field[1]:lower() == name:lower() then
      values[#values + 1] = field[2]
    end
  end
  return values
end

function core.setResponseHeader(request, name, value)
  if fake.data(request).answered then
    return nil, "the answer has been sent"
  end
  table.insert(fake.data(request).response, { name, value })
  return true
end

function core.isRequest(v)
  return getmetatable(v) == fake.requestMeta
end

function core.percentDecode(s, plus)
  if plus then
    s = s:gsub("%+", " ")
  end
  if s:gsub("%%%x%x", ""):find("%", 1, true) or s:find "%%00" then
    return nil
  end
  return (s:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

-- Services, Callers, listeners.

local serviceMeta, callerMeta = {}, {}

function core.service(name, callbacks)
  return setmetatable({ name = name, callbacks = callbacks }, serviceMeta)
end

function core.handlerName(name)
  return name
end

-- What the log calls the handler that runs.
function core.nameHandler(name)
  fake.handler = name
end

function core.isService(v)
  return getmetatable(v) == serviceMeta
end

--- A userdata that counts as a Caller.
function fake.caller()
  local caller = newproxy(true)
  callerMeta[caller] = true
  return caller
end

function core.isCaller(v)
  return callerMeta[v] == true
end

function core.isPushResult()
  return false
end

function core.checkPath(path)
  if path:sub(1, 1) ~= "/" then
    return nil, "a path begins with /"
  end
  return true
end

local listenerMethods = {}

local function pathKey(path)
  return path ~= "/" and path:gsub("/$", "") or path
end

function listenerMethods:attach(path, route)
  if self.routes[pathKey(path)] then
    return nil, "the path is attached already"
  end
  self.routes[pathKey(path)] = route
  return true
end

function listenerMethods:detach(path)
  if not self.routes[pathKey(path)] then
    return nil, "nothing is attached there"
  end
  self.routes[pathKey(path)] = nil
  return true
end

function listenerMethods:start()
  self.started = true
end

function listenerMethods:gracefulStop(seconds)
  self.stopped = seconds
end

function listenerMethods:immediateStop()
  self.stopped = true
end

function listenerMethods:port()
  return tonumber(self.bound:match ":(%d+)$") or 0
end

function listenerMethods:address()
  return self.bound
end

function core.listen(address, config)
  if fake.listenError then
    return nil, setmetatable({ kind = "Error", message = fake.listenError }, core.errorMetatable)
  end
  local listener = setmetatable({ bound = address, config = config, routes = {} }, { __index = listenerMethods })
  table.insert(fake.listeners, listener)
  return listener
end

-- Log, time, JSON.

function core.log(level, message, fields)
  local line = { level = level, message = message }
  for _, field in ipairs(fields or {}) do
    line[field[1]] = field[2]
  end
  table.insert(fake.log, line)
end

function core.mayLogRefusal(reason)
  assert(type(reason) == "string")
  return true
end

function core.logEnabled()
  return true
end

function core.now()
  return os.clock()
end

core.time = os.time
core.isUtf8 = dofile "tests/spec/support/utf8.lua"
core.jsonNull = newproxy()
core.jsonArray = {}

-- Enough JSON for the specs: scalars, and tables with one key.
function core.jsonEncode(value)
  if value == core.jsonNull then
    return "null"
  elseif type(value) == "string" then
    return '"' .. value .. '"'
  elseif type(value) == "number" or type(value) == "boolean" then
    return tostring(value)
  elseif type(value) == "table" then
    local key, item = next(value)
    local encoded, why = core.jsonEncode(item)
    if not encoded then
      return nil, why
    end
    return ('{"%s":%s}'):format(key, encoded)
  end
  return nil, "a " .. type(value) .. " has no JSON form"
end

function core.jsonDecode()
  return nil, "the fake does not decode"
end

--- Forgets what happened before.
function fake.reset()
  fake.listeners, fake.log, fake.listenError = {}, {}, nil
  ready, running = {}, nil
  core.mode = "run"
end

fake.core = core
fake.rawResume, fake.rawStatus = coroutine.resume, coroutine.status
package.loaded["neap.core"] = core

return fake
