-- SPDX-License-Identifier: MIT
--
-- Settings that apps write as tables: which keys there are, what each may be, and its default.  `complete` turns what
-- an app gave into a table that has every key, for C to read without further checks, and tells each unknown key and
-- each wrong value through error.fault, so `neap check` hears of all of them.
--
-- A field is { default =, expect = "what it must be", check = function(value) -> value or nil }.  A key whose feature
-- does not exist must not stand here: an unknown key is an error, and a key that is accepted but does nothing is worse.
-- A nested table is { fields = {} }; with `finish` it stays nil when it is not given, and is what finish makes of it.
-- C reads the settings that this file has filled in (src/bind/http/lconfig.c); the few that it knows by itself, such as
-- 100 header lines, cannot be set.

local errors = require "neap.message.error"
local origin = require "neap.http.origin"
local secure = require "neap.config.secure"
local text = require "neap.message.text"

local MAX_SECONDS = 1e9
local MAX_BYTES = 2 ^ 30 -- strings of LuaJIT end at 2^31, and an answer is somewhat longer than what it answers
local MAX_COUNT = 2 ^ 31 - 1

local function isNumber(v)
  return type(v) == "number" and v == v and v ~= math.huge and v ~= -math.huge
end

local function isCount(v)
  return isNumber(v) and v == math.floor(v)
end

local function boolean(default)
  return {
    default = default,
    expect = "true or false",
    check = function(v)
      if type(v) == "boolean" then
        return v
      end
    end,
  }
end

-- Seconds from `least` on; `forever` also admits -1.
local function seconds(default, least, forever)
  local expect = "a number of seconds, " .. (least == 0 and "0 or more" or "more than 0")
  return {
    default = default,
    expect = forever and expect .. ", or -1 to wait for ever" or expect,
    check = function(v)
      if not isNumber(v) or v > MAX_SECONDS then
        return nil
      end
      if (least == 0 and v >= 0) or v > 0 or (forever and v == -1) then
        return v
      end
    end,
  }
end

local function count(default, least, most)
  return {
    default = default,
    expect = ("a whole number from %d to %d"):format(least, most),
    check = function(v)
      if isCount(v) and v >= least and v <= most then
        return v
      end
    end,
  }
end

local function choice(default, ...)
  local known = { ... }
  return {
    default = default,
    expect = '"' .. table.concat(known, '" or "') .. '"',
    check = function(v)
      for _, name in ipairs(known) do
        if v == name then
          return v
        end
      end
    end,
  }
end

local function line(default, expect)
  return {
    default = default,
    expect = expect,
    check = function(v)
      if type(v) == "string" and #v <= 256 and text.isLine(v) then
        return v
      end
    end,
  }
end

local function headerValue(default)
  return {
    default = default,
    expect = "the text of the header, without control characters",
    check = function(v)
      if type(v) == "string" and #v <= 256 and text.isFieldValue(v) then
        return v
      end
    end,
  }
end

-- The name of a field of JSON messages.
local function member(example)
  return {
    expect = ("the name of a field of the messages, such as %q"):format(example),
    check = function(v)
      if type(v) == "string" and v ~= "" and #v <= 256 and text.isLine(v) then
        return v
      end
    end,
  }
end

-- An array of texts; each goes through `element`, which returns it (perhaps in another form) or nil and why not.
local function list(default, expect, element)
  return {
    default = default,
    expect = expect,
    check = function(v)
      if type(v) ~= "table" then
        return nil
      end
      local out = {}
      for key, item in pairs(v) do
        local kept, why
        if isCount(key) and key >= 1 and key <= #v then
          kept, why = element(item)
        end
        if kept == nil then
          return nil, why
        end
        out[key] = kept
      end
      return out
    end,
  }
end

local function subProtocol(v)
  if text.isToken(v) then
    return v
  end
  return nil, text.show(v) .. " is no sub-protocol name"
end

