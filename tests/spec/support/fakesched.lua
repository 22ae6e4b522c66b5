-- SPDX-License-Identifier: MIT
--
-- A stand-in for the C side (`neap.core`), for specs of the Lua library: a scheduler with a clock of its own, so that
-- an hour of sleeping takes no time and every run is the same, and a log that is a table.
--
--     local sched = fakesched.new()
--     local task = sched.require "neap.task"        -- a fresh copy that sees this core
--     sched.run(function() task.sleep(60) end)      -- until nothing is left that could run
--     sched.now()                                   --> 60
--     sched.lines                                   --> { { level =, message =, fields = }, … }
--
-- It follows the rules of src/bind/core/ltask.c: a woken task runs later in the turn, in the order of waking;
-- cancelling works on what is parked, sleeps or has not started. It does not check what the library hands it, except
-- where C would raise.

local isUtf8 = dofile "tests/spec/support/utf8.lua"

local fakesched = {}

local STEPS = 100000 -- resumes in one run; more is an endless loop

local function newCore(state)
  local core = {
    errorMetatable = {},
    hooks = {},
    marker = newproxy(false),
    mode = "run",
    isUtf8 = isUtf8,
    taskMethods = {},
  }
  local handleMeta = { __index = core.taskMethods, __name = "neap.Task" }

  local function at(due, action)
    state.order = state.order + 1
    local timer = { due = due, order = state.order, action = action }
    state.timers[timer] = true
    return timer
  end

  local function makeReady(task, ...)
    task.state = "ready"
    task.values, task.count = { ... }, select("#", ...)
    table.insert(state.ready, task)
  end

  local function waitHere()
    core.checkCancelled()
    state.running.state = "parked"
    return coroutine.yield(core.marker)
  end

  function core.spawn(fn, ...)
    local task = setmetatable({ co = coroutine.create(fn), shields = 0 }, handleMeta)
    makeReady(task, ...)
    task.state = "new"
    return task
  end

  function core.current()
    return state.running
  end

  core.park = waitHere

  function core.wake(task, ...)
    if task.state ~= "parked" then
      return false
    end
    task.due = nil
    makeReady(task, ...)
    return true
  end

  local function cancelled()
    return setmetatable({ kind = "Cancelled", message = "the task was cancelled" }, core.errorMetatable)
  end

  local function limitShield(task)
    if not task.limit then
      task.limit = at(state.clock + 5, function()
        task.exposed = true
        core.wake(task, nil, cancelled())
      end)
    end
  end

  local function shielded(task)
    return task.shields > 0 and not task.exposed
  end

  function core.cancel(task)
    if task.state == "new" then
      task.state = "over"
      return true
    end
    task.cancelled = true
    if shielded(task) then
      limitShield(task)
      return false
    end
    return core.wake(task, nil, cancelled())
  end

  function core.isCancelled()
    return state.running ~= nil and state.running.cancelled == true
  end

  function core.checkCancelled()
    if core.isCancelled() and not shielded(state.running) then
      error(cancelled(), 0)
    end
  end

  function core.shield()
    state.running.shields = state.running.shields + 1
    if state.running.cancelled then
      limitShield(state.running)
    end
  end

  function core.unshield()
    state.running.shields = state.running.shields - 1
  end

  function core.finished(task)
    return task.state == "over"
  end

  function core.sleep(seconds)
    local task = state.running
    local timer = at(state.clock + seconds, function()
      core.wake(task, true)
    end)
    local function over(...)
      state.timers[timer] = nil
      return ...
    end
    return over(waitHere())
  end

  function core.timer(seconds, every, fn)
    local handle = { active = true }
    local function fire()
      if not handle.task or handle.task.state == "over" then
        handle.task = core.spawn(fn)
      end
      if every > 0 then
        handle.timer = at(state.clock + every, fire)
      else
        handle.active = false
      end
    end
    handle.timer = at(state.clock + seconds, fire)
    return handle
  end

  function core.timerStop(handle)
    local active = handle.active
    handle.active = false
    state.timers[handle.timer] = nil
    return active
  end

  function core.now()
    return state.clock
  end

  function core.log(level, message, fields)
    table.insert(state.lines, { level = level, message = message, fields = fields })
  end

  function core.logEnabled(level)
    return level ~= "debug" or state.debug
  end

  return core
end

local function resume(state, core, task)
  if task.state == "over" then
    return
  end
  task.state = "running"
  state.running = task
  local function pack(...)
    return { n = select("#", ...), ... }
  end
  local results = pack(coroutine.resume(task.co, unpack(task.values, 1, task.count)))
  state.running = nil
  if coroutine.status(task.co) ~= "dead" then
    assert(results[2] == core.marker, "a task yielded something else than the marker")
    return
  end
  task.state = "over"
  task.results = results
  if task.limit then
    state.timers[task.limit] = nil
  end
  if not results[1] and task ~= state.main then
    core.log("error", "error in task: " .. debug.traceback(task.co, tostring(results[2])))
  end
end

local function nextTimer(state)
  local first
  for timer in pairs(state.timers) do
    if not first or timer.due < first.due or timer.due == first.due and timer.order < first.order then
      first = timer
    end
  end
  return first
end

local function turn(state, core)
  local task = table.remove(state.ready, 1)
  if task then
    resume(state, core, task)
    return true
  end
  local timer = nextTimer(state)
  if not timer then
    return false
  end
  state.timers[timer] = nil
  state.clock = math.max(state.clock, timer.due)
  timer.action()
  return true
end

local function forgetModules()
  for name in pairs(package.loaded) do
    if name:find "^neap%." then
      package.loaded[name] = nil
    end
  end
end

-- Makes a core with a scheduler. `debug = true` enables that log level.
function fakesched.new(options)
  local state = {
    clock = 0,
    debug = options and options.debug,
    lines = {},
    order = 0,
    ready = {},
    timers = {},
  }
  local core = newCore(state)
  local sched = { core = core, lines = state.lines }

  -- Loads a module of the library afresh, with this core under it.
  function sched.require(name)
    if package.loaded["neap.core"] ~= core then
      forgetModules()
      package.loaded["neap.core"] = core
    end
    return require(name)
  end

  function sched.now()
    return state.clock
  end

  -- Runs a function as a task, and everything that it starts, until nothing is left, or until `seconds` have passed.
  -- Returns what it returned, raises what it raised; nothing when it still waits.
  function sched.run(fn, seconds)
    state.main = core.spawn(fn)
    local steps = 0
    local over = seconds and state.clock + seconds
    while turn(state, core) do
      steps = steps + 1
      assert(steps < STEPS, "this never ends")
      if over and state.clock >= over then
        break
      end
    end
    local results = state.main.results or { true, n = 1 }
    if not results[1] then
      error(results[2], 0)
    end
    return unpack(results, 2, results.n)
  end

  -- How many tasks and timers could still run. A spec that leaves none has left nothing behind.
  function sched.left()
    local count = #state.ready
    for _ in pairs(state.timers) do
      count = count + 1
    end
    return count
  end

  return sched
end

return fakesched
