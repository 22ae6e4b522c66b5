-- SPDX-License-Identifier: MIT
-- neap.message.error and neap.message.source: error objects, their families, and where in the app a mistake was
-- made.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local errors = require "neap.message.error"
local source = require "neap.message.source"

local HERE = debug.getinfo(1, "S").source:sub(2)

local function line()
  return debug.getinfo(2, "l").currentline
end

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("error objects", function()
  it("print as kind and message", function()
    local err = errors.Error("ConnectionError", "gone")
    assert.equal("ConnectionError", err.kind)
    assert.equal("gone", err.message)
    assert.equal("ConnectionError: gone", tostring(err))
    assert.equal("it was ConnectionError: gone!", "it was " .. err .. "!")
  end)

  it("are recognised when C made them", function()
    local err = setmetatable({ kind = "Timeout", message = "late" }, fake.core.errorMetatable)
    assert.is_true(errors.isError(err))
    assert.is_true(errors.isError(err, "Timeout"))
    assert.equal("Timeout: late", tostring(err))
  end)

  it("belong to families", function()
    local function is(kind, family)
      return errors.isError(errors.new(kind, ""), family)
    end
    assert.is_true(is("ConnectionClosureError", "ConnectionError"))
    assert.is_true(is("PayloadValidationError", "PayloadBindingError"))
    assert.is_true(is("InvalidContinuationFrameError", "CorruptedFrameError"))
    assert.is_true(is("ConnectionClosureError", "Error"))
    assert.is_false(is("ConnectionError", "ConnectionClosureError"))
    assert.is_false(is("CorruptedFrameError", "ConnectionError"))
    assert.is_false(is("Error", "ConnectionError"))
  end)

  it("are nothing else", function()
    for _, v in ipairs { "text", 12, {}, { kind = "Error", message = "x" }, print } do
      assert.is_false(errors.isError(v))
    end
    assert.is_false(errors.isError(nil))
    assert.is_false(errors.isError(nil, "Error"))
  end)

  it("are made of two strings", function()
    assert.matches("kind must be a name", message(errors.Error, nil, "x"))
    assert.matches("kind must be a name", message(errors.Error, "", "x"))
    assert.matches("message must be a string, it is nil", message(errors.Error, "ConnectionError"))
  end)
end)

describe("mistakes", function()
  it("begin with file and line of the app, in run mode", function()
    local at
    local text = message(function()
      at = line() + 1
      errors.fault "wrong"
      return nil
    end)
    assert.equal(("%s:%d: wrong"):format(HERE, at), text)
  end)

  it("point to the function they are about", function()
    local at = line() + 1
    local function callback() end
    assert.equal(("%s:%d: wrong"):format(HERE, at), message(errors.fault, "wrong", callback))
  end)

  it("point to the line that sets the key", function()
    local function call(t)
      errors.fault("wrong", "second")
      return t
    end
    local at
    local text = message(function()
      at = line() + 1
      local kept = call {
        first = 1,
        second = 2,
      }
      return kept
    end)
    -- The innermost frame of the app is `call` here, which sets no key: its own line stands.
    assert.matches("^" .. HERE:gsub("%W", "%%%0") .. ":%d+: wrong$", text)
    assert.equal(at + 2, source.lineOfKey(HERE, at, "second"))
    assert.equal(at, source.lineOfKey(HERE, at, "third"))
    assert.equal(at, source.lineOfKey(HERE, at, "irst"))
    assert.equal(7, source.lineOfKey("no such file", 7, "second"))
  end)

  it("joins a folder and a name", function()
    assert.equal("a.pem", source.join(".", "a.pem"))
    assert.equal("/a.pem", source.join("/", "a.pem"))
    assert.equal("app/a.pem", source.join("app", "a.pem"))
  end)

  it("do not search past the end of the call", function()
    local at = line() + 1
    local a = tostring(1)
    local t = { later = a }
    assert.is_table(t)
    assert.equal(at, source.lineOfKey(HERE, at, "later"))
  end)

  it("go to the collector while there is one", function()
    local got = {}
    errors.collect(function(...)
      got[#got + 1] = { ... }
    end)
    local at = line() + 1
    errors.fault "one"
    errors.warn "two"
    errors.collect(nil)
    assert.same({ { HERE, at, "one" }, { HERE, at + 1, "two", "warning" } }, got)
    assert.has_no.errors(function()
      errors.warn "nobody listens"
    end)
  end)

  it("raise whatever the mode when nothing can go on", function()
    errors.collect(function() end)
    local text = message(function()
      errors.raise "wrong"
    end)
    errors.collect(nil)
    assert.matches(":%d+: wrong$", text)
  end)
end)
