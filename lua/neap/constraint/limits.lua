-- SPDX-License-Identifier: MIT
--
-- The limits: which there are for which kind of constraint, what each may be set to, what it asks of a value, and how a
-- message says so.  `read` takes an app's table of limits, tells each mistake in it through error.fault, sets together
-- that nothing could satisfy included, and returns the checks that remain.
--
-- A check is { source =, message = }: a Lua expression over `x` (the value; of arrays, the number of elements), which
-- code.lua puts into the functions that it generates, and function(value) -> the text for a value that fails.
-- Lengths come before the pattern: matching costs more the longer a text is.

local errors = require "neap.message.error"
local measure = require "neap.constraint.measure"
local patterns = require "neap.constraint.pattern"
local text = require "neap.message.text"

local LARGEST = 2 ^ 53
local MAX_PATTERN = 1000 -- bytes
local UNBOUNDED_TEXT = 1000 -- characters of a text whose pattern could take long, unless the app sets maxLength

local function isNumber(v)
  return type(v) == "number" and v == v and v ~= math.huge and v ~= -math.huge
end

local function numeric(v)
  if not isNumber(v) then
    return "must be a number"
  end
end

local function count(least, most)
  return function(v)
    if not isNumber(v) or v < least or v > most or v ~= math.floor(v) then
      return ("must be a whole number from %d to %.0f"):format(least, most)
    end
  end
end

local function pattern(v)
  if type(v) ~= "string" then
    return "must be a Lua pattern in a string"
  elseif #v > MAX_PATTERN then
    return ("must be a pattern of at most %d bytes"):format(MAX_PATTERN)
  end
  local info, why = patterns.parse(v)
  if not info then
    return why
  end
end

local function literal(number)
  return ("(%.17g)"):format(number)
end

-- { name, what it may be set to, expression over x for a limit, what the value must be or have }
local function bound(name, operator, words)
  return { name, numeric, function(limit)
    return ("x %s %s"):format(operator, literal(limit))
  end, words }
end

local BOUNDS = {
  bound("minValue", ">=", "be at least %s"),
  bound("minValueExclusive", ">", "be more than %s"),
  bound("maxValue", "<=", "be at most %s"),
  bound("maxValueExclusive", "<", "be less than %s"),
}

local function power(digits)
  local limit = literal(10 ^ digits)
  return ("x < %s and x > -%s"):format(limit, limit)
end

local function fraction(digits)
  return ("fractionDigits(x) <= %d"):format(digits)
end

-- The table's own expressions for a length between two numbers, of a text and of an array.
local function lengths(form, unit)
  local function length(name, words, bounds)
    return { name, count(0, LARGEST), function(limit)
      return form:format(bounds(limit))
    end, words .. " " .. unit }
  end
  local function exactly(n) return literal(n), literal(n) end
  local function from(n) return literal(n), "huge" end
  local function notOver(n) return literal(0), literal(n) end
  return length("length", "have %s", exactly), length("minLength", "have at least %s", from),
    length("maxLength", "have at most %s", notOver)
end

