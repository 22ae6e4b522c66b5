-- SPDX-License-Identifier: MIT
--
-- neap.task: things that go on side by side in one worker. A task is a coroutine that the C
-- scheduler runs; it gives way only where it waits, so that code between two waits needs no locks.
--
-- The scheduler (src/bind/core/ltask.c) knows three things: start a task, park the running one, wake a
-- parked one. What is here is made of them: joining, time limits, cancelling (neap/runtime/wait.lua) and
-- channels (neap/runtime/channel.lua).

local core = require "neap.core"
local channel = require "neap.runtime.channel"
local errors = require "neap.message.error"
local numbers = require "neap.runtime.number"
local protect = require "neap.runtime.protect"
local tell = require "neap.message.tell"
local text = require "neap.message.text"
local wait = require "neap.runtime.wait"

local xpcall = protect.rawXpcall

-- One record for each task that was started here, by handle:
--     started, ended       whether it ran at all; how it ended: "returned" | "failed" | "cancelled"
--     results, count       what its function returned
--     failure              what it raised
--     joiners              tasks that wait for its end
--     quiet                its failure is reported by other means than the log
--     timer, expired       of task.timeout
local records = wait.records

---@class neap.Task
local Task = core.taskMethods or {}
core.taskMethods = Task

---@class neap.Timer
local Timer = {}
local timerMeta = { __index = Timer, __name = "neap.Timer" }

local function checkFunction(fn, call)
  if type(fn) ~= "function" then
    errors.raise(call .. ": fn must be a function, it is " .. text.show(fn))
  end
end

local function checkSeconds(seconds, call)
  if not numbers.isSeconds(seconds) then
    errors.raise(call .. ": seconds must be a number from 0 to 1e9, it is " .. text.show(seconds))
  end
end

-- A task that was given up (`expire`) may come to its end later: that counts no more.
local function finish(record, ended, ...)
  if record.ended then
    return
  end
  record.ended, record.results, record.count = ended, { ... }, select("#", ...)
  local joiners = record.joiners or {}
  record.joiners = nil
  for _, joiner in ipairs(joiners) do
    core.wake(joiner, true)
  end
end

-- The traceback ends where the library begins: at the xpcall in `run`. What the value says of itself is asked later:
-- here an endless __tostring could not be ended.
local function onError(value)
  local trace = debug.traceback("", 2)
  return { value = value, trace = trace:match "^(.*)\n\t%[C%]: in function 'xpcall'" or trace }
end

-- The end of a task's function. A task that ended because it was cancelled has not failed.
local function settle(record, good, ...)
  if good then
    return finish(record, "returned", ...)
  end
  local failure = ...
  if type(failure) ~= "table" then -- onError could not be called, or failed itself
    failure = { value = failure, trace = "" }
  end
  if core.isCancelled() and errors.isError(failure.value, "Cancelled") then
    return finish(record, "cancelled")
  end
  record.failure = failure.value
  finish(record, "failed")
  if not record.quiet then
    core.log("error", "error in task: " .. tell.tell(failure.value) .. failure.trace)
  end
end

local function run(record, fn, ...)
  record.started = true
  settle(record, xpcall(fn, onError, ...))
end

local function start(record, fn, ...)
  local handle = core.spawn(run, record, fn, ...)
  records[handle] = record
  return handle
end

local function cancelled()
  return errors.new("Cancelled", "the task was cancelled")
end

-- What a join returns once the task has ended.
local function outcome(record)
  if record.ended == "returned" then
    return unpack(record.results, 1, record.count)
  end
  if record.ended == "failed" then
    return nil, tell.asError(record.failure)
  end
  return nil, cancelled()
end

local function forget(joiners, handle)
  for i = #joiners, 1, -1 do
    if joiners[i] == handle then
      table.remove(joiners, i)
    end
  end
end

-- Waits until the task of this record has ended: true, or nil and an error when the running task
-- was cancelled; the caller raises that.
local function await(record)
  if record.ended then
    return true
  end
  wait.check()
  local me = core.current()
  record.joiners = record.joiners or {}
  table.insert(record.joiners, me)
  local ended, err = core.park()
  if not ended and record.joiners then
    forget(record.joiners, me)
  end
  return ended, err
end

local function checkSelf(handle, call)
  return records[handle] or errors.wrongSelf(call, "task.spawn")
end

--- Ends the task: one that has not started never starts; else the wait that it is in raises an error
--- of kind "Cancelled", and so does every later call that may wait. Does not yield.
---@return boolean effect false when the task is over already
function Task:cancel()
  local record = checkSelf(self, "task:cancel")
  if record.ended then
    return false
  end
  core.cancel(self)
  if not record.started then
    finish(record, "cancelled")
  end
  return true
