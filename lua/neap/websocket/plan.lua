-- SPDX-License-Identifier: MIT
--
-- What a table of callbacks means, and all that can be wrong with it, found when the service is made:
--
--      name                                       value                        is
--      onOpen, onMessage, …                       a function                   called by C
--      onMessage, onTextMessage, onBinaryMessage  websocket.bind               composed (bind.lua), called by C
--      any other on…                              a function, bind, dispatch   a target of the route's dispatcherKey
--      …Error of a callback that can be bound     a function                   told when its binding fails
--      anything else                              anything                     the app's own
--
-- Inherited callbacks (a metatable with __index) count.  A plan does not depend on a route; service.lua makes of it
-- what C runs.

local bind = require "neap.websocket.bind"
local dispatch = require "neap.websocket.dispatch"
local errors = require "neap.message.error"
local text = require "neap.message.text"

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
  "onMessageError",
  "onTextMessageError",
  "onBinaryMessageError",
}
local RESERVED = { onReload = true } -- never a target of dispatch
local BINDABLE = { onMessage = true, onTextMessage = true, onBinaryMessage = true }
local MISSPELT = 2 -- letters
local SHORT = 6    -- letters of onOpen, onPing, onPong
local MAX_BASES = 100

local isCallback = {}
for _, name in ipairs(CALLBACKS) do
  isCallback[name] = true
end

-- The callback whose binding errors an …Error is told, by name.
local function subjectOf(name)
  return name:match "^(on.+)Error$"
end

--- Whether a name is one that the library looks at: a callback, or a target of dispatch.
---@param name any
---@return boolean
local function isReserved(name)
  return type(name) == "string" and (isCallback[name] or name:find "^on[^a-z _-]" ~= nil)
end

-- The table's own members and the inherited ones; of an __index that is a function, the callbacks.
local function membersOf(callbacks)
  local members, t = {}, callbacks
  for _, name in ipairs(CALLBACKS) do
    members[name] = callbacks[name]
  end
  for _ = 1, MAX_BASES do
    for key, value in pairs(t) do
      if type(key) == "string" and members[key] == nil then
        members[key] = value
      end
    end
    local meta = getmetatable(t)
    t = type(meta) == "table" and rawget(meta, "__index")
    if type(t) ~= "table" then
      break
    end
  end
  return members
end

--- Whether a table has a callback in it, or a misspelt one.
---@param t table
---@return boolean
local function hasCallbacks(t)
  for key in pairs(membersOf(t)) do
    if isReserved(key) then
      return true
    end
  end
  return false
end

local function functionOf(value)
  if bind.isBound(value) or dispatch.isDispatched(value) then
    return value.fn
  end
  return type(value) == "function" and value or nil
end

-- "onSongStart" → "songStart": what would lead to this name.
local function valueFor(name)
  local body = name:sub(3):gsub("[ _-]+", "")
  return body:sub(1, 1):lower() .. body:sub(2)
end

local function byDispatch(name)
  return ("%s = websocket.dispatch(%s, ...)"):format(name, text.quote(valueFor(name)))
end

local function checkBuiltIn(plan, name, value)
  local fn = functionOf(value)
  if not fn then
    errors.fault(("%s: %s must be a function, it is %s"):format(plan.what, name, text.show(value)), name)
    return
  elseif dispatch.isDispatched(value) then
    errors.fault(("%s: %s is called by the server itself, not by dispatch; give the callback for %s another name, such "
      .. "as %sEvent"):format(plan.what, name, text.show(value.value), name), fn)
    return
  elseif bind.isBound(value) and not BINDABLE[name] then
    errors.fault(("%s: %s gets no message that could be bound; write %s = function ... (what can be bound: onMessage, "
      .. "onTextMessage, onBinaryMessage, and callbacks of dispatch)"):format(plan.what, name, name), fn)
    value = fn
  end
  if subjectOf(name) then
    plan.failures[subjectOf(name)] = value
  else
    plan.callbacks[name] = value
  end
end

