-- SPDX-License-Identifier: MIT
--
-- Waiting, as the library's Lua does it, and what cancelling means for it (src/bind/core/lcancel.h). Internal.
--
-- A cancelled task does not go on: the wait that it is in raises an error of kind "Cancelled", and so does every later
-- call that may wait, whether it would have to or not. C wakes the task with `nil, err`; that it is raised is the
-- business of who waits, since a task must get out of the queues that it stands in first.
--
--     wait.enter()                      first of all: raises in a cancelled task
--     wait.check()                      before a task is queued anywhere: raises where code cannot be suspended
--     ok, err = core.park()             waits for core.wake
--     return wait.passed(ok, err)       raises where the wait was cancelled
--
-- `records` holds what is known of tasks that neap.task started, by handle. A record must not hold
-- its handle: the keys are weak, and neither would ever be collected.

local core = require "neap.core"
local errors = require "neap.message.error"

local CANNOT_WAIT = "cannot wait here: a C function is calling this (table.sort, string.gsub, a finalizer, ...); "
  .. "wait before or after that"

local isyieldable = coroutine.isyieldable

local records = setmetatable({}, { __mode = "k" })

local function enter()
  core.checkCancelled()
end

-- Passes on what a wait returned.
local function passed(...)
  local first, second = ...
  if first == nil and errors.isError(second, "Cancelled") then
    error(second, 0)
  end
  return ...
end

-- A finalizer, and what a C function calls, cannot be suspended. Found out before the task stands in
-- any queue: it would be woken there while it waits elsewhere.
local function check()
  if not isyieldable() then
    errors.raise(CANNOT_WAIT)
  end
end

local function sleep(seconds)
  enter()
  check()
  return passed(core.sleep(seconds))
end

return {
  CANNOT_WAIT = CANNOT_WAIT,
  check = check,
  enter = enter,
  passed = passed,
  records = records,
  sleep = sleep,
}
