-- SPDX-License-Identifier: MIT
--
-- Which web pages may open a connection.  A browser sends cookies along with an upgrade request from any page and asks
-- nobody (there is no CORS for WebSockets), but it names the page's origin (RFC 6455 §10.2), and scripts cannot forge
-- that.  A request without an Origin comes from no browser and passes: a program can write there what it likes.
--
--   same origin   the Origin's host and port are those of the Host header
--   allowed       the Origin is in a list: exact ("https://example.com"), any subdomain ("https://*.example.com",
--                 which example.com itself is not), or "*" for every origin.  "null", the origin of files and
--                 sandboxed frames, never matches: everybody can have it.
--
-- Origins are compared as (scheme, host, port), default ports filled in, letters in lower case (RFC 6454 §4, §5).

local core = require "neap.core"
local errors = require "neap.message.error"
local text = require "neap.message.text"

-- A host name has at most 253 bytes. What is longer is no origin, and matching would cost the square of its length.
local MAX_AUTHORITY = 300
local MAX_ORIGIN = 400

local DEFAULT_PORT = { http = 80, https = 443, ws = 80, wss = 443 }

-- Host and port of "host", "host:port", "[v6]" or "[v6]:port"; nil when it is none of these.
local function splitHost(authority)
  if #authority > MAX_AUTHORITY then
    return nil
  end
  local host, port = authority:match "^(%[[%x:.]+%]):?(%d*)$"
  if not host then
    host, port = authority:match "^([^%s:/@%[%]?#\\]+):?(%d*)$"
  end
  if not host or (port == "" and authority:sub(-1) == ":") or #port > 5 then
    return nil
  end
  return host:lower(), tonumber(port)
end

--- Takes an origin apart; nil when it is none (also for "null").
---@param origin string
---@return string? scheme
---@return string? host
---@return integer? port nil when neither written nor known for the scheme
local function parse(origin)
  if #origin > MAX_ORIGIN then
    return nil
  end
  local scheme, authority = origin:match "^(%a[%w+.-]*)://([^%c%s]+)$"
  if not scheme then
    return nil
  end
  local host, port = splitHost(authority)
  if not host then
    return nil
  end
  scheme = scheme:lower()
  return scheme, host, port or DEFAULT_PORT[scheme]
end

-- The origin as browsers write it: lower case, no default port.
local function normal(scheme, host, port)
  if port and port ~= DEFAULT_PORT[scheme] then
    return ("%s://%s:%d"):format(scheme, host, port)
  end
  return scheme .. "://" .. host
end

--- Checks one entry of a list of allowed origins.
---@param entry any
---@return string? entry nil when it is no origin
---@return string? why
local function pattern(entry)
  if entry == "*" then
    return entry
  end
  if type(entry) ~= "string" then
    return nil, "one of them is " .. text.show(entry)
  end
  if entry == "null" then
    return nil, '"null" cannot be allowed: any page can have that origin'
  end
  local scheme, host = parse(entry)
  if scheme and host:gsub("^%*%.", ""):find "^[^*]+$" then
    return entry
  end
  local bare = entry:match "^(%a[%w+.-]*://[^/%c%s]+)/"
  if bare and parse(bare) then
    return nil, ("an origin has no path: write %s, not %s"):format(text.quote(bare), text.quote(entry))
  end
  return nil, text.quote(entry) .. " is no origin: write scheme://host or scheme://host:port"
end

local function matches(entry, scheme, host, port)
  if entry == "*" then
    return true
  end
  local wantedScheme, wantedHost, wantedPort = parse(entry)
  if scheme ~= wantedScheme or port ~= wantedPort then
    return false
  end
  if wantedHost:sub(1, 2) == "*." then
    local suffix = wantedHost:sub(2)
    return #host > #suffix and host:sub(-#suffix) == suffix
  end
  return host == wantedHost
end

--- Whether an origin is in a list of allowed ones.
---@param origin string the Origin header
---@param list string[] entries that `pattern` accepts
---@return boolean
local function inList(origin, list)
  local scheme, host, port = parse(origin)
  if not scheme then
    return false
  end
  for _, entry in ipairs(list) do
    if matches(entry, scheme, host, port) then
      return true
    end
  end
  return false
end

--- Whether an Origin header names the host that the request was sent to.
---
--- A Host without a port means the default port of the connection, or, without TLS, of the page's scheme: something
--- in front of us may have taken the TLS off.
---@param origin string
---@param hostHeader string
---@param secure boolean
---@return boolean
local function isSame(origin, hostHeader, secure)
  local scheme, host, port = parse(origin)
  if not scheme then
    return false
  end
  local ownHost, ownPort = splitHost(hostHeader)
  ownPort = ownPort or (secure and 443 or DEFAULT_PORT[scheme])
  return host == ownHost and port ~= nil and port == ownPort
end

local function originOf(request)
  return core.requestField(request, "origin")[1]
end

-- The line that would let this origin pass.
local function advice(origin, list, call)
  local scheme, host, port = parse(origin)
  if not scheme then
    return "nothing: such an origin cannot be allowed"
  end
  local all = { unpack(list) }
  all[#all + 1] = normal(scheme, host, port)
  return ("%s { '%s' }"):format(call, table.concat(all, "', '"))
end

-- `allowed` says what would have passed, `call` is how the app's line begins that lists origins.
local function logRefusal(request, origin, list, call, allowed)
  if not core.mayLogRefusal "origin not allowed" then
    return
  end
  core.log("info", "origin not allowed", {
    { "origin", origin:sub(1, 200) },
    { "path", core.requestPath(request):sub(1, 200) },
    { "allowed", allowed or table.concat(list, ", ") },
    { "add", advice(origin, list, call) },
  })
end

--- request:isSameOrigin()
---@param request websocket.Request
---@return boolean
local function isSameOrigin(request)
  local origin = originOf(request)
  if not origin then
    return true
  end
  return isSame(origin, core.requestField(request, "host")[1] or "", core.requestSecure(request))
end

local function checkList(list)
  if type(list) ~= "table" then
    errors.raise("request:originAllowed: the origins must be a list such as { \"https://example.com\" }, it is "
      .. text.show(list))
  end
  for _, entry in ipairs(list) do
    local ok, why = pattern(entry)
    if not ok then
      errors.raise("request:originAllowed: " .. why)
    end
  end
end

--- request:originAllowed(origins)
---@param request websocket.Request
---@param list string[]
---@return boolean
local function originAllowed(request, list)
  checkList(list)
  local origin = originOf(request)
  if not origin or inList(origin, list) then
    return true
  end
  logRefusal(request, origin, list, "request:originAllowed")
  return false
end

--- The rule of a route, before its upgrade function or service: its `allowedOrigins`; without them, and with a
--- service that is attached directly, the same origin.
---@param route table
---@param request websocket.Request
---@return boolean
local function passes(route, request)
  local list = route.allowedOrigins
  if not list and not route.sameOrigin then
    return true
  end
  local origin = originOf(request)
  if not origin then
    return true
  end
  if list then
    if inList(origin, list) then
      return true
    end
    logRefusal(request, origin, list, "allowedOrigins =")
    return false
  end
  if isSameOrigin(request) then
    return true
  end
  local host = core.requestField(request, "host")[1] or ""
  logRefusal(request, origin, {}, "allowedOrigins =", "the same origin, host " .. host:sub(1, 200))
  return false
end

return {
  isSameOrigin = isSameOrigin,
  originAllowed = originAllowed,
  passes = passes,
  pattern = pattern,
  _test = { inList = inList, isSame = isSame, parse = parse },
}
