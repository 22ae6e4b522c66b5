-- SPDX-License-Identifier: MIT
--
-- Services: tables of callbacks, checked once (plan.lua) and handed to C once for each way in which routes treat
-- messages (dispatcherKey, dispatcherStreamId, validation), so that an event costs no look-up by name.
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

local bind = require "neap.websocket.bind"
local config = require "neap.config.settings"
local core = require "neap.core"
local dispatch = require "neap.websocket.dispatch"
local errors = require "neap.message.error"
local multiplex = require "neap.websocket.multiplex"
local plans = require "neap.websocket.plan"
local text = require "neap.message.text"

local MAX_NAME = 128

-- What a route says about messages, as `resolve` takes it. Equal settings are one table: handles are found by it.
---@class websocket.MessageSettings
---@field key? string the field that says where a message goes
---@field streamId? string the field that says to which request it belongs
---@field limits boolean whether bound values are checked against their limits

local CLASS, INSTANCE = {}, {} -- keys in the metatables of classes and of instances
local known = {}               -- settings by what they say

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
  return metaField(v, INSTANCE) ~= nil
end

--- The settings of a route's config.
---@param route table complete
---@return websocket.MessageSettings
local function settingsOf(route)
  local name = table.concat({ route.dispatcherKey or "", route.dispatcherStreamId or "", tostring(route.validation) },
    "\0")
  local settings = known[name]
  if not settings then
    settings = { key = route.dispatcherKey, streamId = route.dispatcherStreamId, limits = route.validation }
    known[name] = settings
  end
  return settings
end

-- A bound callback as C can call it.
local function direct(plan, name, bound, limits)
  local fn = bind.direct(bound, plan.failures[name], limits)
  if name ~= "onBinaryMessage" then
    return fn
  end
  return function(self, caller, data)
    return fn(self, caller, data, true)
  end
end

-- Text goes to the dispatcher; what takes all messages is left with the binary ones.
local function addDispatcher(picked, plan, settings)
  local any = picked.onMessage
  picked.onTextMessage = dispatch.dispatcher(plan, settings)
  if any then
    picked.onMessage = nil
    picked.onBinaryMessage = function(self, caller, data)
      return any(self, caller, data, true)
    end
  end
  if settings.streamId then
    picked.onClose = multiplex.closing(picked.onClose)
  end
end

-- The plain functions of a plan that C calls under these settings.
local function compile(name, plan, settings)
  local picked = {}
  for key, callback in pairs(plan.callbacks) do
    picked[key] = bind.isBound(callback) and direct(plan, key, callback, settings.limits) or callback
  end
  if settings.key then
    addDispatcher(picked, plan, settings)
  end
  return core.service(name, picked)
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

-- Helper functions may be added to a class later; its callbacks were read when it was made.
local function addMember(class, key, value)
  if plans.isReserved(key) and type(value) ~= "nil" then
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
    plan = plans.make(what, callbacks),
    handles = {}, -- by settings
  }
  info.instanceMeta = { __index = class, __name = name, [INSTANCE] = info }
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

local function handleOf(info, settings)
  local handle = info.handles[settings]
  if not handle then
    handle = compile(info.name, info.plan, settings)
    info.handles[settings] = handle
  end
  return handle
end

local function handleOfPlain(v, what, settings)
  local compiled = settings.compiled
  if not compiled then
    compiled = setmetatable({}, { __mode = "kv" })
    settings.compiled = compiled
  end
  local handle = compiled[v]
  if not handle then
    handle = compile(nil, plans.make(what, v), settings)
    compiled[v] = handle
  end
  return handle
end

--- What C runs for a service on a route with these settings, and the `self` of its callbacks: an instance as it is, a
--- new one of a class, a plain table as it is.
---@param v table
---@param what string how messages about a plain table begin
---@param settings websocket.MessageSettings
---@return userdata handle
---@return table self
local function resolve(v, what, settings)
  local class = metaField(v, CLASS)
  if class then
    return handleOf(class, settings), setmetatable({}, class.instanceMeta)
  end
  local info = metaField(v, INSTANCE)
  if info then
    return handleOf(info, settings), v
  end
  return handleOfPlain(v, what, settings), v
end

return {
  hasCallbacks = plans.hasCallbacks,
  isClass = isClass,
  isInstance = isInstance,
  resolve = resolve,
  service = service,
  settingsOf = settingsOf,
}
