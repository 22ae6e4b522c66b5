-- SPDX-License-Identifier: MIT
--
-- neap.task on a scheduler with a clock of its own (support/fakesched.lua). That the real one follows the same rules is
-- shown by runtime_spec.lua.

local fakesched = dofile "tests/spec/support/fakesched.lua"

describe("neap.task", function()
  local sched, task

  before_each(function()
    sched = fakesched.new()
    task = sched.require "neap.task"
  end)

  after_each(function()
    assert.equal(0, sched.left())
  end)

  -- What fn raises, as text; fails when it raises nothing.
  local function raised(fn, ...)
    local good, err = pcall(fn, ...)
    assert.is_false(good)
    return tostring(err)
  end

  local function messages()
    local list = {}
    for i, line in ipairs(sched.lines) do
      list[i] = line.message
    end
    return list
  end

  describe("spawn", function()
    it("runs a function with its arguments once the running task gives way", function()
      local seen = {}
      sched.run(function()
        task.spawn(function(...)
          table.insert(seen, select("#", ...) .. ":" .. tostring(...))
        end, "a", nil, nil)
        table.insert(seen, "main")
        task.sleep(0)
        table.insert(seen, "main again")
      end)
      assert.same({ "main", "3:a", "main again" }, seen)
    end)

    it("logs an error with its traceback and harms nobody else", function()
      local wentOn = false
      sched.run(function()
        task.spawn(function()
          error "boom"
        end)
        task.sleep(1)
        wentOn = true
      end)
      assert.is_true(wentOn)
      assert.equal(1, #sched.lines)
      assert.equal("error", sched.lines[1].level)
      assert.matches("^error in task: tests/spec/task_spec%.lua:%d+: boom\nstack traceback:", messages()[1])
      assert.matches("task_spec%.lua:%d+: in function", messages()[1]:match "traceback:(.*)")
    end)

    it("survives an error value without a text form", function()
      sched.run(function()
        task.spawn(error, setmetatable({}, { __tostring = function() error "no" end }))
        task.spawn(error)
      end)
      assert.equal(2, #sched.lines)
    end)

    it("takes nothing but a function", function()
      assert.matches("^tests/spec/task_spec%.lua:%d+: .*fn must be a function, it is 5", raised(task.spawn, 5))
      assert.matches("fn must be a function, it is nil", raised(task.spawn))
    end)
  end)

  describe("join", function()
    it("returns all results, also later and to several", function()
      local seen = {}
      sched.run(function()
        local handle = task.spawn(function()
          task.sleep(5)
          return 1, nil, 3, nil
        end)
        for i = 1, 2 do
          task.spawn(function()
            seen[i] = select("#", handle:join())
          end)
        end
        local a, b, c = handle:join()
        seen[3] = { a, b, c }
        seen[4] = select("#", handle:join())
      end)
      assert.same({ 4, 4, { 1, nil, 3 }, 4 }, seen)
      assert.equal(5, sched.now())
    end)

    it("returns nil and the error of a task that raised", function()
      local value, err, object = sched.run(function()
        local failing = task.spawn(function()
          error "boom"
        end)
        local value, err = failing:join()
        local websocketError = require("neap.message.error").new("ConnectionError", "gone")
        return value, err, select(2, task.spawn(error, websocketError):join()) == websocketError
      end)
      assert.is_nil(value)
      assert.equal("Error", err.kind)
      assert.matches("task_spec.lua:%d+: boom$", err.message)
      assert.is_true(object)
    end)

    it("of itself is a mistake", function()
      sched.run(function()
        local handle
        handle = task.spawn(function()
          assert.matches("cannot wait for itself", raised(handle.join, handle))
        end)
      end)
      assert.same({}, messages())
    end)

    it("needs a handle", function()
      assert.matches("call it with a colon", raised(function()
        local handle = task.spawn(function() end)
        handle.join()
      end))
      sched.run(function() end)
    end)

    it("ends when the waiting task is cancelled; the other one goes on", function()
      local done
      local value, err = sched.run(function()
        local long = task.spawn(function()
          task.sleep(10)
          done = true
        end)
        local waiting = task.spawn(function()
          return long:join()
        end)
        task.sleep(1)
        assert.is_true(waiting:cancel())
        return waiting:join()
      end)
      assert.is_nil(value)
      assert.equal("Cancelled", err.kind)
      assert.is_true(done)
    end)
  end)

  describe("cancel", function()
    it("has the wait raise", function()
      local good, err
      local effects = sched.run(function()
        local handle = task.spawn(function()
          good, err = pcall(task.sleep, 100)
          return "tidied up"
        end)
        task.sleep(1)
        return { handle:cancel(), handle:join(), handle:cancel() }
      end)
      assert.same({ true, "tidied up", false }, effects)
      assert.is_false(good)
      assert.equal("Cancelled: the task was cancelled", tostring(err))
      assert.equal(1, sched.now())
      assert.same({}, messages())
    end)

    it("keeps a task that has not started from starting", function()
      local ran = false
      local value, err = sched.run(function()
        local handle = task.spawn(function()
          ran = true
        end)
        assert.is_true(handle:cancel())
        return handle:join()
      end)
      assert.is_false(ran)
      assert.is_nil(value)
      assert.equal("Cancelled", err.kind)
    end)

    it("has nothing go on behind the wait, and is no failure", function()
      local rounds = 0
      local value, err = sched.run(function()
        local handle = task.spawn(function()
          while true do
            task.sleep(1)
            rounds = rounds + 1
          end
        end)
        task.sleep(3.5)
        handle:cancel()
        return handle:join()
      end)
      assert.equal(3, rounds)
      assert.is_nil(value)
      assert.equal("Cancelled", err.kind)
      assert.same({}, messages())
    end)

    -- Calls that may wait, each made so that it would not have to.
    local function ready()
      local full, over = task.channel(1), task.spawn(function() end)
      full:send "value"
      task.sleep(0)
      return {
        sleep = function() task.sleep(0) end,
        receive = function() full:receive() end,
        send = function() task.channel(1):send(1) end,
        join = function() over:join() end,
        timeout = function() task.timeout(5, function() end) end,
        closed = function()
          local closed = task.channel()
          closed:close()
          closed:receive()
        end,
      }
    end

    it("has every later call that may wait raise, whether it would have to or not", function()
      sched.run(function()
        for name, wait in pairs(ready()) do
          wait()
          local kinds = {}
          local handle = task.spawn(function()
            for i = 1, 3 do
              local good, err = pcall(i == 1 and task.sleep or wait, 100)
              kinds[i] = not good and err.kind
            end
          end)
          task.sleep(0)
          handle:cancel()
          handle:join()
          assert.same({ "Cancelled", "Cancelled", "Cancelled" }, kinds, name)
        end
      end)
      assert.same({}, messages())
    end)

    it("has calls that never wait go on", function()
      local done
      sched.run(function()
        local channel = task.channel(1)
        local handle = task.spawn(function()
          pcall(task.sleep, 100)
          assert.is_true(channel:trySend "last words")
          task.after(0, function() end)
          task.spawn(function() end):cancel()
          done = true
        end)
        task.sleep(0)
        handle:cancel()
        assert.equal("last words", channel:receive())
      end)
      assert.is_true(done)
    end)

    it("lets a value that has been handed over be received: the next wait raises", function()
      local waits = {
        function() return task.sleep(5) end,
        function() return task.channel():receive() end,
        function() return task.channel():send(1) end,
        function() return task.timeout(5, task.sleep, 5) end,
        function() return task.spawn(task.sleep, 5):join() end,
      }
      for _, wait in ipairs(waits) do
        local got, good, err
        sched.run(function()
          local start = task.channel()
          local handle = task.spawn(function()
            got = start:receive()
            good, err = pcall(wait)
            wait()
          end)
          task.sleep(0)
          assert.is_true(start:trySend "value")
          assert.is_true(handle:cancel())
          assert.equal("Cancelled", select(2, handle:join()).kind)
        end)
        assert.equal("value", got)
        assert.is_false(good)
        assert.equal("Cancelled", err.kind)
      end
      assert.same({}, messages())
    end)

    it("of the running task itself works from its next wait on", function()
      local good, err
      sched.run(function()
        local handle
        handle = task.spawn(function()
          assert.is_true(handle:cancel())
          assert.is_true(handle:cancel())
          good, err = pcall(task.sleep, 5)
        end)
        handle:join()
      end)
      assert.is_false(good)
      assert.equal("Cancelled", err.kind)
      assert.equal(0, sched.now())
    end)

    it("leaves no queue with the task in it", function()
      sched.run(function()
        local channel, slow = task.channel(), task.spawn(task.sleep, 3)
        for _, wait in ipairs { channel.receive, function() channel:send(1) end, function() slow:join() end } do
          local handle = task.spawn(function()
            pcall(wait, channel)
            return task.shield(task.sleep, 4) -- nobody else wakes it
          end)
          task.sleep(0)
          handle:cancel()
          task.spawn(function()
            task.sleep(3)
            channel:trySend "value"
            channel:tryReceive()
          end)
          local began = sched.now()
          assert.is_true(handle:join())
          assert.equal(began + 4, sched.now())
        end
      end)
    end)

    it("lets a task that raises while it tidies up be logged", function()
      sched.run(function()
        local handle = task.spawn(function()
          pcall(task.sleep, 10)
          error "cannot tidy up"
        end)
        task.sleep(1)
        handle:cancel()
      end)
      assert.matches("cannot tidy up", messages()[1])
    end)
  end)

  describe("shield", function()
    it("lets a cancelled task wait in it, and no longer", function()
      local results, good
      sched.run(function()
        local handle = task.spawn(function()
          pcall(task.sleep, 100)
          results = { task.shield(function(a, b)
            task.sleep(2)
            return b, a
          end, "a", "b") }
          good = pcall(task.sleep, 100)
        end)
        task.sleep(1)
        handle:cancel()
        handle:join()
      end)
      assert.same({ "b", "a" }, results)
      assert.is_false(good)
      assert.equal(3, sched.now())
    end)

    it("keeps a cancel away until its end", function()
      local committed, wentOn
      sched.run(function()
        local handle = task.spawn(function()
          task.shield(function()
            task.sleep(2)
            committed = sched.now()
          end)
          task.sleep(0)
          wentOn = true
        end)
        task.sleep(1)
        assert.is_true(handle:cancel())
        assert.equal("Cancelled", select(2, handle:join()).kind)
      end)
      assert.equal(2, committed)
      assert.is_nil(wentOn)
      assert.same({}, messages())
    end)

    it("lasts for 5 s of a cancelled task, all shields together", function()
      local ended = {}
      sched.run(function()
        local handle = task.spawn(function()
          pcall(task.sleep, 100)
          for i = 1, 4 do
            ended[i] = { pcall(task.shield, task.sleep, 2), sched.now() }
          end
        end)
        task.sleep(1)
        handle:cancel()
        handle:join()
      end)
      assert.same({ { true, 3 }, { true, 5 }, { false, 6 }, { false, 6 } }, ended)
    end)

    it("counts the time from the cancel, not from its beginning", function()
      local good
      sched.run(function()
        local handle = task.spawn(function()
          good = pcall(task.shield, task.sleep, 100)
        end)
        task.sleep(90)
        handle:cancel()
        handle:join()
      end)
      assert.is_false(good)
      assert.equal(95, sched.now())
    end)

    it("may stand in another", function()
      local good
      sched.run(function()
        local handle = task.spawn(function()
          task.shield(function()
            task.shield(task.sleep, 1)
            good = task.sleep(1)
          end)
        end)
        task.sleep(0)
        handle:cancel()
      end)
      assert.is_true(good)
    end)

    it("ends when its function raises, and passes that on", function()
      local mine, err, good = {}, nil, nil
      sched.run(function()
        local handle
        handle = task.spawn(function()
          err = select(2, pcall(task.shield, error, mine))
          handle:cancel()
          good = pcall(task.sleep, 1)
        end)
      end)
      assert.equal(mine, err)
      assert.is_false(good)
    end)

    it("is nothing special in a task that nobody cancels", function()
      assert.is_true(sched.run(function()
        return task.shield(task.sleep, 60)
      end))
      assert.equal(60, sched.now())
    end)

    it("takes nothing but a function", function()
      assert.matches("^tests/spec/task_spec%.lua:%d+: .*fn must be a function, it is 5", raised(task.shield, 5))
    end)
  end)

  describe("sleep", function()
    it("waits that long and returns true", function()
      assert.is_true(sched.run(function()
        return task.sleep(2.5)
      end))
      assert.equal(2.5, sched.now())
    end)

    it("lets the others run when it is 0", function()
      local seen = {}
      sched.run(function()
        task.spawn(function()
          table.insert(seen, "other")
        end)
        task.sleep(0)
        table.insert(seen, "main")
      end)
      assert.same({ "other", "main" }, seen)
    end)

    it("takes seconds from 0 to 1e9 only", function()
      for _, wrong in ipairs { -1, 0 / 0, math.huge, 2e9, "1", {}, false } do
        assert.matches("^tests/spec/task_spec.lua:%d+: task.sleep%(seconds%): seconds must be a number from 0 to 1e9",
          raised(task.sleep, wrong))
      end
      raised(task.sleep)
    end)
  end)

  describe("after", function()
    it("calls once, in a task of its own", function()
      local at = {}
      sched.run(function()
        task.after(3, function()
          task.sleep(1)
          table.insert(at, sched.now())
        end)
      end)
      assert.same({ 4 }, at)
    end)

    it("can be cancelled until it has fired", function()
      local called = 0
      local effects = sched.run(function()
        local function count()
          called = called + 1
        end
        local first, second = task.after(1, count), task.after(5, count)
        task.sleep(2)
        return { first:cancel(), second:cancel(), second:cancel() }
      end)
      assert.same({ false, true, false }, effects)
      assert.equal(1, called)
    end)

    it("names a wrong argument", function()
      assert.matches("seconds must be", raised(task.after, "soon", print))
      assert.matches("fn must be a function", raised(task.after, 1))
    end)
  end)

  describe("every", function()
    it("calls again and again until it is cancelled, also from inside", function()
      local at = {}
      sched.run(function()
        local timer
        timer = task.every(2, function()
          table.insert(at, sched.now())
          if #at == 3 then
            timer:cancel()
          end
        end)
      end)
      assert.same({ 2, 4, 6 }, at)
    end)

    it("never overlaps itself", function()
      local running, most, runs = 0, 0, 0
      sched.run(function()
        local timer = task.every(1, function()
          running, runs = running + 1, runs + 1
          most = math.max(most, running)
          task.sleep(2.5)
          running = running - 1
        end)
        task.sleep(10.5)
        timer:cancel()
      end)
      assert.equal(1, most)
      assert.equal(4, runs)
    end)

    it("needs a time above 0", function()
      assert.matches("more than 0", raised(task.every, 0, print))
    end)
  end)

  describe("timeout", function()
    it("returns the results of what is done in time", function()
      local results = sched.run(function()
        return { task.timeout(5, function(a, b)
          task.sleep(1)
          return b, a, nil
        end, "a", "b") }
      end)
      assert.same({ "b", "a" }, results)
      assert.equal(1, sched.now())
    end)

    it("returns nil and Timeout at the deadline, and cancels the function", function()
      local inner
      local value, err, at = sched.run(function()
        local value, err = task.timeout(2, function()
          inner = { pcall(task.sleep, 60) }
          task.sleep(60)
          inner = "it went on"
        end)
        return value, err, sched.now()
      end)
      assert.is_nil(value)
      assert.equal("Timeout", err.kind)
      assert.matches("2 seconds", err.message)
      assert.equal(2, at)
      assert.equal("Cancelled", inner[2].kind)
      assert.equal(2, sched.now())
      assert.same({}, messages())
    end)

    it("is quiet about a function that passes on what a wait of C's told it", function()
      local value, err = sched.run(function()
        return task.timeout(1, function()
          local _, err = sched.require("neap.core").park()
          error(err, 0) -- as Lua's own assert does
        end)
      end)
      assert.is_nil(value)
      assert.equal("Timeout", err.kind)
      assert.same({}, messages())
    end)

    it("raises here what the function raises, and logs it not", function()
      local err = sched.run(function()
        return raised(task.timeout, 5, function()
          task.sleep(1)
          error "boom"
        end)
      end)
      assert.matches("task_spec.lua:%d+: boom", err)
      assert.same({}, messages())
    end)

    it("keeps what is out of time from going on", function()
      local paid = false
      local value, err = sched.run(function()
        return task.timeout(0.2, function()
          task.sleep(3)
          paid = true
        end)
      end)
      assert.is_nil(value)
      assert.equal("Timeout", err.kind)
      assert.is_false(paid)
      assert.equal(0.2, sched.now())
    end)

    it("does not wait for what is shielded in its function", function()
      local committed
      local at = sched.run(function()
        local _, err = task.timeout(1, function()
          task.shield(function()
            task.sleep(3)
            committed = sched.now()
          end)
        end)
        assert.equal("Timeout", err.kind)
        return sched.now()
      end)
      assert.equal(1, at)
      assert.equal(3, committed)
    end)

    it("logs what the function raises after the deadline", function()
      local value, err = sched.run(function()
        return task.timeout(1, function()
          pcall(task.sleep, 5)
          error "too late"
        end)
      end)
      assert.is_nil(value)
      assert.equal("Timeout", err.kind)
      assert.matches("too late", messages()[1])
    end)

    it("passes its own being cancelled on", function()
      local inner
      local value, err = sched.run(function()
        local handle = task.spawn(function()
          return task.timeout(50, function()
            inner = select(2, pcall(task.sleep, 40))
          end)
        end)
        task.sleep(1)
        handle:cancel()
        return handle:join()
      end)
      assert.is_nil(value)
      assert.equal("Cancelled", err.kind)
      assert.equal("Cancelled", inner.kind)
      assert.equal(1, sched.now())
    end)

    it("loses no value of a channel when both come at the same moment", function()
      local function race(...)
        local channel, waits = task.channel(1), { ... }
        task.spawn(function()
          for _, seconds in ipairs(waits) do
            task.sleep(seconds)
          end
          channel:send "value"
        end)
        task.sleep(0)
        local value, err = task.timeout(1, channel.receive, channel)
        task.sleep(0)
        return value, err, (channel:tryReceive())
      end
      -- The sender's timer is the older one: the receiver is about to go on when its time is up.
      local value, err, left = sched.run(function()
        return race(1)
      end)
      assert.same({ "value" }, { value, err, left })
      -- The deadline is the older one: the value stays in the channel.
      value, err, left = sched.run(function()
        return race(0.5, 0.5)
      end)
      assert.is_nil(value)
      assert.equal("Timeout", err.kind)
      assert.equal("value", left)
    end)
  end)

  describe("channel", function()
    it("hands values over in order, and makes the sender wait without room", function()
      local seen = {}
      sched.run(function()
        local channel = task.channel()
        task.spawn(function()
          for i = 1, 3 do
            assert.is_true(channel:send(i))
            table.insert(seen, "sent " .. i)
          end
          channel:close()
        end)
        task.sleep(1)
        assert.same({}, seen)
        for value in channel.receive, channel do
          table.insert(seen, "got " .. value)
          task.sleep(1)
        end
      end)
      assert.same({ "got 1", "sent 1", "got 2", "sent 2", "got 3", "sent 3" }, seen)
    end)

    it("keeps up to n values", function()
      sched.run(function()
        local channel = task.channel(2)
        assert.is_true(channel:send "a")
        assert.is_true(channel:trySend "b")
        assert.is_false(channel:trySend "c")
        assert.equal("a", channel:receive())
        assert.equal("b", channel:tryReceive())
        assert.is_nil(channel:tryReceive())
      end)
    end)

    it("carries false", function()
      sched.run(function()
        local channel = task.channel()
        task.spawn(function()
          channel:send(false)
        end)
        task.sleep(0)
        assert.is_false(channel:receive())
      end)
    end)

    it("gives each value to one receiver, the first that came", function()
      local seen = {}
      sched.run(function()
        local channel = task.channel()
        for i = 1, 3 do
          task.spawn(function()
            table.insert(seen, i .. channel:receive())
          end)
        end
        task.sleep(0)
        for _, value in ipairs { "a", "b", "c" } do
          assert.is_true(channel:trySend(value))
        end
        assert.is_false(channel:trySend "d")
      end)
      assert.same({ "1a", "2b", "3c" }, seen)
    end)

    it("still gives after close what was sent before", function()
      sched.run(function()
        local channel = task.channel(5)
        channel:send "a"
        channel:send "b"
        assert.is_true(channel:close())
        local value, err = channel:close()
        assert.is_nil(value)
        assert.equal("Closed", err.kind)
        assert.equal("Closed", select(2, channel:send "c").kind)
        assert.equal("Closed", select(2, channel:trySend "c").kind)
        assert.equal("a", channel:receive())
        assert.equal("b", channel:tryReceive())
        assert.equal("Closed", select(2, channel:receive()).kind)
        assert.equal("Closed", select(2, channel:tryReceive()).kind)
      end)
    end)

    it("tells those who wait when it is closed", function()
      local kinds = {}
      sched.run(function()
        local empty, full = task.channel(), task.channel(1)
        full:send "x"
        for _, wait in ipairs {
          function() return empty:receive() end,
          function() return empty:receive() end,
          function() return full:send "y" end,
        } do
          task.spawn(function()
            table.insert(kinds, select(2, wait()).kind)
          end)
        end
        task.sleep(1)
        empty:close()
        full:close()
        assert.equal("x", full:receive())
        assert.is_nil((full:receive()))
      end)
      assert.same({ "Closed", "Closed", "Closed" }, kinds)
    end)

    it("forgets a waiting task that is cancelled", function()
      sched.run(function()
        local channel = task.channel()
        local lost = task.spawn(function()
          return channel:receive()
        end)
        local sender = task.spawn(function()
          return channel:send "unsent"
        end)
        task.sleep(1)
        assert.equal("unsent", lost:join())
        local first, second
        first = task.spawn(function() return channel:receive() end)
        second = task.spawn(function() return channel:receive() end)
        task.sleep(1)
        first:cancel()
        assert.is_true(channel:trySend "for the second") -- first has not run yet
        assert.equal("for the second", second:join())
        assert.equal("Cancelled", select(2, first:join()).kind)
        assert.is_true(sender:join())
      end)
    end)

    it("does not grow when receivers give up again and again", function()
      sched.run(function()
        local channel = task.channel()
        for _ = 1, 50 do
          local value, err = task.timeout(1, channel.receive, channel)
          assert.is_nil(value)
          assert.equal("Timeout", err.kind)
        end
        assert.equal(channel.takers, channel.takers.next)
        assert.is_false(channel:trySend "nobody waits")
      end)
    end)

    it("refuses nil, odd sizes and calls without a colon", function()
      local channel = task.channel(1)
      assert.matches("nil cannot be sent", raised(channel.send, channel))
      assert.matches("nil cannot be sent", raised(channel.trySend, channel))
      assert.matches("call it with a colon", raised(channel.send, "x"))
      assert.matches("call it with a colon", raised(channel.receive))
      assert.matches("call it with a colon", raised(channel.tryReceive))
      assert.matches("call it with a colon", raised(channel.close))
      for _, wrong in ipairs { -1, 1.5, "2", 0 / 0, math.huge } do
        assert.matches("n must be a whole number", raised(task.channel, wrong))
      end
    end)
  end)

  it("keeps nothing of a task that is over and forgotten", function()
    sched.run(function()
      for _ = 1, 100 do
        task.spawn(function() end)
      end
    end)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(require("neap.runtime.wait").records))
  end)
end)
