-- SPDX-License-Identifier: MIT
--
-- The constraints that are made of others, or of a list of values: array, record, union, enum, optional.

local code = require "neap.constraint.code"
local core = require "neap.core"
local errors = require "neap.message.error"
local explain = require "neap.constraint.explain"
local limits = require "neap.constraint.limits"
local measure = require "neap.constraint.measure"
local node = require "neap.constraint.node"
local text = require "neap.message.text"

local NULL = core.jsonNull
local MAX_FIELDS = 1000 -- of a record; a generated function has room for some thousands

--- A list whose elements all satisfy one constraint.
---@param element neap.Constraint
---@param given? neap.LengthLimits
---@return neap.Constraint
local function array(element, given)
  local what = "constraint.array"
  element = node.inner(what, "the element", element)
  given = given == nil and {} or node.tableOf(what, given, "constraint.array(element, { maxLength = 10 })")
  return node.sized(what, node.new("array", {
    element = element,
    checks = limits.read("array", what, given),
    changes = element.changes,
    visits = element.visits,
    depth = element.depth + 1,
  }))
end

local function isClosed(what, options)
  options = options == nil and {} or node.tableOf(what, options, "constraint.record(fields, { closed = true })")
  for _, key in ipairs(text.sortedKeys(options)) do
    if key ~= "closed" then
      errors.fault(("%s: %s: no such option; there is closed"):format(what, text.show(key)), key)
    end
  end
  if options.closed ~= nil and type(options.closed) ~= "boolean" then
    errors.fault(("%s: closed must be true or false, it is %s"):format(what, text.show(options.closed)), "closed")
  end
  return options.closed == true
end

local function addField(what, record, name, field)
  if type(name) ~= "string" then
    errors.fault(("%s: fields need names: write name = constraint.int {}, not [%s] = ..."):format(what,
      text.show(name)))
    return
  end
  if not node.isConstraint(field) or field.kind ~= "optional" then
    field = node.inner(what, name, field, name)
  end
  record.fields[name] = field
  record.names[#record.names + 1] = name
  record.changes = record.changes or field.changes
  record.visits = math.max(record.visits, field.visits)
  record.depth = math.max(record.depth, field.depth + 1)
end

-- Cheap fields first: what does not fit should be found before a long list is looked through.
local function inOrder(record)
  local first, later = {}, {}
  for _, name in ipairs(record.names) do
    local list = record.fields[name].depth > 1 and later or first
    list[#list + 1] = name
  end
  for _, name in ipairs(later) do
    first[#first + 1] = name
  end
  return first
end

--- An object with these fields. Others may be there too, unless it is closed.
---@param fields table<string, neap.Constraint>
---@param options? { closed?: boolean }
---@return neap.Constraint
local function record(fields, options)
  local what = "constraint.record"
  fields = node.tableOf(what, fields, "constraint.record { name = constraint.string {} }")
  local made = node.new("record", { fields = {}, names = {}, closed = isClosed(what, options), depth = 2 })
  for _, name in ipairs(text.sortedKeys(fields)) do
    addField(what, made, name, fields[name])
  end
  if #made.names > MAX_FIELDS then
    errors.fault(("%s: %d fields, %d are the most"):format(what, #made.names, MAX_FIELDS))
    return node.anything()
  end
  made.order = inOrder(made)
  return node.sized(what, made)
end

--- One of several constraints; the first that a value satisfies counts.
---@param alternatives neap.Constraint[]
---@param ... nil nothing: the alternatives are one list
---@return neap.Constraint
local function union(alternatives, ...)
  local what, form = "constraint.union", "constraint.union { a, b }"
  local made = node.new("union", { alternatives = {}, visits = 0 })
  for i, given in ipairs(node.listOf(what, alternatives, form, select("#", ...))) do
    local alternative = node.inner(what, "alternative " .. i, given)
    local before = made.alternatives[i - 1]
    if before and before.kind == "any" and node.isConstraint(alternatives[i - 1]) then
      errors.fault(("%s: alternative %d is never reached: constraint.any() before it takes everything"):format(what, i))
    end
    made.alternatives[i] = alternative
    made.changes = made.changes or alternative.changes
    made.visits = made.visits + alternative.visits
    made.depth = math.max(made.depth, alternative.depth + 1)
  end
  return node.sized(what, made)
end

local function isChoice(v)
  return type(v) == "string" or type(v) == "boolean" or type(v) == "number" and v == v or v == NULL
end

--- One of these values: strings, numbers, booleans, json.null.
---@param values any[]
---@param ... nil nothing: the values are one list
---@return neap.Constraint
local function enum(values, ...)
  local what, form = "constraint.enum", 'constraint.enum { "red", "green" }'
  local made = node.new("enum", { values = {}, set = {} })
  for i, value in ipairs(node.listOf(what, values, form, select("#", ...))) do
    if not isChoice(value) then
      errors.fault(("%s: value %d must be a string, number, boolean or json.null, it is %s"):format(what, i,
        text.show(value)))
    elseif made.set[value] then
      errors.fault(("%s: %s stands twice in the list"):format(what, measure.show(value)))
    else
      made.set[value] = true
      made.values[#made.values + 1] = value
    end
  end
  return made
end

local function isFinite(v, depth)
  if type(v) ~= "table" then
    return true
  elseif depth > node.MAX_DEPTH then
    return false
  end
  for _, value in pairs(v) do
    if not isFinite(value, depth + 1) then
      return false
    end
  end
  return true
end

-- The default as fields get it: a copy, with the defaults of its own fields; nil when it does not fit.
local function checkDefault(inner, default)
  if default == nil then
    return nil
  elseif not isFinite(default, 1) then
    errors.fault "constraint.optional: the default contains itself, or is nested too deep"
    return nil
  end
  default = code.copy(default)
  if inner.kind == "array" and type(default) == "table" and next(default) == nil then
    setmetatable(default, core.jsonArray)
  end
  local kept = code.fast(inner, code.modeOf(true, true))(default)
  if kept == nil then
    errors.fault("constraint.optional: the default does not fit the constraint: "
      .. explain.explain(inner, default, true).message)
  end
  return kept
end

--- A field that may be left out, or be null: the handler then finds the default there, or nil.
---@param c neap.Constraint
---@param default? any
---@return neap.Constraint
local function optional(c, default)
  local inner = node.inner("constraint.optional", "the first argument", c)
  return node.new("optional", {
    inner = inner,
    default = checkDefault(inner, default),
    changes = true,
    visits = inner.visits,
    depth = inner.depth,
  })
end

return {
  array = array,
  enum = enum,
  optional = optional,
  record = record,
  union = union,
}
