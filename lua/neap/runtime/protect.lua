-- SPDX-License-Identifier: MIT
--
-- What the guard (src/bind/core/lguard.c) needs of the functions that apps use. Internal.
--
-- The guard ends a handler by raising an error from a hook.  While a message handler of xpcall deals with that error,
-- the hook is still running, and no other is called: an endless one would not be stopped.  So the error is handed on as
-- it is.  The library's own message handlers are short, they see every error (rawXpcall).
--
-- Its hold on compiled code is LuaJIT's profiler, which has one user at a time.
--
-- And finalizers would run in the middle of anything, where nothing watches them or catches what they raise.  What is
-- set here queues the object only (src/bind/core/lfinal.h).

local core = require "neap.core"

local rawNewproxy, rawXpcall = newproxy, xpcall
local living = core.living

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

-- What the collector is given, by the app's function; one for all objects that have the same.
local finalizers = setmetatable({}, { __mode = "v" })

-- A function of C, or one of FFI, is called at once: it frees something, and no hook would end it.
local function finalizer(fn, now)
  if fn == nil then
    return nil
  end
  local made = finalizers[fn]
  if not made then
    made = core.finalizer(fn, now)
    finalizers[fn] = made
  end
  return made
end

-- The metatable that the app gets to see of a proxy. It stays empty, so that whatever is written to it comes by here;
-- `real` is the one that works.
local function shown(real)
  local gc
  return setmetatable({}, {
    __index = function(self, key)
      if key == "__gc" then
        return gc
      end
      local value = rawget(real, key)
      if key == "__metatable" and value == self then
        return nil
      end
      return value
    end,
    __newindex = function(_, key, value)
      if key == "__gc" then
        gc, value = value, finalizer(value)
      end
      rawset(real, key, value)
    end,
  })
end

--- As in Lua 5.1; a finalizer runs in a task of its own.
---@param like? boolean|userdata true: with a metatable of its own; a proxy: with that one's
---@return userdata
local function proxy(like)
  local new = rawNewproxy(like)
  if like == true then
    local real = debug.getmetatable(new)
    real.__metatable = shown(real)
  end
  if like then
    living[new] = true
  end
  return new
end

local rawSetmetatable = debug.setmetatable

-- Only where Lua would run: the classes of C modules are left as they are.
local function setmetatableOf(object, meta)
  local gc = type(object) == "userdata" and type(meta) == "table" and rawget(meta, "__gc")
  if type(gc) == "function" and debug.getinfo(gc, "S").what ~= "C" then
    rawset(meta, "__gc", finalizer(gc))
    living[object] = true
  end
  return rawSetmetatable(object, meta)
end

local function protectFfi(ffi)
  local gc, metatype = ffi.gc, ffi.metatype
  function ffi.gc(object, fn)
    local now = type(fn) == "cdata"
    local made = finalizer(fn, now)
    gc(object, made)
    living[object] = not now and made or nil
    return object
  end
  -- LuaJIT says that nobody may change a metatable afterwards: so it does not matter that it is another.
  function ffi.metatype(ct, meta)
    if type(meta) ~= "table" or meta.__gc == nil then
      return metatype(ct, meta)
    end
    local own = {}
    for key, value in next, meta do
      own[key] = value
    end
    own.__gc = finalizer(own.__gc, type(own.__gc) == "cdata")
    return metatype(ct, own)
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
  -- luacheck: push ignore 122
  debug.setmetatable = setmetatableOf
  -- luacheck: pop
  onLoad("ffi", nothing, protectFfi)
  onLoad("jit.profile", refuseProfiler, nothing)
end

return {
  install = install,
  rawXpcall = rawXpcall,
  xpcall = protected,
}