-- Zero or less stands for the default, as in the documents that the names come from: no limit but the message's.
local function frameSize()
  return {
    default = 0,
    expect = ("a whole number of bytes up to %d (0 or less: the default)"):format(MAX_BYTES),
    check = function(v)
      if isCount(v) and v <= MAX_BYTES then
        return math.max(v, 0)
      end
    end,
  }
end

local schemas = {
  listener = {
    host = line("0.0.0.0", "an address or a host name"),
    timeout = seconds(120, 0),
    headerTimeout = seconds(10, 0),
    maxConnections = count(0, 0, MAX_COUNT),
    maxConnectionsPerAddress = count(0, 0, MAX_COUNT),
    backlog = count(4096, 1, 65535),
    server = headerValue(""),
    webSocketCompressionEnabled = boolean(true),
    compression = {
      fields = {
        level = count(nil, 1, 9),
        memLevel = count(5, 1, 9),
        windowBits = count(12, 9, 15),
        serverNoContextTakeover = boolean(true),
        clientNoContextTakeover = boolean(true),
        threshold = count(256, 0, MAX_BYTES),
      },
    },
    secureSocket = {
      finish = secure.finish,
      fields = secure.fields {
        boolean = boolean,
        choice = choice,
        count = count,
        list = list,
        seconds = seconds,
      },
    },
    requestLimits = {
      fields = {
        maxUriLength = count(4096, 1, 1048576),
        maxHeaderSize = count(8192, 1, 1048576),
      },
    },
  },
  route = {
    subProtocols = list({}, "a list of names such as { \"json\", \"xml\" }", subProtocol),
    idleTimeout = seconds(0, 0),
    maxFrameSize = frameSize(),
    maxMessageSize = count(1048576, 1, MAX_BYTES),
    maxFragments = count(1024, 1, MAX_COUNT),
    messageTimeout = seconds(30, 0),
    connectionClosureTimeout = seconds(60, 0, true),
    pingInterval = seconds(30, 0),
    pongTimeout = seconds(20, 0),
    writeTimeout = seconds(30, 0),
    maxBufferedBytes = count(1048576, 1, MAX_BYTES),
    slowConsumer = choice("close", "close", "drop"),
    dispatcherKey = member("event"),
    dispatcherStreamId = member("id"),
    validation = boolean(true),
    allowedOrigins = list(nil, "a list of origins such as { \"https://example.com\" }", origin.pattern),
  },
  service = {}, -- options of websocket.service
}

-- Where a key that is unknown here would have been right.
local homes = {
  listener = "the config of websocket.listener",
  route = "the config of listener:attach",
}

local function namesOf(fields)
  local names = {}
  for name in pairs(fields) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function hint(key, fields)
  if type(key) ~= "string" then
    return "write it as name = value"
  end
  local near = text.nearest(key, namesOf(fields))
  if near then
    return "did you mean " .. near .. "?"
  end
  for kind, home in pairs(homes) do
    local other = schemas[kind] ~= fields and text.nearest(key, namesOf(schemas[kind]))
    if other then
      return ("%s belongs to %s"):format(other, home)
    end
  end
  local names = namesOf(fields)
  return names[1] and "the keys are " .. table.concat(names, ", ") or "there are no keys to set"
end

local function shownKey(prefix, key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then
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
  for _, name in ipairs(namesOf(fields)) do
    out[name] = completeField(what, prefix, name, fields[name], given[name])
  end
  return out
end

-- What keys of a route mean together.
local function checkRoute(what, route)
  if route.dispatcherStreamId and not route.dispatcherKey then
    errors.fault(what .. ": dispatcherStreamId is for messages that are dispatched: set dispatcherKey as well",
      "dispatcherStreamId")
  elseif route.dispatcherStreamId and route.dispatcherStreamId == route.dispatcherKey then
    errors.fault(what .. ": dispatcherStreamId must be another field than dispatcherKey", "dispatcherStreamId")
  else
    return
  end
  route.dispatcherStreamId = nil
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
    checkRoute(what, out)
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
