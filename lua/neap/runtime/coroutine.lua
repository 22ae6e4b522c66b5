-- SPDX-License-Identifier: MIT
--
-- coroutine.resume and coroutine.wrap for apps.  What waits in a task (a sleep, a read) yields to the scheduler, and
-- in a coroutine of the app that yield would arrive at the app's resume.  The scheduler's yields carry a private mark;
-- here they are passed outwards until they leave the task, and what comes back is passed in:
--
--      scheduler ⇄ task ⇄ resume (ours) ⇄ coroutine ⇄ task.sleep()
--
-- While such a coroutine waits, its own status is "suspended" for Lua, but nobody may resume it: it is one the
-- scheduler will go on with.  So status says "normal", and resume refuses.
--
-- Where the way outwards leads through a C function (a coroutine that a comparison of table.sort resumes), the mark
-- cannot pass.  The task is taken out of its wait again, and the wait returns nil and an error.
--
-- Each resume inside another takes a piece of the C stack, which nothing bounds in LuaJIT (src/bind/core/lstack.h).  So
-- now and then a resume looks how much is left; to count them in and out would be wrong after errors from a hook.

local core = require "neap.core"
local errors = require "neap.message.error"
local wait = require "neap.runtime.wait"

local create, yield = coroutine.create, coroutine.yield
local rawResume, rawStatus = coroutine.resume, coroutine.status
local isyieldable = coroutine.isyieldable
local marker = core.marker

-- Between two looks at the C stack; what so many resumes take of it must fit into the half that is left.
local BETWEEN_LOOKS = 16
local resumes = 0

local waiting = setmetatable({}, { __mode = "k" })

-- One that waits again is given up: it would not rest, and nothing can raise in it.
local function refused(co, ok, first, ...)
  if first == marker and ok then
    core.unpark()
    return false, wait.CANNOT_WAIT
  end
  waiting[co] = nil
  return ok, first, ...
end

local function pass(co, ok, first, ...)
  if first == marker and ok then
    if not isyieldable() then
      core.unpark()
      return refused(co, rawResume(co, nil, errors.new("Error", wait.CANNOT_WAIT)))
    end
    return pass(co, rawResume(co, yield(first, ...)))
  end
  waiting[co] = nil
  return ok, first, ...
end

-- Off the usual path, so that coroutines that never wait pay for one comparison only.
local function settle(co, ok, first, ...)
  if first == marker and ok then
    waiting[co] = true
    return pass(co, ok, first, ...)
  end
  return ok, first, ...
end

--- As in the manual of Lua; a coroutine that waits for the scheduler cannot be resumed.
---@param co thread
---@param ... any
---@return boolean ok
---@return any ...
local function resume(co, ...)
  if waiting[co] then
    return false, "cannot resume a coroutine that waits in another task"
  end
  resumes = resumes + 1
  if resumes >= BETWEEN_LOOKS then
    resumes = 0
    if core.deep() then
      return false, "C stack overflow: coroutines resume each other without end"
    end
  end
  return settle(co, rawResume(co, ...))
end

--- As in the manual of Lua; "normal" for a coroutine that waits for the scheduler.
---@param co thread
---@return string
local function status(co)
  if waiting[co] then
    return "normal"
  end
  return rawStatus(co)
end

local function results(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

--- As in the manual of Lua.
---@param fn function
---@return function
local function wrap(fn)
  local co = create(fn)
  return function(...)
    return results(resume(co, ...))
  end
end

--- Puts these functions into the global table `coroutine`, so that every module has them.
local function install()
  -- luacheck: push ignore 122
  coroutine.resume, coroutine.status, coroutine.wrap = resume, status, wrap
  -- luacheck: pop
end

return {
  install = install,
  resume = resume,
  status = status,
  wrap = wrap,
}
