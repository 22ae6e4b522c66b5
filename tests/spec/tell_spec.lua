-- SPDX-License-Identifier: MIT
--
-- neap.message.tell: what is said of an error value. Where it is said, is tests/e2e/callbacks/errors_test.py's
-- business.

local fakesched = dofile "tests/spec/support/fakesched.lua"

describe("neap.message.tell", function()
  local tell, errors

  before_each(function()
    local sched = fakesched.new()
    tell, errors = sched.require "neap.message.tell", sched.require "neap.message.error"
  end)

  local function log(value)
    return (tell.tell(value))
  end

  local function public(value)
    return (select(3, tell.tell(value)))
  end

  local function saying(fn, fields)
    return setmetatable(fields or {}, { __tostring = fn })
  end

  it("leaves a text as it is", function()
    assert.same({ "a b", "a b", "a b" }, { tell.tell "a b" })
    assert.same({ "a\n\0b", "a\n\0b" }, { tell.tell "a\n\0b" })
    assert.is_nil(public { message = "a\rb" })
  end)

  it("names what is no text", function()
    assert.same({ "5", "5", "5" }, { tell.tell(5) })
    assert.equal("nil", log(nil))
    assert.equal("true", log(true))
    assert.equal("a function", log(print))
    assert.equal("a coroutine", log(coroutine.create(print)))
    assert.equal("a userdata", log(newproxy()))
    for _, value in ipairs { true, print, newproxy(), {} } do
      assert.is_nil(public(value))
    end
  end)

  it("tells an error object by kind and message, and its further fields", function()
    assert.same({ "RoomError: full", "full", "full" }, { tell.tell(errors.new("RoomError", "full")) })
    assert.same({ "RoomError: full { seats = 4 }", "full", "full" },
      { tell.tell(errors.new("RoomError", "full", { seats = 4 })) })
    assert.same({ "{ 1 }: { code = 5 }", "{ code = 5 }" }, { tell.tell(errors.new({ 1 }, { code = 5 })) })
  end)

  it("asks for __tostring and a message", function()
    local function mine()
      return "mine"
    end
    assert.same({ "mine", "mine", "mine" }, { tell.tell(saying(mine, { code = 5 })) })
    assert.same({ "mine", "other", "other" }, { tell.tell(saying(mine, { message = "other", code = 5 })) })
    assert.same({ "no luck", "no luck", "no luck" }, { tell.tell { message = "no luck" } })
    assert.same({ "no luck { code = 5 }", "no luck", "no luck" }, { tell.tell { message = "no luck", code = 5 } })
    assert.equal("by its class", log(setmetatable({}, { __index = { message = "by its class" } })))
    local proxy = newproxy(true)
    getmetatable(proxy).__tostring = mine
    assert.equal("mine", log(proxy))
    assert.equal("mine", log(setmetatable({}, { __tostring = mine, __metatable = "none of your business" })))
  end)

  it("shows the fields of any other table, sorted", function()
    assert.equal("{}", log {})
    assert.equal("{ code = 5 }", log { code = 5 })
    assert.equal([[{ [-1] = 0, "a", "b\010", [4] = 1, ["a b"] = false, f = a function, t = { x = {} } }]],
      log { "a", "b\n", f = print, t = { x = {} }, ["a b"] = false, [-1] = 0, [4] = 1 })
    assert.equal("{ message = { 1 } }", log { message = { 1 } })
    assert.equal("{ code = 5 }", log(setmetatable({ code = 5 }, { __index = error, __pairs = error, __len = error })))
  end)

  it("bounds depth, number and length", function()
    local loop = {}
    loop.loop = loop
    assert.equal("{ loop = { loop = { loop = { ... } } } }", log(loop))
    local many = {}
    for i = 1, 100000 do
      many[i] = i
    end
    assert.matches("^{ 1, 2, .*, 20, %.%.%. }$", log(many))
    local long = {}
    for i = 1, 20 do
      long[("k"):rep(1000) .. i] = { ("v"):rep(1000), many, many }
    end
    assert.is_true(#log(long) < 5000)
  end)

  it("survives whatever a __tostring does, and says what that was", function()
    assert.matches("^{ code = 5 } %(its __tostring raised .*tell_spec.lua:%d+: boom%)$", log(saying(function()
      error "boom"
    end, { code = 5 })))
    assert.equal("{} (its __tostring raised a table)", log(saying(function()
      error {}
    end)))
    assert.equal("{} (its __tostring returned a table)", log(saying(function()
      return {}
    end)))
    assert.equal("{} (its __tostring returned nil)", log(saying(function() end)))
    assert.matches("^{} %(its __tostring raised .*attempt to call", log(saying "no function"))
    local yielding = saying(coroutine.yield)
    local co = coroutine.create(log)
    assert.matches("attempt to yield", select(2, coroutine.resume(co, yielding)))
    assert.equal("dead", coroutine.status(co))
    assert.is_nil(public(yielding))
    assert.same({ "beside it (its __tostring raised a table)", "beside it", "beside it" },
      { tell.tell(saying(error, { message = "beside it" })) })
  end)

  it("makes an error object of what is none", function()
    local mine = errors.new("RoomError", "full")
    assert.equal(mine, tell.asError(mine))
    local made = tell.asError { code = 5 }
    assert.is_true(errors.isError(made))
    assert.equal("Error: { code = 5 }", tostring(made))
  end)
end)
