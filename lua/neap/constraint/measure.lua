-- SPDX-License-Identifier: MIT
--
-- What limits are held against: how many characters a text has, how many digits a number, how many elements a table,
-- and how a value looks in a message.  Values come from clients: nothing here takes longer than the limit that is
-- asked for, or than the value is long, and nothing of a client's stands in a message at length or unescaped.

local core = require "neap.core"
local text = require "neap.message.text"

local byte, floor, format = string.byte, math.floor, string.format
local ARRAY, NULL = core.jsonArray, core.jsonNull

local SHOWN = 40 -- bytes of a client's text in a message

--- Number of code points. Bytes that are not UTF-8 count somehow.
---@param s string
---@return integer
local function codePoints(s)
  local count = 0
  for i = 1, #s do
    local b = byte(s, i)
    if b < 0x80 or b >= 0xC0 then -- no continuation byte
      count = count + 1
    end
  end
  return count
end

--- Whether a text has from `least` to `most` code points. Texts that are much too long or long enough are not counted:
--- a code point has one to four bytes.
---@param s string
---@param least number
---@param most number
---@return boolean
local function lengthFits(s, least, most)
  local bytes = #s
  if bytes < least or bytes > most * 4 then
    return false
  elseif bytes <= most and bytes > (least - 1) * 4 then
    return true
  end
  local count = codePoints(s)
  return count >= least and count <= most
end

-- The shortest decimal form that reads back as the same number.
local function decimal(x)
  for digits = 14, 16 do
    local form = format("%." .. digits .. "g", x)
    if tonumber(form) == x then
      return form
    end
  end
  return format("%.17g", x)
end

--- Number of decimal digits after the point, in the shortest form of a number.
---@param x number a finite one
---@return integer
local function fractionDigits(x)
  if x == floor(x) then
    return 0
  end
  local form = decimal(x)
  local digits, exponent = form:match "%.(%d+)" or "", form:match "e(.+)$" or 0
  return math.max(0, #digits - tonumber(exponent))
end

-- The n of a table with exactly the keys 1 to n; nil for others, and for empty ones.
local function countKeys(t)
  local count, highest = 0, 0
  for key in pairs(t) do
    if type(key) ~= "number" or key < 1 or key ~= floor(key) then
      return nil
    end
    count = count + 1
    highest = math.max(highest, key)
  end
  return count > 0 and count == highest and count or nil
end

local function isEmpty(t)
  return next(t) == nil
end

--- The n of a table with exactly the keys 1 to n, which json.array need not have marked; nil for others, and for empty
--- tables without the mark, which are objects (json.encode tells the two apart in the same way).
---@param t table
---@return integer?
local function sequence(t)
  return getmetatable(t) == ARRAY and #t or countKeys(t)
end

local function escape(characters)
  return (characters:gsub(".", text.escape))
end

--- Up to `most` bytes of a text, no character cut in two; it shows that there is more.
---@param s string
---@param most integer
---@return string
local function cut(s, most)
  return #s <= most and s or text.cut(s, most) .. "..."
end

--- A text in quotes: short, on one line, without control characters (C0, C1, bidirectional and line separators), valid
--- UTF-8.
---@param s string
---@return string
local function quote(s)
  local short = cut(s, SHOWN):gsub('[%c"\\]', escape)
  if not core.isUtf8(short) then
    short = short:gsub("[\128-\255]", escape)
  end
  short = short:gsub("\194[\128-\159]", escape)
  short = short:gsub("\226\128[\142\143\168-\174]", escape):gsub("\226\129[\166-\169]", escape)
  return '"' .. short .. '"'
end

local function showTable(t)
  if sequence(t) then
    return "an array"
  end
  return isEmpty(t) and "an empty object" or "an object"
end

--- A value as a message shows it: `"text"`, `12`, `null`, `an object`.
---@param v any
---@return string
local function show(v)
  local kind = type(v)
  if kind == "string" then
    return quote(v)
  elseif kind == "number" then
    return decimal(v)
  elseif kind == "table" then
    return showTable(v)
  end
  return v == NULL and v ~= nil and "null" or text.show(v)
end

--- How a path goes on into a field: `.name`, or `["odd name"]`.
---@param name string
---@return string
local function step(name)
  if #name <= SHOWN and text.isName(name) then
    return "." .. name
  end
  return "[" .. quote(name) .. "]"
end

return {
  codePoints = codePoints,
  cut = cut,
  decimal = decimal,
  fractionDigits = fractionDigits,
  lengthFits = lengthFits,
  sequence = sequence,
  show = show,
  step = step,
}
