-- SPDX-License-Identifier: MIT
--
-- What an app can ask of an upgrade request.  C keeps the head as it came and answers by small functions; here are the
-- fields and methods made of them, each computed when it is first asked for and kept in the request's own table.
-- Nothing here can fail because of what a client sent: what is malformed is left as it came or left out.  And nothing
-- takes more than linear time: patterns are such that a match that fails does not go back over what it has passed.

local core = require "neap.core"
local errors = require "neap.message.error"
local header = require "neap.http.header"
local origin = require "neap.http.origin"
local text = require "neap.message.text"

local function checkName(method, name)
  if type(name) ~= "string" then
    errors.raise(("request:%s(name): name must be a string, it is %s"):format(method, text.show(name)))
  end
end

-- RFC 6265 §5.4 joins cookies with "; "; other lines of one name are a list (RFC 9110 §5.3).
local function separator(name)
  return name == "cookie" and "; " or ", "
end

local function parseQuery(request)
  local all = {}
  for piece in core.requestQuery(request):gmatch "[^&]+" do
    local key, value = piece:match "^([^=]*)=?(.*)$"
    key = core.percentDecode(key, true) or key
    value = core.percentDecode(value, true) or value
    local values = all[key]
    if values then
      values[#values + 1] = value
    else
      all[key] = { value }
    end
  end
  return all
end

local function allQuery(request)
  local cache = core.requestCache(request)
  local all = cache.allQuery
  if not all then
    all = parseQuery(request)
    cache.allQuery = all
  end
  return all
end

local function firstQuery(request)
  local map = {}
  for key, values in pairs(allQuery(request)) do
    map[key] = values[1]
  end
  return map
end

local function headerMap(request)
  local map = {}
  for _, field in ipairs(core.requestFields(request)) do
    local name = field[1]:lower()
    map[name] = map[name] and map[name] .. separator(name) .. field[2] or field[2]
  end
  return map
end

local function offeredSubProtocols(request)
  local names = {}
  for _, value in ipairs(core.requestField(request, "sec-websocket-protocol")) do
    for name in value:gmatch "[^,]+" do
      name = text.trim(name)
      if name ~= "" then
        names[#names + 1] = name
      end
    end
  end
  return names
end

-- Fields that cost something: kept after the first time.
local computed = {
  clientCertificate = core.requestCertificate,
  headers = headerMap,
  params = core.requestParams,
  query = firstQuery,
  subProtocols = offeredSubProtocols,
}

local fields = {
  isSecure = core.requestSecure,
  method = core.requestMethod,
  path = core.requestPath,
  remoteAddress = function(request)
    local address = core.requestAddress(request)
    return address
  end,
  remotePort = function(request)
    local _, port = core.requestAddress(request)
    return port
  end,
}

-- Header lines that the app has added to the answer. C sends them with a 101 by itself; a refusal takes them from here.
local function addedHeaders(request)
  local cache = core.requestCache(request)
  local added = cache.addedHeaders
  if not added then
    added = {}
    cache.addedHeaders = added
  end
  return added
end

---@class websocket.Request
local methods = {
  isSameOrigin = origin.isSameOrigin,
  originAllowed = origin.originAllowed,
}

--- All values of a header, one for each line that had it.
---@param name string in any case
---@return string[] values empty when there is no such header
function methods:headerValues(name)
  checkName("headerValues", name)
  return core.requestField(self, name:lower())
end

--- A header's value; several lines are joined with ", ".
---@param name string in any case
---@return string? value nil when there is no such header
function methods:header(name)
  checkName("header", name)
  name = name:lower()
  local values = core.requestField(self, name)
  if values[1] == nil then
    return nil
  end
  return table.concat(values, separator(name))
end

--- The value of a cookie: the first of that name, without quotes around it, not decoded otherwise (RFC 6265 §4.2).
---@param name string
---@return string? value nil when there is no such cookie
function methods:cookie(name)
  checkName("cookie", name)
  for _, line in ipairs(core.requestField(self, "cookie")) do
    for pair in line:gmatch "[^;]+" do
      local equals = pair:find("=", 1, true)
      if equals and text.trim(pair:sub(1, equals - 1)) == name then
        local value = text.trim(pair:sub(equals + 1))
        return value:match '^"(.*)"$' or value
      end
    end
  end
  return nil
end

--- All values of a query parameter, in order.
---@param name string
---@return string[] values empty when there is no such parameter
function methods:queryValues(name)
  checkName("queryValues", name)
  local copy = {}
  for i, value in ipairs(allQuery(self)[name] or {}) do
    copy[i] = value
  end
  return copy
end

--- Adds a header line to the answer, whether it accepts or refuses.
---@param name string
---@param value string|number
---@return websocket.Request? request nil when the answer has been sent
---@return websocket.Error? err
function methods:setResponseHeader(name, value)
  local kept, wrong = header.check(name, value, 'one such as "Set-Cookie"')
  if not kept then
    errors.raise("request:setResponseHeader(name, value): " .. wrong)
  end
  local ok, why = core.setResponseHeader(self, name, kept)
  if not ok then
    return nil, errors.new("Error", why)
  end
  local added = addedHeaders(self)
  added[#added + 1] = { name, kept }
  return self
end

--- Field or method of a request: the __index that C asks for what is not its own.
---@param request userdata
---@param key any
---@return any
local function index(request, key)
  local method = methods[key]
  if method then
    return method
  end
  local field = fields[key]
  if field then
    return field(request)
  end
  local compute = computed[key]
  if not compute then
    return nil
  end
  local cache = core.requestCache(request)
  local value = cache[key]
  if value == nil then
    value = compute(request)
    cache[key] = value
  end
  return value
end

return {
  addedHeaders = addedHeaders,
  index = index,
  methods = methods,
}
