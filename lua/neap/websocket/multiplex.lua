-- SPDX-License-Identifier: MIT
--
-- Requests side by side on one connection (dispatcherStreamId): each message says in a field to which request it
-- belongs.
--
--      id at work?  no ──▶ a further handler of the connection, beside those of other ids; it begins at once
--                   yes ─▶ waits behind it; the handler that ends starts the next of its id, later in the turn
--      no id        ────▶ as without dispatcherStreamId: the connection's next message waits for it
--
-- An id is a string or a number.  At most MAX messages of a connection are at work or wait here, and of large ones
-- fewer: decoded, a message may take 25 times the memory of its text.  Then the connection's next message has to wait,
-- and so its socket is not read on.  What is remembered of a connection goes when none is left.
--
-- Tables that a handler returns get the id, unless they have that field: in a copy, for the table is the handler's own.

local core = require "neap.core"
local stream = require "neap.websocket.stream"

local MAX = 64
local MAX_BYTES = 256 * 1024 -- of text; one message alone may have more

-- By Caller, while messages with an id are at work: { count = number, bytes = number, waiting = { [id] = queue of
-- waiting messages, or false for none } }. An entry ends with its last message, or with the connection: `closing`.
local busy = {}

local jsonArray = core.jsonArray

local function isArray(t)
  return getmetatable(t) == jsonArray or type(next(t)) == "number"
end

local function withField(t, key, value)
  local copy = {}
  for k, v in next, t do
    copy[k] = v
  end
  copy[key] = value
  local meta = getmetatable(t)
  return type(meta) == "table" and setmetatable(copy, meta) or copy
end

-- A table that a handler sends, with the id.
local function marked(value, key, id)
  if type(value) ~= "table" or rawget(value, key) ~= nil or isArray(value) then
    return value
  end
  return withField(value, key, id)
end

-- What a handler returned, with the id.
local function reply(key, id, value, ...)
  if type(value) == "nil" or type(value) == "string" then
    return value, ...
  elseif stream.isStream(value) then
    return stream.map(value, function(item)
      return marked(item, key, id)
    end), ...
  end
  return marked(value, key, id), ...
end

-- The connection's state once there is room in it for so many bytes; nil when the connection is over.
local function room(caller, size)
  local state = busy[caller]
  while state and state.count > 0 and (state.count >= MAX or state.bytes + size > MAX_BYTES) do
    if not core.awaitHandler(caller) then
      return nil
    end
    state = busy[caller]
  end
  if not state then
    state = { count = 0, bytes = 0, waiting = {} }
    busy[caller] = state
  end
  return state
end

-- A message that waits for its id, for the handler before it to start.
local function wait(state, id, work, name, message, data)
  local queue = state.waiting[id]
  if not queue then
    queue = {}
    state.waiting[id] = queue
  end
  queue[#queue + 1] = { work = work, name = name, message = message, data = data }
end

-- A handler has returned: the next message of its id begins.
local function finished(self, caller, state, id, size, ...)
  local queue = state.waiting[id]
  if queue and queue[1] then
    local following = table.remove(queue, 1)
    core.start(caller, following.name, following.work, self, caller, state, id, following.message, following.data)
  else
    state.waiting[id] = nil
  end
  state.count, state.bytes = state.count - 1, state.bytes - size
  if state.count == 0 and busy[caller] == state then
    busy[caller] = nil
  end
  return ...
end

--- Lets what a message is dispatched to run beside other messages of its connection.
---@param name string of the callback, for the log
---@param run fun(self: table, caller: websocket.Caller, message: table, text: string): any, any
---@param key string the field that has the id
---@return fun(self: table, caller: websocket.Caller, message: table, text: string): any, any
local function runner(name, run, key)
  -- In a task of its own. A handler that raises ends the session: nothing is to be done about those that wait.
  local function work(self, caller, state, id, message, data)
    return finished(self, caller, state, id, #data, reply(key, id, run(self, caller, message, data)))
  end

  return function(self, caller, message, data)
    local id = message[key]
    local kind = type(id)
    if kind ~= "string" and kind ~= "number" then
      return run(self, caller, message, data)
    end
    local state = room(caller, #data)
    if not state then
      return
    end
    state.count, state.bytes = state.count + 1, state.bytes + #data
    if state.waiting[id] ~= nil then
      wait(state, id, work, name, message, data)
    else
      state.waiting[id] = false
      core.startNow(caller, name, work, self, caller, state, id, message, data)
    end
  end
end

--- An onClose that also forgets what is left of the connection.
---@param fn? function the service's own
---@return fun(self: table, caller: websocket.Caller, statusCode: integer, reason: string)
local function closing(fn)
  return function(self, caller, ...)
    busy[caller] = nil
    if fn then
      return fn(self, caller, ...)
    end
  end
end

return {
  closing = closing,
  runner = runner,
  _test = { busy = busy },
}
