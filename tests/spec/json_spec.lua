-- SPDX-License-Identifier: MIT
--
-- neap.json with its real C side. Cases follow RFC 8259 and the decisions in docs/api/json.md.

local fakesched = dofile "tests/spec/support/fakesched.lua"
local native = dofile "tests/spec/support/nativejson.lua"

describe("neap.json", function()
  local json

  setup(function()
    local sched = fakesched.new()
    for name, value in pairs(native) do
      sched.core[name] = value
    end
    json = sched.require "neap.json"
  end)

  local function decode(source)
    local value, err = json.decode(source)
    assert(err == nil, tostring(err))
    return value
  end

  local function encode(value)
    return assert(json.encode(value))
  end

  -- The message of the error that decoding gives.
  local function refused(source)
    local value, err = json.decode(source)
    assert.is_nil(value, "accepted: " .. source)
    assert.equal("Error", err.kind)
    return err.message
  end

  local function unencodable(value)
    local source, err = json.encode(value)
    assert.is_nil(source)
    assert.equal("Error", err.kind)
    return err.message
  end

  describe("decode", function()
    it("reads every kind of value", function()
      assert.equal("text", decode '"text"')
      assert.equal(12.5, decode "12.5")
      assert.is_true(decode "true")
      assert.is_false(decode "false")
      assert.equal(json.null, decode "null")
      assert.same({ a = { 1, { b = "c" } } }, decode '{"a":[1,{"b":"c"}]}')
    end)

    it("allows the four kinds of blanks everywhere between tokens", function()
      assert.same({ a = { 1, 2 } }, decode ' \t\r\n{ "a"\n:\r[ 1\t,2 ] } \n')
    end)

    it("reads numbers exactly", function()
      for source, value in pairs {
        ["0"] = 0, ["-1"] = -1, ["9007199254740991"] = 2 ^ 53 - 1, ["9007199254740992"] = 2 ^ 53,
        ["-9007199254740992"] = -2 ^ 53, ["0.1"] = 0.1, ["123456.789"] = 123456.789, ["1e3"] = 1000, ["1E-2"] = 0.01,
        ["1.5e+300"] = 1.5e300, ["5e-324"] = 5e-324, ["1e-400"] = 0, ["2.2250738585072014e-308"] = 2 ^ -1022,
        ["1.7976931348623157e308"] = 1.7976931348623157e308, ["179769313486231580793e288"] = 1.7976931348623157e308,
        ["0.000000000000001"] = 1e-15, ["123456789012345.6"] = 123456789012345.6,
        ["9007199254740993"] = 2 ^ 53, -- the nearest double
      } do
        assert.equal(value, decode(source), source)
      end
      assert.equal(-math.huge, 1 / decode "-0")
      assert.equal(0.1, decode("0.1" .. ("0"):rep(100000)))
    end)

    it("reads escapes", function()
      assert.equal('"\\/\b\f\n\r\t', decode [["\"\\\/\b\f\n\r\t"]])
      assert.equal("A\0é€😀\127", decode [["\u0041\u0000\u00e9\u20AC\ud83d\uDE00\u007f"]])
      assert.equal("\238\128\128\239\191\191", decode [["\ue000\uffff"]])
      assert.equal(("x\n"):rep(5000), decode('"' .. ("x\\n"):rep(5000) .. '"'))
    end)

    it("takes valid UTF-8 as it is", function()
      for _, text in ipairs { "é", "€", "😀", "\194\128", "\237\159\191", "\238\128\128", "\244\143\191\191", "\127" } do
        assert.equal(text, decode('"' .. text .. '"'))
      end
    end)

    it("lets the last of duplicate keys count", function()
      assert.same({ a = 3, b = 1 }, decode '{"a":1,"b":1,"a":2,"a":3}')
      local many = {}
      for i = 1, 40 do
        many[i] = ('"k":%d'):format(i)
      end
      assert.same({ k = 40 }, decode("{" .. table.concat(many, ",") .. "}"))
    end)

    it("keeps nulls in their places", function()
      local list = decode "[null,1,null]"
      assert.equal(3, #list)
      assert.equal(json.null, list[1])
      assert.equal(json.null, list[3])
      assert.equal(json.null, decode('{"a":null}').a)
    end)

    it("reads containers of any size", function()
      for _, n in ipairs { 0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000 } do
        local numbers, members = {}, {}
        for i = 1, n do
          numbers[i], members[i] = tostring(i), ('"k%d":%d'):format(i, i)
        end
        local list = decode("[" .. table.concat(numbers, ",") .. "]")
        local map = decode("{" .. table.concat(members, ",") .. "}")
        assert.equal(n, #list)
        local count = 0
        for key, value in pairs(map) do
          count = count + 1
          assert.equal(key, "k" .. value)
        end
        assert.equal(n, count)
        for i = 1, n do
          assert.equal(i, list[i])
        end
      end
    end)

    it("goes 128 levels deep and no deeper", function()
      for _, pair in ipairs { { "[", "]" }, { '{"a":', "}" } } do
        local function nested(depth)
          return pair[1]:rep(depth) .. "1" .. pair[2]:rep(depth)
        end
        assert.is_table(decode(nested(128)))
        assert.matches("nested deeper than 128", refused(nested(129)))
        assert.matches("nested deeper than 128", refused(pair[1]:rep(100000)))
      end
      -- The widest stack: every level has as many members waiting as there can be.
      local wide = "1"
      for _ = 1, 127 do
        wide = "[" .. ("0,"):rep(31) .. wide .. "]"
      end
      assert.is_table(decode(wide))
    end)

    it("refuses what the grammar does not have, and says where", function()
      for _, case in ipairs {
        { "", "line 1, column 1: unexpected end" },
        { "  ", "line 1, column 3: unexpected end" },
        { "[1,2", "column 5: unexpected end" },
        { '{"a"', "column 5: unexpected end" },
        { '{"a":', "column 6: unexpected end" },
        { '"abc', "column 5: unexpected end" },
        { '"abc\\', "column 6: unexpected end" },
        { "tru", "column 1: expected a value" },
        { "nul", "column 1: expected a value" },
        { "True", "column 1: expected a value" },
        { "undefined", "expected a value" },
        { "NaN", "expected a value" },
        { "Infinity", "expected a value" },
        { "-Infinity", "column 2: expected a digit" },
        { "'a'", "expected a value" },
        { "[1,]", "column 4: expected a value" },
        { "[,1]", "column 2: expected a value" },
        { "[1 2]", "column 4: expected ',' or ']'" },
        { "[1}", "column 3: expected ',' or ']'" },
        { '{"a":1,}', "column 8: expected a key in double quotes" },
        { "{a:1}", "column 2: expected a key" },
        { "{1:1}", "column 2: expected a key" },
        { '{"a" 1}', "column 6: expected ':'" },
        { '{"a":1 "b":2}', "column 8: expected ',' or '}'" },
        { "1 2", "column 3: something follows" },
        { "{} x", "column 4: something follows" },
        { "truex", "column 5: something follows" },
        { "[1] // c", "column 5: something follows" },
        { "{}\0", "column 3: something follows" },
        { "\0", "column 1: expected a value" },
        { "[1\n,\n  x]", "line 3, column 3: expected a value" },
        { '["äöü", x]', "line 1, column 9: expected a value" }, -- characters, not bytes
        { "\239\187\191{}", "column 1: byte order mark" },
        { "\255\254[\0]\0", "expected a value" },
        { "\11[]", "expected a value" },
      } do
        local message = refused(case[1])
        assert.is_truthy(message:find(case[2], 1, true), case[1] .. " -> " .. message)
      end
    end)

    it("refuses malformed numbers and those out of range", function()
      for _, source in ipairs { "01", "-01", "00", "-", "+1", ".5", "1.", "1.e1", "1e", "1e+", "0x10", "1_000", "--1",
        "1.2.3", "1e999", "-1e999", "1e999999999999", ("9"):rep(400), "1.8e308" } do
        refused(source)
      end
      assert.matches("column 2: number out of range", refused "[1e999]")
      assert.equal("line 1, column 1: number out of range", refused(("9"):rep(1024 * 1024)))
    end)

    it("refuses malformed strings", function()
      for _, source in ipairs { [["\x"]], [["\u12"]], [["\u12g4"]], [["\uD800"]], [["\uDC00"]], [["\uD800\u0041"]],
        [["\uD800\uD800"]], [["\uDBFFx"]], [["\ud83d\\ude00"]], [["\U0041"]], [["\ud83d]], [["\u]], [["\'"]],
        '"\n"', '"\t"', '"\0"', '"\31"', '"\\\n"', '"\\\200\200"' } do
        refused(source)
      end
      assert.matches("column 5: lone surrogate", refused [["ab\ud800"]])
      assert.matches("column 3: control character", refused '"a\1"')
    end)

    it("refuses invalid UTF-8 wherever it is", function()
      for _, bytes in ipairs { "\128", "\191", "\192\128", "\193\191", "\194", "\194A", "\224\128\128", "\224\159\191",
        "\226\130", "\237\160\128", "\237\191\191", "\240\128\128\128", "\240\143\191\191", "\240\159\152",
        "\244\144\128\128", "\245\128\128\128", "\255", "\254" } do
        assert.matches("invalid UTF%-8", refused('"' .. bytes .. '"'))
        assert.matches("invalid UTF%-8", refused('"0123456789' .. bytes .. '0123456789"'))
        assert.matches("invalid UTF%-8", refused('{"' .. bytes .. '":1}'))
        assert.matches("invalid UTF%-8", refused('"\\n' .. bytes .. '"'))
      end
    end)

    it("takes a string and nothing else", function()
      for _, wrong in ipairs { 5, true, {} } do
        local good, err = pcall(json.decode, wrong)
        assert.is_false(good)
        assert.matches("json_spec.lua:%d+: .*must be a string", err)
      end
      assert.is_false(pcall(json.decode))
    end)

    it("is quick with hostile texts", function()
      local began = os.clock()
      local keys = {}
      for i = 1, 100000 do
        keys[i] = ('"%s%06d%s":1'):format(("a"):rep(40), i, ("b"):rep(40))
      end
      decode("{" .. table.concat(keys, ",") .. "}")
      decode("[" .. ("[],"):rep(300000) .. "[]]")
      refused("[" .. ("1,"):rep(500000))
      refused('"' .. ("\\u0041"):rep(100000))
      assert.is_true(os.clock() - began < 4)
    end)
  end)

  describe("encode", function()
    it("writes every kind of value", function()
      assert.equal('"text"', encode "text")
      assert.equal("12.5", encode(12.5))
      assert.equal("true", encode(true))
      assert.equal("false", encode(false))
      assert.equal("null", encode(json.null))
      assert.equal("[1,[2],\"c\"]", encode { 1, { 2 }, "c" })
      assert.equal('{"a":{"b":[true]}}', encode { a = { b = { true } } })
    end)

    it("writes integers up to 2^53 in full, and other numbers as short as they read back", function()
      for source, value in pairs {
        ["0"] = 0, ["-0"] = -0.0 * 1, ["7"] = 7, ["-1"] = -1, ["1000000"] = 1e6, ["9007199254740991"] = 2 ^ 53 - 1,
        ["9007199254740992"] = 2 ^ 53, ["-9007199254740992"] = -2 ^ 53, ["0.1"] = 0.1, ["0.05"] = 0.05, ["-2.5"] = -2.5,
        ["1763780000.123"] = 1763780000.123, ["0.000001"] = 1e-6, ["1e-07"] = 1e-7, ["1e+300"] = 1e300,
        ["0.1234567"] = 0.1234567,
        ["0.30000000000000004"] = 0.1 + 0.2 } do
        if value ~= 0 then
          assert.equal(source, encode(value))
        end
      end
      assert.equal("0", encode(0))
      assert.equal("-0", encode(-1 / math.huge))
    end)

    it("gives numbers that read back as the same", function()
      local seed = 12345
      local function random()
        seed = (seed * 16807) % 2147483647
        return seed / 2147483647
      end
      for _ = 1, 5000 do
        local value = (random() - 0.5) * 10 ^ math.floor(random() * 600 - 300)
        assert.equal(value, decode(encode(value)))
        local short = math.floor(random() * 1e9) / 10 ^ math.floor(random() * 9)
        assert.equal(short, decode(encode(short)))
        assert.equal(short, tonumber(encode(short)))
      end
    end)

    it("does not follow the locale", function()
      local before = os.setlocale()
      local changed = false
      for _, name in ipairs { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" } do
        changed = changed or os.setlocale(name)
      end
      local texts = { encode { 0.1, 1e-9, 0.1 + 0.2 }, decode "1.25e1" }
      os.setlocale(before)
      assert.same({ "[0.1,1e-09,0.30000000000000004]", 12.5 }, texts)
    end)

    it("escapes what must be, and nothing else", function()
      assert.equal([["\"\\\b\f\n\r\t\u0000\u0001\u001f"]], encode '"\\\b\f\n\r\t\0\1\31')
      assert.equal('"/é€😀\127\226\128\168"', encode "/é€😀\127\226\128\168")
      assert.equal('"' .. ("x\\n"):rep(5000) .. '"', encode(("x\n"):rep(5000)))
      assert.equal([[{"a\"b":1}]], encode { ['a"b'] = 1 })
    end)

    it("writes an empty table as {} and an empty array as []", function()
      assert.equal("{}", encode {})
      assert.equal("[]", encode(json.array {}))
      assert.equal("[]", encode(json.array()))
      assert.equal('{"list":[]}', encode { list = json.array() })
    end)

    it("gives back exactly what was read", function()
      for _, source in ipairs { "{}", "[]", "[[]]", "[{}]", "[[],{},[{}],[[]]]", '{"a":[]}', '{"a":{}}', '{"1":"x"}',
        '{"a":[null]}', "[false,true,null,0,-1.5,\"\"]", '""', '["\\u0000"]' } do
        assert.equal(source, encode(decode(source)))
      end
      local list = decode "[1]"
      list[1] = nil
      assert.equal("[]", encode(list))
    end)

    it("takes arrays whose keys came in any order", function()
      local list = {}
      for i = 50, 1, -1 do
        list[i] = i
      end
      assert.equal("[1,2,3,", encode(list):sub(1, 7))
      assert.equal(50, #decode(encode(list)))
    end)

    it("refuses what has no JSON form, and says where", function()
      for _, case in ipairs {
        { { 1, 2, nil, 4 }, "$: an array has the keys 1 to n" },
        { { 1, a = 2 }, "$: a" },
        { { [2] = 1 }, "$: an array has" },
        { { [0] = 1 }, "$: an array has" },
        { { [1.5] = 1 }, "$: an array has" },
        { { [-1] = 1 }, "$: an array has" },
        { { [2 ^ 40] = 1 }, "$: an array has" },
        { { [true] = 1 }, "$: an object has strings" },
        { json.array { a = 1 }, "$: an array has" },
        { json.array { 1, nil, 3 }, "$: an array has" },
        { { a = { b = { 1, 2, print } } }, "$.a.b[3]: a function has no JSON form" },
        { { a = 1 / 0 }, "$.a: inf" },
        { -1 / 0, "$: inf" },
        { { { 0 / 0 } }, "$[1][1]: nan" },
        { { "ok", "\255" }, "$[2]: a string is not valid UTF-8" },
        { { ["\255"] = 1 }, "$: a string is not valid UTF-8" },
        { { ["a b\n"] = print }, "$.a?b?: a function" },
        { io.stdout, "$: a userdata" },
        { coroutine.create(print), "$: a thread" },
        { 1LL, "$: a cdata" },
      } do
        local message = unencodable(case[1])
        assert.equal(case[2], message:sub(1, #case[2]))
      end
      assert.matches("nil has no JSON form %(json.null has%)", unencodable(nil))
      assert.is_false(pcall(encode, { [setmetatable({}, {})] = 1 }))
    end)

    it("refuses invalid UTF-8 and surrogates", function()
      for _, bytes in ipairs { "\128", "\192\128", "\194", "\237\160\128", "\244\144\128\128", "01234567\226\130" } do
        assert.matches("not valid UTF%-8", unencodable("0123456789" .. bytes))
      end
    end)

    it("goes 128 levels deep, and finds a table that contains itself", function()
      local nested = {}
      for _ = 1, 127 do
        nested = { nested }
      end
      assert.equal(("["):rep(127) .. "{}" .. ("]"):rep(127), encode(nested))
      assert.matches("nested deeper than 128", unencodable { nested })
      local loop = {}
      loop.again = loop
      assert.matches("contains itself", unencodable(loop))
    end)

    it("ends when shared tables multiply, or the text does", function()
      local doubled, heavy = {}, ("x"):rep(1024 * 1024)
      for _ = 1, 100 do
        doubled = { doubled, doubled }
      end
      assert.matches("more than 4 million arrays", unencodable(doubled))
      local list = {}
      for i = 1, 65 do
        list[i] = heavy
      end
      assert.matches("^%$%[64%]: more than 64 MiB", unencodable(list))
      collectgarbage()
    end)

    it("does not call metamethods", function()
      local odd = setmetatable({ a = 1 }, {
        __index = error, __len = error, __pairs = error, __tostring = error, __metatable = error,
      })
      assert.equal('{"a":1}', encode(odd))
    end)

    it("works again after an error, and inside a finalizer", function()
      unencodable { ("x"):rep(5000), print }
      assert.equal('["y"]', encode { "y" })
      local inner
      local function finalize()
        local proxy = newproxy(true)
        getmetatable(proxy).__gc = function()
          inner = encode { "finalizer" } .. decode '"\\u0046"'
        end
      end
      local long = ("long "):rep(2000)
      for _ = 1, 200 do
        finalize()
        assert.equal('["' .. long .. '"]', encode { long })
        assert.equal(long .. "\n", decode('"' .. long .. '\\n"'))
      end
      collectgarbage()
      assert.equal('["finalizer"]F', inner)
    end)
  end)

  describe("array", function()
    it("marks a table and returns it", function()
      local t = {}
      assert.equal(t, json.array(t))
      assert.equal(t, json.array(t))
      assert.equal("[]", encode(t))
    end)

    it("refuses what is no plain table", function()
      assert.is_false(pcall(json.array, 5))
      assert.is_false(pcall(json.array, setmetatable({}, {})))
    end)
  end)
end)
