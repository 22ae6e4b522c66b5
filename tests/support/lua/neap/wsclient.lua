-- SPDX-License-Identifier: MIT
--
-- A WebSocket client (RFC 6455) for specs: it blocks, and it is strict with the server. Not for use in apps: it would
-- hold the worker. Every wait ends at a deadline of `seconds` (default 10).
--
--     client:readMessage() answers pings meanwhile; pongs and messages that come while something else is waited for
--     are kept. After the server's close frame reading gives nil and an error with statusCode and reason.
--
-- Errors are tables with kind and message, as those of neap.websocket.

local bit = require "bit"
local mime = require "mime"
local socket = require "socket"

local band, bor, bxor, bnot = bit.band, bit.bor, bit.bxor, bit.bnot
local lshift, rshift, rol, tobit = bit.lshift, bit.rshift, bit.rol, bit.tobit

local CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
local GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" -- RFC 6455 §1.3

math.randomseed(socket.gettime() * 1000)

-- ---- errors -------------------------------------------------------------------------------------

local errorMeta = {
  __tostring = function(err)
    return err.kind .. ": " .. err.message
  end,
}

local function failure(kind, message, fields)
  local err = fields or {}
  err.kind, err.message = kind, message
  return nil, setmetatable(err, errorMeta)
end

-- ---- SHA-1, for Sec-WebSocket-Accept (FIPS 180-4 §6.1) --------------------------------------------

local function word(n)
  return string.char(band(rshift(n, 24), 255), band(rshift(n, 16), 255), band(rshift(n, 8), 255), band(n, 255))
end

local function wordAt(s, at)
  local a, b, c, d = s:byte(at, at + 3)
  return bor(lshift(a, 24), lshift(b, 16), lshift(c, 8), d)
end

local function round(i, b, c, d)
  if i < 20 then
    return bor(band(b, c), band(bnot(b), d)), 0x5A827999
  elseif i < 40 then
    return bxor(b, c, d), 0x6ED9EBA1
  elseif i < 60 then
    return bor(band(b, c), band(b, d), band(c, d)), 0x8F1BBCDC
  end
  return bxor(b, c, d), 0xCA62C1D6
end

local function sha1_block(hash, block)
  local w = {}
  for i = 0, 15 do
    w[i] = wordAt(block, i * 4 + 1)
  end
  for i = 16, 79 do
    w[i] = rol(bxor(w[i - 3], w[i - 8], w[i - 14], w[i - 16]), 1)
  end
  local a, b, c, d, e = unpack(hash)
  for i = 0, 79 do
    local f, k = round(i, b, c, d)
    a, b, c, d, e = tobit(rol(a, 5) + f + e + k + w[i]), a, rol(b, 30), c, d
  end
  for i, value in ipairs { a, b, c, d, e } do
    hash[i] = tobit(hash[i] + value)
  end
end

