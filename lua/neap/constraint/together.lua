-- SPDX-License-Identifier: MIT
--
-- Limits together: two that say the same, and sets of them that no value could satisfy.

local errors = require "neap.message.error"
local numbers = require "neap.runtime.number"
local patterns = require "neap.constraint.pattern"
local text = require "neap.message.text"

local UNBOUNDED_TEXT = 1000 -- characters of a text whose pattern could take long, unless the app sets maxLength

-- Tells that limits exclude each other, and forgets the last of them.
local function contradict(what, kept, names)
  local said = {}
  for _, name in ipairs(names) do
    said[#said + 1] = ("%s = %s"):format(name, text.show(kept[name]))
  end
  local last = names[#names]
  errors.fault(("%s: nothing can satisfy %s"):format(what, table.concat(said, " and ")), last)
  kept[last] = nil
end

local function twice(what, kept, one, other)
  if kept[one] and kept[other] then
    errors.fault(("%s: %s and %s are set; write one of them"):format(what, one, other), other)
    kept[other] = nil
  end
end

local function near(x)
  local whole = math.floor(x + 0.5)
  return math.abs(x - whole) < 1e-6 and whole or x
end

-- Whether a multiple of 1/scale lies between two bounds; far from 0 every number is one.
local function holdsMultiple(low, lowOpen, high, highOpen, scale)
  if math.max(math.abs(low), math.abs(high)) * scale > numbers.LARGEST then
    return true
  end
  low, high = near(low * scale), near(high * scale)
  local first, last = math.ceil(low), math.floor(high)
  first = lowOpen and first == low and first + 1 or first
  last = highOpen and last == high and last - 1 or last
  return first <= last
end

-- How far from 0 a number may be: the distance, and whether it is out of reach itself.
local function reach(kind, kept)
  local digits = kept.maxDigits or kept.maxIntegerDigits
  if digits then
    return 10 ^ digits, true
  end
  return kind == "int" and numbers.LARGEST or math.huge, false
end

-- The upper end of a range: where it is, and whether it is out of reach itself.
local function upperEnd(inclusive, exclusive, outer, outerOpen)
  local limit = inclusive or exclusive
  if limit == nil or limit >= outer then
    return outer, outerOpen
  end
  return limit, exclusive ~= nil
end

local function negative(x)
  return x and -x
end

local function isEmpty(kind, kept)
  local outer, outerOpen = reach(kind, kept)
  local high, highOpen = upperEnd(kept.maxValue, kept.maxValueExclusive, outer, outerOpen)
  local low, lowOpen = upperEnd(negative(kept.minValue), negative(kept.minValueExclusive), outer, outerOpen)
  low = -low
  if low >= high then
    return low > high or lowOpen or highOpen
  end
  local digits = kind == "int" and 0 or kept.maxFractionDigits
  return digits ~= nil and not holdsMultiple(low, lowOpen, high, highOpen, 10 ^ digits)
end

local function checkBounds(kind, what, kept, order)
  twice(what, kept, "minValue", "minValueExclusive")
  twice(what, kept, "maxValue", "maxValueExclusive")
  while isEmpty(kind, kept) do
    local names = {}
    for _, name in ipairs(order) do
      names[#names + 1] = kept[name] and name
    end
    contradict(what, kept, names)
  end
end

local function checkLengths(_, what, kept)
  twice(what, kept, "length", "minLength")
  twice(what, kept, "length", "maxLength")
  if kept.minLength and kept.maxLength and kept.minLength > kept.maxLength then
    contradict(what, kept, { "minLength", "maxLength" })
  end
end

-- The pattern together with the lengths. It counts bytes, of which a character has up to four.
local function checkPattern(what, kept)
  local info = patterns.parse(kept.pattern)
  local lower, upper = kept.length and "length" or "minLength", kept.length and "length" or "maxLength"
  if info.most < (kept[lower] or 0) then
    contradict(what, kept, { lower, "pattern" })
  elseif kept[upper] and info.least > kept[upper] * 4 then
    contradict(what, kept, { upper, "pattern" })
  elseif info.endless > 1 and not kept[upper] then
    kept.maxLength = math.max(UNBOUNDED_TEXT, kept[lower] or 0)
  end
end

local function checkText(_, what, kept)
  checkLengths(nil, what, kept)
  if not kept.pattern then
    return
  end
  local regex = patterns.looksLikeRegex(kept.pattern)
  if regex then
    errors.warn(("%s: pattern = %s looks like a regular expression; %s"):format(what, text.show(kept.pattern), regex))
  end
  checkPattern(what, kept)
end

local CHECKS = {
  int = checkBounds,
  float = checkBounds,
  number = checkBounds,
  array = checkLengths,
  string = checkText,
}

--- Tells each contradiction, and forgets a limit that has a part in it.
---@param kind string "int", "string", ...
---@param what string how messages begin
---@param kept table<string, any> limits by name; a text whose pattern could take long may get a maxLength
---@param order string[] the names of the limits of this kind
local function check(kind, what, kept, order)
  if CHECKS[kind] then
    CHECKS[kind](kind, what, kept, order)
  end
end

return {
  check = check,
}
