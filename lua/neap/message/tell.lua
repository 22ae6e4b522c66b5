-- SPDX-License-Identifier: MIT
--
-- What is said of an error value, whatever it is: the one place where it becomes text, for the log, for an error object
-- and for a client.  C asks through the hook `tell`.
--
--      a text                            itself
--      an error object of ours           "Kind: message", and its further fields
--      what has a __tostring             what that returns
--      a table with a text `message`     that, and its further fields
--      any other table                   its fields: { code = 5, tags = { "a", "b" } }
--      anything else                     5, true, nil, a function
--
-- Where a message is wanted and no line for the log, a field `message` comes first, and no fields follow.
--
-- Metamethods are the app's code.  They run where nothing can wait, and what they raise is told beside the fields.  An
-- endless one is ended by the guard, as the handler that it belongs to.
--
-- A client is told what the app has written for people: texts and messages of one line, never fields, and no addresses.

local errors = require "neap.message.error"
local text = require "neap.message.text"

local getmetatable, gsub, rawget, sort = debug.getmetatable, string.gsub, rawget, table.sort

local MAX_DEPTH = 3     -- tables in tables
local MAX_FIELDS = 20   -- shown of one table
local MAX_KEYS = 200    -- looked at in one table, to find the first of them
local MAX_LENGTH = 1000 -- past so many bytes nothing is added

-- --- Fields -----------------------------------------------------------------------------------------------------

local RANK = { number = 1, string = 2 }

local function before(a, b)
  local x, y = RANK[type(a)] or 3, RANK[type(b)] or 3
  if x ~= y then
    return x < y
  elseif x == 3 then
    return type(a) < type(b)
  end
  return a < b
end

-- The first keys of a table. Raw: a metatable of the app's has no say.
local function keysOf(t, without)
  local keys, count = {}, 0
  for key in next, t do
    if not without[key] then
      count = count + 1
      keys[count] = key
    end
    if count == MAX_KEYS then
      break
    end
  end
  sort(keys, before)
  return keys
end

local function named(key)
  if type(key) == "string" then
    return text.isName(key) and #key <= 60 and key or ("[%s]"):format(text.quote(key))
  end
  return ("[%s]"):format(text.show(key))
end

local fields

local function shown(value, depth)
  if type(value) ~= "table" then
    return text.show(value)
  elseif depth == MAX_DEPTH then
    return next(value) == nil and "{}" or "{ ... }"
  end
  return fields(value, {}, depth + 1)
end

-- "{ 1, 2, code = 5 }"
function fields(t, without, depth)
  local out, length, position = {}, 0, 1
  for i, key in ipairs(keysOf(t, without)) do
    if i > MAX_FIELDS or length > MAX_LENGTH then
      out[i] = "..."
      break
    end
    local value = shown(rawget(t, key), depth)
    if key == position then
      out[i], position = value, position + 1
    else
      out[i] = named(key) .. " = " .. value
    end
    length = length + #out[i]
  end
  return out[1] and "{ " .. table.concat(out, ", ") .. " }" or "{}"
end

-- --- The app's own words ----------------------------------------------------------------------------------------

-- Calls what may be the app's code: true and what it returned, or false and why not. Called by a C function, it cannot
-- give way to others.
local function attempt(fn, value)
  local result
  local good, why = pcall(gsub, "x", "x", function()
    result = fn(value)
  end)
  if good then
    return true, result
  end
  return false, why
end

-- What its __tostring says, or nil; where that fails, why.
local function textOf(value)
  local meta = getmetatable(value)
  if type(value) ~= "cdata" and not (meta and rawget(meta, "__tostring") ~= nil) then
    return nil
  end
  local good, result = attempt(tostring, value)
  if good and type(result) == "string" then
    return result
  elseif good then
    return nil, "its __tostring returned " .. text.show(result)
  end
  return nil, "its __tostring raised " .. (type(result) == "string" and result or text.show(result))
end

local function field(value)
  return value.message
end

-- Its field `message` where that is a text, or nil.
local function messageOf(value)
  local good, message = attempt(field, value)
  return good and type(message) == "string" and message or nil
end

-- --- All of it --------------------------------------------------------------------------------------------------

local OURS, MESSAGE = { kind = true, message = true }, { message = true }

local function withFields(said, value, without)
  local further = fields(value, without, 1)
  return further == "{}" and said or said .. " " .. further
end

local function ofError(err)
  local kind, message = rawget(err, "kind"), rawget(err, "message")
  kind = type(kind) == "string" and kind or shown(kind, 1)
  local said = type(message) == "string" and message or shown(message, 1)
  return withFields(kind .. ": " .. said, err, OURS), said, type(message) == "string" and said or nil
end

local function ofTable(t)
  local said, why = textOf(t)
  local message = messageOf(t)
  local shape = said or message and withFields(message, t, MESSAGE) or fields(t, {}, 1)
  if why then
    shape = ("%s (%s)"):format(shape, why)
  end
  return shape, message or said or shape, message or said
end

-- A userdata, or one of FFI.
local function ofData(value)
  local said, why = textOf(value)
  said = said or text.show(value) .. (why and " (" .. why .. ")" or "")
  return said, said, nil
end

local function ofAny(value)
  if type(value) == "string" then
    return value, value, value
  elseif errors.isError(value) then
    return ofError(value)
  elseif type(value) == "table" then
    return ofTable(value)
  elseif type(value) == "userdata" or type(value) == "cdata" then
    return ofData(value)
  end
  local said = text.show(value)
  return said, said, type(value) == "number" and said or nil
end

--- What is said of an error value. Never raises, does not yield.
---@param value any
---@return string log for the log
---@return string message of an error object that is made of it
---@return string? public what a client may read; nil: nothing
local function tell(value)
  local log, message, public = ofAny(value)
  return log, message, public and text.isLine(public) and public or nil
end

--- The error value as an error object: itself where it is one.
---@param value any
---@return websocket.Error
local function asError(value)
  if errors.isError(value) then
    return value
  end
  local _, message = tell(value)
  return errors.new("Error", message)
end

return {
  asError = asError,
  tell = tell,
}
