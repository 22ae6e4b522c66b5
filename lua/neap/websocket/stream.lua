-- SPDX-License-Identifier: MIT
--
-- Streams: a callback returns something that yields values, and each is sent as a message as it comes.
--
--      function          called without arguments until it returns nil       coroutine    resumed until it ends
--      websocket.stream  of an array, of what pairs and ipairs return, or of one of these
--
-- Inside, each of them is a `step`: a function that returns the next value; nil at the end; nil and an error when it
-- fails; or NOTHING when there is no value this time.
--
-- A stream runs in a task of its own (src/bind/ws/lstream.c), which is cancelled for good when nothing can be sent any
-- more.  It waits while the client reads too slowly, as every write does.  When it never has to, it must give way all
-- the same: see `giveWay`.

local closeframe = require "neap.websocket.closeframe"
local core = require "neap.core"
local coroutines = require "neap.runtime.coroutine"
local errors = require "neap.message.error"
local tell = require "neap.message.tell"
local text = require "neap.message.text"

local resume, status = coroutines.resume, coroutines.status

local NOTHING = {}
local FAILED = "streaming failed"
local INTERNAL_ERROR = closeframe.predefined.INTERNAL_SERVER_ERROR.status

---@class websocket.Stream
local meta = { __name = "websocket.Stream" }

-- What a coroutine raised, with its traceback.
local raisedMeta = {}

-- --- Steps ------------------------------------------------------------------------------------------------------

local function ofThread(co)
  local ended = status(co) == "dead"
  local function got(ok, value, err)
    ended = status(co) == "dead"
    if not ok then
      return nil, setmetatable({ value = value, trace = debug.traceback(co, "") }, raisedMeta)
    elseif value == nil and err == nil and not ended then
      return NOTHING
    end
    return value, err
  end
  return function()
    if ended then
      return nil
    end
    return got(resume(co))
  end
end

local function ofArray(t)
  local i = 0
  return function()
    i = i + 1
    return t[i]
  end
end

-- What follows `in` in a for loop. The second value is the element, where there is one.
local function ofLoop(fn, state, control)
  return function()
    local first, second = fn(state, control)
    if first == nil then
      return nil, second
    end
    control = first
    if second ~= nil then
      return second
    end
    return first
  end
end

jit.off(ofLoop, true) -- of pairs it calls the original `next` (interpret.lua)

--- Whether convert takes a value as a stream.
---@param v any
---@return boolean
local function isStream(v)
  return type(v) == "function" or type(v) == "thread" or getmetatable(v) == meta
end

local function stepOf(source)
  if type(source) == "function" then
    return source
  elseif type(source) == "thread" then
    return ofThread(source)
  end
  return source.step
end

local function new(step)
  return setmetatable({ step = step }, meta)
end

--- Makes a stream of an array, of what pairs or ipairs return, of a function or of a coroutine.
---@param source table|function|thread
---@param ... any what a for loop takes besides a function
---@return websocket.Stream
local function stream(source, ...)
  if getmetatable(source) == meta then
    return source
  elseif type(source) == "table" then
    return new(ofArray(source))
  elseif type(source) == "function" and select("#", ...) > 0 then
    return new(ofLoop(source, ...))
  elseif isStream(source) then
    return new(stepOf(source))
  end
  errors.raise("websocket.stream(source): source must be an array, a function, a coroutine, or what pairs or ipairs "
    .. "return, it is " .. text.show(source))
end

--- A stream of what `fn` makes of each value of another. It may return nil, err to end it.
---@param source function|thread|websocket.Stream
---@param fn fun(value: any): any, any
---@return websocket.Stream
local function map(source, fn)
  local step = stepOf(source)
  return new(function()
    local value, err = step()
    if value == nil or value == NOTHING then
      return value, err
    end
    return fn(value)
  end)
end

-- --- Giving way -------------------------------------------------------------------------------------------------

