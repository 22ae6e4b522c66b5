-- SPDX-License-Identifier: MIT
--
-- Constraints to Lua functions.  For each node of a constraint one function is generated and compiled when it is first
-- needed, so that checking a message walks no description: the fields of a record are read by constant keys, scalars
-- are compared in place.
--
--      fast(node, mode)  ->  function(value) -> the value, converted, or nil when it does not fit
--
-- Why it does not fit is not told here: explain.lua finds that out for the few values that fail.
--
-- Modes differ in two ways.  With `limits` or without; and what happens where a record lacks an optional field that has
-- a default, or has null in one: `in place` changes the record itself, as one may with what was just decoded; otherwise
-- the tables on the way to it are copied first, and what the caller handed over stays as it is.  Alternatives of a
-- union never work in place: the first may fill in a default before it fails, which the second must not see.

local core = require "neap.core"
local measure = require "neap.constraint.measure"

local ARRAY, NULL = core.jsonArray, core.jsonNull

local PRELUDE = [[
local type, getmetatable, floor, huge, find, lengthFits, fractionDigits, sequence, own, copy, has, ARRAY, NULL, K = ...
]]

-- By whether they work in place, and whether limits are checked. Nodes keep functions by the mode's key.
local function newMode(key, inPlace, limits)
  return { key = key, inPlace = inPlace, limits = limits }
end
local MODES = {
  [true] = { [true] = newMode(1, true, true), [false] = newMode(2, true, false) },
  [false] = { [true] = newMode(3, false, true), [false] = newMode(4, false, false) },
}

local fast

-- A copy of `from` unless `to` is one already.
local function own(to, from)
  if to ~= from then
    return to
  end
  local copied = {}
  for key, value in pairs(from) do
    copied[key] = value
  end
  return setmetatable(copied, getmetatable(from))
end

--- A copy of a default, tables in it copied too: what a handler does with it must not change the next one.
---@param v any
---@return any
local function copy(v)
  if type(v) ~= "table" then
    return v
  end
  local copied = {}
  for key, value in pairs(v) do
    copied[key] = copy(value)
  end
  return setmetatable(copied, getmetatable(v))
end

-- Whether all keys of v are among the fields.
local function has(fields, v)
  for key in pairs(v) do
    if fields[key] == nil then
      return false
    end
  end
  return true
end

local function compile(source, constants)
  local chunk = assert(loadstring(PRELUDE .. source, "=neap.constraint"))
  return chunk(type, getmetatable, math.floor, math.huge, string.find, measure.lengthFits, measure.fractionDigits,
    measure.sequence, own, copy, has, ARRAY, NULL, constants)
end

-- What is needed while the source of a function is written: its lines, its constants, the mode.
local function newWriter(mode)
  return { mode = mode, lines = {}, constants = {} }
end

