-- SPDX-License-Identifier: MIT
--
-- Dispatch: a JSON text message goes to the callback that its field `dispatcherKey` names.
--
--      {"event": "un subscribe", …}  ──▶  onUnSubscribe, unless websocket.dispatch gives a callback this very value
--      anything else                 ──▶  onMessage or onTextMessage; ignored without one
--
-- A value becomes a name by leaving out blanks, `_` and `-` and making the letter behind each a capital. That takes a
-- look at every character; so the usual spellings of the names there are get into a table when the service is compiled,
-- and only other spellings are worked out, up to a certain length. Nothing that a client sends is kept.

local bind = require "neap.websocket.bind"
local core = require "neap.core"
local errors = require "neap.message.error"
local multiplex = require "neap.websocket.multiplex"
local text = require "neap.message.text"

local MAX_VALUE = 128 -- longer ones are looked for as they are only
local MAX_WORDS = 8   -- of a name, for spellings to be prepared

---@class websocket.Dispatched a callback that websocket.dispatch has made
---@field value string
---@field callback function|websocket.Bound
---@field fn function
local meta = {
  __name = "websocket.Dispatched",
  __call = function(dispatched, ...)
    return dispatched.fn(...)
  end,
}

--- Whether a value is what websocket.dispatch returned.
---@param v any
---@return boolean
local function isDispatched(v)
  return getmetatable(v) == meta
end

local function checkCallback(value, fn)
  if type(fn) == "function" or bind.isBound(fn) then
    return fn
  elseif isDispatched(fn) then
    errors.fault(("websocket.dispatch(%s, fn): the function has a value already, %s; a callback takes one")
      :format(text.show(value), text.show(fn.value)), fn.fn)
    return fn.callback
  end
  errors.fault(("websocket.dispatch(%s, fn): fn must be a function, or websocket.bind(type, fn); it is %s")
    :format(text.show(value), text.show(fn)))
  return bind.nothing
end

--- Says which value of the route's dispatcherKey a callback is for, whatever the callback's name. Does not yield.
---@param value string
---@param fn function|websocket.Bound
---@return websocket.Dispatched
local function dispatch(value, fn)
  if type(value) ~= "string" then
    errors.fault(("websocket.dispatch(value, fn): value must be a string such as \"subscribe\", it is %s")
      :format(text.show(value)))
    value = tostring(value)
  end
  local callback = checkCallback(value, fn)
  return setmetatable({
    value = value,
    callback = callback,
    fn = bind.isBound(callback) and callback.fn or callback,
  }, meta)
end

--- The name of the callback for a value.
---@param value string
---@return string
local function nameOf(value)
  return "on" .. (" " .. value):gsub("[ _-]+([a-z]?)", string.upper)
end

local function lowered(word)
  return word:sub(1, 1):lower() .. word:sub(2)
end

-- The usual spellings of a name: unSubscribe, UnSubscribe, un subscribe, un_subscribe, …
local function spellings(name)
  local body = name:sub(3)
  local list, words, small = { body, lowered(body) }, {}, {}
  for word in body:gsub("[A-Z]", " %0"):gmatch "[^ ]+" do
    words[#words + 1], small[#small + 1] = word, lowered(word)
  end
  if #words <= MAX_WORDS then
    for _, mark in ipairs { " ", "_", "-" } do
      list[#list + 1] = table.concat(words, mark)
      list[#list + 1] = table.concat(small, mark)
    end
  end
  return list
end

-- Runs a callback that dispatch leads to, from (self, caller, message, text).
local function runner(target, onError, limits)
  local callback, name, nameHandler = target.callback, core.handlerName(target.name), core.nameHandler
  if bind.isBound(callback) then
    local run = bind.decoded(callback, onError, limits)
    return function(self, caller, message, data)
      nameHandler(name)
      return run(self, caller, message, data)
    end
  end
  return function(self, caller, message)
    nameHandler(name)
    return callback(self, caller, message)
  end
end

local function ignore()
  if core.logEnabled "debug" then
    core.log("debug", "a text message was ignored: no callback takes it")
  end
end

-- Runs what a message without a callback of its own goes to, from (self, caller, message, text, problem).
local function fallback(plan, limits)
  local name = plan.callbacks.onMessage and "onMessage" or "onTextMessage"
  local callback = plan.callbacks[name]
  if not callback then
    return ignore
  elseif bind.isBound(callback) then
    return bind.decoded(callback, plan.failures[name], limits)
  end
  local binary = nil
  if name == "onMessage" then
    binary = false
  end
  return function(self, caller, _, data)
    return callback(self, caller, data, binary)
  end
end

-- What a route with this settings runs for each target: by value, and by name for other spellings.
local function tables(plan, settings)
  local byValue, byName = {}, {}
  for _, target in ipairs(plan.targets) do
    local run = runner(target, plan.failures[target.name], settings.limits)
    if settings.streamId then
      run = multiplex.runner(target.name, run, settings.streamId)
    end
    if target.value then
      byValue[target.value] = run
    else
      byName[target.name] = run
      for _, value in ipairs(spellings(target.name)) do
        byValue[value] = nameOf(value) == target.name and run or byValue[value]
      end
    end
  end
  return byValue, byName
end

--- The callback for text messages on a route with a dispatcherKey.
---@param plan table what the service has: see plan.lua
---@param settings { key: string, streamId?: string, limits: boolean }
---@return fun(self: table, caller: websocket.Caller, text: string): any, any
local function dispatcher(plan, settings)
  local byValue, byName = tables(plan, settings)
  local otherwise = fallback(plan, settings.limits)
  local key, decode = settings.key, core.jsonDecode

  local function find(value)
    return byValue[value] or #value <= MAX_VALUE and byName[nameOf(value)] or otherwise
  end

  return function(self, caller, data)
    local message, problem = decode(data)
    local run = otherwise
    if type(message) == "table" then
      local value = message[key]
      if type(value) == "string" then
        run = find(value)
      end
    end
    return run(self, caller, message, data, problem)
  end
end

return {
  dispatch = dispatch,
  dispatcher = dispatcher,
  isDispatched = isDispatched,
  nameOf = nameOf,
}
