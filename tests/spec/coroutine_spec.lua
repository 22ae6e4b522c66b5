-- SPDX-License-Identifier: MIT
-- neap.runtime.coroutine: the scheduler's yields pass through an app's coroutines.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local co = require "neap.runtime.coroutine"

local sleep = fake.core.sleep

before_each(fake.reset)

describe("coroutines that do not wait", function()
  it("behave as ever", function()
    local thread = coroutine.create(function(a, b)
      local c = coroutine.yield(a + b)
      local d, e = coroutine.yield(c, nil)
      return d, e, nil
    end)
    assert.same({ true, 3 }, { co.resume(thread, 1, 2) })
    assert.equal(3, select("#", co.resume(thread, "c")))
    assert.equal("suspended", co.status(thread))
    assert.equal(4, select("#", co.resume(thread, "d", nil)))
    assert.equal("dead", co.status(thread))
    assert.is_false((co.resume(thread)))
  end)

  it("wrap values and errors", function()
    local values = {}
    for v in co.wrap(function()
      for i = 1, 3 do
        coroutine.yield(i)
      end
    end) do
      values[#values + 1] = v
    end
    assert.same({ 1, 2, 3 }, values)
    local object = {}
    local ok, err = pcall(co.wrap(function()
      error(object)
    end))
    assert.is_false(ok)
    assert.equal(object, err)
  end)
end)

describe("coroutines that wait", function()
  it("do not show it to who resumes them", function()
    local got = fake.run(function()
      local seen = {}
      for v in co.wrap(function()
        sleep(1)
        coroutine.yield "one"
        sleep(1)
        sleep(1)
        coroutine.yield "two"
        sleep(1)
      end) do
        seen[#seen + 1] = v
      end
      return seen
    end)
    assert.same({ "one", "two" }, got)
  end)

  it("get what woke them", function()
    local task
    fake.core.spawn(function()
      sleep(1)
      fake.core.wake(task, "woken", nil, "late")
    end)
    assert.same({ "woken", nil, "late" }, { fake.run(function()
      task = fake.core.current()
      return co.wrap(function()
        return fake.core.park()
      end)()
    end) })
  end)

  it("nest", function()
    assert.equal(6, fake.run(function()
      return co.wrap(function()
        local sum = 0
        for v in co.wrap(function()
          for i = 1, 3 do
            sleep(1)
            coroutine.yield(i)
          end
        end) do
          sleep(1)
          sum = sum + v
        end
        return sum
      end)()
    end))
  end)

  it("raise after waiting as before it", function()
    local ok, err = fake.run(function()
      return co.resume(coroutine.create(function()
        sleep(1)
        error("late", 0)
      end))
    end)
    assert.is_false(ok)
    assert.equal("late", err)
  end)

  it("work under pcall", function()
    assert.same({ true, "done" }, { fake.run(function()
      return pcall(co.wrap(function()
        sleep(1)
        return "done"
      end))
    end) })
  end)

  it("cannot be resumed by another task meanwhile", function()
    local thread, during, refused, why
    fake.core.spawn(function()
      sleep(1)
      during = co.status(thread)
      refused, why = co.resume(thread, "intruder")
    end)
    local ok, value = fake.run(function()
      thread = coroutine.create(function()
        sleep(1)
        sleep(1)
        return sleep(1)
      end)
      return co.resume(thread)
    end)
    assert.equal("normal", during)
    assert.is_false(refused)
    assert.equal("cannot resume a coroutine that waits in another task", why)
    assert.is_true(ok)
    assert.is_true(value)
    assert.equal("dead", co.status(thread))
  end)
end)

describe("install", function()
  it("puts them into the global table", function()
    local saved = { resume = coroutine.resume, status = coroutine.status, wrap = coroutine.wrap }
    co.install()
    local installed = { resume = coroutine.resume, status = coroutine.status, wrap = coroutine.wrap }
    -- luacheck: push ignore 122
    coroutine.resume, coroutine.status, coroutine.wrap = saved.resume, saved.status, saved.wrap
    -- luacheck: pop
    assert.same({ resume = co.resume, status = co.status, wrap = co.wrap }, installed)
  end)
end)
