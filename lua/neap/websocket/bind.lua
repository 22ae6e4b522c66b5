-- SPDX-License-Identifier: MIT
--
-- Data binding: callbacks that get a value instead of the message as it came.  websocket.bind(type, fn) only marks the
-- function; what C calls is composed here when the settings of a route are known:
--
--      type                     read from     the callback gets
--      "string"                 the text      the text; of a binary message, its bytes if they are UTF-8
--      "bytes"                  the text      the bytes, as they came
--      "xml"                    the text      a table (neap.xml)
--      a string constraint      the text      the text, checked
--      "json"                   JSON          the value
--      any other constraint     JSON          the value, checked
--
-- A dispatcher has decoded the message already to see where it goes; so there are two forms of a bound callback:
-- `direct` begins with the message, `decoded` with what a dispatcher made of it.
--
-- A failure goes to the callback's …Error where there is one, else it ends the session with 1003.  Its text speaks of
-- the message that came and of nothing else, so the client may read it as the reason.

local closeframe = require "neap.websocket.closeframe"
local constraint = require "neap.constraint"
local core = require "neap.core"
local errors = require "neap.message.error"
local node = require "neap.constraint.node"
local text = require "neap.message.text"

local TYPES = { "string", "bytes", "json", "xml" }
local UNSUPPORTED_DATA = closeframe.predefined.UNSUPPORTED_DATA.status

local isType = {}
for _, name in ipairs(TYPES) do
  isType[name] = true
end

---@class websocket.Bound a callback that websocket.bind has made
---@field type string|neap.Constraint
---@field fn function
local meta = {
  __name = "websocket.Bound",
  __call = function(bound, ...)
    return bound.fn(...)
  end,
}

--- Whether a value is what websocket.bind returned.
---@param v any
---@return boolean
local function isBound(v)
  return getmetatable(v) == meta
end

--- What stands for a callback that was a mistake.
local function nothing() end

local function checkType(kind)
  if type(kind) == "string" then
    if isType[kind] then
      return kind
    end
    local near = text.nearest(kind, TYPES)
    local hint = near and ("did you mean %s? "):format(text.quote(near)) or ""
    errors.fault(("websocket.bind(type, fn): no such type %s; %sthe types are \"string\", \"bytes\", \"json\", "
      .. "\"xml\", and constraints"):format(text.quote(kind), hint))
  elseif constraint.isConstraint(kind) then
    return node.inner("websocket.bind(type, fn)", "the type", kind)
  elseif type(kind) == "table" and not isBound(kind) then
    errors.fault "websocket.bind(type, fn): a plain table is no type; write constraint.record { ... } around its fields"
  else
    errors.fault("websocket.bind(type, fn): the type comes first: websocket.bind(\"json\", function ...); it is "
      .. text.show(kind))
  end
  return "json"
end

local function checkFunction(fn)
  if type(fn) == "function" then
    return fn
  elseif isBound(fn) then
    errors.fault("websocket.bind(type, fn): the function is bound already; write one type", fn.fn)
    return fn.fn
  elseif type(fn) == "table" and getmetatable(fn) and getmetatable(fn).__name == "websocket.Dispatched" then
    errors.fault(("websocket.bind(type, fn): bind first and dispatch then: websocket.dispatch(%s, "
      .. "websocket.bind(type, fn))"):format(text.show(fn.value)), fn.fn)
    return fn.fn
  end
  errors.fault("websocket.bind(type, fn): fn must be a function, it is " .. text.show(fn))
  return nothing
end

--- Wraps a callback that takes messages: it gets the message as this type, instead of its bytes. Does not yield.
---@param kind "string"|"bytes"|"json"|"xml"|neap.Constraint
---@param fn fun(self: table, caller: websocket.Caller, value: any, binary?: boolean): any, any
---@return websocket.Bound
local function bind(kind, fn)
  return setmetatable({ type = checkType(kind), fn = checkFunction(fn) }, meta)
end

-- What can be read.

local function mismatch(message)
  return errors.new("PayloadBindingError", message)
end

local function notJson(problem)
  return mismatch("the message is not JSON: " .. problem)
end

local function readString(data, binary)
  if binary and not core.isUtf8(data) then
    return nil, mismatch "the message is not valid UTF-8"
  end
  return data
end

