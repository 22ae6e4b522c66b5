-- SPDX-License-Identifier: MIT
--
-- Waiting, as neap.task and its channels do it, and what cancelling means for it. Internal.
--
-- The C side ends the wait of a cancelled task with `nil, err` (kind "Cancelled"), once. The task
-- may tidy up and return. When it waits again instead, that wait raises the same error: so a loop
-- that never looks at results ends all the same, and `cancel` can be relied upon.
--
--     wait.enter()          raises in a task that knows that it is cancelled; before it is queued
--     ... = wait.park()     waits for core.wake, and notes when the task is told
--
-- `records` holds what is known of tasks that neap.task started, by handle. A record must not hold
-- its handle: the keys are weak, and neither would ever be collected.

local core = require "neap.core"

local records = setmetatable({}, { __mode = "k" })

local function enter()
  local record = records[core.current()]
  if record and record.told then
    error(record.told, 0)
  end
end

-- Passes on what a wait returned, and notes that the task knows now.
local function leave(result, err, ...)
  if result == nil then
    local record = records[core.current()]
    if record and record.cancelled then
      record.told = err
    end
  end
  return result, err, ...
end

local function park()
  return leave(core.park())
end

local function sleep(seconds)
  enter()
  return leave(core.sleep(seconds))
end

return {
  enter = enter,
  park = park,
  records = records,
  sleep = sleep,
}
