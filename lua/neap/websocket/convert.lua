-- SPDX-License-Identifier: MIT
--
-- Values to messages: what writeMessage sends for a value, and what happens with a value that a callback returns.
--
--      string            text, or binary where a binary message is answered     number, boolean, table    JSON text
--      websocket.bytes   binary                                                 close frame               closes
--      websocket.xml     XML text                                               function, coroutine, stream
--      a Caller, or the result of a push: nothing, so that                      its values, one by one
--      `return caller:writeMessage(x)` is harmless
--      anything else     an error
--
-- C sends plain strings by itself and calls `convert` for the rest.  Whether text is UTF-8 is checked in C.

local closeframe = require "neap.websocket.closeframe"
local core = require "neap.core"
local errors = require "neap.message.error"
local json = require "neap.json"
local service = require "neap.websocket.service"
local stream = require "neap.websocket.stream"
local text = require "neap.message.text"

---@class websocket.Bytes
---@field bytes string
local bytesMeta = {
  __name = "websocket.Bytes",
  __tostring = function(self)
    return self.bytes
  end,
}

--- Marks a string to be sent as a binary message.
---@param s string
---@return websocket.Bytes
local function bytes(s)
  if type(s) ~= "string" then
    errors.raise("websocket.bytes(s): s must be a string, it is " .. text.show(s))
  end
  return setmetatable({ bytes = s }, bytesMeta)
end

---@class websocket.Xml
---@field document table
local xmlMeta = { __name = "websocket.Xml" }

--- Marks a document to be sent as XML in a text message.
---@param document table as neap.xml has them
---@return websocket.Xml
local function xml(document)
  if type(document) ~= "table" then
    errors.raise("websocket.xml(document): document must be a table { tag = \"...\", ... }, it is "
      .. text.show(document))
  end
  return setmetatable({ document = document }, xmlMeta)
end

-- Most apps send no XML: the module is loaded for the first that does.
local function encodeXml(document)
  local encoded, err = require("neap.xml").encode(document)
  if not encoded then
    return nil, err
  end
  return encoded, "text"
end

local function encode(value)
  local encoded, why = json.encode(value)
  if not encoded then
    if errors.isError(why) then
      return nil, why
    end
    return nil, errors.new("Error", "cannot be sent as JSON: " .. tostring(why))
  end
  return encoded, "text"
end

local function refuse(what)
  return nil, errors.new("Error", what .. " cannot be sent")
end

-- Its fields may have been changed since it was made.
local function convertClose(frame)
  local why = closeframe.whyNot(frame)
  if why then
    return nil, errors.new("Error", "a close frame: " .. why)
  end
  return frame.reason, "close", frame.status
end

local function convertTable(value)
  if getmetatable(value) == bytesMeta then
    return value.bytes, "binary"
  elseif getmetatable(value) == xmlMeta then
    return encodeXml(value.document)
  elseif closeframe.isCloseFrame(value) then
    return convertClose(value)
  elseif errors.isError(value) then
    return nil, value
  elseif service.isClass(value) or service.isInstance(value) then
    return refuse "a service"
  end
  return encode(value)
end

local function sendsNothing(value)
  return type(value) == "userdata" and (core.isCaller(value) or core.isPushResult(value))
end

--- The hook `convert`.
---@param value any
---@param binary boolean whether a string is sent as binary
---@return any bytes or, for a close frame, its reason; for a stream, the value itself
---@return string|websocket.Error? kind "text", "binary", "close" or "stream"; or why it cannot be sent; or nil to send
--- nothing
---@return integer? status of a close frame
local function convert(value, binary)
  local kind = type(value)
  if stream.isStream(value) then
    return value, "stream"
  elseif kind == "table" then
    return convertTable(value)
  elseif kind == "string" then
    return value, binary and "binary" or "text"
  elseif kind == "number" or kind == "boolean" or (value ~= nil and value == json.null) then
    return encode(value)
  elseif sendsNothing(value) then
    return nil, nil
  end
  return refuse(text.show(value))
end

local CANNOT_PUSH = {
  close = "a close frame cannot be pushed; caller:close() closes a connection",
  stream = "a stream cannot be pushed; push its values in a loop",
}

--- The hook `payload`: what a push sends for a value, which has to be one message.
---@param value any
---@return string? bytes
---@return string|websocket.Error kind "text" or "binary"; or why not
local function payload(value)
  local encoded, kind = convert(value, false)
  if CANNOT_PUSH[kind] then
    return nil, errors.new("Error", CANNOT_PUSH[kind])
  elseif encoded == nil and kind == nil then
    return refuse(core.isCaller(value) and "a Caller" or "the result of a push")
  end
  return encoded, kind
end

return {
  bytes = bytes,
  convert = convert,
  payload = payload,
  xml = xml,
}
