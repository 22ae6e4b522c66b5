-- SPDX-License-Identifier: MIT
--
-- What the guard (src/bind/lguard.c) needs of the functions that apps use. Internal.
--
-- The guard ends a handler by raising an error from a hook.  While a message handler of xpcall deals with that error,
-- the hook is still running, and no other is called: an endless one would not be stopped.  So the error is handed on as
-- it is.  The library's own message handlers are short, they see every error (rawXpcall).
--
-- Its hold on compiled code is LuaJIT's profiler, which has one user at a time.

local core = require "neap.core"

local rawXpcall = xpcall

--- As in the manual of Lua; an error of the guard does not go through `handler`.
---@param fn function
---@param handler function
---@param ... any arguments for fn
---@return boolean ok
---@return any ...
local function protected(fn, handler, ...)
  if type(handler) ~= "function" then
    return rawXpcall(fn, handler, ...)
  end
  return rawXpcall(fn, function(err)
    if core.raising() then
      return err
    end
    return handler(err)
  end, ...)
end

--- Puts these functions into the global table.
local function install()
  local profile = package.preload["jit.profile"]
  -- luacheck: push ignore 121 122
  xpcall = protected
  package.preload["jit.profile"] = function(...)
    if core.guarded() then
      error("the profiler is in use: run with --handler-timeout 0 --memory-limit 0", 2)
    end
    return profile(...)
  end
  -- luacheck: pop
end

return {
  install = install,
  rawXpcall = rawXpcall,
  xpcall = protected,
}
