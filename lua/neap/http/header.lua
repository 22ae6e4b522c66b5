-- SPDX-License-Identifier: MIT
--
-- Header lines that an app adds to an answer.  Names are tokens, values have no control characters, and what belongs to
-- the server is left to it.

local text = require "neap.message.text"

-- The server writes these itself; another value would break the answer's framing or the handshake (RFC 6455 §4.2.2).
local OWN_HEADERS = {
  connection = true,
  ["content-length"] = true,
  ["sec-websocket-accept"] = true,
  ["sec-websocket-extensions"] = true,
  ["sec-websocket-key"] = true,
  ["sec-websocket-protocol"] = true,
  ["transfer-encoding"] = true,
  upgrade = true,
}

--- Checks a header line.
---@param name any
---@param value any a number is taken as its text
---@param example string how a name is written, for the message about a wrong one
---@return string? value nil when the line cannot be sent
---@return string? why
---@return string? key the key of a table of headers that is wrong; nil when it is no name
local function check(name, value, example)
  if not text.isToken(name) then
    return nil, ("%s is not a header name; write %s"):format(text.show(name), example)
  elseif OWN_HEADERS[name:lower()] then
    return nil, ("the server sets %s itself; leave it out"):format(name), name
  elseif type(value) == "number" then
    return tostring(value)
  elseif type(value) ~= "string" or not text.isFieldValue(value) then
    return nil, ("the value of %s must be a string without control characters, it is %s"):format(name,
      text.show(value)), name
  end
  return value
end

return {
  check = check,
}