-- Streams that never wait take turns. What a stream sends costs it 1, and 1 for each KiB. One that has used up its
-- SHARE, or finds that all together have used up TURN, lines up; in the next turn of the loop as many go on as TURN
-- has room for. So a turn is short, however many streams there are, and connections are read and written in between.
local SHARE, TURN = 32, 128
local spent = 0 -- by all, since the last tick
local line, first, last, ticking = {}, 1, 0, false

local function tick()
  local woken = 0
  spent = 0
  while woken < TURN / SHARE and first <= last do
    if core.wake(line[first]) then -- false: it was stopped meanwhile
      woken = woken + 1
    end
    line[first] = nil
    first = first + 1
  end
  ticking = first <= last
  if ticking then
    core.timer(0, 0, tick)
  end
end

local function lineUp()
  last = last + 1
  line[last] = core.current()
  if not ticking then
    ticking = true
    core.timer(0, 0, tick)
  end
  core.park()
end

-- Returns what the stream has used up of its share.
local function giveWay(used, cost)
  spent = spent + cost
  used = used + cost
  if used < SHARE and spent < TURN then
    return used
  end
  lineUp()
  return 0
end

-- --- Running ----------------------------------------------------------------------------------------------------

-- A coroutine raised. What a function raises ends the task: C does the same with it.
local function raised(caller, name, err)
  local open = caller:isOpen()
  if open or not errors.isError(err.value, "Cancelled") then
    core.log("error", ("error in stream of %s: %s%s"):format(name, tell.tell(err.value), err.trace))
  end
  if open then
    core.fail(caller, INTERNAL_ERROR, FAILED, tell.asError(err.value))
  end
end

-- The session ends for nil, err. That the client is gone is not a failure.
local function fail(caller, name, err)
  if getmetatable(err) == raisedMeta then
    raised(caller, name, err)
  elseif caller:isOpen() then
    local said, _, public = tell.tell(err)
    core.log("warn", ("stream of %s returned an error: %s"):format(name, said))
    core.fail(caller, INTERNAL_ERROR, public and FAILED .. ": " .. public or FAILED, tell.asError(err))
  end
end

-- The session ends for a value that cannot be sent. Why may name the app's fields: that is for the log only.
local function refuse(caller, name, err)
  if caller:isOpen() then
    core.log("error", ("stream of %s: %s"):format(name, err.message))
    core.fail(caller, INTERNAL_ERROR, FAILED, err)
  end
end

-- Sends a value: what it cost, or nil and an error.
local function send(caller, value, binary)
  local bytes, kind = core.hooks.convert(value, binary)
  if bytes == nil then
    return kind == nil and 1 or nil, kind
  elseif kind == "close" then
    caller:writeMessage(value)
    return 1
  elseif kind == "stream" then
    local what = type(value) == "table" and "a stream" or text.show(value)
    return nil, errors.new("Error", what .. " cannot be sent in a stream")
  end
  local sent, err = (kind == "binary" and caller.writeBinaryMessage or caller.writeTextMessage)(caller, bytes)
  return sent and 1 + math.floor(#bytes / 1024), err
end

--- The hook `stream`: sends all values of a stream. Yields.
---@param caller websocket.Caller
---@param source function|thread|websocket.Stream
---@param binary boolean whether strings are sent as binary
---@param name string of the callback, for the log
local function run(caller, source, binary, name)
  local step, used = stepOf(source), 0
  while caller:isOpen() do
    local value, err = step()
    local cost = 1
    if value == nil then
      if err ~= nil then
        fail(caller, name, err)
      end
      return
    elseif value ~= NOTHING then
      cost, err = send(caller, value, binary)
    end
    if not cost then
      return refuse(caller, name, err)
    end
    used = giveWay(used, cost)
  end
end

return {
  NOTHING = NOTHING,
  isStream = isStream,
  map = map,
  run = run,
  stream = stream,
}
