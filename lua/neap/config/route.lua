-- SPDX-License-Identifier: MIT
--
-- The settings of listener:attach.  RouteConfig in types/config.lua has a field for each.

local errors = require "neap.message.error"
local make = require "neap.config.fields"
local numbers = require "neap.runtime.number"
local origin = require "neap.http.origin"
local text = require "neap.message.text"

local boolean, choice, count, list = make.boolean, make.choice, make.count, make.list
local member, seconds = make.member, make.seconds
local MAX_BYTES, MAX_COUNT = make.MAX_BYTES, make.MAX_COUNT

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
      if numbers.isWhole(v, -math.huge, MAX_BYTES) then
        return math.max(v, 0)
      end
    end,
  }
end

local fields = {
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
}

--- Checks what keys mean together.
---@param what string how messages begin
---@param route table complete; a key that cannot be used is taken out
local function checkTogether(what, route)
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

return {
  checkTogether = checkTogether,
  fields = fields,
}
