-- SPDX-License-Identifier: MIT
--
-- neap.constraint: what fits and what does not, what comes out, what errors say. Mistakes in constraints are in
-- constraint_mistakes_spec.lua, random constraints and values in constraint_random_spec.lua.

local fakesched = dofile "tests/spec/support/fakesched.lua"
local native = dofile "tests/spec/support/nativejson.lua"

describe("neap.constraint", function()
  local constraint, errors, json, null

  setup(function()
    local sched = fakesched.new()
    for name, value in pairs(native) do
      sched.core[name] = value
    end
    constraint, errors = sched.require "neap.constraint", sched.require "neap.message.error"
    json = sched.require "neap.json"
    null = json.null
  end)

  local function decode(source)
    local value, err = json.decode(source)
    assert(err == nil, tostring(err) .. ": " .. source)
    return value
  end

  -- The error for a JSON text, of which validate and compile must say the same.
  local function refused(c, source)
    local value, err = c:validate(decode(source))
    assert.is_nil(value, "accepted: " .. source)
    local again, same = constraint.compile(c)(decode(source))
    assert.is_nil(again)
    assert.equal(tostring(err), tostring(same))
    return err
  end

  local function accepted(c, source)
    local value, err = c:validate(decode(source))
    assert(err == nil, source .. ": " .. tostring(err))
    local again = constraint.compile(c)(decode(source))
    assert.same(value, again)
    return value
  end

  -- Each { constraint, JSON texts that fit, JSON texts that do not }.
  local function check(cases)
    for i, case in ipairs(cases) do
      for _, source in ipairs(case[2]) do
        assert.same(decode(source), accepted(case[1], source), "case " .. i)
      end
      for _, source in ipairs(case[3]) do
        refused(case[1], source)
      end
    end
  end

  describe("types", function()
    it("int takes whole numbers that are exact", function()
      check {
        {
          constraint.int(),
          { "0", "1", "-1", "1.0", "1e3", "-0", "9007199254740992", "-9007199254740992" },
          { "1.5", "9007199254740994", "1e300", '"1"', "true", "null", "[]", "{}" },
        },
      }
    end)

    it("number and float take finite numbers", function()
      for _, kind in ipairs { "number", "float" } do
        check { { constraint[kind](), { "0", "1.5", "-1e300", "5e-324" }, { '"1"', "false", "null", "[1]", "{}" } } }
      end
    end)

    it("no number takes nan and inf, which only Lua can hand over", function()
      for _, kind in ipairs { "int", "number", "float" } do
        for _, value in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
          local kept, err = constraint[kind] { minValue = -1e6 }:validate(value)
          assert.is_nil(kept)
          assert.equal("PayloadBindingError", err.kind)
        end
      end
    end)

    it("boolean, string, any", function()
      check {
        { constraint.boolean(), { "true", "false" }, { "0", '"true"', "null", "{}" } },
        { constraint.string(), { '""', '"x"', '"\\u0000"' }, { "1", "true", "null", "[]", "{}" } },
        { constraint.any(), { "1", '""', "false", "null", "[]", "{}", '{"a":[1]}' }, {} },
      }
    end)

    it("enum takes its values and nothing that looks like them", function()
      check {
        {
          constraint.enum { "a", 1, false, null },
          { '"a"', "1", "1.0", "false", "null" },
          { '"b"', '"1"', "true", "{}" },
        },
      }
    end)

    it("array and record keep [] and {} apart", function()
      check {
        {
          constraint.array(constraint.any()),
          { "[]", "[1]", '[[],{},null,"x"]' },
          { "{}", '{"1":1}', "null", "1", '""' },
        },
        { constraint.record {}, { "{}", '{"a":1}', '{"1":1}' }, { "[]", "[1]", "null", "1", '""' } },
      }
    end)

    it("tables that were not decoded are what json.encode takes them for", function()
      local list, object = constraint.array(constraint.int()), constraint.record {}
      assert.same({ 1, 2 }, list:validate { 1, 2 })
      assert.same({}, list:validate(json.array()))
      assert.same({}, object:validate {})
      for _, t in ipairs { {}, { 1, nil, 3 }, { 1, x = 2 }, { [0] = 1 }, { [1.5] = 1 } } do
        assert.is_nil(list:validate(t))
      end
      assert.is_nil(object:validate { 1 })
      assert.is_nil(object:validate(json.array()))
      for _, v in ipairs { print, io.stdout, coroutine.create(print) } do
        assert.is_nil(object:validate(v))
        assert.is_nil(list:validate(v))
      end
    end)

    it("arrays check every element", function()
      check {
        { constraint.array(constraint.int()), { "[1,2,3]" }, { '[1,"2"]', "[null]", "[[1]]" } },
        {
          constraint.array(constraint.array(constraint.int())),
          { "[]", "[[]]", "[[1],[2,3]]" },
          { "[1]", '[[1],["x"]]', "[{}]" },
        },
      }
    end)

    it("open records take further fields, closed ones do not", function()
      local fields = { x = constraint.int(), ["odd name\n"] = constraint.optional(constraint.string()) }
      check {
        {
          constraint.record(fields),
          { '{"x":1}', '{"x":1,"y":2}', '{"x":1,"odd name\\n":""}' },
          { "{}", '{"y":1}', '{"x":1,"odd name\\n":1}' },
        },
        {
          constraint.record(fields, { closed = true }),
          { '{"x":1}', '{"x":1,"odd name\\n":""}' },
          { '{"x":1,"y":2}', '{"x":1,"x ":1}' },
        },
        { constraint.record({}, { closed = true }), { "{}" }, { '{"":1}', "[]" } },
      }
    end)

    it("a required field may be neither absent nor null", function()
      check {
        { constraint.record { a = constraint.string() }, { '{"a":""}' }, { "{}", '{"a":null}' } },
        { constraint.record { a = constraint.any() }, { '{"a":1}', '{"a":null}', '{"a":false}' }, { "{}" } },
        { constraint.record { a = constraint.boolean() }, { '{"a":false}' }, { "{}", '{"a":null}' } },
      }
    end)

    it("null is allowed where it is written", function()
      local nullable = constraint.union { constraint.int(), constraint.enum { null } }
      check {
        { constraint.record { a = nullable }, { '{"a":null}', '{"a":1}' }, { "{}", '{"a":""}' } },
        { constraint.array(nullable), { "[1,null]" }, { '[""]' } },
      }
    end)

    it("unions take what any alternative takes", function()
      local either = constraint.union { constraint.int(), constraint.boolean(), constraint.array(constraint.string()) }
      check {
        { either, { "1", "true", "false", "[]", '["x"]' }, { "1.5", '"x"', "null", "[1]", "{}" } },
        { constraint.union { either, constraint.record {} }, { "false", "{}" }, { '"x"' } },
      }
    end)
  end)

  describe("limits", function()
    it("bound numbers", function()
      for _, kind in ipairs { "int", "number", "float" } do
        local of = constraint[kind]
        check {
          { of { minValue = 5 }, { "5", "6" }, { "4", "-5" } },
          { of { maxValue = 5 }, { "5", "-6" }, { "6" } },
          { of { minValueExclusive = 5 }, { "6" }, { "5", "4" } },
          { of { maxValueExclusive = -5 }, { "-6" }, { "-5", "5" } },
          { of { minValue = -1, maxValue = 1 }, { "-1", "0", "1" }, { "-2", "2" } },
          { of { minValue = 7, maxValue = 7 }, { "7" }, { "6", "8" } },
        }
      end
      check {
        { constraint.number { minValueExclusive = 0, maxValue = 0.5 }, { "0.5", "5e-324" }, { "0", "-0", "0.51" } },
        { constraint.int { minValue = 1.5 }, { "2" }, { "1" } },
      }
    end)

    it("count digits", function()
      check {
        { constraint.int { maxDigits = 3 }, { "0", "999", "-999" }, { "1000", "-1000" } },
        { constraint.number { maxIntegerDigits = 2 }, { "99.999", "-99.9", "0.123456" }, { "100", "-100" } },
        {
          constraint.number { maxFractionDigits = 2 },
          { "0", "1.25", "-0.5", "1e20", "123456789.12", "0.01", "1.10" },
          { "0.125", "1e-3", "-1.001", "1.5e-7", "0.30000000000000004" },
        },
        { constraint.number { maxFractionDigits = 0 }, { "5", "1e300" }, { "5.5" } },
        { constraint.float { maxFractionDigits = 7 }, { "1e-7", "1.5e-6" }, { "1e-8", "1.5e-7" } },
      }
    end)

    it("count characters, not bytes", function()
      check {
        { constraint.string { length = 2 }, { '"ab"', '"äé"', '"😀😀"' }, { '""', '"a"', '"abc"', '"😀"', '"äéü"' } },
        { constraint.string { minLength = 3 }, { '"abc"', '"äéü"', '"abcd"' }, { '"ab"', '"äé"', '"😀"', '"😀😀"' } },
        { constraint.string { maxLength = 3 }, { '""', '"abc"', '"😀😀😀"' }, { '"abcd"', '"😀😀😀😀"' } },
        { constraint.string { minLength = 1, maxLength = 2 }, { '"a"', '"€€"' }, { '""', '"€€€"' } },
        { constraint.string { length = 0 }, { '""' }, { '"a"' } },
      }
    end)

    it("count elements", function()
      local of = function(limits)
        return constraint.array(constraint.int(), limits)
      end
      check {
        { of { length = 2 }, { "[1,2]" }, { "[]", "[1]", "[1,2,3]" } },
        { of { minLength = 1 }, { "[1]", "[1,2]" }, { "[]" } },
        { of { maxLength = 1 }, { "[]", "[1]" }, { "[1,2]" } },
      }
    end)

    it("match whole texts with Lua patterns", function()
      check {
        { constraint.string { pattern = "%a+" }, { '"abc"' }, { '""', '"abc1"', '"1abc"', '"a\\nb"' } },
        { constraint.string { pattern = "^%a+$" }, { '"abc"' }, { '"abc1"', '"1abc"' } },
        { constraint.string { pattern = "a%$" }, { '"a$"' }, { '"a"', '"a$$"' } },
        { constraint.string { pattern = "[$^]%^" }, { '"$^"', '"^^"' }, { '"$"', '"$^x"' } },
        { constraint.string { pattern = ".-cat.*" }, { '"concatenate"', '"cat"' }, { '"dog"' } },
        { constraint.string { pattern = "(%a)%1" }, { '"aa"' }, { '"ab"' } },
        { constraint.string { pattern = "%b()" }, { '"(a(b))"' }, { '"(a"', '"(a)x"' } },
        { constraint.string { pattern = "\n'\"\\" }, { [["\n'\"\\"]] }, { '"x"' } },
        { constraint.string { pattern = "" }, { '""' }, { '"a"' } },
      }
    end)

    it("bound texts whose pattern could take long", function()
      local c = constraint.string { pattern = ".-a.-b.-c" }
      accepted(c, '"' .. ("a"):rep(998) .. 'bc"')
      local err = refused(c, '"' .. ("a"):rep(100000) .. '"')
      assert.equal("$: must have at most 1000 characters, has 100000", err.message)
      accepted(constraint.string { pattern = "a+" }, '"' .. ("a"):rep(100000) .. '"')
      accepted(constraint.string { pattern = "a+b*", maxLength = 5000 }, '"' .. ("a"):rep(5000) .. '"')
    end)

    it("do not count without limits", function()
      local c = constraint.record {
        n = constraint.int { minValue = 5 },
        list = constraint.array(constraint.string { pattern = "%a" }, { length = 1 }),
        either = constraint.union { constraint.int { maxValue = 5 }, constraint.string() },
      }
      local source = '{"n":1,"list":["1","2"],"either":6}'
      local shape = constraint.compile(c, false)
      assert.same(decode(source), shape(decode(source)))
      local value, err = shape(decode '{"n":"1","list":[],"either":6}')
      assert.is_nil(value)
      assert.equal("PayloadBindingError: $.n: must be a whole number, is \"1\"", tostring(err))
      assert.equal("PayloadValidationError", refused(c, source).kind)
    end)
  end)

  describe("optional", function()
    it("lets a field be absent or null, and the handler find nil", function()
      local c = constraint.record { a = constraint.optional(constraint.int { minValue = 1 }), b = constraint.any() }
      for _, source in ipairs { '{"b":1}', '{"b":1,"a":null}' } do
        local value = accepted(c, source)
        assert.is_nil(value.a)
        assert.equal(1, value.b)
      end
      assert.equal(2, accepted(c, '{"a":2,"b":1}').a)
      assert.equal("PayloadValidationError: $.a: must be at least 1, is 0", tostring(refused(c, '{"a":0,"b":1}')))
      assert.equal("PayloadBindingError", refused(c, '{"a":"","b":1}').kind)
    end)

    it("fills in defaults", function()
      local c = constraint.record {
        n = constraint.optional(constraint.int(), 5),
        off = constraint.optional(constraint.boolean(), false),
        tags = constraint.optional(constraint.array(constraint.string()), {}),
        deep = constraint.record { x = constraint.optional(constraint.string(), "x") },
        list = constraint.array(constraint.record { y = constraint.optional(constraint.int(), 1) }),
      }
      local value = accepted(c, '{"n":null,"deep":{},"list":[{},{"y":2}]}')
      assert.same({ n = 5, off = false, tags = {}, deep = { x = "x" }, list = { { y = 1 }, { y = 2 } } }, value)
      assert.matches('"tags":[]', json.encode(value), 1, true)
      assert.is_true(accepted(c, '{"off":true,"deep":{},"list":[]}').off)
    end)

    it("fills in the defaults of a default", function()
      local inner = constraint.record { x = constraint.optional(constraint.int(), 1), y = constraint.int() }
      local c = constraint.record { p = constraint.optional(inner, { y = 2 }) }
      assert.same({ p = { x = 1, y = 2 } }, accepted(c, "{}"))
    end)

    it("gives every value its own copy", function()
      local given = { list = { 1 } }
      local c = constraint.record { a = constraint.optional(constraint.any(), given) }
      local first = c:validate {}
      first.a.list[1] = 100
      given.list[1] = 200
      assert.same({ a = { list = { 1 } } }, c:validate {})
      local compiled = constraint.compile(c)
      compiled({}).a.list[1] = 300
      assert.same({ a = { list = { 1 } } }, compiled {})
    end)

    it("leaves what validate was given as it is, and copies no more than it must", function()
      local c = constraint.record {
        a = constraint.record { x = constraint.optional(constraint.int(), 1) },
        b = constraint.record { x = constraint.optional(constraint.int(), 1) },
      }
      local given = { a = { x = null }, b = { x = 2 }, other = {} }
      local value = c:validate(given)
      assert.same({ a = { x = 1 }, b = { x = 2 }, other = {} }, value)
      assert.equal(null, given.a.x)
      assert.are_not.equal(given, value)
      assert.equal(given.b, value.b)
      assert.equal(given.other, value.other)
      local full = { a = { x = 1 }, b = { x = 2 } }
      assert.equal(full, c:validate(full))
    end)

    it("changes the very table in a compiled function", function()
      local compiled = constraint.compile(constraint.record { a = constraint.optional(constraint.int(), 1) })
      local given = {}
      assert.equal(given, compiled(given))
      assert.same({ a = 1 }, given)
    end)

    it("an alternative that fails leaves no trace for the next one", function()
      local c = constraint.union {
        constraint.record {
          x = constraint.record { d = constraint.optional(constraint.int(), 5) },
          z = constraint.int(),
        },
        constraint.record { x = constraint.record({}, { closed = true }) },
      }
      assert.same({ x = {} }, accepted(c, '{"x":{}}'))
      assert.same({ x = { d = 5 }, z = 1 }, accepted(c, '{"x":{},"z":1}'))
      assert.same({ { x = { d = 5 }, z = 1 }, { x = {} } }, accepted(constraint.array(c), '[{"x":{},"z":1},{"x":{}}]'))
    end)

    it("stands by itself, too", function()
      local c = constraint.optional(constraint.int { minValue = 1 }, 5)
      assert.equal(5, c:validate(nil))
      assert.equal(5, c:validate(null))
      assert.equal(2, c:validate(2))
      assert.equal("PayloadValidationError", select(2, c:validate(0)).kind)
      assert.same({}, { constraint.optional(constraint.int()):validate(nil) })
    end)
  end)

  describe("an error", function()
    it("names the path and the value", function()
      local c = constraint.record({
        y = constraint.int { minValue = 5, maxValue = 9 },
        items = constraint.array(constraint.record { name = constraint.string { length = 1 } }, { maxLength = 2 }),
        odd = constraint.optional(constraint.record { ["a b"] = constraint.boolean() }),
        colour = constraint.optional(constraint.enum { "red", "green", "blue" }),
        f = constraint.optional(constraint.number { maxFractionDigits = 1, maxIntegerDigits = 1 }),
      }, { closed = true })
      for source, said in pairs {
        ['{"y":2,"items":[]}'] = "PayloadValidationError: $.y: must be at least 5, is 2",
        ['{"y":9007199254740991,"items":[]}'] = "PayloadValidationError: $.y: must be at most 9, is 9007199254740991",
        ['{"y":5.25,"items":[]}'] = "PayloadBindingError: $.y: must be a whole number, is 5.25",
        ['{"items":[]}'] = "PayloadBindingError: $.y: is missing",
        ['{"y":null,"items":[]}'] = "PayloadBindingError: $.y: must be a whole number, is null",
        ['{"y":5,"items":{}}'] = "PayloadBindingError: $.items: must be an array, is an empty object",
        ['{"y":5,"items":[{"name":"a"},{}]}'] = "PayloadBindingError: $.items[2].name: is missing",
        ['{"y":5,"items":[{"name":"a"},[]]}'] = "PayloadBindingError: $.items[2]: must be an object, is an array",
        ['{"y":5,"items":[{"name":"ab"}]}'] = "PayloadValidationError: $.items[1].name: must have 1 character, has 2",
        ['{"y":5,"items":[1,2,3]}'] = "PayloadBindingError: $.items[1]: must be an object, is 1",
        ['{"y":5,"items":[{"name":"a"},{"name":"b"},{"name":"c"}]}'] =
          "PayloadValidationError: $.items: must have at most 2 elements, has 3",
        ['{"y":5,"items":[],"odd":{"a b":1}}'] = 'PayloadBindingError: $.odd["a b"]: must be true or false, is 1',
        ['{"y":5,"items":[],"colour":"pink"}'] =
          'PayloadBindingError: $.colour: must be "red", "green" or "blue", is "pink"',
        ['{"y":5,"items":[],"f":10}'] =
          "PayloadValidationError: $.f: must have at most 1 digit before the point, is 10",
        ['{"y":5,"items":[],"f":0.25}'] =
          "PayloadValidationError: $.f: must have at most 1 digit after the point, is 0.25",
        ['{"y":5,"items":[],"z":1}'] = "PayloadBindingError: $.z: no such field",
        ['{"y":5,"items":[],"a\\u0007b":1}'] = 'PayloadBindingError: $["a\\007b"]: no such field',
        ["[]"] = "PayloadBindingError: $: must be an object, is an array",
        ['"x"'] = 'PayloadBindingError: $: must be an object, is "x"',
      } do
        local err = refused(c, source)
        assert.equal(said, tostring(err))
        assert.equal(said:match "^%w+: (%$.-): ", err.path)
        assert.is_true(errors.isError(err, "PayloadBindingError"))
      end
    end)

    it("tells the shape before a limit", function()
      local c = constraint.record { a = constraint.int { minValue = 5 }, b = constraint.int() }
      assert.equal("PayloadBindingError: $.b: is missing", tostring(refused(c, '{"a":1}')))
    end)

    it("tells what each alternative of a union wants", function()
      local circle = constraint.record { kind = constraint.enum { "circle" }, r = constraint.number { minValue = 0 } }
      local square = constraint.record { kind = constraint.enum { "square" }, a = constraint.number { minValue = 0 } }
      local shape = constraint.record { shape = constraint.union { circle, square } }
      assert.equal('PayloadBindingError: $.shape: fits none of 2 alternatives: '
        .. '(1) .kind: must be "circle", is "square"; (2) .a: is missing',
        tostring(refused(shape, '{"shape":{"kind":"square"}}')))
      assert.equal("PayloadValidationError: $.shape.a: must be at least 0, is -1",
        tostring(refused(shape, '{"shape":{"kind":"square","a":-1}}')))
      local narrow = constraint.union { constraint.int { maxValue = 5 }, constraint.number { minValue = 10 } }
      assert.equal("PayloadValidationError: $: fits none of 2 alternatives: "
        .. "(1) must be at most 5, is 7; (2) must be at least 10, is 7", tostring(refused(narrow, "7")))
    end)

    it("shows what a client sent cut short and escaped", function()
      local c = constraint.int()
      local function shown(value)
        return (select(2, c:validate(value)).message:gsub("^%$: must be a whole number, is ", ""))
      end
      assert.equal('"a\\010b\\000\\034\\092\\127"', shown 'a\nb\0"\\\127')
      local controls = "\194\133\226\128\174\226\129\166\226\128\168"
      assert.equal('"\\194\\133\\226\\128\\174\\226\\129\\166\\226\\128\\168"', shown(controls))
      assert.equal('"äé😀"', shown "äé😀")
      assert.equal('"' .. ("x"):rep(40) .. '..."', shown(("x"):rep(1e6)))
      assert.equal('"' .. ("x"):rep(39) .. '..."', shown(("x"):rep(39) .. "äää"))
      assert.equal('"\\255\\128"', shown "\255\128")
      assert.equal("a function", shown(print))
      local long = {}
      for i = 1, 100 do
        long[i] = "choice " .. i
      end
      assert.matches('"choice 8" or 92 others, is "x"$', refused(constraint.enum(long), '"x"').message)
      local alternatives = {}
      for i = 1, 50 do
        alternatives[i] = constraint.record { ["f" .. i] = constraint.enum { ("x"):rep(100) } }
      end
      local message = refused(constraint.union(alternatives), "{}").message
      assert.is_true(#message < 600)
      assert.matches("fits none of 50 alternatives: %(1%) %.f1: is missing; .*; and 46 more$", message)
      local name = ("n"):rep(1000)
      message = refused(constraint.record({}, { closed = true }), '{"' .. name .. '":1}').message
      assert.is_true(#message < 100)
    end)
  end)

  it("tells a constraint from other things", function()
    assert.is_true(constraint.isConstraint(constraint.int()))
    assert.is_true(constraint.isConstraint(constraint.optional(constraint.int())))
    for _, v in ipairs { 1, "int", {}, print, constraint, setmetatable({}, {}) } do
      assert.is_false(constraint.isConstraint(v))
    end
    assert.is_false(constraint.isConstraint(nil))
    assert.is_true(constraint.takesText(constraint.string { minLength = 1 }))
    local union = constraint.union { constraint.string() }
    for _, c in ipairs { constraint.enum { "a" }, union, constraint.any(), "string" } do
      assert.is_false(constraint.takesText(c))
    end
    assert.equal("constraint.record", tostring(constraint.record {}))
  end)

  it("allocates nothing for a value that fits and needs no default", function()
    local c = constraint.record({
      id = constraint.int { minValue = 1 },
      event = constraint.enum { "move", "stop" },
      x = constraint.number { minValue = 0, maxValue = 100 },
      name = constraint.string { minLength = 1, maxLength = 20, pattern = "%a+" },
      list = constraint.array(constraint.int(), { maxLength = 5 }),
      any = constraint.optional(constraint.union { constraint.int(), constraint.record {} }),
    }, { closed = true })
    local run = constraint.compile(c)
    local value = decode '{"id":1,"event":"stop","x":5,"name":"Ann","list":[1,2],"any":{}}'
    local function spent()
      collectgarbage()
      collectgarbage "stop"
      local before = collectgarbage "count"
      for _ = 1, 1000 do
        run(value)
        c:validate(value)
      end
      local after = collectgarbage "count"
      collectgarbage "restart"
      return (after - before) * 1024
    end
    spent() -- the compiler may want memory once
    assert.is_true(spent() < 8000)
  end)
end)
