-- SPDX-License-Identifier: MIT
--
-- What constraints are made of, and what constructors check about their arguments.  A node never changes once it is
-- made.  Every mistake goes through error.fault, and a constructor then goes on with something that does no harm, so
-- that `neap check` tells all of them.
--
--      kind      "int", "record", ...
--      checks    limits, in the form of limits.lua
--      changes   whether what comes out of it may differ from what goes in
--      visits    how often one value in the input may be looked at: unions in unions multiply
--      depth     1 for scalars, 1 more for each constraint around
--      fast      generated functions by mode (code.lua)

local errors = require "neap.message.error"
local text = require "neap.message.text"

local MAX_VISITS = 1000
local MAX_DEPTH = 100

local methods = {} -- of constraints; constraint.lua fills it

local meta = {
  __index = methods,
  __name = "neap.Constraint",
  __tostring = function(node)
    return "constraint." .. node.kind
  end,
}

--- Whether a value is a constraint.
---@param v any
---@return boolean
local function isConstraint(v)
  return type(v) == "table" and getmetatable(v) == meta
end

--- Makes a node.
---@param kind string
---@param fields table becomes the node
---@return table
local function new(kind, fields)
  fields.kind = kind
  fields.checks = fields.checks or {}
  fields.changes = fields.changes or false
  fields.visits = fields.visits or 1
  fields.depth = fields.depth or 1
  fields.fast = {}
  return setmetatable(fields, meta)
end

--- What stands for a constraint that was a mistake.
---@return table
local function anything()
  return new("any", {})
end

local constructors = {} -- by name; what apps call

-- What to write instead of something that is no constraint.
local function hint(v)
  for name, constructor in pairs(constructors) do
    if v == constructor then
      return (", it is the function: write constraint.%s {}"):format(name)
    elseif v == name then
      return (", it is %s: write constraint.%s {}"):format(text.show(v), name)
    end
  end
  if type(v) == "table" and isConstraint(v[1]) then
    return ", it is a table with one in it: leave out the { }"
  elseif type(v) == "table" then
    return ", it is a table: write constraint.record { ... }"
  end
  return " such as constraint.int {}, it is " .. text.show(v)
end

--- A constraint within another one: v when it may stand there.
---@param what string how messages begin
---@param role string what it is there
---@param v any
---@param key? string where it is set
---@return table node
local function inner(what, role, v, key)
  if not isConstraint(v) then
    errors.fault(("%s: %s must be a constraint%s"):format(what, role, hint(v)), key)
    return anything()
  elseif v.kind == "optional" then
    errors.fault(("%s: %s cannot be optional: only a field of a record can be left out; to allow null write "
      .. "constraint.union { c, constraint.enum { json.null } }"):format(what, role), key)
    return v.inner
  end
  return v
end

--- A node unless it is too large to be checked in bounded time.
---@param what string
---@param node table
---@return table
local function sized(what, node)
  if node.visits > MAX_VISITS then
    errors.fault(("%s: a value could be checked %d times, because unions stand in unions; %d is the most"):format(what,
      node.visits, MAX_VISITS))
    return anything()
  elseif node.depth > MAX_DEPTH then
    errors.fault(("%s: constraints stand in constraints, more than %d deep"):format(what, MAX_DEPTH))
    return anything()
  end
  return node
end

--- An argument that must be a table.
---@param what string
---@param given any
---@param form string how the call is written
---@return table
local function tableOf(what, given, form)
  if type(given) == "table" and rawget(given, "isConstraint") == isConstraint then -- the module
    errors.fault(("%s: call it with a dot, not with a colon: %s"):format(what, form))
    return {}
  elseif type(given) ~= "table" or isConstraint(given) then
    errors.fault(("%s: write %s; the argument is %s"):format(what, form,
      isConstraint(given) and "a constraint" or text.show(given)))
    return {}
  end
  return given
end

--- An argument that must be a list with something in it.
---@param what string
---@param given any
---@param form string how the call is written
---@param more integer number of arguments behind it: elements that were not put into a list
---@return any[]
local function listOf(what, given, form, more)
  if more > 0 and type(given) ~= "table" or isConstraint(given) then
    errors.fault(("%s: takes one list: write %s"):format(what, form))
    return {}
  end
  given = tableOf(what, given, form)
  for _, key in ipairs(text.sortedKeys(given)) do
    if type(key) ~= "number" or key < 1 or key > #given or key % 1 ~= 0 then
      errors.fault(("%s: write %s, without names and holes; there is a [%s]"):format(what, form, text.show(key)), key)
      return {}
    end
  end
  if #given == 0 then
    errors.fault(("%s: nothing can satisfy an empty list; write %s"):format(what, form))
  end
  return given
end

return {
  MAX_DEPTH = MAX_DEPTH,
  anything = anything,
  constructors = constructors,
  inner = inner,
  isConstraint = isConstraint,
  listOf = listOf,
  methods = methods,
  new = new,
  sized = sized,
  tableOf = tableOf,
}
