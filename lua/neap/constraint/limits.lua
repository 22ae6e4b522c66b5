-- SPDX-License-Identifier: MIT
--
-- The limits: which there are for which kind of constraint, what each may be set to, what it asks of a value, and how a
-- message says so.  `read` takes an app's table of limits, tells each mistake in it through error.fault, those that
-- together.lua finds included, and returns the checks that remain.
--
-- A check is { source =, message = }: a Lua expression over `x` (the value; of arrays, the number of elements), which
-- code.lua puts into the functions that it generates, and function(value) -> the text for a value that fails.
-- Lengths come before the pattern: matching costs more the longer a text is.

local errors = require "neap.message.error"
local measure = require "neap.constraint.measure"
local numbers = require "neap.runtime.number"
local patterns = require "neap.constraint.pattern"
local text = require "neap.message.text"
local together = require "neap.constraint.together"

local MAX_PATTERN = 1000 -- bytes

local function numeric(v)
  if not numbers.isFinite(v) then
    return "must be a number"
  end
end

local function count(least, most)
  return function(v)
    if not numbers.isWhole(v, least, most) then
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
    return { name, count(0, numbers.LARGEST), function(limit)
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
  together.check(kind, what, kept, namesOf(kind))
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
