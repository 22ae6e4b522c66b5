-- SPDX-License-Identifier: MIT
--
-- neap.websocket.stream on a pretended scheduler and with a Caller of this file: what each kind of source gives, how
-- failures are told, and how streams take turns.  That C starts and stops them is shown on the wire, by
-- tests/e2e/streams.

local fakesched = dofile "tests/spec/support/fakesched.lua"

describe("a stream", function()
  local sched, stream, errors, task, co
  local client -- { sent =, open =, failed = }
  local caller = {}

  function caller:isOpen()
    return self == caller and client.open
  end

  local function write(kind)
    return function(_, bytes)
      if not client.open then
        return nil, errors.new("ConnectionError", "connection closed")
      end
      table.insert(client.sent, kind .. bytes)
      if client.leaves == #client.sent then
        client.open = false
      end
      return caller
    end
  end

  before_each(function()
    sched = fakesched.new()
    task = sched.require "neap.task"
    errors = sched.require "neap.message.error"
    co = sched.require "neap.runtime.coroutine"
    stream = sched.require "neap.websocket.stream"
    client = { sent = {}, open = true }
    caller.writeTextMessage, caller.writeBinaryMessage = write "", write "#"
    caller.writeMessage = function()
      client.open, client.closed = false, true
    end

    -- As the real one, on fewer kinds.
    function sched.core.hooks.convert(value, binary)
      if stream.isStream(value) then
        return value, "stream"
      elseif type(value) == "string" then
        return value, binary and "binary" or "text"
      elseif type(value) == "number" or type(value) == "boolean" then
        return tostring(value), "text"
      elseif value == caller then
        return nil, nil
      elseif type(value) == "table" and value.status then
        return "", "close", value.status
      end
      return nil, errors.new("Error", "this cannot be sent")
    end

    function sched.core.fail(who, status, reason, err)
      assert.equal(caller, who)
      assert.is_true(errors.isError(err))
      client.open, client.failed = false, { status = status, reason = reason, err = err }
      return true
    end
  end)

  after_each(function()
    assert.equal(0, sched.left())
  end)

  -- What the client gets.
  local function sent(source, binary)
    sched.run(function()
      stream.run(caller, source, binary or false, "onMessage")
    end)
    return client.sent
  end

  local function counting(n)
    local i = 0
    return function()
      i = i + 1
      return i <= n and i or nil
    end
  end

  describe("of a function", function()
    it("is called without arguments until it returns nil", function()
      local arguments
      local step = counting(3)
      assert.same({ "1", "2", "3" }, sent(function(...)
        arguments = select("#", ...)
        return step()
      end))
      assert.equal(0, arguments)
      assert.is_nil(client.failed)
    end)

    it("that iterates, as gmatch makes them", function()
      assert.same({ "a", "bb" }, sent(("a bb"):gmatch "%a+"))
    end)

    it("sends false, and nothing for a Caller", function()
      local values = { false, caller, true }
      local i = 0
      assert.same({ "false", "true" }, sent(function()
        i = i + 1
        return values[i]
      end))
    end)

    it("sends strings as binary where a binary message is answered", function()
      assert.same({ "#a", "#bb" }, sent(("a bb"):gmatch "%a+", true))
    end)

    it("may wait between values", function()
      local step = counting(3)
      assert.same({ "1", "2", "3" }, sent(function()
        assert(task.sleep(10))
        return step()
      end))
      assert.equal(40, sched.now())
    end)
  end)

  describe("of a coroutine", function()
    it("is resumed until it ends; what it returns is its last value", function()
      assert.same({ "1", "2", "3" }, sent(coroutine.create(function()
        coroutine.yield(1)
        coroutine.yield(2)
        return 3
      end)))
      assert.is_nil(client.failed)
    end)

    it("sends nothing for a yield without a value", function()
      assert.same({ "a", "b" }, sent(coroutine.create(function()
        coroutine.yield "a"
        coroutine.yield()
        coroutine.yield(nil)
        coroutine.yield "b"
      end)))
    end)

    it("may wait: waiting is no value", function()
      assert.same({ "a", "b" }, sent(coroutine.create(function()
        task.sleep(5)
        coroutine.yield "a"
        task.sleep(5)
        coroutine.yield "b"
        task.sleep(5)
      end)))
      assert.equal(15, sched.now())
    end)

    it("that is dead has no values, one that runs elsewhere fails", function()
      local dead = coroutine.create(function() end)
      coroutine.resume(dead)
      assert.same({}, sent(dead))
      assert.is_nil(client.failed)
      local waits = coroutine.create(function()
        task.sleep(1)
      end)
      sched.run(function()
        task.spawn(co.resume, waits)
        task.sleep(0)
        stream.run(caller, waits, false, "onMessage")
      end)
      assert.equal("streaming failed", client.failed.reason)
    end)

    it("may be of coroutine.wrap", function()
      assert.same({ "a", "b" }, sent(co.wrap(function()
        coroutine.yield "a"
        task.sleep(1)
        coroutine.yield "b"
      end)))
    end)
  end)

  describe("made by websocket.stream", function()
    it("has the elements of an array, up to a hole", function()
      assert.same({ "a", "2", "false" }, sent(stream.stream { "a", 2, false, nil, "z" }))
    end)

    it("has the elements that ipairs and pairs go through", function()
      assert.same({ "a", "b" }, sent(stream.stream(ipairs { "a", "b" })))
      client.sent = {}
      assert.same({ "5" }, sent(stream.stream(pairs { key = 5 })))
      client.sent = {}
      assert.same({ "false" }, sent(stream.stream(pairs { key = false })))
    end)

    it("has the first value of an iterator that gives only one", function()
      assert.same({ "1", "2", "3" }, sent(stream.stream(function(most, n)
        return n < most and n + 1 or nil
      end, 3, 0)))
    end)

    it("takes functions, coroutines and streams as they are", function()
      assert.same({ "1" }, sent(stream.stream(counting(1))))
      client.sent = {}
      assert.same({ "x" }, sent(stream.stream(coroutine.create(function()
        coroutine.yield "x"
      end))))
      local made = stream.stream {}
      assert.equal(made, stream.stream(made))
    end)

    it("raises for anything else", function()
      for _, wrong in ipairs { 5, "x", true } do
        local ok, err = pcall(stream.stream, wrong)
        assert.is_false(ok)
        assert.matches("websocket.stream%(source%): source must be an array, a function, a coroutine, or what pairs",
          err)
      end
      assert.is_false(pcall(stream.stream))
    end)
  end)

  describe("mapped", function()
    local function double(value)
      return value .. value
    end

    it("has the values that a function makes of each", function()
      assert.same({ "11", "22" }, sent(stream.map(counting(2), double)))
      client.sent = {}
      assert.same({ "aa", "bb" }, sent(stream.map(stream.stream { "a", "b" }, double)))
      client.sent = {}
      assert.same({ "aa", "bb" }, sent(stream.map(coroutine.create(function()
        coroutine.yield "a"
        coroutine.yield()
        coroutine.yield "b"
      end), double)))
    end)

    it("fails when the function or the source does", function()
      sent(stream.map(counting(2), function()
        return nil, "no"
      end))
      assert.equal("streaming failed: no", client.failed.reason)
      client.open = true
      sent(stream.map(function()
        return nil, "source"
      end, double))
      assert.equal("streaming failed: source", client.failed.reason)
    end)
  end)

  describe("fails", function()
    local function failure(source)
      sent(source)
      assert.equal(1011, client.failed.status)
      return client.failed.reason, client.failed.err
    end

    it("by nil and a text", function()
      local reason, err = failure(function()
        return nil, "no luck"
      end)
      assert.equal("streaming failed: no luck", reason)
      assert.equal("Error: no luck", tostring(err))
      assert.equal("warn", sched.lines[1].level)
      assert.equal("stream of onMessage returned an error: no luck", sched.lines[1].message)
    end)

    it("by nil and an error object", function()
      local mine = errors.new("RoomError", "no such room")
      local reason, err = failure(coroutine.create(function()
        coroutine.yield(1)
        coroutine.yield(nil, mine)
        error "it is not resumed any more"
      end))
      assert.equal("streaming failed: no such room", reason)
      assert.equal(mine, err)
      assert.same({ "1" }, client.sent)
    end)

    it("by an error in its coroutine, with its traceback in the log", function()
      local reason, err = failure(coroutine.create(function()
        local function inner()
          error "boom"
        end
        inner()
      end))
      assert.equal("streaming failed", reason)
      assert.matches("boom", tostring(err))
      assert.equal("error", sched.lines[1].level)
      assert.matches("^error in stream of onMessage: [^\n]*stream_spec.lua:%d+: boom\nstack traceback:.*'inner'",
        sched.lines[1].message)
    end)

    it("by error values of all kinds", function()
      local mine = errors.new("RoomError", "no such room")
      local _, err = failure(coroutine.create(function()
        error(mine)
      end))
      assert.equal(mine, err)
      client.open = true
      _, err = failure(coroutine.create(function()
        error {}
      end))
      assert.equal("{}", err.message)
      client.open = true
      local reason
      reason, err = failure(coroutine.create(function()
        coroutine.yield(nil, { message = "no room", code = 5 })
      end))
      assert.equal("streaming failed: no room", reason)
      assert.equal("Error: no room", tostring(err))
      client.open = true
      reason = failure(coroutine.create(function()
        coroutine.yield(nil, { code = 5 })
      end))
      assert.equal("streaming failed", reason)
      assert.matches("returned an error: { code = 5 }", sched.lines[#sched.lines].message)
    end)

    it("by a value that cannot be sent: the log says why", function()
      local function refused(source)
        client.open = true
        local reason, err = failure(source)
        assert.equal("streaming failed", reason)
        assert.equal("stream of onMessage: " .. err.message, sched.lines[#sched.lines].message)
        return err.message
      end
      assert.equal("this cannot be sent", refused(stream.stream { 1, newproxy() }))
      assert.equal("a function cannot be sent in a stream", refused(stream.stream { counting(1) }))
      assert.equal("a stream cannot be sent in a stream", refused(stream.stream { stream.stream {} }))
    end)

    it("raises out of its task when a function raises: C tells of that", function()
      assert.has_error(function()
        sent(function()
          error("boom", 0)
        end)
      end, "boom")
    end)
  end)

  describe("ends", function()
    it("with a close frame", function()
      assert.same({ "1" }, sent(stream.stream { 1, { status = 1000 }, 2 }))
      assert.is_true(client.closed)
      assert.is_nil(client.failed)
    end)

    it("when the client is gone, without a word", function()
      client.leaves = 5
      assert.same({ "1", "2", "3", "4", "5" }, sent(counting(100)))
      assert.is_nil(client.failed)
      assert.same({}, sched.lines)
    end)

    it("before it has begun, when the client is gone already", function()
      client.open = false
      sent(function()
        error "it must not be called"
      end)
    end)

    it("while it waits, when the client goes: what it says then is not told", function()
      local waits = { task.sleep, function()
        return task.channel():receive()
      end }
      for _, wait in ipairs(waits) do
        client = { sent = {}, open = true }
        local running
        sched.run(function()
          task.spawn(function()
            running = sched.core.current()
            stream.run(caller, function()
              local result, err = wait(3600)
              return result and 1, err
            end, false, "onMessage")
          end)
          task.sleep(0)
          client.open = false
          assert.is_true(sched.core.cancel(running))
        end)
        assert.same({}, client.sent)
        assert.same({}, sched.lines)
        assert.is_true(sched.now() < 3600)
      end
    end)
  end)

  describe("that never waits", function()
    it("gives way to others", function()
      local turns = 0
      sched.run(function()
        local over = false
        task.spawn(function()
          while not over do
            turns = turns + 1
            task.sleep(0)
          end
        end)
        stream.run(caller, counting(3200), false, "onMessage")
        over = true
      end)
      assert.equal(3200, #client.sent)
      assert.is_true(turns >= 99, turns)
    end)

    it("gives way by bytes as well", function()
      local turns, left = 0, 20
      sched.run(function()
        local over = false
        task.spawn(function()
          while not over do
            turns = turns + 1
            task.sleep(0)
          end
        end)
        stream.run(caller, function()
          left = left - 1
          return left >= 0 and ("x"):rep(40000) or nil
        end, false, "onMessage")
        over = true
      end)
      assert.equal(20, #client.sent)
      assert.is_true(turns >= 19, turns)
    end)

    it("takes turns with others of its kind, all of which end", function()
      local most, between = 0, 0
      sched.run(function()
        local over = 0
        for _ = 1, 50 do
          task.spawn(function()
            stream.run(caller, counting(200), false, "onMessage")
            over = over + 1
          end)
        end
        while over < 50 do
          task.sleep(0)
          most = math.max(most, #client.sent - between)
          between = #client.sent
        end
      end)
      assert.equal(10000, #client.sent)
      assert.is_true(most <= 400, most) -- two ticks of 128 may fall between, and a share begun
    end)
  end)
end)
