-- SPDX-License-Identifier: MIT
--
-- Close frames as values: a handler returns one, or hands it to caller:writeMessage, to close its connection with that
-- code and reason.  They are checked when they are made, so that a code no endpoint may send (RFC 6455 §7.4) or a
-- reason that does not fit a control frame (§5.5) is found at the line that wrote it.
--
-- A frame is callable: the predefined ones make others with the same code and another reason.

local core = require "neap.core"
local errors = require "neap.message.error"
local isWhole = require("neap.runtime.number").isWhole
local text = require "neap.message.text"

local MAX_REASON = 123 -- 125 bytes of a control frame, less two for the code

---@class websocket.CloseFrame
---@field status integer
---@field reason string
---@overload fun(fields: { reason: string }): websocket.CloseFrame
local meta = { __name = "websocket.CloseFrame" }

local function isStatus(v)
  return isWhole(v, 1000, 1003) or isWhole(v, 1007, 1011) or isWhole(v, 3000, 4999)
end

local function whyNotReason(v)
  if type(v) ~= "string" then
    return "it must be a string, it is " .. text.show(v)
  elseif #v > MAX_REASON then
    return ("it must have at most %d bytes, it has %d"):format(MAX_REASON, #v)
  elseif not text.isLine(v) then
    return "it must not contain CR, LF or NUL"
  elseif not core.isUtf8(v) then
    return "it must be valid UTF-8"
  end
  return nil
end

local function new(status, reason)
  return setmetatable({ status = status, reason = reason }, meta)
end

local function checkKeys(what, fields, ...)
  if type(fields) ~= "table" then
    errors.raise(("%s { reason = \"...\" }: the argument must be a table, it is %s"):format(what, text.show(fields)))
  end
  local known = { ... }
  for _, key in ipairs(text.sortedKeys(fields)) do
    if key ~= known[1] and key ~= known[2] then
      errors.fault(("%s: %s: no such key; the keys are %s"):format(what, tostring(key), table.concat(known, ", ")),
        tostring(key))
    end
  end
end

local function whyNotStatus(v)
  return not isStatus(v) and ("status %s cannot be sent; use 1000 to 1003, 1007 to 1011 or 3000 to 4999"):format(
    text.show(v)) or nil
end

local function checkedReason(what, reason)
  local why = whyNotReason(reason)
  if why then
    errors.fault(("%s: reason: %s"):format(what, why), "reason")
    return ""
  end
  return reason
end

--- websocket.CloseFrame { status =, reason = }
---@param fields { status: integer, reason?: string }
---@return websocket.CloseFrame
local function CloseFrame(fields)
  checkKeys("websocket.CloseFrame", fields, "status", "reason")
  local status = fields.status
  local why = whyNotStatus(status)
  if why then
    errors.fault("websocket.CloseFrame: " .. why, "status")
    status = 1000
  end
  return new(status, checkedReason("websocket.CloseFrame", fields.reason or ""))
end

function meta.__call(frame, fields)
  local what = "close frame " .. frame.status
  checkKeys(what, fields, "reason")
  return new(frame.status, checkedReason(what, fields.reason or ""))
end

function meta.__tostring(frame)
  return ("CloseFrame %d %s"):format(frame.status, text.quote(frame.reason))
end

function meta.__eq(a, b)
  return a.status == b.status and a.reason == b.reason
end

local function isCloseFrame(v)
  return getmetatable(v) == meta
end

--- Why a close frame cannot be sent as it is now; nil when it can.
---@param frame websocket.CloseFrame
---@return string?
local function whyNot(frame)
  local why = whyNotReason(frame.reason)
  return whyNotStatus(frame.status) or why and "reason: " .. why
end

return {
  MAX_REASON = MAX_REASON,
  CloseFrame = CloseFrame,
  isCloseFrame = isCloseFrame,
  whyNot = whyNot,
  predefined = {
    NORMAL_CLOSURE = new(1000, ""),
    GOING_AWAY = new(1001, ""),
    PROTOCOL_ERROR = new(1002, "protocol error"),
    UNSUPPORTED_DATA = new(1003, "unsupported data"),
    INVALID_PAYLOAD = new(1007, "invalid payload"),
    POLICY_VIOLATION = new(1008, "policy violation"),
    MESSAGE_TOO_BIG = new(1009, "message too big"),
    INTERNAL_SERVER_ERROR = new(1011, "internal server error"),
  },
}
