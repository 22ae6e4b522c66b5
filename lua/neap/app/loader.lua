-- SPDX-License-Identifier: MIT
--
-- Loads an app: a .lua file, or a folder with init.lua.  Each version of an app has an environment and a module cache
-- of its own, so that a new version can be loaded beside the old one and either be dropped whole.
--
--      require "neap.x"     the library                       shared by all versions
--      require "a.b"        a/b.lua, a/b/init.lua in the app's folder, else whatever Lua finds elsewhere
--
-- `require` for the app's modules is written in Lua and so may yield: a module may sleep or call out while it loads.  A
-- second task that wants the same module meanwhile waits for it.

local core = require "neap.core"
local errors = require "neap.message.error"
local files = require "neap.app.file"
local source = require "neap.message.source"
local wait = require "neap.runtime.wait"

local globalRequire = require

local function candidates(version, name)
  local path = source.join(version.root, (name:gsub("%.", "/")))
  return { path .. ".lua", path .. "/init.lua" }
end

--- The file of an app's module; nil when the app has none of that name.
---@param version table
---@param name string
---@return string?
local function findModule(version, name)
  if name == "neap" or name:find "^neap%." then
    return nil
  end
  for _, path in ipairs(candidates(version, name)) do
    if files.exists(path) then
      return path
    end
  end
  return nil
end

-- Whether waiting for this module would wait for ourselves, over however many tasks.
local function isCircular(version, entry)
  local me = core.current()
  while entry do
    if entry.task == me then
      return true
    end
    entry = version.waits[entry.task]
  end
  return false
end

-- A task that was cancelled waits elsewhere, or nowhere, when the module has loaded.
local function leave(waiters, me)
  for i = #waiters, 1, -1 do
    if waiters[i] == me then
      table.remove(waiters, i)
    end
  end
end

local function waitFor(version, name, entry)
  if isCircular(version, entry) then
    errors.raise(("require %q: it is being loaded; modules must not require each other in a circle; "
      .. "put what both need into a third"):format(name))
  end
  wait.enter()
  wait.check()
  local me = core.current()
  version.waits[me] = entry
  entry.waiters[#entry.waiters + 1] = me
  local _, err = core.park()
  version.waits[me] = nil
  if err then
    leave(entry.waiters, me)
    error(err, 0)
  end
end

local function finish(version, name, entry)
  version.loading[name] = nil
  for _, task in ipairs(entry.waiters) do
    core.wake(task, true)
  end
end

local function run(version, name, path)
  local chunk, why = files.compile(path, version.env)
  if not chunk then
    error(why, 0)
  end
  version.files[#version.files + 1] = path
  local entry = { task = core.current(), waiters = {} }
  version.loading[name] = entry
  local ok, result = pcall(source.run, path, chunk, name, path)
  if ok and result == nil then
    result = rawget(version.loaded, name)
    if result == nil then
      result = true
    end
  end
  if ok then
    version.loaded[name] = result
  end
  finish(version, name, entry)
  if not ok then
    error(result, 0)
  end
  return result
end

local function foreign(version, name)
  local ok, result = pcall(globalRequire, name)
  if ok then
    version.loaded[name] = result
    return result
  end
  if type(result) ~= "string" or not result:find("module '" .. name .. "' not found", 1, true) then
    error(result, 0)
  end
  local places = {}
  for _, path in ipairs(candidates(version, name)) do
    places[#places + 1] = "\n\tno file '" .. path .. "'"
  end
  errors.raise(("module '%s' not found:%s%s"):format(name, table.concat(places), result:match "not found:(.*)$" or ""))
end

local function requireIn(version, name)
  if type(name) ~= "string" then
    errors.raise("require(name): name must be a string, it is " .. type(name))
  end
  while true do
    local loaded = rawget(version.loaded, name)
    if loaded ~= nil then
      return loaded
    end
    local entry = version.loading[name]
    if not entry then
      break
    end
    waitFor(version, name, entry)
  end
  local path = findModule(version, name)
  if path then
    return run(version, name, path)
  end
  return foreign(version, name)
end

-- Functions that compile text do so in the app's environment; the originals would use the worker's.
local function addCompilers(env)
  function env.load(chunk, name, mode, own)
    return load(chunk, name, mode, own == nil and env or own)
  end
  env.loadstring = env.load
  function env.loadfile(path, mode, own)
    return loadfile(path, mode, own == nil and env or own)
  end
  function env.dofile(path)
    local chunk, why = files.compile(path, env)
    if not chunk then
      error(why, 0)
    end
    return chunk()
  end
end

-- Globals are the app's own; those that a foreign module adds to the worker's later are seen as well.
local function newVersion(entry, root)
  local env = setmetatable({}, { __index = _G })
  for name, value in pairs(_G) do
    env[name] = value
  end
  local version = {
    entry = entry,
    root = root,
    env = env,
    loaded = setmetatable({}, { __index = package.loaded }),
    loading = {}, -- name → { task, waiters }
    waits = {},   -- task → entry of `loading` that it waits for
    files = { entry },
  }
  env._G = env
  env.package = setmetatable({ loaded = version.loaded }, { __index = package, __newindex = package })
  function env.require(name)
    return requireIn(version, name)
  end
  addCompilers(env)
  return version
end

--- Prepares a version of an app without running it.
---@param path string
---@param args? string[] what the app finds in `arg`
---@return table version
local function open(path, args)
  local entry, root = files.locate(path)
  if not entry then
    error(root, 0)
  end
  local version = newVersion(entry, root)
  source.enter(root)
  local arg = { [0] = path }
  for i, value in ipairs(args or {}) do
    arg[i] = value
  end
  version.env.arg = arg
  return version
end

--- The hook `load`: loads an app and runs its top level. May yield; raises what is wrong.
---@param path string
---@param args? string[]
---@return table version
local function loadApp(path, args)
  local version = open(path, args)
  local chunk, why = files.compile(version.entry, version.env)
  if not chunk then
    error(why, 0)
  end
  source.run(version.entry, chunk, unpack(version.env.arg))
  return version
end

return {
  findModule = findModule,
  load = loadApp,
  open = open,
}
