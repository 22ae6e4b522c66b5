-- SPDX-License-Identifier: MIT
--
-- An echo server over TLS. Its certificate is made at the first start, for this machine alone.
--
--     neap run apps/secure              serves wss://localhost:9443/echo
--     neap run apps/secure -- 9001      the same on port 9001

local websocket = require "neap.websocket"

local folder = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
local pem = folder .. "/tls/server.pem"

local file = io.open(pem)
if file then
  file:close()
else
  local quoted = "'" .. folder:gsub("'", "'\\''") .. "'"
  assert(os.execute("sh " .. quoted .. "/make-certificate " .. quoted .. "/tls") == 0, "no certificate could be made")
end

local listener = websocket.listener(arg[1] or 9443, {
  secureSocket = {
    -- Certificate and key are in one file here; a path is looked for in the app's folder.
    key = { certFile = "tls/server.pem", keyFile = "tls/server.pem" },
  },
})

listener:attach("/echo", {
  onOpen = function(_, caller)
    return caller:isSecure() and "encrypted" or "not encrypted"
  end,
  onMessage = function(_, _, message)
    return message
  end,
})