local function readXml(data)
  local value, err = require("neap.xml").decode(data)
  if value == nil then
    return nil, mismatch("the message is not XML: " .. err.message)
  end
  return value
end

-- Compiled constraints, for as long as somebody calls them: plain tables of an upgrade function are compiled for each
-- connection, what they are bound to mostly once for all.
local compiled = { [true] = setmetatable({}, { __mode = "kv" }), [false] = setmetatable({}, { __mode = "kv" }) }

local function checker(c, limits)
  local check = compiled[limits][c]
  if not check then
    check = constraint.compile(c, limits)
    compiled[limits][c] = check
  end
  return check
end

local function textChecker(c, limits)
  local check = checker(c, limits)
  return function(data, binary)
    if binary and not core.isUtf8(data) then
      return readString(data, binary)
    end
    return check(data)
  end
end

-- How a type is read: whether from the bytes as they came, and the function that turns these, or the decoded JSON, into
-- the value: value, or nil and an error. No function: the value is what it is read from.
local function reader(kind, limits)
  if kind == "string" then
    return true, readString
  elseif kind == "bytes" then
    return true, nil
  elseif kind == "json" then
    return false, nil
  elseif kind == "xml" then
    return true, readXml
  elseif constraint.takesText(kind) then
    return true, textChecker(kind, limits)
  end
  return false, checker(kind, limits)
end

--- Whether what dispatch leads to can be bound so: the messages are JSON.
---@param bound websocket.Bound
---@return boolean
local function suitsDispatch(bound)
  return bound.type ~= "xml"
end

-- Composed callbacks. Their calls of the app's functions are tail calls: no frame of ours stays below them.

local function refuse(_, caller, err)
  local reason = text.cut(err.message, closeframe.MAX_REASON)
  local good = core.isUtf8(reason) and text.isLine(reason)
  core.fail(caller, UNSUPPORTED_DATA, good and reason or "the message has the wrong form", err)
end

local function directText(fn, check, failed)
  if not check then
    return fn
  end
  return function(self, caller, data, binary)
    local value, err = check(data, binary)
    if err then
      return failed(self, caller, err)
    end
    return fn(self, caller, value, binary)
  end
end

local function directJson(fn, check, failed)
  local decode = core.jsonDecode
  return function(self, caller, data, binary)
    local value, err = decode(data)
    if value == nil then
      return failed(self, caller, notJson(err))
    end
    if check then
      value, err = check(value)
      if err then
        return failed(self, caller, err)
      end
    end
    return fn(self, caller, value, binary)
  end
end

--- A bound callback that begins with the message as it came.
---@param bound websocket.Bound
---@param onError? function the …Error callback
---@param limits boolean whether limits are checked, or types only
---@return fun(self: table, caller: websocket.Caller, data: string, binary?: boolean): any, any
local function direct(bound, onError, limits)
  local fromText, check = reader(bound.type, limits)
  return (fromText and directText or directJson)(bound.fn, check, onError or refuse)
end

local function decodedText(fn, check, failed)
  if not check then
    return function(self, caller, _, data)
      return fn(self, caller, data)
    end
  end
  return function(self, caller, _, data)
    local value, err = check(data)
    if err then
      return failed(self, caller, err)
    end
    return fn(self, caller, value)
  end
end

local function decodedJson(fn, check, failed)
  return function(self, caller, message, _, problem)
    if problem then
      return failed(self, caller, notJson(problem))
    elseif not check then
      return fn(self, caller, message)
    end
    local value, err = check(message)
    if err then
      return failed(self, caller, err)
    end
    return fn(self, caller, value)
  end
end

--- A bound callback that begins with what a dispatcher knows: the decoded message and its text, or the text and why it
--- could not be decoded.
---@param bound websocket.Bound
---@param onError? function the …Error callback
---@param limits boolean whether limits are checked, or types only
---@return fun(self: table, caller: websocket.Caller, message: any, text: string, problem?: string): any, any
local function decoded(bound, onError, limits)
  local fromText, check = reader(bound.type, limits)
  return (fromText and decodedText or decodedJson)(bound.fn, check, onError or refuse)
end

return {
  bind = bind,
  decoded = decoded,
  direct = direct,
  isBound = isBound,
  nothing = nothing,
  suitsDispatch = suitsDispatch,
}
