-- SPDX-License-Identifier: MIT
--
-- From an upgrade request to its answer: the origin rule of the route, the app's function, and what its results mean.
--
--      a service                      101, and that service runs the connection
--      nil, UpgradeError              the response that it describes (300 to 599)
--      nil, and any other error       400; the error goes to the log, not to the client: it may tell of our insides
--      nil                            400
--      anything else, or a raise      500, logged by C with its traceback
--
-- The function may yield before it answers; so may everything here that calls it.

local core = require "neap.core"
local errors = require "neap.message.error"
local header = require "neap.http.header"
local numbers = require "neap.runtime.number"
local origin = require "neap.http.origin"
local requests = require "neap.http.request"
local service = require "neap.websocket.service"
local tell = require "neap.message.tell"
local text = require "neap.message.text"

local MAX_BODY = 1048576
local FIELDS = { status = true, reason = true, headers = true, body = true }

local function checkHeader(out, name, value)
  local kept, why, key = header.check(name, value, 'headers = { ["Retry-After"] = "5" }')
  if kept then
    out[#out + 1] = { name, kept }
  else
    errors.fault("websocket.UpgradeError: " .. why, key or "headers")
  end
end

-- { Name = "value" } or { Name = { "one", "two" } } to an array of pairs, in the order of the names.
local function checkHeaders(headers)
  if headers == nil then
    return nil
  end
  if type(headers) ~= "table" then
    errors.fault("websocket.UpgradeError: headers must be a table { [\"Retry-After\"] = \"5\" }, it is "
      .. text.show(headers), "headers")
    return nil
  end
  local out = {}
  for _, name in ipairs(text.sortedKeys(headers)) do
    local values = headers[name]
    for _, value in ipairs(type(values) == "table" and values or { values }) do
      checkHeader(out, name, value)
    end
  end
  return out
end

local function checkStatus(status)
  if status == nil then
    return 400
  end
  if not numbers.isWhole(status, 300, 599) then
    errors.fault("websocket.UpgradeError: status must be a whole number from 300 to 599, it is " .. text.show(status),
      "status")
    return 400
  end
  return status
end

local function checkText(key, value)
  if value == nil then
    return nil
  end
  local expect = key == "reason" and "a string without CR, LF and NUL" or "a string of at most 1 MiB"
  local good = type(value) == "string" and #value <= MAX_BODY and (key ~= "reason" or text.isLine(value))
  if not good then
    errors.fault(("websocket.UpgradeError: %s must be %s, it is %s"):format(key, expect, text.show(value)), key)
    return nil
  end
  return value
end

--- websocket.UpgradeError { status = 400, reason =, headers =, body = }
---@param fields? { status?: integer, reason?: string, headers?: table<string, string|string[]>, body?: string }
---@return websocket.UpgradeError
local function UpgradeError(fields)
  fields = fields or {}
  if type(fields) ~= "table" then
    errors.raise("websocket.UpgradeError { status = 403, reason = \"...\" }: the argument must be a table, it is "
      .. text.show(fields))
  end
  for _, key in ipairs(text.sortedKeys(fields)) do
    if not FIELDS[key] then
      errors.fault(("websocket.UpgradeError: %s: no such key; the keys are body, headers, reason, status")
        :format(tostring(key)), tostring(key))
    end
  end
  local reason = checkText("reason", fields.reason)
  return errors.new("UpgradeError", reason or "upgrade refused", {
    status = checkStatus(fields.status),
    reason = reason,
    headers = checkHeaders(fields.headers),
    body = checkText("body", fields.body),
  })
end

local function refuse(request, status, body, headers)
  local lines = {}
  for _, line in ipairs(requests.addedHeaders(request)) do
    lines[#lines + 1] = line
  end
  for _, line in ipairs(headers or {}) do -- once more: an app may have changed the object
    checkHeader(lines, line[1], line[2])
  end
  return nil, status, body, lines
end

local function refuseOther(request, err)
  if core.mayLogRefusal "upgrade refused by the app" then
    core.log("info", "upgrade refused by the app", {
      { "path", core.requestPath(request):sub(1, 200) },
      { "reason", (tell.tell(err)) },
    })
  end
  return refuse(request, 400, "upgrade refused")
end

local function accept(route, v)
  if service.isClass(v) or service.isInstance(v) or service.hasCallbacks(v) or next(v) == nil then
    return service.resolve(v, "the table that the upgrade function returned", route.messages)
  end
  errors.fault("the upgrade function returned a table without callbacks; return a service, or nil and a "
    .. "websocket.UpgradeError", route.upgrade)
end

local function answer(route, request, first, second)
  if errors.isError(first) then
    first, second = nil, first
  end
  if type(first) == "table" then
    return accept(route, first)
  elseif first ~= nil then
    errors.fault(("the upgrade function returned %s; return a service, or nil and a websocket.UpgradeError")
      :format(text.show(first)), route.upgrade)
  elseif errors.isError(second, "UpgradeError") then
    return refuse(request, checkStatus(second.status), second.body or second.reason or second.message, second.headers)
  elseif second ~= nil then
    return refuseOther(request, second)
  end
  return refuse(request, 400, "upgrade refused")
end

--- The hook `upgrade`.
---@param route table as `prepare` left it
---@param request websocket.Request
---@return userdata? service nil when it is refused
---@return table|integer self or the status
---@return string? body
---@return { [1]: string, [2]: string }[]? headers
local function upgrade(route, request)
  if not origin.passes(route, request) then
    return nil, 403, "origin not allowed"
  end
  if route.sameOrigin then
    return service.resolve(route.upgrade, "", route.messages)
  end
  return answer(route, request, route.upgrade(request))
end

--- Checks what is attached, and puts it into the route.
---@param what string how messages begin
---@param route table
---@param target function|table
local function prepare(what, route, target)
  route.messages = service.settingsOf(route)
  if route.dispatcherKey then
    errors.note "dispatcherKey"
  end
  if type(target) == "table" then
    if service.isInstance(target) then
      errors.fault(what .. ": one instance would be shared by all connections; attach the class, or a function that "
        .. "returns an instance")
    elseif not service.isClass(target) and not service.hasCallbacks(target) then
      errors.fault(what .. ": the table has no callbacks; the last argument must be an upgrade function or a service")
      target = {}
    end
    route.upgrade = target
    route.sameOrigin = true
    route.service = service.resolve(target, what, route.messages) -- also keeps a plain table compiled
    return
  end
  if type(target) ~= "function" then
    errors.fault(what .. ": the last argument must be an upgrade function or a service, it is " .. text.show(target))
    target = UpgradeError
  end
  route.upgrade = target
end

return {
  UpgradeError = UpgradeError,
  prepare = prepare,
  upgrade = upgrade,
}
