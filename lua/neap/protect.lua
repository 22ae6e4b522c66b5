-- SPDX-License-Identifier: MIT
--
-- What the guard (src/bind/lguard.c) needs of the functions that apps use. Internal.
--
-- The guard ends a handler by raising an error from a hook.  While a message handler of xpcall deals with that error,
-- the hook is still running, and no other is called: an endless one would not be stopped.  So the error is handed on as
-- it is.  The library's own message handlers are short, they see every error (rawXpcall).
--
-- Its hold on compiled code is LuaJIT's profiler, which has one user at a time.
--
-- And what a finalizer raises must not get into C code that happened to ask for memory.

local core = require "neap.core"
local tell = require "neap.tell"

local rawNewproxy, rawXpcall = newproxy, xpcall

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

-- The collector runs wherever memory is asked for, also in C between two handlers, where nothing catches an error.
local function finalizer(fn)
  if type(fn) ~= "function" then
    return fn
  end
  return function(object)
    local good, err = pcall(fn, object)
    if not good then
      core.log("error", "error in a finalizer: " .. tell.tell(err))
    end
  end
end

local proxies = {
  __newindex = function(metatable, key, value)
    rawset(metatable, key, key == "__gc" and finalizer(value) or value)
  end,
}

--- As in Lua 5.1; a finalizer that raises is logged.
---@param like? boolean|userdata true: with a metatable of its own; a proxy: with that one's
---@return userdata
local function proxy(like)
  local new = rawNewproxy(like)
  if like == true then
    setmetatable(getmetatable(new), proxies)
  end
  return new
end

local function protectFfi(ffi)
  local gc, metatype = ffi.gc, ffi.metatype
  function ffi.gc(object, fn)
    return gc(object, finalizer(fn))
  end
  function ffi.metatype(ct, metatable)
    if type(metatable) == "table" then
      metatable.__gc = finalizer(metatable.__gc)
    end
    return metatype(ct, metatable)
  end
  return ffi
end

-- Those that the guard and its users cannot have at the same time.
local function refuseProfiler()
  if core.guarded() then
    error("the profiler is in use: run with --handler-timeout 0 --memory-limit 0", 3)
  end
end

-- Modules that are in LuaJIT are changed when they are first asked for.
local function onLoad(name, before, after)
  local open = package.preload[name]
  package.preload[name] = open and function(...)
    before()
    return after(open(...))
  end
end

local function nothing(...)
  return ...
end

--- Puts these functions into the global table.
local function install()
  -- luacheck: push ignore 121
  newproxy, xpcall = proxy, protected
  -- luacheck: pop
  onLoad("ffi", nothing, protectFfi)
  onLoad("jit.profile", refuseProfiler, nothing)
end

return {
  install = install,
  rawXpcall = rawXpcall,
  xpcall = protected,
}
