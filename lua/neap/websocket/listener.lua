-- SPDX-License-Identifier: MIT
--
-- Listeners: an address with routes.  Sockets, routing and the life of connections are C's; here addresses are read,
-- settings checked and filled in, and mistakes told with file and line.
--
--      9090                "9090"                 port, host from config.host
--      "127.0.0.1:9090"    "example.com:9090"     "[::1]:9090"     "unix:/run/app.sock"

local config = require "neap.config.settings"
local core = require "neap.core"
local errors = require "neap.message.error"
local numbers = require "neap.runtime.number"
local text = require "neap.message.text"
local upgrades = require "neap.websocket.upgrade"
local wait = require "neap.runtime.wait"

local EXPECTED = 'expected a port (0 to 65535), "host:port", "[v6 address]:port" or "unix:/path"'
local MAX_UNIX = 107 -- bytes in sockaddr_un, less the NUL
local GRACE_SECONDS = 10 -- of gracefulStop, when none are given

local function isPort(v)
  return numbers.isWhole(v, 0, 65535)
end

local function isHost(host)
  return #host <= 255 and host:find "^[%w_][%w_.-]*$" ~= nil
end

-- With two colons at least: one alone stands before a port.
local function isV6(host)
  local address = host:match "^(.*)%%[%w_.-]+$" or host
  return address:find "^[%x:.]+$" ~= nil and address:find ":.*:" ~= nil
end

local function whyNotHost(host)
  local name, port = host:match "^([^:]+):(%d+)$"
  if port and isHost(name) then
    return ("host %s has a port in it; write websocket.listener(%s) without host, or host = %s"):format(
      text.quote(host), text.quote(host), text.quote(name))
  end
  return ("host %s is no address and no host name; write host = \"127.0.0.1\", \"::1\" or \"localhost\""):format(
    text.quote(host))
end

-- "host:port" as C wants it, from a port and config.host. Its reason needs no more said.
local function joinHost(host, port)
  if isV6(host) then
    return ("[%s]:%d"):format(host, port)
  elseif isHost(host) then
    return ("%s:%d"):format(host, port)
  elseif host:match "^%[(.*)%]$" and isV6(host:sub(2, -2)) then
    return ("%s:%d"):format(host, port)
  end
  return nil, whyNotHost(host), true
end

