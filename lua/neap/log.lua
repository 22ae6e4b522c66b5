-- SPDX-License-Identifier: MIT
--
-- neap.log: lines of the app in the server's log. Logging must never be what breaks a handler, so
-- nothing here raises: whatever is passed becomes text somehow. Escaping, the form of a line (text
-- or JSON) and the fields that the server adds itself (worker, connection) are the business of the
-- C side.

local core = require "neap.core"
local tell = require "neap.message.tell"

local function text(value)
  return (tell.tell(value))
end

-- The server's own keys; a field of the app by such a name gets an underscore, so that a JSON line
-- has each key once.
local reserved = { time = true, level = true, message = true, worker = true, connection = true }

local function fieldName(key)
  local name = text(key):gsub("[^%w_.-]", "_")
  if name == "" or reserved[name] then
    name = name .. "_"
  end
  return name
end

local function byName(a, b)
  return a[1] < b[1]
end

-- Keys in order, so that equal calls give equal lines. rawly: a metatable of the app's must not get
-- a say.
local function fieldList(fields)
  if fields == nil then
    return nil
  end
  if type(fields) ~= "table" then
    return { { "fields", text(fields) } }
  end
  local list = {}
  for key, value in next, fields do
    list[#list + 1] = { fieldName(key), text(value) }
  end
  table.sort(list, byName)
  return list
end

local function write(level, message, fields)
  if core.logEnabled(level) then
    core.log(level, text(message), fieldList(fields))
  end
end

--- Logs what only matters when looking for a fault; off unless `--log-level debug`. Does not yield,
--- never raises.
---@param message any
---@param fields? table<string, any> written as key=value, in the order of the keys
local function debug(message, fields)
  write("debug", message, fields)
end

--- Logs something worth knowing that is as it should be. Does not yield, never raises.
---@param message any
---@param fields? table<string, any> written as key=value, in the order of the keys
local function info(message, fields)
  write("info", message, fields)
end

--- Logs something that is not as it should be, but was dealt with. Does not yield, never raises.
---@param message any
---@param fields? table<string, any> written as key=value, in the order of the keys
local function warn(message, fields)
  write("warn", message, fields)
end

--- Logs a failure. Does not yield, never raises.
---@param message any
---@param fields? table<string, any> written as key=value, in the order of the keys
local function logError(message, fields)
  write("error", message, fields)
end

return {
  debug = debug,
  error = logError,
  info = info,
  warn = warn,
}
