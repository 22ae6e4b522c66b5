-- SPDX-License-Identifier: MIT
-- neap.runtime.interpret: what must not be compiled is not, and everything else is. The helper of busted has installed
-- it.

local AFFECTED = jit.version == "LuaJIT 2.1.0-beta3"

-- Whether running a chunk of this source often makes LuaJIT compile something of it, inlined or not.
local function compiles(source)
  local name = "@" .. tostring({})
  local fn, recorded, compiled = assert(load(source, name))(), {}, false
  local util = require "jit.util"
  local function onRecord(trace, func)
    recorded[trace] = recorded[trace] or util.funcinfo(func).source == name
  end
  local function onTrace(what, trace)
    if what == "start" then
      recorded[trace] = false
    elseif what == "stop" and recorded[trace] then
      compiled = true
    end
  end
  jit.flush()
  jit.attach(onTrace, "trace")
  jit.attach(onRecord, "record")
  for _ = 1, 300 do
    fn()
  end
  -- What is compiled, and when, depends on addresses: give it time before saying that it never is.
  for _ = 1, 30000 do
    if compiled then
      break
    end
    fn()
  end
  jit.attach(onTrace)
  jit.attach(onRecord)
  return compiled
end

local PREFIX = "local t = {} for i = 1, 100 do t['k' .. i] = i end "

describe("the interpreter", function()
  it("runs loops over pairs", function()
    local over = "return function() local n = 0 for _, v in %s do n = n + v end end"
    assert.equal(not AFFECTED, compiles(PREFIX .. over:format "pairs(t)"))
    assert.equal(not AFFECTED, compiles(PREFIX .. over:format "next, t"))
  end)

  it("runs loops in functions within functions", function()
    local inner = "local function f() local n = 0 for _, v in pairs(t) do n = n + v end end"
    assert.equal(not AFFECTED, compiles(PREFIX .. "return function() " .. inner .. " f() end"))
  end)

  it("runs next", function()
    if AFFECTED then
      local isEmpty = "return function() for _ = 1, 10 do if next(t) == nil then return 1 end end end"
      assert.is_false(compiles(PREFIX .. isEmpty))
    end
    assert.same({ "a", 1 }, { next { a = 1 } })
    assert.is_nil(next {})
  end)

  it("leaves everything else to the compiler", function()
    assert.is_true(compiles "return function() local n = 0 for i = 1, 100 do n = n + i end return n end")
    local sum = "return function() local n = 0 for _, v in ipairs(t) do n = n + v end return n end"
    assert.is_true(compiles("local t = { 1, 2, 3 } " .. sum))
  end)
end)

describe("loading", function()
  it("gives results and reasons as before", function()
    assert.equal(7, load "return 7"())
    assert.equal(8, loadstring("return 8")())
    local chunk, why = load("return +", "=here")
    assert.is_nil(chunk)
    assert.match("^here:1: unexpected symbol", why)
    assert.is_nil((loadfile "no such file"))
  end)

  it("tells where a module was looked for", function()
    local ok, why = pcall(require, "no.such.module")
    assert.is_false(ok)
    assert.match("no file './lua/no/such/module.lua'", why, 1, true)
  end)
end)