local function constant(writer, value)
  local constants = writer.constants
  constants[#constants + 1] = value
  return ("K[%d]"):format(#constants)
end

local function emit(writer, form, ...)
  writer.lines[#writer.lines + 1] = form:format(...)
end

local FINITE = 'type(x) == "number" and x - x == 0'
local SHAPES = {
  any = "x ~= nil",
  boolean = 'type(x) == "boolean"',
  float = FINITE,
  number = FINITE,
  int = 'type(x) == "number" and floor(x) == x and x >= -9007199254740992 and x <= 9007199254740992',
  string = 'type(x) == "string"',
}

local function checksOf(node, mode)
  return mode.limits and node.checks or {}
end

-- The condition that x fits, as one expression; nil when it takes statements.
local function expression(writer, node)
  if node.kind == "enum" then
    return constant(writer, node.set) .. "[x] ~= nil"
  elseif not SHAPES[node.kind] then
    return nil
  end
  local parts = { SHAPES[node.kind] }
  for _, check in ipairs(checksOf(node, writer.mode)) do
    parts[#parts + 1] = check.source
  end
  return table.concat(parts, " and ")
end

-- Lines that leave unless x fits. When the value may come out changed, `store` puts the new one, y, into its place.
local function emitCheck(writer, node, store)
  local condition = expression(writer, node)
  if condition then
    emit(writer, "if not (%s) then return nil end", condition)
    return
  end
  local call = constant(writer, fast(node, writer.mode)) .. "(x)"
  if not node.changes then
    emit(writer, "if %s == nil then return nil end", call)
    return
  end
  emit(writer, "local y = %s", call)
  emit(writer, "if y == nil then return nil end")
  emit(writer, "if y ~= x then %s end", store "y")
end

local function isTable(writer)
  emit(writer, 'if type(v) ~= "table" then return nil end')
end

-- Statement that puts a value at a key of the result, c.
local function storer(writer, key)
  return function(value)
    if writer.mode.inPlace then
      return ("v[%s] = %s"):format(key, value)
    end
    return ("c = own(c, v) c[%s] = %s"):format(key, value)
  end
end

local writers = {}

function writers.array(writer, node)
  isTable(writer)
  emit(writer, "local n")
  emit(writer, "if getmetatable(v) == ARRAY then n = #v else n = sequence(v) if not n then return nil end end")
  for _, check in ipairs(checksOf(node, writer.mode)) do
    emit(writer, "do local x = n if not (%s) then return nil end end", check.source)
  end
  emit(writer, "local c = v")
  emit(writer, "for i = 1, n do local x = v[i]")
  emitCheck(writer, node.element, storer(writer, "i"))
  emit(writer, "end return c")
end

-- An optional field: absent and null are the same, and become the default or nothing.
local function emitOptional(writer, name, node, store)
  local default = node.default
  if default == nil then
    emit(writer, "if x == nil then elseif x == NULL then %s else", store "nil")
  else
    local value = constant(writer, default)
    emit(writer, "if x == nil or x == NULL then %s else",
      store(type(default) == "table" and ("copy(%s)"):format(value) or value))
  end
  emitCheck(writer, node.inner, store)
  emit(writer, "end")
end

function writers.record(writer, node)
  isTable(writer)
  emit(writer, "if getmetatable(v) == ARRAY or v[1] ~= nil then return nil end")
  if node.closed then
    emit(writer, "if not has(%s, v) then return nil end", constant(writer, node.fields))
  end
  emit(writer, "local c = v")
  for _, name in ipairs(node.order) do
    local field, key = node.fields[name], ("%q"):format(name)
    local store = storer(writer, key)
    emit(writer, "do local x = v[%s]", key)
    if field.kind == "optional" then
      emitOptional(writer, name, field, store)
    else
      emitCheck(writer, field, store)
    end
    emit(writer, "end")
  end
  emit(writer, "return c")
end

function writers.union(writer, node)
  writer.mode = MODES[false][writer.mode.limits]
  emit(writer, "local x = v")
  for _, alternative in ipairs(node.alternatives) do
    local condition = expression(writer, alternative)
    if condition then
      emit(writer, "if %s then return x end", condition)
    else
      local call = constant(writer, fast(alternative, writer.mode))
      emit(writer, "do local y = %s(x) if y ~= nil then return y end end", call)
    end
  end
  emit(writer, "return nil")
end

local function scalar(writer, node)
  emit(writer, "local x = v")
  emitCheck(writer, node)
  emit(writer, "return x")
end

local function generate(node, mode)
  local writer = newWriter(mode)
  emit(writer, "return function(v)")
  local write = writers[node.kind] or scalar
  write(writer, node)
  emit(writer, "end")
  return compile(table.concat(writer.lines, "\n"), writer.constants)
end

--- The function for a node. It takes a value and returns it, or what it was converted to; nil when it does not fit.
---@param node table not an optional one
---@param mode table of `modeOf`
---@return fun(value: any): any
function fast(node, mode)
  local made = node.fast[mode.key]
  if not made then
    made = generate(node, mode)
    node.fast[mode.key] = made
  end
  return made
end

--- How values are taken.
---@param limits boolean whether limits are checked, too
---@param inPlace boolean whether the value itself may be changed
---@return table mode
local function modeOf(limits, inPlace)
  return MODES[inPlace][limits]
end

--- The function that tells whether one check holds for x.
---@param check { source: string }
---@return fun(x: any): boolean
local function holds(check)
  if not check.holds then
    check.holds = compile(("return function(x) return %s end"):format(check.source), {})
  end
  return check.holds
end

return {
  copy = copy,
  fast = fast,
  holds = holds,
  modeOf = modeOf,
}
