-- SPDX-License-Identifier: MIT
---@meta
--
-- Types for the language server (LuaLS) of what C implements: the Caller.  Never loaded.

---@class websocket.Caller
local Caller = {} -- luacheck: ignore 241

--- Sends a text message. Yields while too much is queued.
---@param text string valid UTF-8
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:writeTextMessage(text) end

--- Sends a binary message. Yields while too much is queued.
---@param data string
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:writeBinaryMessage(data) end

--- Sends a text message without ever waiting. While too much is queued the route's slowConsumer decides: the message is
--- dropped, or the client is closed with 1013.
---@param text string valid UTF-8
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:pushText(text) end

--- Sends a binary message without ever waiting, as pushText does.
---@param data string
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:pushBinary(data) end

--- Sends a value as writeMessage does, without ever waiting; no close frame.
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:push(value) end

--- Sends a text message to all clients of the service, this one included, in all workers. Never waits.
---@param text string valid UTF-8
---@return websocket.PushResult? result
---@return websocket.Error? err
function Caller:broadcastText(text) end

--- Sends a binary message to all clients of the service, this one included, in all workers. Never waits.
---@param data string
---@return websocket.PushResult? result
---@return websocket.Error? err
function Caller:broadcastBinary(data) end

--- Sends a value to all clients of the service, this one included, in all workers. Never waits.
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml
---@return websocket.PushResult? result
---@return websocket.Error? err
function Caller:broadcast(value) end

--- Sends a value: a string as text, websocket.bytes as binary, number, boolean and table as JSON, websocket.xml as XML;
--- a close frame closes. Yields while too much is queued.
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml|websocket.CloseFrame
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:writeMessage(value) end

--- Sends a ping.
---@param data? string at most 125 bytes
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:ping(data) end

--- Sends a pong.
---@param data? string at most 125 bytes
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:pong(data) end

--- Sends a close frame and waits for the peer's. Yields.
---@param statusCode? integer 1000
---@param reason? string at most 123 bytes
---@param timeout? number seconds; 0 does not wait, -1 for ever; default: the route's connectionClosureTimeout
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:close(statusCode, reason, timeout) end

--- Keeps a value with the connection.
---@param key string
---@param value any
---@return websocket.Caller caller
function Caller:setAttribute(key, value) end

--- A value kept with the connection.
---@param key string
---@return any
function Caller:getAttribute(key) end

--- Removes a value kept with the connection, and returns it.
---@param key string
---@return any
function Caller:removeAttribute(key) end

--- Unique in the whole deployment, safe to show.
---@return string
function Caller:getConnectionId() end

---@return string? name nil when none was negotiated
function Caller:getNegotiatedSubProtocol() end

---@return boolean
function Caller:isSecure() end

---@return boolean
function Caller:isOpen() end

---@return string address
---@return integer port
function Caller:remoteAddress() end

--- The upgrade request of the connection.
---@return websocket.Request
function Caller:request() end

--- Bytes queued and not yet handed to the kernel.
---@return integer
function Caller:bufferedAmount() end
