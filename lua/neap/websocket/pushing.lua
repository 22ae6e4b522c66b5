-- SPDX-License-Identifier: MIT
--
-- What the functions of group.lua have in common: arguments, and values that become messages.
--
-- What a wrong argument is, the app's author can know beforehand, so it raises.  That a connection is gone or a text is
-- no UTF-8 comes back as nil and an error.  Right arguments cost a few comparisons: messages about wrong ones are made
-- when they are.

local convert = require "neap.websocket.convert"
local core = require "neap.core"
local errors = require "neap.message.error"
local text = require "neap.message.text"

local groupPush, isCaller = core.groupPush, core.isCaller
local next, payload = next, convert.payload

local MAX_NAME = 255

local function mistake(call, message)
  errors.raise(("websocket.%s: %s"):format(call, message))
end

local function wrongName(call, what, name)
  if type(name) == "string" then
    mistake(call, ("%s has 1 to %d bytes, this one has %d"):format(what, MAX_NAME, #name))
  end
  local hint = type(name) == "number" and "; write tostring(name)" or ""
  mistake(call, ("%s is a string, this one is %s%s"):format(what, text.show(name), hint))
end

local function checkGroup(call, name)
  if type(name) ~= "string" or name == "" or #name > MAX_NAME then
    wrongName(call, "a group's name", name)
  end
end

local function checkStored(call, name)
  if type(name) ~= "string" or name == "" or #name > MAX_NAME then
    wrongName(call, "the name of a stored connection", name)
  end
end

-- What websocket.service takes, but for the length, of which it allows less: no other name can have clients.
local function checkService(call, name)
  if type(name) ~= "string" or name == "" or #name > MAX_NAME or name:find "%c" then
    mistake(call, "serviceName must be the name that websocket.service was given, such as \"Chat\", it is "
      .. text.show(name))
  end
end

local function checkCaller(call, caller)
  if not isCaller(caller) then
    mistake(call, "caller must be the Caller that a callback was given, it is " .. text.show(caller))
  end
end

local function checkString(call, what, value)
  if type(value) ~= "string" then
    mistake(call, ("%s must be a string, it is %s; for other values there is %s"):format(what, text.show(value),
      (call:match "^%a+":gsub("Text", ""):gsub("Binary", ""))))
  end
end

-- The Caller that gets none, of options that may be nil.
local function exceptOf(call, options)
  if options == nil then
    return nil
  elseif type(options) ~= "table" then
    mistake(call, "the options must be a table { except = caller }, they are " .. text.show(options))
  end
  local except, key = options.except, next(options)
  if key ~= nil and (key ~= "except" or next(options, "except") ~= nil) then
    for name in next, options do
      if name ~= "except" then
        mistake(call, ("%s: no such option; the only one is except"):format(tostring(name)))
      end
    end
  end
  if except ~= nil and not isCaller(except) then
    mistake(call, "except must be the Caller of a connection, it is " .. text.show(except))
  end
  return except
end

-- One message made of a value.
local function pushValue(kind, name, value, except)
  local bytes, how = payload(value)
  if not bytes then
    return nil, how
  end
  return groupPush(kind, name, bytes, how == "binary", except)
end

return {
  checkCaller = checkCaller,
  checkGroup = checkGroup,
  checkService = checkService,
  checkStored = checkStored,
  checkString = checkString,
  exceptOf = exceptOf,
  pushValue = pushValue,
}
