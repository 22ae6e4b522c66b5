-- SPDX-License-Identifier: MIT
--
-- Small things about words, for messages that help: which known name was probably meant, how a wrong value is shown,
-- and whether a piece of text may stand in an HTTP header.  Pure functions, no state.
--
-- Distances are Levenshtein's: letters put in, left out or replaced.  Two letters swapped count two.

local floor, min = math.floor, math.min

local MAX_WORD = 64 -- longer names are no misspellings of ours, and the work grows with the square

--- Number of letters to put in, leave out or replace to get from one word to the other.
---@param a string
---@param b string
---@return integer
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

--- The name of the list that is nearest to a word, whatever the case of its letters.
---@param word string
---@param names string[]
---@param within? integer how far it may be (default: two letters, a third of long words)
---@return string? name nil when none is near
---@return integer? letters how far it is
local function nearest(word, names, within)
  if #word > MAX_WORD then
    return nil
  end
  within = within or math.max(2, floor(#word / 3))
  local found, least
  local lower = word:lower()
  for _, name in ipairs(names) do
    local far = min(distance(word, name), distance(lower, name:lower()))
    if far <= within and (not least or far < least) then
      found, least = name, far
    end
  end
  return found, least
end

--- A byte as a message shows it when it cannot stand there itself: \010.
---@param c string
---@return string
local function escape(c)
  return ("\\%03d"):format(c:byte())
end

--- The longest beginning of at most so many bytes that does not cut a character in two.
---@param s string
---@param most integer
---@return string
local function cut(s, most)
  if #s <= most then
    return s
  end
  local last = most
  while last > 0 and s:byte(last + 1) >= 0x80 and s:byte(last + 1) < 0xC0 do
    last = last - 1
  end
  return s:sub(1, last)
end

--- Text in quotes, on one line, cut when long.
---@param s string
---@return string
local function quote(s)
  local short = #s > 60 and s:sub(1, 57) .. "..." or s
  return '"' .. short:gsub('[%c"\\]', escape) .. '"'
end

local articles = {
  ["function"] = "a function",
  table = "a table",
  userdata = "a userdata",
  thread = "a coroutine",
  cdata = "a cdata",
}

--- A wrong value as a message shows it: `"text"`, `12`, `nil`, `a table`.
---@param v any
---@return string
local function show(v)
  if type(v) == "string" then
    return quote(v)
  end
  return articles[type(v)] or tostring(v)
end

--- Whether a value is a text that Lua takes for a name.
---@param s any
---@return boolean
local function isName(s)
  return type(s) == "string" and s:find "^[%a_][%w_]*$" ~= nil
end

--- Whether text is a token (RFC 9110 §5.6.2): header names, sub-protocols.
---@param s any
---@return boolean
local function isToken(s)
  return type(s) == "string" and s:find("^[%w!#$%%&'*+.^_`|~-]+$") ~= nil
end

--- Whether text may stand as the value of a header: no control character but the tab (RFC 9110 §5.5).
---@param s string
---@return boolean
local function isFieldValue(s)
  return not s:find "[%z\1-\8\10-\31\127]"
end

--- Whether text has none of CR, LF, NUL, which would make two lines of one.
---@param s string
---@return boolean
local function isLine(s)
  return not s:find "[%z\r\n]"
end

local function isBlank(byte)
  return byte == 32 or byte == 9
end

--- Text without the blanks and tabs around it. Linear, which a pattern such as "^%s*(.-)%s*$" is not: a client that
--- sends thousands of blanks would keep it busy for a long time.
---@param s string
---@return string
local function trim(s)
  local first, last = 1, #s
  while first <= last and isBlank(s:byte(first)) do
    first = first + 1
  end
  while last >= first and isBlank(s:byte(last)) do
    last = last - 1
  end
  return s:sub(first, last)
end

--- Keys of a table in order, texts first; other keys in the order of what they print.
---@param t table
---@return any[]
local function sortedKeys(t)
  local keys = {}
  for key in pairs(t) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "string" or type(a) == "number") then
      return a < b
    end
    if type(a) ~= type(b) then
      return type(a) == "string" or type(b) ~= "string" and type(a) < type(b)
    end
    return tostring(a) < tostring(b)
  end)
  return keys
end

return {
  cut = cut,
  distance = distance,
  escape = escape,
  isFieldValue = isFieldValue,
  isLine = isLine,
  isName = isName,
  isToken = isToken,
  nearest = nearest,
  quote = quote,
  show = show,
  sortedKeys = sortedKeys,
  trim = trim,
}
