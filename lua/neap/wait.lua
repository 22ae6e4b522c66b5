-- SPDX-License-Identifier: MIT
--
-- Waiting, as neap.task and its channels do it, and what cancelling means for it. Internal.
--
-- A cancelled task is told once: the wait that it is in, or its next one when it is just about to go
-- on, returns `nil, err` (kind "Cancelled"). It may tidy up and return. When it waits again instead,
-- that wait raises the same error: so a loop that never looks at results ends all the same, and
-- `cancel` can be relied upon. C stops the streams of a connection that is gone in the same way
-- (src/bind/lstream.c).
--
--     err = wait.enter()    first of all; an error is what the wait returns then
--     wait.check()          before a task is queued anywhere: raises where code cannot be suspended
--     ... = wait.park()     waits for core.wake
--
-- `records` holds what is known of tasks that neap.task started, by handle. A record must not hold
-- its handle: the keys are weak, and neither would ever be collected.

local core = require "neap.core"
local errors = require "neap.error"

local isyieldable = coroutine.isyieldable

local records = setmetatable({}, { __mode = "k" })

local function enter()
  local stopped = core.stopped()
  if stopped then
    error(stopped, 0)
  end
  local record = records[core.current()]
  if not record or not record.cancelled then
    return nil
  end
  if record.told then
    error(record.told, 0)
  end
  record.told = record.cancelled
  return record.told
end

-- Passes on what a wait returned, and notes that the task knows now.
local function leave(...)
  local result, err = ...
  if result == nil then
    local record = records[core.current()]
    if record and record.cancelled then
      record.told = err
    end
  end
  return ...
end

-- A finalizer, and what a C function calls, cannot be suspended. Found out before the task stands in
-- any queue: it would be woken there while it waits elsewhere.
local function check()
  if not isyieldable() then
    errors.raise("cannot wait here: a C function is calling this (table.sort, string.gsub, a finalizer, ...); "
      .. "wait before or after that")
  end
end

local function park()
  return leave(core.park())
end

local function sleep(seconds)
  local refused = enter()
  if refused then
    return nil, refused
  end
  check()
  return leave(core.sleep(seconds))
end

return {
  check = check,
  enter = enter,
  park = park,
  records = records,
  sleep = sleep,
}