-- Misspelt, most likely. Where the word is short or further away, it may as well be an event of the app's.
local function checkMisspelt(plan, name, fn)
  local near, letters = text.nearest(name, CALLBACKS, MISSPELT)
  if not near then
    return false
  end
  local hint = ""
  if name:find "^on%u" and (letters > 1 or #near <= SHORT) then
    hint = (" (for messages of dispatch: %s)"):format(byDispatch(name))
  end
  errors.fault(("%s: %s: no such callback; did you mean %s?%s"):format(plan.what, name, near, hint), fn)
  return true
end

-- …Error of a callback that is there, of one that is not, or of one that cannot be bound.
local function checkFailure(plan, name, value, members)
  local subject = subjectOf(name)
  if functionOf(members[subject]) and not isCallback[subject] then
    if type(value) ~= "function" then
      errors.fault(("%s: %s is given an error, not a message: write %s = function(self, caller, err) ...")
        :format(plan.what, name, name), functionOf(value))
      value = functionOf(value)
    end
    plan.failures[subject] = value
  elseif isCallback[subject] then
    errors.fault(("%s: %s is never called: %s is not bound to a type; what a callback raises goes to onError")
      :format(plan.what, name, subject), functionOf(value))
  else
    errors.fault(("%s: %s: there is no %s whose errors it could be told; for messages of dispatch write %s")
      :format(plan.what, name, subject, byDispatch(name)), functionOf(value))
  end
end

local function addTarget(plan, name, value)
  local dispatched = dispatch.isDispatched(value)
  local callback = dispatched and value.callback or value
  if bind.isBound(callback) and not bind.suitsDispatch(callback) then
    errors.fault(("%s: %s is bound to \"xml\", but dispatched messages are JSON; bind \"json\" or a constraint")
      :format(plan.what, name), callback.fn)
    callback = callback.fn
  end
  plan.targets[#plan.targets + 1] = {
    name = name,
    value = dispatched and value.value or nil,
    callback = callback,
    fn = functionOf(value),
  }
end

local function checkTarget(plan, name, value, members)
  local dispatched, fn = dispatch.isDispatched(value), functionOf(value)
  if dispatched then
    addTarget(plan, name, value)
  elseif not (subjectOf(name) and functionOf(members[subjectOf(name)])) and checkMisspelt(plan, name, fn) then
    return
  elseif subjectOf(name) then
    checkFailure(plan, name, value, members)
  elseif name:find "[ _-]" then
    errors.fault(("%s: no message leads to %s: blanks, _ and - are left out of names; write %s, or %s")
      :format(plan.what, name, dispatch.nameOf(name:sub(3)), byDispatch(name)), fn)
  else
    addTarget(plan, name, value)
  end
end

-- Neither a callback nor a target by its name.
local function checkOther(plan, name, value)
  if bind.isBound(value) or dispatch.isDispatched(value) then
    errors.fault(("%s: %s is no callback, so nothing would call it; callbacks of dispatch are named on..., such as %s")
      :format(plan.what, name, dispatch.nameOf(name)), value.fn)
  elseif type(value) == "function" and name:find "^[oO][nN]" and not checkMisspelt(plan, name, value)
    and name:find "^[oO][nN]%u" then
    errors.warn(("%s: %s is never called: callbacks begin with a small \"on\""):format(plan.what, name), value)
  end
end

local function checkMember(plan, name, value, members)
  if isCallback[name] then
    checkBuiltIn(plan, name, value)
  elseif RESERVED[name] then
    return
  elseif not isReserved(name) then
    checkOther(plan, name, value)
  elseif functionOf(value) then
    checkTarget(plan, name, value, members)
  elseif name:find "^on%u" then
    errors.fault(("%s: %s must be a function, it is %s"):format(plan.what, name, text.show(value)), name)
  end
end

local function checkTogether(plan)
  local own = plan.callbacks
  local other = own.onTextMessage and "onTextMessage" or own.onBinaryMessage and "onBinaryMessage"
  if own.onMessage and other then
    errors.fault(("%s: onMessage takes every message: write either onMessage or onTextMessage and onBinaryMessage")
      :format(plan.what), functionOf(own[other]))
    own.onTextMessage, own.onBinaryMessage = nil, nil
  end
end

local function checkFailures(plan)
  local bound = {}
  for name in pairs(BINDABLE) do
    bound[name] = plan.callbacks[name] or false
  end
  for _, target in ipairs(plan.targets) do
    bound[target.name] = target.callback
  end
  for _, subject in ipairs(text.sortedKeys(plan.failures)) do
    local name, fn = subject .. "Error", plan.failures[subject]
    if not bound[subject] then
      errors.fault(("%s: %s: there is no %s whose errors it could be told; write %s = websocket.bind(type, ...)")
        :format(plan.what, name, subject, subject), fn)
    elseif not bind.isBound(bound[subject]) then
      errors.warn(("%s: %s is never called: %s is not bound; write %s = websocket.bind(type, ...)"):format(plan.what,
        name, subject, subject), fn)
    end
  end
end

local function checkValues(plan)
  local owners = {}
  for _, target in ipairs(plan.targets) do
    if not target.value then
      owners[target.name] = target.name
    end
  end
  for _, target in ipairs(plan.targets) do
    local value = target.value
    local owner = value and (owners["=" .. value] or owners[dispatch.nameOf(value)])
    if owner then
      errors.fault(("%s: %s and %s are both for the value %s; leave one out, or give websocket.dispatch another value")
        :format(plan.what, owner, target.name, text.quote(value)), target.fn)
    elseif value then
      owners["=" .. value] = target.name
    end
  end
end

local function warnUnreachable(plan)
  for _, target in ipairs(plan.targets) do
    errors.warn(("%s: %s is never called: no route has a dispatcherKey"):format(plan.what, target.name), target.fn,
      "dispatcherKey")
  end
end

--- Reads a table of callbacks; mistakes go through error.fault.
---@param what string how messages begin
---@param callbacks table
---@return table plan { callbacks =, targets =, failures = } as this file's head says; failures by what they belong to
local function make(what, callbacks)
  local plan = { what = what, callbacks = {}, targets = {}, failures = {} }
  local members = membersOf(callbacks)
  for _, name in ipairs(text.sortedKeys(members)) do
    checkMember(plan, name, members[name], members)
  end
  checkTogether(plan)
  checkFailures(plan)
  checkValues(plan)
  warnUnreachable(plan)
  return plan
end

return {
  hasCallbacks = hasCallbacks,
  isReserved = isReserved,
  make = make,
}
