-- SPDX-License-Identifier: MIT
--
-- Scripts run by the real program (`neap run script.lua`): that tasks, timers, channels and the log behave on the real
-- scheduler as task_spec.lua and log_spec.lua show them on a pretended one, and how a program ends.
--
-- Times are never measured from above here: the machine may be busy. What must not happen is shown by order.

local testing = require "neap.testing"

describe("neap run", function()
  local path

  before_each(function()
    path = os.tmpname()
  end)

  after_each(function()
    os.remove(path)
  end)

  -- Runs Lua source as an app: exit status, what it printed, the log.
  local function run(source, ...)
    local file = assert(io.open(path, "wb"))
    file:write(source)
    file:close()
    local arguments = { "run", path }
    if select("#", ...) > 0 then
      arguments = { "run", path, "--", ... }
    end
    return testing.run(arguments)
  end

  -- What a script prints that must end well and log nothing at warn or above.
  local function outputOf(source, ...)
    local status, output, log = run(source, ...)
    assert.equal("", (log:gsub("[^\n]* info  [^\n]*\n", "")))
    assert.equal(0, status)
    return output
  end

  local function errorLines(log)
    local lines = {}
    for line in log:gmatch "%S+Z error ([^\n]*)" do
      table.insert(lines, line)
    end
    return lines
  end

  describe("recursion without end", function()
    -- A short answer from each level: a long one would be copied at each.
    for name, source in pairs {
      ["by coroutine.wrap"] = [[local function f() return coroutine.wrap(f)() end]],
      ["by coroutine.resume"] = [[local function f() return (select(2, coroutine.resume(coroutine.create(f)))) end]],
      ["by the callback of string.gsub"] = [[local function f() return (("a"):gsub(".", f)) end]],
      ["by the comparison of table.sort"] = [[local function f() table.sort({ 1, 2 }, f) end]],
      ["by coroutines in callbacks"] = [[
        local function f() return (("a"):gsub(".", function() return coroutine.wrap(f)() end)) end]],
    } do
      it(name .. " ends in an error, not in the end of the worker", function()
        local output = outputOf(source .. [[
          local ok, err = pcall(f)
          print((tostring(err):match "stack overflow"))
          print(pcall(coroutine.wrap(function() return "goes on" end)))
        ]])
        assert.equal("stack overflow\ntrue\tgoes on\n", output)
      end)
    end
  end)

  describe("a script", function()
    it("runs to its end and exits with 0", function()
      assert.equal("done\n", outputOf [[print "done"]])
      assert.equal("", outputOf "")
    end)

    it("finds what follows -- in arg and in ...", function()
      assert.equal("2 one two words nil one\n", outputOf([[print(#arg, arg[1], arg[2], arg[3], (...))]],
        "one", "two words"):gsub("\t", " "))
      assert.equal("0\tnil\n", outputOf [[print(#arg, ...)]]:gsub("^0\n", "0\tnil\n"))
    end)

    it("of a test has the only control socket of a folder of its own", function()
      assert.matches("^%d+%.sock\n$", outputOf [[io.write(io.popen("ls $XDG_RUNTIME_DIR/neap"):read "*a")]])
    end)

    it("that raises is logged with its traceback and exits with 1", function()
      local status, _, log = run "local function inner()\n  error 'boom'\nend\ninner()\n"
      assert.equal(1, status)
      local line = errorLines(log)[1]
      assert.matches(path .. ":2: boom", line, 1, true)
      assert.matches(path .. ":4: in", line, 1, true)
    end)

    it("that raises ends at once, whatever still waits", function()
      local status = run [[
        local task = require "neap.task"
        task.spawn(task.sleep, 3600)
        task.every(3600, print)
        task.sleep(0)
        error "boom"
      ]]
      assert.equal(1, status)
    end)

    it("that does not parse is told with its line and exits with 1", function()
      local status, _, log = run "local x = 1\nlocal = 2\n"
      assert.equal(1, status)
      assert.is_truthy(log:find(path .. ":2:", 1, true), log)
    end)

    it("that does not exist is wrong usage: one line, exit 2", function()
      local status, _, log = testing.run { "run", path .. ".missing" }
      assert.equal(2, status)
      assert.is_truthy(log:find(path .. ".missing", 1, true), log)
      assert.equal(1, select(2, log:gsub("\n", "")))
    end)

    it("may wait at its top level", function()
      assert.equal("before\nafter\n", outputOf [[
        print "before"
        assert(require("neap.task").sleep(0.01))
        print "after"
      ]])
    end)

    it("ends when its tasks and timers have ended", function()
      assert.equal("main\ntask\nafter\nevery\nevery\n", outputOf [[
        local task = require "neap.task"
        task.spawn(function()
          task.sleep(0.01)
          print "task"
          task.after(0.01, function()
            print "after"
            local count, timer = 0
            timer = task.every(0.01, function()
              print "every"
              count = count + 1
              if count == 2 then timer:cancel() end
            end)
          end)
        end)
        print "main"
      ]])
    end)

    it("may keep a task waiting for what never comes: the program ends on a signal only", function()
      local source = path .. ".lua"
      local file = assert(io.open(source, "wb"))
      file:write [[
        local websocket, task = require "neap.websocket", require "neap.task"
        websocket.listener(arg[1], { host = "127.0.0.1" }):attach("/", { onMessage = print })
        task.spawn(function() task.channel():receive() end)
        task.every(0.01, function() end)
      ]]
      file:close()
      testing.start(source)
      testing.stop()
      os.remove(source)
    end)
  end)

  describe("tasks", function()
    it("take turns, start in order, and pass arguments and results", function()
      assert.equal("main 1 2 main again 1:a 2:b\n", outputOf([[
        local task = require "neap.task"
        local seen, handles = {}, {}
        for i, name in ipairs { "a", "b" } do
          handles[i] = task.spawn(function(...)
            seen[#seen + 1] = i
            task.sleep(0)
            return i .. ":" .. ..., nil
          end, name)
        end
        seen[1] = "main"
        task.sleep(0)
        seen[#seen + 1] = "main again"
        for i = 1, 2 do
          assert(select("#", handles[i]:join()) == 2)
          seen[#seen + 1] = handles[i]:join()
        end
        print(table.concat(seen, " "))
      ]]))
    end)

    it("that fail are logged with their traceback; the rest goes on and the exit status is 0", function()
      local status, output, log = run [[
        local task = require "neap.task"
        local handle = task.spawn(function()
          task.sleep(0)
          error "boom"
        end)
        print(handle:join())
        task.after(0, function() error { odd = true } end)
        task.sleep(0.01)
        print "still here"
      ]]
      assert.equal(0, status)
      assert.equal(("nil\tError: %s:4: boom\nstill here\n"):format(path), output)
      local lines = errorLines(log)
      assert.equal(2, #lines)
      assert.is_truthy(lines[1]:find("error in task: " .. path .. ":4: boom", 1, true), lines[1])
      assert.is_truthy(lines[1]:find("stack traceback:", 1, true), lines[1])
      assert.is_falsy(lines[1]:find("neap/task.lua", 1, true), lines[1])
    end)

    it("wait in any depth: pcall, iterators, metamethods, other modules' callbacks", function()
      assert.equal("pcall true error false 7 index 8 for 6 ok\n", outputOf([[
        local task = require "neap.task"
        local seen = {}
        local function see(...)
          for i = 1, select("#", ...) do seen[#seen + 1] = tostring((select(i, ...))) end
        end
        see("pcall", (pcall(function() assert(task.sleep(0)) end)))
        see("error", (pcall(function() task.sleep(0) error "x" end)))
        local sum = setmetatable({}, { __add = function(_, n) task.sleep(0) return n + 2 end,
          __index = function(_, key) task.sleep(0) return key end })
        see(sum + 5, "index", sum[8])
        local total = 0
        local function upTo3(_, last) task.sleep(0) return last < 3 and last + 1 or nil end
        for i in upTo3, nil, 0 do total = total + i end
        see("for", total)
        see(xpcall(function() task.sleep(0) return "ok" end, print) and "ok")
        print(table.concat(seen, " "))
      ]]))
    end)

    it("cannot wait inside a C function, and are told so; nothing is left behind", function()
      local output = outputOf [[
        local task = require "neap.task"
        local channel, full, other = task.channel(), task.channel(), task.spawn(task.sleep, 0.01)
        local waits = {
          function() task.sleep(0) end,
          function() channel:receive() end,
          function() full:send(1) end,
          function() other:join() end,
          function() task.timeout(1, print) end,
        }
        for _, wait in ipairs(waits) do
          print(pcall(table.sort, { 3, 1, 2 }, function() wait() end))
        end
        print(task.sleep(0), channel:trySend(1), full:tryReceive(), other:join())
      ]]
      local line = "false\t" .. path:gsub("%p", "%%%0") .. ":%d+: cannot wait here[^\n]*\n"
      assert.matches("^" .. line:rep(5) .. "true\tfalse\tnil\ttrue\n$", output)
    end)

    it("cannot wait in a finalizer, wherever it runs", function()
      local status, output, log = run [[
        local task = require "neap.task"
        local proxy = newproxy(true)
        getmetatable(proxy).__gc = function()
          print((pcall(task.sleep, 0)), (pcall(task.join)), type(task.spawn(function() end)))
        end
        proxy = nil
        collectgarbage()
        at_the_end = newproxy(true)
        getmetatable(at_the_end).__gc = function() print((pcall(task.sleep, 0))) end
      ]]
      assert.equal(0, status, log)
      assert.equal("false\tfalse\tuserdata\nfalse\n", output)
    end)

    it("can be cancelled in every kind of wait", function()
      assert.equal("sleep Cancelled\nreceive Cancelled\nsend Cancelled\njoin Cancelled\ntimeout Cancelled\n"
        .. "loop Cancelled\n", outputOf [[
        local task = require "neap.task"
        local waits = {
          { "sleep", function() return task.sleep(3600) end },
          { "receive", function() return task.channel():receive() end },
          { "send", function() return task.channel():send(1) end },
          { "join", function() return task.spawn(function() task.sleep(0.2) end):join() end },
          { "timeout", function() return task.timeout(3600, task.sleep, 3600) end },
          { "loop", function() while true do task.sleep(0.001) end end },
        }
        for _, wait in ipairs(waits) do
          local name, kind = wait[1]
          local handle = task.spawn(function()
            local good, err = pcall(wait[2])
            assert(not good)
            kind = err.kind
          end)
          task.sleep(0.01)
          assert(handle:cancel() == true)
          local value, err = handle:join()
          assert(value == nil and (err == nil or err.kind == "Cancelled"))
          assert(handle:cancel() == false)
          print(name, kind)
        end
      ]]:gsub("\t", " "))
    end)

    it("keep to a time limit", function()
      assert.equal("nil Timeout\n1 2 nil\nfalse boom\n", outputOf([[
        local task = require "neap.task"
        local value, err = task.timeout(0.01, task.sleep, 3600)
        print(value, err.kind)
        print(task.timeout(3600, function(...) task.sleep(0) return ... end, 1, 2, nil))
        print(pcall(task.timeout, 3600, function() error("boom", 0) end))
      ]]):gsub("\t", " "))
    end)

    it("are many: 10,000 that wait at once, twice", function()
      assert.equal("20000\n", outputOf [[
        local task = require "neap.task"
        local count = 0
        for _ = 1, 2 do
          local handles = {}
          for i = 1, 10000 do
            handles[i] = task.spawn(function()
              task.sleep(0.001 * (i % 7))
              count = count + 1
            end)
          end
          for _, handle in ipairs(handles) do handle:join() end
        end
        print(count)
      ]])
    end)

    it("work while the collector runs at every step", function()
      assert.equal("5050\n", outputOf [[
        local task = require "neap.task"
        collectgarbage("setpause", 0)
        collectgarbage("setstepmul", 10000)
        local channel = task.channel(3)
        task.spawn(function()
          for i = 1, 100 do
            task.timeout(10, function() task.sleep(0) channel:send(i) end)
            collectgarbage()
          end
          channel:close()
        end)
        local sum = 0
        for value in channel.receive, channel do
          sum = sum + value
          collectgarbage()
        end
        print(sum)
      ]])
    end)
  end)

  describe("timers", function()
    it("fire in the order of their times, and can be cancelled", function()
      assert.equal("1 2 3\n", outputOf [[
        local task = require "neap.task"
        local seen = {}
        task.after(0.03, function() seen[#seen + 1] = 3 print(table.concat(seen, " ")) end)
        task.after(0.01, function() seen[#seen + 1] = 1 end)
        task.after(0.02, function() seen[#seen + 1] = 2 end)
        local never = task.after(0.015, function() seen[#seen + 1] = "never" end)
        assert(never:cancel() == true and never:cancel() == false)
      ]])
    end)

    it("go on when a run fails, never overlap, and may be left to the collector", function()
      local status, output, log = run [[
        local task = require "neap.task"
        local running, runs, timer = 0, 0
        timer = task.every(0.005, function()
          running, runs = running + 1, runs + 1
          assert(running == 1)
          collectgarbage()
          if runs == 1 then running = 0 error "first" end
          task.sleep(0.012)
          running = running - 1
          if runs == 4 then timer:cancel() print "four" end
        end)
        task.every(0.5, function() end):cancel()
      ]]
      assert.equal(0, status)
      assert.equal("four\n", output)
      assert.equal(1, #errorLines(log))
      assert.is_truthy(errorLines(log)[1]:find(":7: first", 1, true))
    end)
  end)

  describe("channels", function()
    it("carry values between tasks in order, with and without room", function()
      assert.equal("5050 closed\n5050 closed\n", outputOf [[
        local task = require "neap.task"
        for _, size in ipairs { 0, 7 } do
          local channel = task.channel(size)
          task.spawn(function()
            for i = 1, 100 do assert(channel:send(i)) end
            channel:close()
          end)
          local sum, last = 0, 0
          for value in channel.receive, channel do
            assert(value == last + 1)
            sum, last = sum + value, value
          end
          print(sum .. " " .. select(2, channel:receive()).kind:lower())
        end
      ]])
    end)
  end)

  describe("coroutines of the app", function()
    it("may wait in between their own yields", function()
      assert.equal("1 a 2 b 3 dead\n", outputOf [[
        local task = require "neap.task"
        local seen = {}
        local co = coroutine.create(function()
          for i = 1, 3 do
            task.sleep(0.001)
            local answer = coroutine.yield(i)
            seen[#seen + 1] = answer
          end
        end)
        local answers = { "a", "b" }
        local good, value = coroutine.resume(co)
        while value do
          assert(good)
          seen[#seen + 1] = value
          good, value = coroutine.resume(co, table.remove(answers, 1))
        end
        seen[#seen + 1] = coroutine.status(co)
        print(table.concat(seen, " "))
      ]])
    end)

    it("nest, and as generators of a for loop wait too", function()
      assert.equal("1 2 3 4\n", outputOf [[
        local task = require "neap.task"
        local function numbers(from, to)
          return coroutine.wrap(function()
            for i = from, to do
              task.sleep(0)
              coroutine.yield(i)
              task.timeout(5, task.sleep, 0)
            end
          end)
        end
        local both = coroutine.wrap(function()
          for i in numbers(1, 2) do coroutine.yield(i) end
          for i in numbers(3, 4) do coroutine.yield(i) end
        end)
        local seen = {}
        for i in both do seen[#seen + 1] = i end
        print(table.concat(seen, " "))
      ]])
    end)

    it("pass errors on, also after a wait", function()
      local output = outputOf [[
        local task = require "neap.task"
        print(coroutine.resume(coroutine.create(function() task.sleep(0) error("inner", 0) end)))
        print(pcall(coroutine.wrap(function() task.sleep(0) error("outer", 0) end)))
      ]]
      assert.equal("false\tinner\nfalse\touter\n", output)
    end)

    it("are needed for a yield: one at a task's own level is an error", function()
      local status, output, log = run [[
        local task = require "neap.task"
        task.spawn(function() coroutine.yield(1) end)
        task.sleep(0.01)
        print "others go on"
      ]]
      assert.equal(0, status)
      assert.equal("others go on\n", output)
      assert.equal(1, #errorLines(log))
      assert.is_truthy(errorLines(log)[1]:find("coroutine.yield", 1, true))
    end)
  end)

  describe("the log", function()
    it("has the app's lines, with fields in order, odd values and all", function()
      local status, _, log = run [[
        local log = require "neap.log"
        log.debug "not shown"
        log.info("joined", { user = "ada", room = "the blue", n = 1.5, ok = true })
        local odd = setmetatable({}, { __tostring = error })
        log.warn("line\nbreak \27[31m", { value = "a=b", ["odd key"] = "\"q\"", none = odd })
        log.error(nil)
      ]]
      assert.equal(0, status)
      assert.is_truthy(log:find(' info  joined n=1.5 ok=true room="the blue" user=ada', 1, true), log)
      assert.is_truthy(log:find("line\\nbreak", 1, true), log)
      assert.is_falsy(log:find "\27")
      assert.is_falsy(log:find "not shown")
      assert.is_truthy(log:find " error nil", log)
      for line in log:gmatch "[^\n]+" do
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ %l+ +%S", line)
      end
    end)

    it("has each key once in JSON form", function()
      local file = assert(io.open(path, "wb"))
      file:write [[require("neap.log").info("x", { message = "mine", level = 5, n = 1 })]]
      file:close()
      local status, _, log = testing.run { "run", path, "--log-format", "json" }
      assert.equal(0, status)
      local line = log:match '[^\n]*"message":"x"[^\n]*'
      assert.is_truthy(line, log)
      assert.equal(1, select(2, line:gsub('"message":', "")))
      assert.is_truthy(line:find('"message_":"mine"', 1, true), line)
      assert.is_truthy(line:find('"level":"info"', 1, true), line)
    end)
  end)

  describe("JSON", function()
    it("is the same in the program as in its spec", function()
      assert.equal('[[],{},{"a":null}] Error: line 1, column 2: unexpected end of the text\n', outputOf [[
        local json = require "neap.json"
        local value = json.decode '[[],{},{"a":null}]'
        assert(value[3].a == json.null)
        print(json.encode(value) .. " " .. tostring(select(2, json.decode "[")))
      ]])
    end)
  end)

  describe("mistakes in the use of the library", function()
    it("raise with the file and line of the app", function()
      local output = outputOf [[
        local task, json = require "neap.task", require "neap.json"
        print(pcall(task.sleep, "x"))
        print(pcall(function() task.spawn(5) end))
        print(pcall(function()
          json.decode(nil)
        end))
      ]]
      local at = path:gsub("%p", "%%%0")
      assert.matches("false\t.-task.sleep.-\n", output)
      assert.matches("false\t" .. at .. ":3: task.spawn", output)
      assert.matches("false\t" .. at .. ":5: json.decode", output)
    end)
  end)
end)
