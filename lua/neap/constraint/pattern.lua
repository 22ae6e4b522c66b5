-- SPDX-License-Identifier: MIT
--
-- What can be known of a Lua pattern before it meets a text: whether it is well formed (string.find tells only when it
-- comes to the broken place), how long the texts are that it matches, how many of its repetitions have no end, and
-- whether it looks like a regular expression.
--
-- A pattern of a constraint matches whole texts, whether it is written with ^ and $ or without: a forgotten $ would let
-- through what it was meant to keep out.  With ^ in front, matching a text of n bytes takes at most some n^r steps, r
-- being the number of endless repetitions; so r > 1 needs a bound for n.

local CAPTURES = 32 -- LuaJIT's own limit
local NESTED = 150 -- each repetition and capture may cost a level of C stack, LuaJIT allows 200

local REPEAT = {
  ["*"] = { least = 0, most = math.huge, endless = 1 },
  ["-"] = { least = 0, most = math.huge, endless = 1 },
  ["+"] = { least = 1, most = math.huge, endless = 1 },
  ["?"] = { least = 0, most = 1, endless = 0 },
}
local ONCE = { least = 1, most = 1, endless = 0 }

-- Behind the `]` of the set that begins at `at`; a `]` that comes first stands for itself.
local function setEnd(pattern, at)
  local i = at + 1
  if pattern:sub(i, i) == "^" then
    i = i + 1
  end
  repeat
    i = i + (pattern:sub(i, i) == "%" and 2 or 1)
    if i > #pattern then
      return nil, "has a [ without its ]"
    end
  until pattern:sub(i, i) == "]"
  return i + 1
end

-- Behind the single character, class or set at `at`.
local function singleEnd(pattern, at)
  local c = pattern:sub(at, at)
  if c == "[" then
    return setEnd(pattern, at)
  elseif c ~= "%" then
    return at + 1
  elseif at == #pattern then
    return nil, "ends with a lone %; a percent sign is written %%"
  end
  return at + 2
end

local function add(info, least, most, endless)
  info.least = info.least + least
  info.most = info.most + most
  info.endless = info.endless + endless
end

local function single(info, pattern, at)
  local after, why = singleEnd(pattern, at)
  if not after then
    return nil, why
  end
  local times = REPEAT[pattern:sub(after, after)]
  if times then
    info.nested = info.nested + 1
    after = after + 1
  else
    times = ONCE
  end
  add(info, times.least, times.most, times.endless)
  return after
end

local function balance(info, pattern, at)
  if at + 3 > #pattern then
    return nil, "has a %b without its two characters"
  end
  add(info, 2, math.huge, 0)
  return at + 4
end

local function frontier(info, pattern, at)
  if pattern:sub(at + 2, at + 2) ~= "[" then
    return nil, "has a %f without its set, such as %f[%w]"
  end
  return setEnd(pattern, at + 2)
end

local function reference(info, pattern, at)
  local digit = pattern:sub(at + 1, at + 1)
  if info.captures[tonumber(digit)] ~= "closed" then
    return nil, "has %" .. digit .. " without a capture of that number"
  end
  add(info, 0, math.huge, 0)
  return at + 2
end

local function open(info, pattern, at)
  local captures = info.captures
  if #captures == CAPTURES then
    return nil, "has more than " .. CAPTURES .. " captures"
  end
  info.nested = info.nested + 1
  if pattern:sub(at + 1, at + 1) == ")" then
    captures[#captures + 1] = "closed"
    return at + 2
  end
  captures[#captures + 1] = "open"
  return at + 1
end

local function close(info, pattern, at)
  for i = #info.captures, 1, -1 do
    if info.captures[i] == "open" then
      info.captures[i] = "closed"
      info.nested = info.nested + 1
      return at + 1
    end
  end
  return nil, "has a ) without its ("
end

local SPECIAL = { ["("] = open, [")"] = close, ["%b"] = balance, ["%f"] = frontier }
for digit = 0, 9 do
  SPECIAL["%" .. digit] = reference
end

local function item(info, pattern, at)
  local c = pattern:sub(at, at)
  local special = SPECIAL[c == "%" and pattern:sub(at, at + 1) or c] or single
  return special(info, pattern, at)
end

local function finish(info, from, to, pattern)
  for _, state in ipairs(info.captures) do
    if state == "open" then
      return nil, "has a ( without its )"
    end
  end
  if info.nested > NESTED then
    return nil, "has more than " .. NESTED .. " repetitions and captures"
  end
  info.whole = "^" .. pattern:sub(from, to) .. "$"
  return info
end

--- Reads a pattern.
---@param pattern string
---@return { whole: string, least: number, most: number, endless: integer }? info the pattern with its anchors; how many
--- bytes it matches at least and at most; how many repetitions have no end
---@return string? why what is wrong with it, as the end of a sentence
local function parse(pattern)
  if pattern:find("%z") then
    return nil, "has a zero byte; write %z"
  end
  local info = { least = 0, most = 0, endless = 0, nested = 0, captures = {} }
  local from = pattern:sub(1, 1) == "^" and 2 or 1
  local at = from
  while at <= #pattern do
    if at == #pattern and pattern:sub(at) == "$" then
      return finish(info, from, at - 1, pattern)
    end
    local after, why = item(info, pattern, at)
    if not after then
      return nil, why
    end
    at = after
  end
  return finish(info, from, #pattern, pattern)
end

local LOOKS = {
  { "\\%a", "a backslash stands for itself; Lua writes classes with %, such as %d" },
  { "[^%%]%)[*+?]", "a group cannot be repeated; * + ? after a ) stand for themselves" },
  { "[%a%])]{%d+,?%d*}", "{n} stands for itself; write the item n times, or use length" },
  { "^[^%[%]]*[^%[%]%%]|", "| stands for itself; use constraint.enum or constraint.union for alternatives" },
}

--- Why a pattern is probably meant as a regular expression, nil when it is not.
---@param pattern string
---@return string?
local function looksLikeRegex(pattern)
  for _, look in ipairs(LOOKS) do
    if pattern:find(look[1]) then
      return look[2]
    end
  end
  return nil
end

return {
  looksLikeRegex = looksLikeRegex,
  parse = parse,
}
