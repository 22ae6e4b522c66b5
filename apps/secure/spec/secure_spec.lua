-- SPDX-License-Identifier: MIT
--
-- What apps/secure promises, asked of it by OpenSSL's own client, which trusts the app's certificate and checks it.

local testing = require "neap.testing"

local PEM = "apps/secure/tls/server.pem"
local REQUEST = table.concat({
  "GET /echo HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", "",
}, "\r\n")
-- A text message and a close frame, masked with zeros (RFC 6455 §5.2).
local FRAMES = "\129\133\0\0\0\0hello\136\130\0\0\0\0\3\232"

-- What the server answers to these bytes until it closes, and what s_client says.
local function ask(bytes, options)
  local name = os.tmpname()
  local file = assert(io.open(name, "wb"))
  file:write(bytes)
  file:close()
  local pipe = io.popen(("timeout 20 openssl s_client -quiet -verify_return_error -verify_hostname localhost "
    .. "-connect 127.0.0.1:%d %s < %s 2>&1"):format(testing.port(), options, name))
  local answer = pipe:read "*a"
  pipe:close()
  os.remove(name)
  return answer
end

describe("apps/secure", function()
  setup(function()
    testing.start "apps/secure"
  end)

  teardown(function()
    testing.stop()
  end)

  it("echoes over TLS", function()
    local answer = ask(REQUEST .. FRAMES, "-CAfile " .. PEM)
    assert.matches("^.-HTTP/1.1 101 ", answer)
    assert.truthy(answer:find("\129\9encrypted\129\5hello\136\2\3\232", 1, true), answer)
  end)

  it("is trusted by nobody who was not told to", function()
    assert.matches("verify error", ask(REQUEST .. FRAMES, ""))
  end)

  it("says wss in its log", function()
    assert.matches(" listening wss://", testing.log())
  end)

  it("keeps its certificate", function()
    local function contents()
      local file = assert(io.open(PEM, "rb"))
      local text = file:read "*a"
      file:close()
      return text
    end
    local before = contents()
    testing.stop()
    testing.start "apps/secure"
    assert.equal(before, contents())
  end)
end)
