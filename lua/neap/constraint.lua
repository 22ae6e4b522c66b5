-- SPDX-License-Identifier: MIT
--
-- neap.constraint: what a value must look like.
--
--      int float number string boolean any enum        scalars, with limits
--      array record union                              made of other constraints
--      optional                                        a field of a record that may be left out
--
-- Constructors check what they are given: every mistake, also a constraint that nothing could ever satisfy, is told
-- when the app loads.  The parts are in neap/constraint/: node.lua (what constraints are made of), compose.lua (those
-- that are made of others), limits.lua and pattern.lua (which limits there are), code.lua (functions that check fast),
-- explain.lua (messages for what failed), measure.lua.  docs/api/constraint.md has what is decided about null, empty
-- tables, defaults and paths.

local code = require "neap.constraint.code"
local compose = require "neap.constraint.compose"
local core = require "neap.core"
local errors = require "neap.message.error"
local explain = require("neap.constraint.explain").explain
local limits = require "neap.constraint.limits"
local node = require "neap.constraint.node"
local text = require "neap.message.text"

local NULL = core.jsonNull
local constructors, isConstraint, Constraint = node.constructors, node.isConstraint, node.methods

---@class neap.NumberLimits
---@field minValue? number
---@field maxValue? number
---@field minValueExclusive? number
---@field maxValueExclusive? number
---@field maxIntegerDigits? integer
---@field maxFractionDigits? integer

---@class neap.IntLimits
---@field minValue? number
---@field maxValue? number
---@field minValueExclusive? number
---@field maxValueExclusive? number
---@field maxDigits? integer

---@class neap.LengthLimits
---@field length? integer
---@field minLength? integer
---@field maxLength? integer

---@class neap.StringLimits: neap.LengthLimits
---@field pattern? string

---@class neap.Constraint
---@field validate fun(self: neap.Constraint, value: any): any, websocket.Error?

local function limited(kind, given)
  local what = "constraint." .. kind
  given = given == nil and {} or node.tableOf(what, given, what .. " { limit = value }")
  return node.new(kind, { checks = limits.read(kind, what, given) })
end

--- A whole number from -2^53 to 2^53. `1.0` is one.
---@param given? neap.IntLimits
---@return neap.Constraint
local function int(given)
  return limited("int", given)
end

--- A finite number; another name of constraint.number.
---@param given? neap.NumberLimits
---@return neap.Constraint
local function float(given)
  return limited("float", given)
end

--- A finite number.
---@param given? neap.NumberLimits
---@return neap.Constraint
local function number(given)
  return limited("number", given)
end

--- A text. Lengths count code points; the pattern is one of Lua and must match the whole text.
---@param given? neap.StringLimits
---@return neap.Constraint
local function textual(given)
  return limited("string", given)
end

--- true or false.
---@param given? table without limits: it has none
---@return neap.Constraint
local function boolean(given)
  return limited("boolean", given)
end

--- Any value but nil, null included.
---@param given? table without limits: it has none
---@return neap.Constraint
local function any(given)
  return limited("any", given)
end

-- An optional one by itself: nothing and null are fine.
local function validateOptional(optional, value)
  if value == nil or value == NULL then
    return code.copy(optional.default)
  end
  return optional.inner:validate(value)
end

--- Checks a value. It is not changed: where a default is filled in, the tables on the way are copied.
---@param value any
---@return any value nil when it does not fit; else the value, with defaults
---@return websocket.Error? err
function Constraint:validate(value)
  if not isConstraint(self) then
    errors.raise "c:validate(value): call it with a colon, not with a dot"
  elseif self.kind == "optional" then
    return validateOptional(self, value)
  end
  local kept = code.fast(self, code.modeOf(true, false))(value)
  if kept == nil then
    return nil, explain(self, value, true)
  end
  return kept
end

--- The function that checks values for a constraint: faster than validate, and defaults are filled into the very tables
--- that it is given.
---@param c neap.Constraint
---@param withLimits? boolean false: only shape and types are checked
---@return fun(value: any): any, websocket.Error?
local function compile(c, withLimits)
  local inner = node.inner("constraint.compile", "the first argument", c)
  withLimits = withLimits ~= false
  local fast = code.fast(inner, code.modeOf(withLimits, true))
  return function(value)
    local kept = fast(value)
    if kept == nil then
      return nil, explain(inner, value, withLimits)
    end
    return kept
  end
end

--- Whether a constraint takes a message's text as it came, instead of what JSON makes of it: that of a string.
---@param c any
---@return boolean
local function takesText(c)
  return isConstraint(c) and c.kind == "string"
end

-- What people write who know other libraries.
local ALIASES = {
  bool = "boolean",
  double = "number",
  integer = "int",
  list = "array",
  nullable = "optional",
  object = "record",
  oneOf = "union",
  struct = "record",
  table = "record",
  text = "string",
}

local function unknown(_, name)
  local names = text.sortedKeys(constructors)
  local near = ALIASES[name] or text.nearest(tostring(name), names)
  errors.fault(("neap.constraint has no %s; %s"):format(tostring(name),
    near and "did you mean constraint." .. near .. "?" or "there are " .. table.concat(names, ", ")))
  return node.anything
end

for name, constructor in pairs {
  any = any,
  array = compose.array,
  boolean = boolean,
  enum = compose.enum,
  float = float,
  int = int,
  number = number,
  optional = compose.optional,
  record = compose.record,
  string = textual,
  union = compose.union,
} do
  constructors[name] = constructor
end

return setmetatable({
  any = any,
  array = compose.array,
  boolean = boolean,
  compile = compile,
  enum = compose.enum,
  float = float,
  int = int,
  isConstraint = node.isConstraint,
  number = number,
  optional = compose.optional,
  record = compose.record,
  string = textual,
  takesText = takesText,
  union = compose.union,
}, { __index = unknown })
