-- SPDX-License-Identifier: MIT
--
-- neap.log: what it hands to the server's log. The lines that come of it are tested in runtime_spec.lua.

local fakesched = dofile "tests/spec/support/fakesched.lua"

describe("neap.log", function()
  local sched, log

  before_each(function()
    sched = fakesched.new { debug = true }
    log = sched.require "neap.log"
  end)

  local function last()
    return sched.lines[#sched.lines]
  end

  it("has four levels", function()
    for _, level in ipairs { "debug", "info", "warn", "error" } do
      log[level]("text of " .. level)
      assert.same({ level = level, message = "text of " .. level }, last())
    end
    assert.equal(4, #sched.lines)
  end)

  it("does no work for a level that is off", function()
    sched = fakesched.new()
    log = sched.require "neap.log"
    local asked = false
    log.debug("x", { value = setmetatable({}, { __tostring = function() asked = true return "" end }) })
    assert.is_false(asked)
    assert.same({}, sched.lines)
  end)

  it("writes fields in the order of their keys", function()
    log.info("joined", { user = "ada", room = "blue", n = 3, ok = true, [1] = "one" })
    assert.same({ { "1", "one" }, { "n", "3" }, { "ok", "true" }, { "room", "blue" }, { "user", "ada" } },
      last().fields)
  end)

  it("makes names out of odd keys, and leaves the server's own alone", function()
    log.info("x", { ["a b=c\n"] = 1, level = 2, worker = 3, [""] = 4 })
    assert.same({ { "_", "4" }, { "a_b_c_", "1" }, { "level_", "2" }, { "worker_", "3" } }, last().fields)
  end)

  it("never raises", function()
    local odd = setmetatable({}, { __tostring = function() error("no", 0) end })
    local odder = setmetatable({}, { __tostring = function() return {} end })
    log.info()
    assert.equal("nil", last().message)
    log.info(odd, { a = odd, b = odder, [odd] = 1 })
    assert.equal("{} (its __tostring raised no)", last().message)
    assert.same({ "a", "{} (its __tostring raised no)" }, last().fields[2])
    assert.same({ "b", "{} (its __tostring returned a table)" }, last().fields[3])
    log.info { user = "ada" }
    assert.equal('{ user = "ada" }', last().message)
    log.info("x", 5)
    assert.same({ { "fields", "5" } }, last().fields)
    log.info("x", setmetatable({}, { __index = error, __pairs = error, __metatable = false }))
    assert.same({}, last().fields)
    log.info(nil, { err = require("neap.message.error").new("Timeout", "too late") })
    assert.same({ { "err", "Timeout: too late" } }, last().fields)
  end)
end)