local function joined(first, ...)
  local list = {}
  for i, item in ipairs(first) do
    list[i] = item
  end
  for _, item in ipairs { ... } do
    list[#list + 1] = item
  end
  return list
end

local function matches(source)
  return ("find(x, %q) ~= nil"):format(patterns.parse(source).whole)
end

local NUMBER = joined(BOUNDS,
  { "maxIntegerDigits", count(1, 300), power, "have at most %s digits before the point" },
  { "maxFractionDigits", count(0, 300), fraction, "have at most %s digits after the point" })
local TEXT = joined { lengths("lengthFits(x, %s, %s)", "characters") }
TEXT[#TEXT + 1] = { "pattern", pattern, matches, "match the pattern %s" }

local LIMITS = {
  int = joined(BOUNDS, { "maxDigits", count(1, 16), power, "have at most %s digits" }),
  float = NUMBER,
  number = NUMBER,
  string = TEXT,
  array = { lengths("x >= %s and x <= %s", "elements") },
  boolean = {},
  any = {},
}

-- What people write who know other libraries.
local ALIASES = {
  min = { number = "minValue", string = "minLength", array = "minLength" },
  max = { number = "maxValue", string = "maxLength", array = "maxLength" },
  minimum = { number = "minValue" },
  maximum = { number = "maxValue" },
  minItems = { array = "minLength" },
  maxItems = { array = "maxLength" },
  size = { string = "length", array = "length" },
  len = { string = "length", array = "length" },
  regex = { string = "pattern" },
  match = { string = "pattern" },
}
local OPTIONAL = { default = true, optional = true, required = true, nullable = true }

local function namesOf(kind)
  local names = {}
  for _, limit in ipairs(LIMITS[kind]) do
    names[#names + 1] = limit[1]
  end
  return names
end

local function ownersOf(name)
  local owners = {}
  for _, kind in ipairs { "int", "float", "number", "string", "array" } do
    for _, known in ipairs(namesOf(kind)) do
      if known == name then
        owners[#owners + 1] = "constraint." .. kind
      end
    end
  end
  return table.concat(owners, ", ")
end

local function hint(kind, name)
  local family = (kind == "int" or kind == "float") and "number" or kind
  local alias = ALIASES[name] and ALIASES[name][family]
  local near = alias or type(name) == "string" and text.nearest(name, namesOf(kind))
  if near then
    return "did you mean " .. near .. "?"
  elseif OPTIONAL[name] then
    return "a field that may be left out is constraint.optional(c) or constraint.optional(c, default)"
  elseif ownersOf(name) ~= "" then
    return "it belongs to " .. ownersOf(name)
  end
  local names = table.concat(namesOf(kind), ", ")
  return names == "" and "there are none for this kind" or "there are " .. names
end

-- The limits that are known and well formed, by name.
local function accepted(kind, what, given)
  local known, kept = {}, {}
  for _, limit in ipairs(LIMITS[kind]) do
    known[limit[1]] = limit
  end
  for _, name in ipairs(text.sortedKeys(given)) do
    local value = given[name]
    local why = known[name] and known[name][2](value)
    if not known[name] then
      errors.fault(("%s: %s: no such limit; %s"):format(what,
        type(name) == "string" and name or text.show(name), hint(kind, name)), name)
    elseif why then
      errors.fault(("%s: %s %s, it is %s"):format(what, name, why, text.show(value)), name)
    else
      kept[name] = value
    end
  end
  return kept
end

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
  if math.max(math.abs(low), math.abs(high)) * scale > LARGEST then
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
  return kind == "int" and LARGEST or math.huge, false
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

local function checkBounds(kind, what, kept)
  twice(what, kept, "minValue", "minValueExclusive")
  twice(what, kept, "maxValue", "maxValueExclusive")
  while isEmpty(kind, kept) do
    local names = {}
    for _, name in ipairs(namesOf(kind)) do
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

local TOGETHER = {
  int = checkBounds,
  float = checkBounds,
  number = checkBounds,
  array = checkLengths,
  string = checkText,
}

local function lengthOf(value)
  return type(value) == "string" and measure.codePoints(value) or measure.sequence(value)
end

-- function(value) -> "must be at least 5, is 2"
local function messenger(name, limit, words)
  local must = "must " .. words:format(measure.show(limit))
  if limit == 1 then
    must = must:gsub("1 (%a+)s%f[%A]", "1 %1") -- character, element, digit
  end
  if name:find "[lL]ength$" then
    return function(value)
      return ("%s, has %d"):format(must, lengthOf(value))
    end
  end
  return function(value)
    return ("%s, is %s"):format(must, measure.show(value))
  end
end

--- Reads the limits of a constraint.
---@param kind string "int", "string", ...
---@param what string how messages begin
---@param given table
---@return { source: string, message: fun(value: any): string }[] checks
local function read(kind, what, given)
  local kept = accepted(kind, what, given)
  if TOGETHER[kind] then
    TOGETHER[kind](kind, what, kept)
  end
  local checks = {}
  for _, limit in ipairs(LIMITS[kind]) do
    local name, _, source, words = unpack(limit)
    if kept[name] then
      checks[#checks + 1] = { source = source(kept[name]), message = messenger(name, kept[name], words) }
    end
  end
  return checks
end

return {
  read = read,
}