end

--- Waits for the end of the task. Yields.
---@return any ... what its function returned; or nil and an error: what it raised, or one of kind "Cancelled"
function Task:join()
  local record = checkSelf(self, "task:join")
  if self == core.current() then
    errors.raise "task:join: a task cannot wait for itself; another one may join it"
  end
  wait.enter()
  local ended, err = wait.passed(await(record))
  if not ended then
    return nil, err
  end
  return outcome(record)
end

--- Starts a function as a task of its own. It runs when the running one waits or returns. An error
--- in it is logged with its traceback and ends that task alone. Does not yield.
---@param fn fun(...)
---@param ... any arguments for it
---@return neap.Task handle with :cancel() and :join()
local function spawn(fn, ...)
  checkFunction(fn, "task.spawn(fn, ...)")
  return start({}, fn, ...)
end

--- Waits; everything else goes on. 0 lets the others run first. Yields.
---@param seconds number
---@return true slept
local function sleep(seconds)
  checkSeconds(seconds, "task.sleep(seconds)")
  return wait.sleep(seconds)
end

--- Stops the timer; a run that has begun goes on. Does not yield.
---@return boolean effect false when it was stopped already, or has fired for the last time
function Timer:cancel()
  return core.timerStop(self.timer)
end

--- Calls a function later, in a task of its own. Does not yield.
---@param seconds number
---@param fn fun()
---@return neap.Timer handle with :cancel()
local function after(seconds, fn)
  checkSeconds(seconds, "task.after(seconds, fn)")
  checkFunction(fn, "task.after(seconds, fn)")
  return setmetatable({ timer = core.timer(seconds, 0, fn) }, timerMeta)
end

--- Calls a function again and again, each time in a task of its own, the first time after
--- `seconds`. While one run goes on no other begins. Does not yield.
---@param seconds number more than 0
---@param fn fun()
---@return neap.Timer handle with :cancel()
local function every(seconds, fn)
  checkSeconds(seconds, "task.every(seconds, fn)")
  if seconds == 0 then
    errors.raise "task.every(seconds, fn): seconds must be more than 0, it is 0"
  end
  checkFunction(fn, "task.every(seconds, fn)")
  return setmetatable({ timer = core.timer(seconds, seconds, fn) }, timerMeta)
end

-- The time is up: cancels the task. One that waited is given up at once, whatever it does then. One that has been
-- given what it waited for is let go on first: it may have come to its end.
local function expire(handle, record, again)
  if record.ended then
    return
  end
  if core.cancel(handle) or again then
    record.expired, record.quiet = true, false
    finish(record, "cancelled")
  else
    record.expired = true
    record.timer = core.timer(0, 0, function()
      expire(handle, record, true)
    end)
  end
end

--- Calls a function, for at most so many seconds; it runs in a task of its own, which is cancelled
--- when the time is up. What it raises is raised here. Yields.
---@param seconds number
---@param fn fun(...)
---@param ... any arguments for it
---@return any ... its results; or nil and an error of kind "Timeout"
local function timeout(seconds, fn, ...)
  checkSeconds(seconds, "task.timeout(seconds, fn, ...)")
  checkFunction(fn, "task.timeout(seconds, fn, ...)")
  wait.enter()
  wait.check()
  local record = { quiet = true }
  local handle = start(record, fn, ...)
  record.timer = core.timer(seconds, 0, function()
    expire(handle, record)
  end)
  local ended, err = await(record)
  core.timerStop(record.timer)
  if not ended then
    record.quiet = false
    handle:cancel()
    return wait.passed(nil, err)
  end
  if record.expired and record.ended == "cancelled" then
    return nil, errors.new("Timeout", ("not done within %g seconds"):format(seconds))
  end
  if record.ended == "failed" then
    error(record.failure, 0)
  end
  return outcome(record)
end

local function unshield(good, ...)
  core.unshield()
  if not good then
    error((...), 0)
  end
  return ...
end

--- Calls a function whose waits are not cancelled: for clean-up, and for what must not end half done. Of a cancelled
--- task at most 5 s, for all such calls together; then waits raise in it too. Yields when the function does.
---@param fn fun(...)
---@param ... any arguments for it
---@return any ... its results
local function shield(fn, ...)
  checkFunction(fn, "task.shield(fn, ...)")
  core.shield()
  return unshield(pcall(fn, ...))
end

return {
  after = after,
  channel = channel.new,
  every = every,
  shield = shield,
  sleep = sleep,
  spawn = spawn,
  timeout = timeout,
}