local function readUnix(path)
  if path == "" then
    return nil, "the path after unix: is missing"
  elseif #path > MAX_UNIX then
    return nil, ("the path after unix: has %d bytes, at most %d are possible"):format(#path, MAX_UNIX)
  elseif path:find "%z" then
    return nil, "the path after unix: contains NUL"
  end
  return "unix:" .. path
end

-- Four digits at the end of an address may belong to it, but look like a port.
local function inBrackets(address)
  local front, last = address:match "^(.*):(%d%d%d%d%d?)$"
  if not front or not isV6(front) then
    front, last = address, "9090"
  end
  return ("an IPv6 address stands in brackets: \"[%s]:%s\""):format(front, last)
end

-- "[v6]:port" or "name:port"; the form that C takes.
local function readPair(address)
  local v6, port = address:match "^%[([^%]]*)%]:(%d+)$"
  local name
  if not v6 then
    name, port = address:match "^([^:]*):(%d+)$"
  end
  local good = v6 and isV6(v6) or name and isHost(name)
  if good and isPort(tonumber(port)) then
    return address
  end
  return nil, isV6(address) and inBrackets(address) or nil
end

local function readText(address, host)
  local path = address:match "^unix:(.*)$"
  if path then
    return readUnix(path)
  end
  local port = address:match "^%d+$"
  if not port then
    return readPair(address)
  end
  if not isPort(tonumber(port)) then
    return nil
  end
  return joinHost(host, tonumber(port))
end

--- The address in the form that C takes.
---@param address any
---@param host string for a port alone
---@return string? address nil when it is none
---@return string? why
---@return boolean? enough whether `why` says what to write
local function readAddress(address, host)
  if type(address) == "number" then
    if not isPort(address) then
      return nil
    end
    return joinHost(host, address)
  elseif type(address) == "string" then
    return readText(address, host)
  end
  return nil
end

---@class websocket.Listener
---@field port integer the port that was bound; 0 for unix sockets
---@field address string what was bound, "127.0.0.1:9090" for instance
---@field stopped boolean whether it accepts no more
local methods = {}

local meta = {
  __index = methods,
  __name = "websocket.Listener",
  __tostring = function(self)
    return "websocket.Listener: " .. self.address
  end,
}

local function checkSelf(self, method)
  if getmetatable(self) ~= meta then
    errors.raise(("listener:%s: call it with a colon, listener:%s(...)"):format(method, method))
  end
end

local function checkOpen(self, method)
  checkSelf(self, method)
  if self.stopped then
    errors.raise(("listener:%s: the listener on %s has been stopped; make another with websocket.listener")
      :format(method, self.address))
  end
end

-- Takes the place of a socket that `neap check` found unusable.
local function nowhere()
  return true
end
local NO_HANDLE = {
  attach = nowhere,
  detach = nowhere,
  start = nowhere,
  gracefulStop = nowhere,
  immediateStop = nowhere,
}

-- attach(path, upgrade) or attach(path, config, upgrade)
local function readArguments(what, count, first, second)
  if count >= 2 then
    return first, second
  end
  if type(first) == "table" and config.looksLike("route", first) then
    errors.fault(what .. ": the upgrade function or service after the config is missing: attach(path, config, upgrade)")
    return first, nowhere
  end
  return nil, first
end

--- Serves a path from now on.
---@param path string segments; `:name` captures one, a final `*name` the rest
---@param ... websocket.RouteConfig|websocket.Upgrade its config (may be left out), and an upgrade function or service
---@return websocket.Listener self
---@overload fun(self, path: string, upgrade: websocket.Upgrade): websocket.Listener
---@overload fun(self, path: string, config: websocket.RouteConfig, upgrade: websocket.Upgrade): websocket.Listener
function methods:attach(path, ...)
  checkOpen(self, "attach")
  local what = "listener:attach(" .. text.show(path) .. ")"
  local ok, why = false, 'the path must be a text such as "/chat"'
  if type(path) == "string" then
    ok, why = core.checkPath(path)
  end
  if not ok then
    errors.fault(what .. ": " .. why)
  end
  local given, target = readArguments(what, select("#", ...), ...)
  local route = config.check("route", what, given)
  upgrades.prepare(what, route, target)
  if ok then
    ok, why = self.handle:attach(path, route)
    if not ok then
      errors.fault(what .. ": " .. why)
    end
  end
  return self
end

--- Serves a path no longer; its connections go on.
---@param path string as it was attached
---@return websocket.Listener self
function methods:detach(path)
  checkOpen(self, "detach")
  local what = "listener:detach(" .. text.show(path) .. ")"
  if type(path) ~= "string" then
    errors.fault(what .. ': the path must be a text such as "/chat"')
    return self
  end
  local ok, why = self.handle:detach(path)
  if not ok then
    errors.fault(what .. ": " .. why)
  end
  return self
end

--- Accepts connections from now on; happens by itself when the app has loaded.
---@return websocket.Listener self
function methods:start()
  checkOpen(self, "start")
  self.handle:start()
  return self
end

--- Stops accepting, closes every connection with 1001 and waits for their end. Yields.
---@param seconds? number how long at most (10); what is left then is ended at once
---@return websocket.Listener self
function methods:gracefulStop(seconds)
  checkSelf(self, "gracefulStop")
  seconds = seconds == nil and GRACE_SECONDS or seconds
  if not numbers.isSeconds(seconds) then
    errors.raise("listener:gracefulStop([seconds]): seconds must be a number, 0 or more, it is " .. text.show(seconds))
  end
  wait.enter()
  self.stopped = true
  wait.passed(self.handle:gracefulStop(seconds))
  return self
end

--- Stops accepting and ends every connection without a close frame.
---@return websocket.Listener self
function methods:immediateStop()
  checkSelf(self, "immediateStop")
  self.stopped = true
  self.handle:immediateStop()
  return self
end

local function listen(address, settings)
  local handle, err = core.listen(address, settings)
  if handle then
    local port = handle:port()
    return handle, port, (address:gsub(":%d+$", ":" .. port))
  end
  errors.fault("websocket.listener: " .. (errors.isError(err) and err.message or tostring(err)))
  return NO_HANDLE, 0, address
end

--- Binds an address; see the top of this file for its forms.
---@param address integer|string
---@param settings? websocket.ListenerConfig
---@return websocket.Listener
local function listener(address, settings)
  settings = config.check("listener", "websocket.listener", settings)
  local bound, why, enough = readAddress(address, settings.host)
  if not bound then
    why = why or "no address: " .. text.show(address)
    errors.fault("websocket.listener: " .. (enough and why or why .. "; " .. EXPECTED), enough and "host")
  end
  local handle, port, name = NO_HANDLE, 0, "nowhere"
  if bound then
    handle, port, name = listen(bound, settings)
  end
  return setmetatable({
    handle = handle,
    port = port,
    address = name,
    stopped = false,
  }, meta)
end

return {
  listener = listener,
  _test = { readAddress = readAddress },
}
