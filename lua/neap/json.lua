-- SPDX-License-Identifier: MIT
--
-- neap.json: JSON (RFC 8259) for apps. The work is done in C (src/bind/data/ljson*.c); this file checks
-- arguments and makes error objects. What is decided where the RFC leaves a choice, and what comes
-- back exactly, is in docs/api/json.md.

local core = require "neap.core"
local errors = require "neap.message.error"
local text = require "neap.message.text"

local jsonDecode, jsonEncode = core.jsonDecode, core.jsonEncode
local arrayMeta = core.jsonArray

--- Reads one JSON text. Objects become tables, arrays become tables that remember that they are
--- arrays, `null` becomes `json.null`. Does not yield.
---@param source string
---@return any value nil when the text is not valid JSON
---@return websocket.Error? err its message begins with line and column
local function decode(source)
  if type(source) ~= "string" then
    errors.raise("json.decode(source): source must be a string, it is " .. text.show(source))
  end
  local value, problem = jsonDecode(source)
  if value == nil then
    return nil, errors.new("Error", problem)
  end
  return value
end

--- Writes a value as JSON text without blanks. Does not yield.
---@param value any a table, string, number, boolean or json.null
---@return string? text nil when the value has no JSON form
---@return websocket.Error? err its message begins with the path of what is at fault
local function encode(value)
  local result, problem = jsonEncode(value)
  if not result then
    return nil, errors.new("Error", problem)
  end
  return result
end

--- Marks a table as an array, so that it is written as `[]` also when it is empty. Does not yield.
---@generic T: table
---@param t? T a new empty table when left out
---@return T t the same table
local function array(t)
  if t == nil then
    t = {}
  elseif type(t) ~= "table" then
    errors.raise("json.array(t): t must be a table, it is " .. text.show(t))
  end
  local meta = getmetatable(t)
  if meta ~= nil and meta ~= arrayMeta then
    errors.raise "json.array(t): t has a metatable already; give a table of its own"
  end
  return setmetatable(t, arrayMeta)
end

return {
  array = array,
  decode = decode,
  encode = encode,
  --- What JSON's `null` is in Lua: a value of its own, equal only to itself and true in a
  --- condition.
  ---@type lightuserdata
  null = core.jsonNull,
}
