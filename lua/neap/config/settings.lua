-- SPDX-License-Identifier: MIT
--
-- Settings that apps write as tables, held against what listener.lua, route.lua and secure.lua say of them.  `check`
-- turns what an app gave into a table that has every key with a default, for C to read without further checks.  It
-- tells each unknown key and each wrong value through error.fault, so `neap check` hears of all of them.
--
-- A key whose feature does not exist must not stand there: an unknown key is an error, and a key that is accepted but
-- does nothing is worse.  A nested table is { fields = {} }; with `finish` it stays nil when it is not given, and is
-- what finish makes of it.
--
-- Every default is there, none in C (src/bind/http/lconfig.c): where a key may be absent, C takes it for 0, false or
-- nothing, and so it is described.  What cannot be set, C knows by itself, such as the 100 header lines.

local errors = require "neap.message.error"
local listener = require "neap.config.listener"
local route = require "neap.config.route"
local text = require "neap.message.text"

local schemas = {
  listener = listener.fields,
  route = route.fields,
  service = {}, -- options of websocket.service
}

-- Where a key that is unknown here would have been right.
local homes = {
  listener = "the config of websocket.listener",
  route = "the config of listener:attach",
}

local function hint(key, fields)
  if type(key) ~= "string" then
    return "write it as name = value"
  end
  local near = text.nearest(key, text.sortedKeys(fields))
  if near then
    return "did you mean " .. near .. "?"
  end
  for kind, home in pairs(homes) do
    local other = schemas[kind] ~= fields and text.nearest(key, text.sortedKeys(schemas[kind]))
    if other then
      return ("%s belongs to %s"):format(other, home)
    end
  end
  local names = text.sortedKeys(fields)
  return names[1] and "the keys are " .. table.concat(names, ", ") or "there are no keys to set"
end

local function shownKey(prefix, key)
  if text.isName(key) then
    return prefix .. key
  end
  return prefix .. "[" .. text.show(key) .. "]"
end

local complete

local function completeField(what, prefix, name, field, value)
  if field.fields then
    if value ~= nil and type(value) ~= "table" then
      errors.fault(("%s: %s%s must be a table { key = value }, it is %s"):format(what, prefix, name,
        text.show(value)), name)
      value = nil
    end
    if field.finish then
      return value and field.finish(what, value, complete(what, field.fields, value, prefix .. name .. "."))
    end
    return complete(what, field.fields, value, prefix .. name .. ".")
  end
  if value == nil then
    return field.default
  end
  local kept, why = field.check(value)
  if kept == nil then
    why = why or "it is " .. text.show(value)
    errors.fault(("%s: %s%s must be %s; %s"):format(what, prefix, name, field.expect, why), name)
    return field.default
  end
  return kept
end

-- All keys of `fields`, from `given` where it has them.
function complete(what, fields, given, prefix)
  given = given or {}
  for _, key in ipairs(text.sortedKeys(given)) do
    if fields[key] == nil then
      errors.fault(("%s: %s: no such key; %s"):format(what, shownKey(prefix, key), hint(key, fields)), key)
    end
  end
  local out = {}
  for _, name in ipairs(text.sortedKeys(fields)) do
    out[name] = completeField(what, prefix, name, fields[name], given[name])
  end
  return out
end

--- Checks settings and fills in what is missing. Mistakes go through error.fault.
---@param kind "listener"|"route"|"service" whose settings they are
---@param what string how messages begin: the call, such as `websocket.listener`
---@param given? table
---@return table complete a table of its own
local function check(kind, what, given)
  if given ~= nil and type(given) ~= "table" then
    errors.fault(("%s: the config must be a table { key = value }, it is %s"):format(what, text.show(given)))
    given = nil
  end
  local out = complete(what, schemas[kind], given, "")
  if kind == "route" then
    route.checkTogether(what, out)
  end
  return out
end

--- Whether a table has a key of these settings: it was probably meant as such.
---@param kind "listener"|"route"|"service"
---@param t table
---@return boolean
local function looksLike(kind, t)
  for key in pairs(t) do
    if schemas[kind][key] then
      return true
    end
  end
  return false
end

return {
  check = check,
  looksLike = looksLike,
  schemas = schemas, -- for checks of the tree, which compare annotations with it
}