local function sha1(text)
  local hash = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 }
  local padded = text .. "\128" .. ("\0"):rep((55 - #text) % 64) .. word(0) .. word(#text * 8)
  for at = 1, #padded, 64 do
    sha1_block(hash, padded:sub(at, at + 63))
  end
  for i = 1, 5 do
    hash[i] = word(hash[i])
  end
  return table.concat(hash)
end

-- ---- frames -------------------------------------------------------------------------------------

local function randomBytes(n)
  local bytes = {}
  for i = 1, n do
    bytes[i] = string.char(math.random(0, 255))
  end
  return table.concat(bytes)
end

-- RFC 6455 §5.3
local function masked(payload, key)
  local k = { key:byte(1, 4) }
  local out = {}
  for i = 1, #payload do
    out[i] = string.char(bxor(payload:byte(i), k[(i - 1) % 4 + 1]))
  end
  return table.concat(out)
end

-- RFC 6455 §5.2; what a client sends is masked and, here, never fragmented.
local function encoded(opcode, payload)
  local key, n = randomBytes(4), #payload
  local length
  if n < 126 then
    length = string.char(128 + n)
  elseif n < 65536 then
    length = string.char(128 + 126, rshift(n, 8), band(n, 255))
  else
    length = string.char(128 + 127) .. word(0) .. word(n)
  end
  return string.char(128 + opcode) .. length .. key .. masked(payload, key)
end

-- ---- the client ---------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

local function lost(client, message)
  client.open = false
  client.socket:close()
  client.ended = client.ended or select(2, failure("ConnectionError", message))
  return nil, client.ended
end

-- At least n bytes in the buffer, or nil and an error.
local function need(client, n, deadline)
  while #client.buffer < n do
    client.socket:settimeout(math.max(0, deadline - socket.gettime()))
    local data, problem, part = client.socket:receive(n - #client.buffer)
    client.buffer = client.buffer .. (data or part or "")
    if not data and problem == "timeout" then
      return failure("ReadTimedOutError", "nothing came in time")
    elseif not data then
      return lost(client, "the connection has ended without a close frame")
    end
  end
  return true
end

-- The length that 2 or 8 further bytes tell, and the size of the header then; or nil and an error.
local function longLength(client, short, deadline)
  local size = short == 126 and 4 or 10
  local good, err = need(client, size, deadline)
  if not good then
    return nil, err
  end
  local length = 0
  for i = 3, size do
    length = length * 256 + client.buffer:byte(i)
  end
  if length < (short == 126 and 126 or 65536) then
    return lost(client, "the server sent a length that is not minimal")
  end
  return length, size
end

-- The header of the frame in the buffer: payload length, header length, opcode, fin; or nil and an error.
local function header(client, deadline)
  local good, err = need(client, 2, deadline)
  if not good then
    return nil, err
  end
  local first, length = client.buffer:byte(1, 2)
  local opcode, fin, size = band(first, 15), first >= 128, 2
  if band(first, 0x70) ~= 0 or length >= 128 then
    return lost(client, "the server sent reserved bits or a mask")
  elseif opcode >= CLOSE and (length >= 126 or not fin) then
    return lost(client, "the server sent a control frame that is not short and whole")
  elseif length >= 126 then
    length, size = longLength(client, length, deadline)
  end
  return length, size, opcode, fin
end

-- One whole frame: opcode, payload, fin; or nil and an error. What has come of a frame stays in the buffer.
local function readFrame(client, deadline)
  local length, size, opcode, fin = header(client, deadline)
  if not length then
    return nil, size
  end
  local good, err = need(client, size + length, deadline)
  if not good then
    return nil, err
  end
  local payload = client.buffer:sub(size + 1, size + length)
  client.buffer = client.buffer:sub(size + length + 1)
  return opcode, payload, fin
end

local function send(client, opcode, payload)
  if not client.open then
    return failure("ConnectionError", "the connection is closed")
  end
  client.socket:settimeout(client.seconds)
  local good, problem = client.socket:send(encoded(opcode, payload))
  if not good then
    return lost(client, "cannot send: " .. problem)
  end
  return client
end

local function onClose(client, payload)
  local code, reason = 1005, ""
  if #payload >= 2 then
    code, reason = payload:byte(1) * 256 + payload:byte(2), payload:sub(3)
  end
  if not client.closing then
    send(client, CLOSE, payload:sub(1, 2)) -- RFC 6455 §5.5.1: the answer repeats the code
  end
  client.open = false
  local text = ("closed with %d %s"):format(code, reason)
  local _, err = failure("ConnectionClosureError", text, { reason = reason, statusCode = code })
  client.ended = err
end

local function onData(client, opcode, payload, fin)
  local parts = client.parts
  if (opcode == CONTINUATION) ~= (parts ~= nil) then
    return lost(client, "the server broke the order of fragments")
  end
  parts = parts or { opcode = opcode }
  parts[#parts + 1] = payload
  client.parts = not fin and parts or nil
  if fin then
    table.insert(client.messages, { table.concat(parts), parts.opcode == BINARY })
  end
end

-- Takes in one frame. True, or nil and an error at the deadline or when the connection is over.
local function pump(client, deadline)
  if client.ended then
    return nil, client.ended
  end
  local opcode, payload, fin = readFrame(client, deadline)
  if not opcode then
    return nil, payload
  end
  if opcode == CLOSE then
    onClose(client, payload)
  elseif opcode == PING then
    send(client, PONG, payload)
  elseif opcode == PONG then
    table.insert(client.pongs, payload)
  elseif opcode <= BINARY then
    onData(client, opcode, payload, fin)
  else
    lost(client, "the server sent an opcode that does not exist")
  end
  return true
end

--- Sends a text message. Returns the client, or nil and an error; so do the others that send.
function Client:writeTextMessage(text)
  return send(self, TEXT, text)
end

--- Sends a binary message.
function Client:writeBinaryMessage(data)
  return send(self, BINARY, data)
end

--- Sends a text message.
function Client:writeMessage(text)
  return send(self, TEXT, text)
end

--- The next message, and true when it is binary; or nil and an error: ReadTimedOutError, ConnectionClosureError with
--- statusCode and reason, ConnectionError.
function Client:readMessage(seconds)
  local deadline = socket.gettime() + (seconds or self.seconds)
  while #self.messages == 0 do
    local good, err = pump(self, deadline)
    if not good then
      return nil, err
    end
  end
  return unpack(table.remove(self.messages, 1))
end

--- Sends a ping and waits for its pong. Returns the client, or nil and an error.
function Client:ping(data, seconds)
  local deadline = socket.gettime() + (seconds or self.seconds)
  local good, err = send(self, PING, data or "")
  while good and #self.pongs == 0 do
    good, err = pump(self, deadline)
  end
  if not good then
    return nil, err
  end
  local pong = table.remove(self.pongs, 1)
  if pong ~= (data or "") then
    return failure("Error", "the pong does not repeat the data of the ping")
  end
  return self
end

--- Closes: sends the frame, then reads until the server has answered with its own and closed the connection. The answer
--- is what readMessage gives afterwards. Returns the client, or nil and an error.
function Client:close(code, reason, seconds)
  local deadline = socket.gettime() + (seconds or self.seconds)
  code = code or 1000
  local good, err = send(self, CLOSE, string.char(rshift(code, 8), band(code, 255)) .. (reason or ""))
  self.closing = true
  while good and not self.ended do
    good, err = pump(self, deadline)
  end
  self.open = false
  self.socket:close()
  if self.ended and self.ended.statusCode then
    return self
  end
  return nil, err or self.ended
end

--- False once either side has closed, as far as has been read.
function Client:isOpen()
  while not self.ended and pump(self, 0) do -- luacheck: ignore 542
  end
  return self.open
end

--- What the server chose, or nil.
function Client:getNegotiatedSubProtocol()
  return self.response.headers["sec-websocket-protocol"]
end

-- ---- the handshake (RFC 6455 §4.1) ----------------------------------------------------------------

local function request(host, port, path, key, options)
  local lines = {
    "GET " .. path .. " HTTP/1.1",
    "Host: " .. host .. ":" .. port,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: " .. key,
    "Sec-WebSocket-Version: 13",
  }
  if options.subProtocols then
    table.insert(lines, "Sec-WebSocket-Protocol: " .. table.concat(options.subProtocols, ", "))
  end
  for name, value in pairs(options.headers or {}) do
    table.insert(lines, name .. ": " .. value)
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- Reads the head of the response, and the body when it is not 101.
local function readResponse(client, deadline)
  local stop
  repeat
    local good, err = need(client, #client.buffer + 1, deadline)
    if not good then
      return nil, err
    end
    stop = select(2, client.buffer:find("\r\n\r\n", 1, true))
  until stop
  local response = { headers = {}, status = tonumber(client.buffer:match "^HTTP/1%.1 (%d%d%d)") }
  for name, value in client.buffer:sub(1, stop):gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    response.headers[name:lower()] = value
  end
  client.buffer = client.buffer:sub(stop + 1)
  if response.status ~= 101 then
    local length = tonumber(response.headers["content-length"] or 0)
    need(client, length, deadline)
    response.body = client.buffer:sub(1, length)
  end
  return response
end

local function check(response, key, options)
  local headers = response.headers
  local chosen = headers["sec-websocket-protocol"]
  local offered = chosen == nil
  for _, name in ipairs(options.subProtocols or {}) do
    offered = offered or name == chosen
  end
  if headers["sec-websocket-accept"] ~= mime.b64(sha1(key .. GUID)) then
    return "wrong Sec-WebSocket-Accept"
  elseif (headers.upgrade or ""):lower() ~= "websocket" or not (headers.connection or ""):lower():find "upgrade" then
    return "no Upgrade or Connection header"
  elseif not offered or headers["sec-websocket-extensions"] then
    return "the server chose what was not offered"
  end
end

local function handshake(client, host, port, path, options)
  local deadline = socket.gettime() + client.seconds
  local key = mime.b64(randomBytes(16))
  local good, problem = client.socket:send(request(host, port, path, key, options))
  if not good then
    return lost(client, "cannot send: " .. problem)
  end
  local response, err = readResponse(client, deadline)
  if not response then
    return nil, err
  end
  client.response = response
  problem = response.status ~= 101 and "the server answered with " .. tostring(response.status)
    or check(response, key, options)
  if problem then
    client.socket:close()
    return failure("InvalidHandshakeError", problem, response)
  end
  return client
end

--- Connects: client, or nil and an error.
---@param host string
---@param port integer
---@param path string
---@param options table seconds, subProtocols (array), headers (map)
local function connect(host, port, path, options)
  local connection = assert(socket.tcp())
  connection:settimeout(options.seconds or 10)
  local good, problem = connection:connect(host, port)
  if not good then
    connection:close()
    return failure("ConnectionError", "cannot connect: " .. problem)
  end
  connection:setoption("tcp-nodelay", true)
  local client = setmetatable({
    buffer = "",
    closing = false,
    ended = nil,
    messages = {},
    open = true,
    parts = nil,
    pongs = {},
    response = nil,
    seconds = options.seconds or 10,
    socket = connection,
  }, Client)
  return handshake(client, host, port, path, options)
end

return {
  connect = connect,
  _test = { sha1 = sha1 },
}
