-- SPDX-License-Identifier: MIT
--
-- neap.constraint beside a reference, which knows in the slowest and plainest way what constraints mean: on random
-- constraints and random values both must come to the same results, in every way in which a value can be checked.

local fakesched = dofile "tests/spec/support/fakesched.lua"
local native = dofile "tests/spec/support/nativejson.lua"

-- Only the library is compiled: why pairs and next should not be is told in lua/neap/constraint/measure.lua.
jit.off(true, true)

-- The same every time, so that a failure is seen again.
local SEED, ROUNDS, VALUES = 7, 1500, 8

describe("neap.constraint beside a reference", function()
  local constraint, json, null

  setup(function()
    local sched = fakesched.new()
    for name, value in pairs(native) do
      sched.core[name] = value
    end
    constraint = sched.require "neap.constraint"
    json = sched.require "neap.json"
    null = json.null
  end)

  local reference = {}

  local function isArray(v)
    return type(v) == "table" and getmetatable(v) == getmetatable(json.array())
  end

  local function isObject(v)
    return type(v) == "table" and not isArray(v)
  end

  local function clone(v)
    if type(v) ~= "table" then
      return v
    end
    local t = setmetatable({}, getmetatable(v))
    for key, value in pairs(v) do
      t[key] = clone(value)
    end
    return t
  end

  local function equal(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then
      return a == b
    elseif getmetatable(a) ~= getmetatable(b) then
      return false
    end
    for key, value in pairs(a) do
      if not equal(value, b[key]) then
        return false
      end
    end
    for key in pairs(b) do
      if a[key] == nil then
        return false
      end
    end
    return true
  end

  local function within(limits, n)
    return not (limits.length and n ~= limits.length or limits.minLength and n < limits.minLength
      or limits.maxLength and n > limits.maxLength)
  end

  local function bounded(limits, n)
    return not (limits.minValue and n < limits.minValue or limits.maxValue and n > limits.maxValue
      or limits.minValueExclusive and n <= limits.minValueExclusive
      or limits.maxValueExclusive and n >= limits.maxValueExclusive
      or limits.maxDigits and #("%d"):format(math.abs(n)) > limits.maxDigits)
  end

  -- Whether v fits a description { kind, ... }, and what it becomes. `limited`: whether limits count.
  local function judge(d, v, limited)
    return reference[d.kind](d, v, limited)
  end

  function reference.any(_, v)
    return v ~= nil, v
  end

  function reference.boolean(_, v)
    return v == true or v == false, v
  end

  function reference.int(d, v, limited)
    return type(v) == "number" and v % 1 == 0 and (not limited or bounded(d.limits, v)), v
  end

  function reference.number(d, v, limited)
    return type(v) == "number" and (not limited or bounded(d.limits, v)), v
  end

  function reference.string(d, v, limited)
    if type(v) ~= "string" or not limited then
      return type(v) == "string", v
    end
    local _, characters = v:gsub("[%z\1-\127\194-\244][\128-\191]*", "")
    local matched = not d.limits.pattern or v:find("^" .. d.limits.pattern .. "$") ~= nil
    return within(d.limits, characters) and matched, v
  end

  function reference.enum(d, v)
    for _, value in ipairs(d.values) do
      if v == value then
        return true, v
      end
    end
    return false
  end

  function reference.array(d, v, limited)
    if not isArray(v) or limited and not within(d.limits, #v) then
      return false
    end
    local out = json.array()
    for i, element in ipairs(v) do
      local fits, value = judge(d.element, element, limited)
      if not fits then
        return false
      end
      out[i] = value
    end
    return true, out
  end

  local function judgeField(d, v, limited)
    if d.kind ~= "optional" then
      return judge(d, v, limited)
    elseif v == nil or v == null then
      return true, clone(d.default)
    end
    return judge(d.inner, v, limited)
  end

  function reference.record(d, v, limited)
    if not isObject(v) then
      return false
    end
    local out = {}
    for key, value in pairs(v) do
      if not d.fields[key] and d.closed then
        return false
      end
      out[key] = value
    end
    for key, field in pairs(d.fields) do
      local fits, value = judgeField(field, v[key], limited)
      if not fits then
        return false
      end
      out[key] = value
    end
    return true, out
  end

  function reference.union(d, v, limited)
    for _, alternative in ipairs(d.alternatives) do
      local fits, value = judge(alternative, v, limited)
      if fits then
        return true, value
      end
    end
    return false
  end

  local random = math.random

  local function chance(one_in)
    return random(one_in) == 1
  end

  -- Descriptions.

  local KEYS = { "a", "b", "c", "long name" }
  local PATTERNS = { "%a*", "[ab]+", "x?%d-", ".b.?" }
  local CHOICES = { "a", "b", 1, 2, true, false }
  local describeRandom
  local making = {}

  local function lengths()
    local limits, least = {}, random(0, 3)
    limits.minLength = chance(3) and least or nil
    limits.maxLength = chance(3) and least + random(0, 2) or nil
    limits.length = next(limits) == nil and chance(5) and least or nil
    return limits
  end

  local function bounds()
    local limits, least = {}, random(-3, 3)
    limits[chance(2) and "minValue" or "minValueExclusive"] = chance(3) and least or nil
    limits[chance(2) and "maxValue" or "maxValueExclusive"] = chance(3) and least + random(2, 5) or nil
    return limits
  end

  function making.int()
    local limits = bounds()
    limits.maxDigits = chance(4) and random(1, 2) or nil
    return { limits = limits }
  end

  function making.number()
    return { limits = bounds() }
  end

  function making.string()
    local limits = lengths()
    if next(limits) == nil and chance(2) then
      limits.pattern = PATTERNS[random(#PATTERNS)]
    end
    return { limits = limits }
  end

  function making.boolean()
    return {}
  end

  making.any = making.boolean

  function making.enum()
    local values = {}
    for _, value in ipairs(CHOICES) do
      if chance(3) then
        table.insert(values, value)
      end
    end
    return { values = #values > 0 and values or { null } }
  end

  function making.array(depth)
    return { element = describeRandom(depth - 1), limits = lengths() }
  end

  local function optional(depth)
    return { kind = "optional", inner = describeRandom(depth - 1) }
  end

  function making.record(depth)
    local fields = {}
    for _, key in ipairs(KEYS) do
      if chance(2) then
        fields[key] = chance(3) and optional(depth) or describeRandom(depth - 1)
      end
    end
    return { fields = fields, closed = chance(3) }
  end

  function making.union(depth)
    local alternatives = {}
    for i = 1, random(1, 3) do
      local d
      repeat
        d = describeRandom(depth - 1)
      until d.kind ~= "any"
      alternatives[i] = d
    end
    return { alternatives = alternatives }
  end

  local SCALARS = { "int", "number", "string", "boolean", "any", "enum" }
  local ALL = { "int", "string", "enum", "array", "record", "record", "union", "union" }

  function describeRandom(depth)
    local kinds = depth > 0 and ALL or SCALARS
    local kind = kinds[random(#kinds)]
    local d = making[kind](depth)
    d.kind = kind
    return d
  end

  -- Values: near to what a description wants, with something wrong here and there.

  local WORDS = { "", "a", "ab", "bbb", "x1", "ä", "äbä", "😀" }
  local wanted = {}

  local function scalarValue()
    local any = { random(-4, 12), random() * 4, WORDS[random(#WORDS)], chance(2), null }
    return any[random(#any)]
  end

  local function valueFor(d)
    if chance(25) then
      local odd = { scalarValue(), json.array(), {}, json.array { 1 }, { a = 1 } }
      return odd[random(#odd)]
    end
    return (wanted[d.kind] or scalarValue)(d)
  end

  function wanted.int() return random(-4, 12) end

  function wanted.number() return random(-16, 16) / 4 end

  function wanted.string() return WORDS[random(#WORDS)] end

  function wanted.boolean() return chance(2) end

  function wanted.enum(d) return d.values[random(#d.values)] end

  function wanted.array(d)
    local list = json.array()
    for i = 1, random(0, 3) do
      list[i] = valueFor(d.element)
    end
    return list
  end

  function wanted.record(d)
    local object = {}
    for key, field in pairs(d.fields) do
      if not chance(12) then
        object[key] = valueFor(field.inner or field)
      end
      if field.kind == "optional" and chance(3) then
        object[key] = chance(2) and null or nil
      end
    end
    if chance(12) then
      object.further = scalarValue()
    end
    return object
  end

  function wanted.union(d) return valueFor(d.alternatives[random(#d.alternatives)]) end

  -- Constraints of descriptions. An optional one gets a default when a value for it happens to fit.

  local build

  local function buildOptional(d)
    local inner = build(d.inner)
    local default = chance(2) and valueFor(d.inner) or nil
    local fits, kept = judge(d.inner, default, true)
    if default ~= nil and default ~= null and fits then
      d.default = kept
      return constraint.optional(inner, default)
    end
    return constraint.optional(inner)
  end

  local builders = {
    enum = function(d) return constraint.enum(d.values) end,
    array = function(d) return constraint.array(build(d.element), d.limits) end,
    optional = buildOptional,
    record = function(d)
      local fields = {}
      for key, field in pairs(d.fields) do
        fields[key] = build(field)
      end
      return constraint.record(fields, { closed = d.closed })
    end,
    union = function(d)
      local alternatives = {}
      for i, alternative in ipairs(d.alternatives) do
        alternatives[i] = build(alternative)
      end
      return constraint.union(alternatives)
    end,
  }

  function build(d)
    local builder = builders[d.kind]
    return builder and builder(d) or constraint[d.kind](d.limits)
  end

  local function compare(d, c, value, where)
    local fits, expected = judge(d, value, true)
    local fitsShape, expectedShape = judge(d, value, false)
    local before = clone(value)
    local kept, err = c:validate(value)
    assert(equal(before, value), where .. "validate changed its argument")
    assert.equal(fits, kept ~= nil, where .. tostring(err))
    if fits then
      assert(equal(expected, kept), where .. "another result")
    else
      assert.equal(fitsShape and "PayloadValidationError" or "PayloadBindingError", err.kind, where)
      assert.is_nil(err.message:find "does not fit", where .. err.message)
      assert.equal(err.path .. ": ", err.message:sub(1, #err.path + 2), where)
    end
    local inPlace, same = constraint.compile(c)(clone(value))
    assert(equal(kept, inPlace), where .. "compile and validate differ")
    assert.equal(tostring(err), tostring(same), where)
    local shape = constraint.compile(c, false)(clone(value))
    assert.equal(fitsShape, shape ~= nil, where .. "without limits")
    assert(not fitsShape or equal(expectedShape, shape), where .. "another result without limits")
    return fits
  end

  it("comes to the same results", function()
    math.randomseed(SEED)
    local counts = { [true] = 0, [false] = 0 }
    for round = 1, ROUNDS do
      local d = describeRandom(3)
      local c = build(d)
      for i = 1, VALUES do
        local value = valueFor(d)
        local where = ("round %d, value %d, %s: "):format(round, i, json.encode(value))
        local fits = compare(d, c, value, where)
        counts[fits] = counts[fits] + 1
      end
    end
    local count = ("%d fit, %d do not"):format(counts[true], counts[false])
    assert.is_true(counts[true] > ROUNDS and counts[false] > ROUNDS, count)
  end)
end)
