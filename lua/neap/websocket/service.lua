-- SPDX-License-Identifier: MIT
--
-- Services: tables of callbacks, checked and handed to C once, so that an event costs no look-up by name.
--
--   class      what websocket.service returns.  Calling it with a table makes an instance of that very table: its
--              fields are the connection's own, callbacks and helper functions are found through the class.
--
--                  instance ──metatable.__index──▶ class ──metatable.__index──▶ the table given to websocket.service
--
--   plain      any table with callbacks in it; compiled when it is attached, or when an upgrade function returns it.
--
-- Compiled plain tables are kept as long as something uses them.  The map is weak at both ends: callbacks often refer
-- to their own table, and a strong value would then keep its key for ever.

local config = require "neap.config"
local core = require "neap.core"
local errors = require "neap.error"
local text = require "neap.text"

local CALLBACKS = {
  "onOpen",
  "onMessage",
  "onTextMessage",
  "onBinaryMessage",
  "onPing",
  "onPong",
  "onIdleTimeout",
  "onClose",
  "onError",
}
local MISSPELT = 2 -- letters
local MAX_NAME = 128

local isCallback = {}
for _, name in ipairs(CALLBACKS) do
  isCallback[name] = true
end

local CLASS, HANDLE = {}, {} -- keys in the metatables of classes and of instances
local compiled = setmetatable({}, { __mode = "kv" })

local function metaField(v, key)
  local meta = type(v) == "table" and getmetatable(v)
  return type(meta) == "table" and rawget(meta, key) or nil
end

--- Whether a value is what websocket.service returned.
---@param v any
---@return boolean
local function isClass(v)
  return metaField(v, CLASS) ~= nil
end

--- Whether a value is an instance of a service class.
---@param v any
---@return boolean
local function isInstance(v)
  return metaField(v, HANDLE) ~= nil
end

-- The functions that C wants, from the table or what it inherits.
local function pick(what, callbacks)
  local picked = {}
  for _, name in ipairs(CALLBACKS) do
    local fn = callbacks[name]
    if type(fn) == "function" then
      picked[name] = fn
    elseif fn ~= nil then
      errors.fault(("%s: %s must be a function, it is %s"):format(what, name, text.show(fn)), name)
    end
  end
  local other = picked.onTextMessage and "onTextMessage" or picked.onBinaryMessage and "onBinaryMessage"
  if picked.onMessage and other then
    errors.fault(("%s: onMessage takes every message: write either onMessage or onTextMessage and onBinaryMessage")
      :format(what), picked[other])
    picked.onTextMessage, picked.onBinaryMessage = nil, nil
  end
  return picked
end

local function checkOther(what, key, value)
  if type(value) ~= "function" then
    if key:find "^on%u" then
      errors.fault(("%s: %s must be a function, it is %s"):format(what, key, text.show(value)), key)
    end
    return
  end
  local near = text.nearest(key, CALLBACKS, MISSPELT)
  if near then
    errors.fault(("%s: %s: no such callback; did you mean %s?"):format(what, key, near), value)
  elseif key:find "^on%u" then
    errors.warn(("%s: %s is never called: no route has a dispatcherKey"):format(what, key), value)
  end
end

local function checkNames(what, callbacks)
  for _, key in ipairs(text.sortedKeys(callbacks)) do
    if type(key) == "string" and not isCallback[key] and key:find "^[oO][nN]" then
      checkOther(what, key, callbacks[key])
    end
  end
end

-- Anything but names and callbacks is the app's own, in both kinds of service.
local function compile(what, name, callbacks)
  checkNames(what, callbacks)
  return core.service(name, pick(what, callbacks))
end

local function checkName(name)
  if type(name) ~= "string" or name == "" or #name > MAX_NAME or name:find "%c" then
    errors.fault("websocket.service(name, callbacks): name must be a short text such as \"Chat\", it is "
      .. text.show(name))
    return "?"
  end
  return name
end

local function checkCallbacks(what, callbacks)
  if type(callbacks) ~= "table" then
    errors.fault(what .. ": the callbacks must be a table { onMessage = function(self, caller, data) ... }, it is "
      .. text.show(callbacks))
    return {}
  end
  for key in pairs(callbacks) do
    if type(key) ~= "string" then
      errors.fault(("%s: the callbacks need names: write onMessage = function ..., not [%s] = ..."):format(what,
        text.show(key)))
    end
  end
  return callbacks
end

local function instantiate(class, fields)
  local info = getmetatable(class)[CLASS]
  if fields == nil then
    fields = {}
  elseif type(fields) ~= "table" then
    errors.raise(("%s { ... }: an instance is made of a table, not of %s"):format(info.name, text.show(fields)))
  elseif getmetatable(fields) ~= nil then
    errors.raise(("%s { ... }: the table has a metatable already; give a table of its own"):format(info.name))
  end
  return setmetatable(fields, info.instanceMeta)
end

-- Helper functions may be added to a class later; callbacks were handed to C when it was made.
local function addMember(class, key, value)
  if isCallback[key] then
    errors.raise(("%s: put it into the table that is given to websocket.service"):format(key))
  end
  rawset(class, key, value)
end

--- Makes a service class of a table of callbacks.
---@param name string what logs call it
---@param callbacks websocket.Callbacks
---@param options? websocket.ServiceOptions
---@return websocket.Service
local function service(name, callbacks, options)
  name = checkName(name)
  local what = "websocket.service " .. text.quote(name)
  callbacks = checkCallbacks(what, callbacks)
  config.check("service", what, options)
  local class = {}
  local info = {
    name = name,
    handle = compile(what, name, callbacks),
  }
  info.instanceMeta = { __index = class, __name = name, [HANDLE] = info.handle }
  return setmetatable(class, {
    __index = callbacks,
    __newindex = addMember,
    __call = instantiate,
    __tostring = function()
      return "websocket.Service: " .. name
    end,
    [CLASS] = info,
  })
end

--- Whether a table has a callback in it, or a misspelt one.
---@param t table
---@return boolean
local function hasCallbacks(t)
  for _, name in ipairs(CALLBACKS) do
    if t[name] ~= nil then
      return true
    end
  end
  for key in pairs(t) do
    if type(key) == "string" and key:find "^on%u" then
      return true
    end
  end
  return false
end

--- What C runs for a service, and the `self` of its callbacks: an instance as it is, a new one of a class, a plain
--- table as it is.
---@param v table
---@param what string how messages about a plain table begin
---@return userdata handle
---@return table self
local function resolve(v, what)
  local info = metaField(v, CLASS)
  if info then
    return info.handle, setmetatable({}, info.instanceMeta)
  end
  local handle = metaField(v, HANDLE) or compiled[v]
  if not handle then
    handle = compile(what, nil, v)
    compiled[v] = handle
  end
  return handle, v
end

return {
  hasCallbacks = hasCallbacks,
  isClass = isClass,
  isInstance = isInstance,
  resolve = resolve,
  service = service,
}
