-- SPDX-License-Identifier: MIT
--
-- Why a value does not fit: the way to the first place that is wrong, and what is wrong there.  Only values that failed
-- come here, so this walks the constraint as it stands.  Shape first, then limits: a value that has both kinds of
-- problem is one of the wrong shape.
--
-- Whoever sends a message decides what is in it, so the walk costs no more than a few checks do: one problem is told,
-- not all; the bad element of an array is found with the generated function; texts and keys are shown cut and escaped.
-- Paths count from 1, as Lua and json.encode do.

local code = require "neap.constraint.code"
local core = require "neap.core"
local errors = require "neap.message.error"
local measure = require "neap.constraint.measure"

local NULL = core.jsonNull
local MAX_TEXT = 400 -- bytes of a message about a union
local SHOWN = 4 -- alternatives of a union
local CHOICES = 8 -- values of an enum

local show = measure.show

local MUST_BE = {
  any = "a value",
  array = "an array",
  boolean = "true or false",
  float = "a number",
  int = "a whole number",
  number = "a number",
  record = "an object",
  string = "a string",
}

local problem

local function fits(node, value, limits)
  return code.fast(node, code.modeOf(limits, false))(value) ~= nil
end

local function wrong(node, value)
  return "", ("must be %s, is %s"):format(MUST_BE[node.kind], show(value))
end

local function limitBroken(node, value, x)
  for _, check in ipairs(node.checks) do
    if not code.holds(check)(x) then
      return "", check.message(value)
    end
  end
end

local function scalar(node, value, limits)
  if not fits(node, value, false) then
    return wrong(node, value)
  end
  if limits then
    return limitBroken(node, value, value)
  end
end

local walks = {}

function walks.array(node, value, limits)
  local n = type(value) == "table" and measure.sequence(value)
  if not n then
    return wrong(node, value)
  end
  if limits then
    local broken, why = limitBroken(node, value, n)
    if broken then
      return broken, why
    end
  end
  local good = code.fast(node.element, code.modeOf(limits, false))
  for i = 1, n do
    if good(value[i]) == nil then
      local tail, why = problem(node.element, value[i], limits)
      return ("[%d]%s"):format(i, tail), why
    end
  end
end

-- Of several the first in alphabetical order, so that the same message always gets the same answer.
local function unknownField(node, value)
  local first
  for key in pairs(value) do
    local name = type(key) == "string" and key or show(key)
    if node.fields[key] == nil and (not first or name < first) then
      first = name
    end
  end
  if first then
    return measure.step(first), "no such field"
  end
end

local function fieldProblem(field, value, limits)
  if field.kind == "optional" then
    if value == nil or value == NULL then
      return nil
    end
    field = field.inner
  end
  if value == nil then
    return "", "is missing"
  end
  return problem(field, value, limits)
end

function walks.record(node, value, limits)
  if type(value) ~= "table" or measure.sequence(value) or value[1] ~= nil then
    return wrong(node, value)
  end
  for _, name in ipairs(node.names) do
    local tail, text = fieldProblem(node.fields[name], value[name], limits)
    if tail then
      return measure.step(name) .. tail, text
    end
  end
  if node.closed then
    return unknownField(node, value)
  end
end

function walks.enum(node, value)
  if node.set[value] ~= nil then
    return nil
  end
  local shown = {}
  for i = 1, math.min(#node.values, CHOICES) do
    shown[i] = show(node.values[i])
  end
  local rest = #node.values - #shown
  local last = rest > 0 and ("%d others"):format(rest) or table.remove(shown)
  local list = #shown > 0 and table.concat(shown, ", ") .. " or " .. last or last
  return "", ("must be %s, is %s"):format(list, show(value))
end

local function numbered(problems)
  if #problems == 1 then
    return problems[1].tail, problems[1].text
  end
  local parts = {}
  for i = 1, math.min(#problems, SHOWN) do
    local tail, text = problems[i].tail, problems[i].text
    parts[i] = ("(%d) %s%s%s"):format(i, tail, tail == "" and "" or ": ", text)
  end
  local list = measure.cut(table.concat(parts, "; "), MAX_TEXT)
  local more = #problems > SHOWN and ("; and %d more"):format(#problems - SHOWN) or ""
  return "", ("fits none of %d alternatives: %s%s"):format(#problems, list, more)
end

-- Of limits only those of alternatives whose shape fits are of interest.
function walks.union(node, value, limits)
  local problems = {}
  for _, alternative in ipairs(node.alternatives) do
    if not limits or fits(alternative, value, false) then
      local tail, text = problem(alternative, value, limits)
      if not tail then
        return nil
      end
      problems[#problems + 1] = { tail = tail, text = text }
    end
  end
  return numbered(problems)
end

-- Where in the value (the rest of a path, "" for the value itself) and what; nil when nothing is wrong.
function problem(node, value, limits)
  return (walks[node.kind] or scalar)(node, value, limits)
end

--- The error for a value that does not fit.
---@param node table
---@param value any
---@param limits boolean whether limits count
---@return websocket.Error
local function explain(node, value, limits)
  local kind = "PayloadBindingError"
  local tail, text = problem(node, value, false)
  if not tail and limits then
    kind = "PayloadValidationError"
    tail, text = problem(node, value, true)
  end
  local path = "$" .. (tail or "")
  return errors.new(kind, ("%s: %s"):format(path, text or "does not fit"), { path = path })
end

return {
  explain = explain,
}
