-- SPDX-License-Identifier: MIT
--
-- Mistakes in constraints: each is told when the app loads, with file and line and what to write instead; `neap check`
-- hears of all of them.

local fakesched = dofile "tests/spec/support/fakesched.lua"
local native = dofile "tests/spec/support/nativejson.lua"

local SEED = 7 -- of random patterns: the same every time, so that a failure is seen again

describe("neap.constraint, a mistake", function()
  local constraint, errors

  setup(function()
    local sched = fakesched.new()
    for name, value in pairs(native) do
      sched.core[name] = value
    end
    constraint = sched.require "neap.constraint"
    errors = sched.require "neap.message.error"
  end)

  -- What went wrong while `fn` made constraints, as `neap check` collects it: messages, then what came with each.
  local function collected(fn)
    local messages, details = {}, {}
    errors.collect(function(file, line, message, level)
      messages[#messages + 1] = message
      details[#details + 1] = { file = file, line = line, level = level }
    end)
    local ok, err = pcall(fn)
    errors.collect(nil)
    assert(ok, err)
    return messages, details
  end

  -- The one mistake that `fn` makes; without a collector it raises.
  local function mistake(fn)
    local messages, details = collected(fn)
    assert.equal(1, #messages, table.concat(messages, "\n"))
    assert.matches("constraint_mistakes_spec%.lua$", details[1].file)
    if not details[1].level then
      local ok, err = pcall(fn)
      assert.is_false(ok)
      assert.matches(messages[1], err, 1, true)
    end
    return messages[1]
  end

  local function case(said, fn)
    assert.equal(said, mistake(fn))
  end

  it("in a limit is told when the app loads", function()
    case("constraint.int: min: no such limit; did you mean minValue?", function() constraint.int { min = 1 } end)
    case("constraint.string: max: no such limit; did you mean maxLength?", function()
      constraint.string { max = 1 }
    end)
    case("constraint.string: minLenght: no such limit; did you mean minLength?", function()
      constraint.string { minLenght = 1 }
    end)
    case("constraint.string: minValue: no such limit; it belongs to constraint.int, constraint.float, "
      .. "constraint.number",
      function() constraint.string { minValue = 1 } end)
    case("constraint.int: default: no such limit; a field that may be left out is constraint.optional(c) or "
      .. "constraint.optional(c, default)", function() constraint.int { default = 1 } end)
    case("constraint.boolean: zzzz: no such limit; there are none for this kind", function()
      constraint.boolean { zzzz = 1 }
    end)
    case('constraint.int: minValue must be a number, it is "5"', function() constraint.int { minValue = "5" } end)
    case("constraint.int: minValue must be a number, it is nan", function() constraint.int { minValue = 0 / 0 } end)
    case("constraint.int: maxDigits must be a whole number from 1 to 16, it is 17", function()
      constraint.int { maxDigits = 17 }
    end)
    case("constraint.string: length must be a whole number from 0 to 9007199254740992, it is -1", function()
      constraint.string { length = -1 }
    end)
    case("constraint.int: write constraint.int { limit = value }; the argument is 5", function() constraint.int(5) end)
    case("constraint.int: call it with a dot, not with a colon: constraint.int { limit = value }", function()
      constraint:int { minValue = 1 }
    end)
  end)

  it("that nothing could satisfy is told", function()
    case("constraint.int: nothing can satisfy minValue = 5 and maxValue = 3", function()
      constraint.int { minValue = 5, maxValue = 3 }
    end)
    case("constraint.int: nothing can satisfy minValue = 1.2 and maxValue = 1.8", function()
      constraint.int { minValue = 1.2, maxValue = 1.8 }
    end)
    for _, limits in ipairs {
      { minValueExclusive = 1, maxValueExclusive = 2 },
      { minValue = 1000, maxDigits = 3 },
      { maxValue = -1000, maxDigits = 3 },
      { minValue = 2 ^ 60 },
      { maxValueExclusive = -2 ^ 53 },
    } do
      assert.matches("^constraint.int: nothing can satisfy ", mistake(function() constraint.int(limits) end))
    end
    for _, limits in ipairs {
      { minValue = 1, maxValueExclusive = 1 },
      { minValueExclusive = 1, maxValue = 1 },
      { minValue = 100, maxIntegerDigits = 2 },
      { minValue = 0.11, maxValue = 0.19, maxFractionDigits = 1 },
      { minValueExclusive = 0.1, maxValueExclusive = 0.2, maxFractionDigits = 1 },
    } do
      assert.matches("^constraint.number: nothing can satisfy ", mistake(function() constraint.number(limits) end))
    end
    for _, limits in ipairs {
      { minLength = 5, maxLength = 3 },
      { pattern = "%d%d", minLength = 3 },
      { pattern = "%d?%d", length = 3 },
      { pattern = "^" .. ("%a"):rep(9) .. "$", maxLength = 2 },
    } do
      assert.matches("^constraint.string: nothing can satisfy ", mistake(function() constraint.string(limits) end))
    end
    assert.matches("nothing can satisfy", mistake(function()
      constraint.array(constraint.int(), { minLength = 2, maxLength = 1 })
    end))
    assert.matches("nothing can satisfy an empty list", mistake(function() constraint.enum {} end))
    assert.matches("nothing can satisfy an empty list", mistake(function() constraint.union {} end))
  end)

  it("is not seen in narrow limits that something satisfies", function()
    assert.same({}, (collected(function()
      constraint.int { minValue = 5, maxValue = 5, maxDigits = 1 }
      constraint.int { minValueExclusive = 0.5, maxValueExclusive = 1.5 }
      constraint.int { minValue = 999.5, maxValue = 1000 }
      constraint.int { maxValue = -2 ^ 53 }
      constraint.number { minValue = 0, maxValue = 0 }
      constraint.number { minValue = 0, maxValue = 0, maxFractionDigits = 2 }
      constraint.number { minValue = 1.1, maxValue = 1.1, maxFractionDigits = 1 }
      constraint.number { minValueExclusive = 0.1, maxValueExclusive = 0.3, maxFractionDigits = 1 }
      constraint.number { minValue = 1e300, maxFractionDigits = 2 }
      constraint.string { pattern = "%d%d", length = 2 }
      constraint.string { pattern = "%d+", minLength = 300 }
      constraint.string { minLength = 2000, pattern = ".*x.*" }
      constraint.string { pattern = "éé", maxLength = 2 }
      constraint.array(constraint.int(), { length = 0 })
    end)))
  end)

  it("of two limits where one would do is told", function()
    case("constraint.int: minValue and minValueExclusive are set; write one of them", function()
      constraint.int { minValue = 1, minValueExclusive = 0 }
    end)
    case("constraint.string: length and maxLength are set; write one of them", function()
      constraint.string { length = 5, maxLength = 6 }
    end)
  end)

  it("in a pattern is told, whatever string.find would reach", function()
    for pattern, said in pairs {
      ["[a"] = "has a [ without its ]",
      ["[]"] = "has a [ without its ]",
      ["[%]"] = "has a [ without its ]",
      ["x(a"] = "has a ( without its )",
      ["xa)"] = "has a ) without its (",
      ["x%"] = "ends with a lone %; a percent sign is written %%",
      ["x%bx"] = "has a %b without its two characters",
      ["x%fx"] = "has a %f without its set, such as %f[%w]",
      ["x%1"] = "has %1 without a capture of that number",
      ["(a%1)"] = "has %1 without a capture of that number",
      ["a\0"] = "has a zero byte; write %z",
      [("()"):rep(33)] = "has more than 32 captures",
      [("a?"):rep(151)] = "has more than 150 repetitions and captures",
    } do
      assert.matches("constraint.string: pattern " .. said .. ", it is ", mistake(function()
        constraint.string { pattern = pattern }
      end), 1, true)
    end
  end)

  it("no pattern that is accepted raises later", function()
    math.randomseed(SEED)
    local pieces = { "%", "[", "]", "(", ")", "^", "$", "-", "*", "+", "?", "a", "%a", "%b", "%f", "%1", ".", "[^" }
    local texts = { "", "a", "ax", "(a)", "[a]", ("ax"):rep(20) }
    local good = 0
    errors.collect(function() end)
    for _ = 1, 5000 do
      local pattern = ""
      for _ = 1, math.random(6) do
        pattern = pattern .. pieces[math.random(#pieces)]
      end
      local messages = collected(function()
        local c = constraint.string { pattern = pattern }
        for _, text in ipairs(texts) do
          local ok, err = pcall(c.validate, c, text)
          assert(ok, pattern .. ": " .. tostring(err))
        end
      end)
      local valid = true
      for _, text in ipairs(texts) do
        valid = valid and pcall(string.find, text, pattern)
      end
      if not valid then
        assert.is_true(#messages > 0, "accepted: " .. pattern)
      end
      good = good + (#messages == 0 and 1 or 0)
    end
    errors.collect(nil)
    assert.is_true(good > 500)
  end)

  it("of writing a regular expression is warned of", function()
    for _, pattern in ipairs { "\\d+", "(ab)+", "cat|dog", "%d{4}", "[a-z]{2,3}" } do
      local messages, details = collected(function() constraint.string { pattern = pattern } end)
      assert.matches("looks like a regular expression; ", messages[1])
      assert.equal("warning", details[1].level)
    end
    assert.same({}, (collected(function()
      for _, pattern in ipairs { "[|]", "a%|b", "%(a%)+", "(%d%d)-(%d)", "{%a+}", "[\\/]+", "[)]+" } do
        constraint.string { pattern = pattern, maxLength = 100 }
      end
    end)))
  end)

  it("about what stands where is told", function()
    local int = constraint.int()
    case("constraint.record: x must be a constraint, it is the function: write constraint.int {}", function()
      constraint.record { x = constraint.int }
    end)
    case('constraint.record: x must be a constraint, it is "int": write constraint.int {}', function()
      constraint.record { x = "int" }
    end)
    case("constraint.record: x must be a constraint, it is a table with one in it: leave out the { }", function()
      constraint.record { x = { int } }
    end)
    case("constraint.record: x must be a constraint, it is a table: write constraint.record { ... }", function()
      constraint.record { x = { y = int } }
    end)
    case("constraint.record: x must be a constraint such as constraint.int {}, it is 5", function()
      constraint.record { x = 5 }
    end)
    case("constraint.record: fields need names: write name = constraint.int {}, not [1] = ...", function()
      constraint.record { int }
    end)
    case("constraint.record: write constraint.record { name = constraint.string {} }; the argument is a constraint",
      function() constraint.record(int) end)
    case('constraint.record: "close": no such option; there is closed', function()
      constraint.record({}, { close = true })
    end)
    case("constraint.record: closed must be true or false, it is 1", function()
      constraint.record({}, { closed = 1 })
    end)
    case("constraint.array: the element must be a constraint such as constraint.int {}, it is nil", function()
      constraint.array()
    end)
    case("constraint.union: takes one list: write constraint.union { a, b }", function()
      constraint.union(int, int)
    end)
    case('constraint.enum: takes one list: write constraint.enum { "red", "green" }', function()
      constraint.enum("a", "b")
    end)
    case("constraint.union: write constraint.union { a, b }, without names and holes; there is a [\"a\"]", function()
      constraint.union { a = int }
    end)
    case("constraint.union: alternative 2 is never reached: constraint.any() before it takes everything", function()
      constraint.union { constraint.any(), int }
    end)
    case('constraint.enum: "a" stands twice in the list', function() constraint.enum { "a", "a" } end)
    case("constraint.enum: value 1 must be a string, number, boolean or json.null, it is a table", function()
      constraint.enum { {} }
    end)
    for _, fn in ipairs {
      function() constraint.array(constraint.optional(int)) end,
      function() constraint.union { constraint.optional(int) } end,
      function() constraint.optional(constraint.optional(int)) end,
      function() constraint.compile(constraint.optional(int)) end,
    } do
      assert.matches("cannot be optional: only a field of a record can be left out", mistake(fn))
    end
    case("neap.constraint has no integer; did you mean constraint.int?", function() constraint.integer {} end)
    case("neap.constraint has no recrd; did you mean constraint.record?", function() constraint.recrd {} end)
    assert.error_matches(function() int.validate(5) end, "call it with a colon, not with a dot")
  end)

  it("in a default is told", function()
    case("constraint.optional: the default does not fit the constraint: $: must be at least 5, is 3", function()
      constraint.optional(constraint.int { minValue = 5 }, 3)
    end)
    case("constraint.optional: the default does not fit the constraint: $.a: must be a string, is 5", function()
      constraint.optional(constraint.record { a = constraint.string() }, { a = 5 })
    end)
    local loop = {}
    loop.loop = loop
    case("constraint.optional: the default contains itself, or is nested too deep", function()
      constraint.optional(constraint.any(), loop)
    end)
  end)

  it("of making a constraint that could keep the worker busy is told", function()
    assert.matches("a value could be checked 1024 times, because unions stand in unions", mistake(function()
      local u = constraint.int()
      for _ = 1, 10 do
        u = constraint.union { constraint.record { a = u }, constraint.record { a = u, b = u } }
      end
    end))
    assert.matches("more than 100 deep", mistake(function()
      local c = constraint.int()
      for _ = 1, 100 do
        c = constraint.array(c)
      end
    end))
    local fields = {}
    for i = 1, 1000 do
      fields["f" .. i] = constraint.optional(constraint.int { minValue = i }, i)
    end
    local wide = constraint.record(fields, { closed = true })
    assert.equal(1000, wide:validate({}).f1000)
    fields.more = constraint.int()
    assert.matches("1001 fields, 1000 are the most", mistake(function() constraint.record(fields) end))
  end)

  it("has file and line, and does not hide the next one", function()
    local from = debug.getinfo(1, "l").currentline
    local messages, details = collected(function()
      constraint.record {
        a = constraint.int {
          minValue = "x",
          maxDigits = 0,
        },
        b = constraint.string { pattern = "(" },
        c = 5,
      }
    end)
    assert.equal(4, #messages)
    local lines = {}
    for i, detail in ipairs(details) do
      lines[i] = detail.line - from
    end
    table.sort(lines)
    assert.same({ 4, 5, 7, 8 }, lines)
  end)
end)
