-- SPDX-License-Identifier: MIT
--
-- Two kinds of failure, and which is which.
--
--   The world    (a peer that is gone, a timeout)  returns `nil, err`; err is an object { kind =, message = } that
--                C or `new` makes, with the metatable that C knows as well (core.errorMetatable).
--   A mistake    (an unknown key, a path attached twice) is the programmer's: it raises a text that begins with file
--                and line of the app, and says what to write instead.
--
-- `fault` raises such a mistake.  While `neap check` loads an app a collector is installed: then `fault` hands the
-- mistake over and returns, and its caller goes on with a value that does no harm, so that all mistakes are told at
-- once.  What cannot go on uses `raise`, which always raises.

local core = require "neap.core"
local source = require "neap.message.source"
local text = require "neap.message.text"

local meta = core.errorMetatable

-- Everything is an "Error"; these kinds have a nearer relative.
local families = {
  AuthnError = "AuthError",
  AuthzError = "AuthError",
  ConnectionClosureError = "ConnectionError",
  InvalidContinuationFrameError = "CorruptedFrameError",
  PayloadValidationError = "PayloadBindingError",
}

local collector -- function(file, line, message), while `neap check` loads an app
local noted = {} -- facts about this app: see `note`

function meta.__tostring(err)
  return tostring(err.kind) .. ": " .. tostring(err.message)
end

function meta.__concat(a, b)
  return tostring(a) .. tostring(b)
end

meta.__name = "neap.Error"

--- Makes an error object; nothing is checked.
---@param kind string
---@param message string
---@param fields? table further fields, taken over as the object itself
---@return websocket.Error
local function new(kind, message, fields)
  local err = fields or {}
  err.kind, err.message = kind, message
  return setmetatable(err, meta)
end

--- Whether a value is an error object, of this kind or of its family.
---@param v any
---@param kind? string
---@return boolean
local function isError(v, kind)
  if type(v) ~= "table" or getmetatable(v) ~= meta then
    return false
  end
  if kind == nil or kind == "Error" then
    return true
  end
  local own = v.kind
  while own do
    if own == kind then
      return true
    end
    own = families[own]
  end
  return false
end

local function prefixed(file, line, message)
  if not file then
    return message
  end
  return ("%s:%d: %s"):format(file, line, message)
end

--- Raises a mistake of the app, with file and line of the innermost frame that is the app's.
---@param message string
local function raise(message)
  local file, line = source.position()
  error(prefixed(file, line, message), 0)
end

--- Raises the mistake of calling a method with a dot, or on something else.
---@param call string the method, such as `channel:send`
---@param maker string what returns what it can be called on
local function wrongSelf(call, maker)
  raise(("%s: call it with a colon on what %s returned"):format(call, maker))
end

--- Raises a mistake, or hands it to `neap check` and returns.
---@param message string
---@param where? function|string a function: where it is defined; a text: the line near the call that sets this key
local function fault(message, where)
  local file, line
  if type(where) == "function" then
    file, line = source.definition(where)
  end
  if not file then
    file, line = source.position()
    if file and type(where) == "string" then
      line = source.lineOfKey(file, line, where)
    end
  end
  if not collector then
    error(prefixed(file, line, message), 0)
  end
  collector(file, line, message)
end

--- Tells `neap check` of something that is no mistake but will not do what it seems to; nothing when an app runs.
---@param message string
---@param where? function where it is defined
---@param unless? string a fact: the warning is dropped when that is noted before the app has loaded
local function warn(message, where, unless)
  if not collector then
    return
  end
  local file, line
  if where then
    file, line = source.definition(where)
  end
  if not file then
    file, line = source.position()
  end
  collector(file, line, message, "warning", unless)
end

--- Notes a fact about the app that is checked, for warnings that depend on it.
---@param fact string
local function note(fact)
  noted[fact] = true
end

--- Whether a fact was noted since `collect`.
---@param fact string
---@return boolean
local function isNoted(fact)
  return noted[fact] == true
end

--- Installs the function that takes mistakes from now on, or none; with one, the facts noted before are forgotten.
---@param fn? fun(file: string?, line: integer?, message: string, level?: string, unless?: string)
local function collect(fn)
  collector = fn
  if fn then
    noted = {}
  end
end

--- websocket.Error(kind, message)
---@param kind string
---@param message string
---@return websocket.Error
local function Error(kind, message)
  if type(kind) ~= "string" or kind == "" then
    raise("websocket.Error(kind, message): kind must be a name such as \"ConnectionError\", it is " .. text.show(kind))
  end
  if type(message) ~= "string" then
    raise("websocket.Error(kind, message): message must be a string, it is " .. text.show(message))
  end
  return new(kind, message)
end

return {
  Error = Error,
  isError = isError,
  new = new,
  fault = fault,
  raise = raise,
  warn = warn,
  wrongSelf = wrongSelf,
  note = note,
  isNoted = isNoted,
  collect = collect,
}
