-- SPDX-License-Identifier: MIT
--
-- neap.json: JSON (RFC 8259) for apps. The work is done in C (src/bind/ljson*.c); this file checks arguments and makes
-- error objects. What is decided where the RFC leaves a choice, and what comes back exactly, is in docs/api/json.md.

local core = require "neap.core"

local jsonDecode, jsonEncode = core.jsonDecode, core.jsonEncode
local array_metatable = core.jsonArray

local function failure(message)
  return setmetatable({ kind = "Error", message = message }, core.errorMetatable)
end

---Reads one JSON text. Objects become tables, arrays become tables that remember that they are arrays, `null` becomes
---`json.null`. Does not yield.
---@param text string
---@return any value nil when the text is not valid JSON
---@return table? err an error object; its message begins with line and column
local function decode(text)
  if type(text) ~= "string" then
    error("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ")", 2)
  end
  local value, problem = jsonDecode(text)
  if value == nil then
    return nil, failure(problem)
  end
  return value
end

---Writes a value as JSON text without blanks. Does not yield.
---@param value any a table, string, number, boolean or json.null
---@return string? text nil when the value has no JSON form
---@return table? err an error object; its message begins with the path of the value that is at fault
local function encode(value)
  local text, problem = jsonEncode(value)
  if not text then
    return nil, failure(problem)
  end
  return text
end

---Marks a table as an array, so that it is written as `[]` also when it is empty. Does not yield.
---@generic T: table
---@param t? T a new empty table when left out
---@return T t the same table
local function array(t)
  if t == nil then
    t = {}
  elseif type(t) ~= "table" then
    error("bad argument #1 to 'array' (table expected, got " .. type(t) .. ")", 2)
  end
  local metatable = getmetatable(t)
  if metatable ~= nil and metatable ~= array_metatable then
    error("bad argument #1 to 'array' (the table has a metatable already)", 2)
  end
  return setmetatable(t, array_metatable)
end

return {
  array = array,
  decode = decode,
  encode = encode,
  ---What JSON's `null` is in Lua: a value of its own, equal only to itself and true in a condition.
  ---@type lightuserdata
  null = core.jsonNull,
}
