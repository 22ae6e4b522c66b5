-- SPDX-License-Identifier: MIT
--
-- Which characters XML has, and where it needs them escaped (XML 1.0, fifth edition, [2], [4], [4a], §2.11, §3.3.3).

local core = require "neap.core"
local text = require "neap.message.text"

-- Characters of names beyond ASCII, as pairs of first and last: those that may begin a name, and those that may not
-- (XML 1.0, fifth edition, [4] and [4a]).
local BEGIN = {
  0xC0, 0xD6, 0xD8, 0xF6, 0xF8, 0x2FF, 0x370, 0x37D, 0x37F, 0x1FFF, 0x200C, 0x200D, 0x2070, 0x218F, 0x2C00, 0x2FEF,
  0x3001, 0xD7FF, 0xF900, 0xFDCF, 0xFDF0, 0xFFFD, 0x10000, 0xEFFFF,
}
local CONTINUE = { 0xB7, 0xB7, 0x300, 0x36F, 0x203F, 0x2040 }

local ENTITIES = {
  ["&"] = "&amp;",
  ["<"] = "&lt;",
  [">"] = "&gt;",
  ['"'] = "&quot;",
  ["\t"] = "&#9;",
  ["\n"] = "&#10;",
  ["\r"] = "&#13;",
}

local function isWithin(ranges, code)
  for i = 1, #ranges, 2 do
    if code >= ranges[i] and code <= ranges[i + 1] then
      return true
    end
  end
  return false
end

-- The code point of one valid UTF-8 sequence.
local function codeOf(sequence)
  local lead = sequence:byte()
  local code = lead % (lead >= 0xF0 and 8 or lead >= 0xE0 and 16 or 32)
  for i = 2, #sequence do
    code = code * 64 + sequence:byte(i) % 64
  end
  return code
end

--- Whether a value is a name of an element or an attribute.
---@param v any
---@return boolean
local function isName(v)
  if type(v) ~= "string" or not v:find "^[%a_:\128-\255][%w_:.\128-\255-]*$" then
    return false
  elseif not v:find "[\128-\255]" then
    return true
  elseif not core.isUtf8(v) then
    return false
  end
  for position, sequence in v:gmatch "()([\194-\244][\128-\191]+)" do
    local code = codeOf(sequence)
    if not isWithin(BEGIN, code) and (position == 1 or not isWithin(CONTINUE, code)) then
      return false
    end
  end
  return true
end

-- What a byte is to the writer. A loop over bytes that LuaJIT compiles is ten times as fast as a pattern.
local PLAIN, SPECIAL, HIGH, CONTROL = 0, 1, 2, 3
local kinds = {}
for byte = 0, 255 do
  kinds[byte] = byte >= 0x80 and HIGH or byte < 0x20 and CONTROL or ENTITIES[string.char(byte)] and SPECIAL or PLAIN
end
kinds[9], kinds[10], kinds[13] = SPECIAL, SPECIAL, SPECIAL

-- Whether a text has special characters; or nil and why it cannot stand in XML, escaped or not (XML 1.0 [2]).
local function inspect(s)
  local special, high = false, false
  for i = 1, #s do
    local kind = kinds[s:byte(i)]
    if kind == SPECIAL then
      special = true
    elseif kind == HIGH then
      high = true
    elseif kind == CONTROL then
      return nil, "contains a control character, which XML cannot hold"
    end
  end
  if high and not core.isUtf8(s) then
    return nil, "is not valid UTF-8"
  elseif high and (s:find("\239\191\190", 1, true) or s:find("\239\191\191", 1, true)) then
    return nil, "contains U+FFFE or U+FFFF, which XML cannot hold"
  end
  return special
end

-- Numbers as they read back.
local function numberText(v)
  if v ~= v or v == math.huge or v == -math.huge then
    return nil, "is " .. tostring(v)
  end
  local short = v == math.floor(v) and math.abs(v) <= 2 ^ 53 and ("%d"):format(v) or ("%.14g"):format(v)
  return tonumber(short) == v and short or ("%.17g"):format(v)
end

--- A string, number or boolean as text of XML. In an attribute blanks would be changed when they are read, and a CR
--- anywhere (XML 1.0 §2.11, §3.3.3).
---@param v any
---@param special string the pattern of what has to be escaped there
---@return string? nil when it cannot stand in XML
---@return string? why
local function escaped(v, special)
  if type(v) == "number" then
    return numberText(v)
  elseif type(v) == "boolean" then
    return tostring(v)
  elseif type(v) ~= "string" then
    return nil, ("must be a string, number or boolean, it is %s"):format(text.show(v))
  end
  local found, why = inspect(v)
  if why then
    return nil, why
  end
  return found and v:gsub(special, ENTITIES) or v
end

return {
  escaped = escaped,
  isName = isName,
}
