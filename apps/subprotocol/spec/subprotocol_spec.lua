-- SPDX-License-Identifier: MIT
--
-- What apps/subprotocol promises, asked of it by clients that speak one thing or another.

local testing = require "neap.testing"

describe("apps/subprotocol", function()
  setup(function()
    testing.start "apps/subprotocol"
  end)

  teardown(function()
    testing.stop()
  end)

  local function connect(...)
    return testing.connect("/clock", { subProtocols = { ... } })
  end

  it("chooses the first of the client's list that it knows, and shows it", function()
    for chosen, asked in pairs {
      ["clock.text"] = { "clock.text" },
      ["clock.json"] = { "clock.xml", "clock.json", "clock.text" },
    } do
      local client = assert(connect(unpack(asked)))
      assert.equal(chosen, client:getNegotiatedSubProtocol())
      assert.equal("we speak " .. chosen, client:readMessage())
      assert(client:close())
    end
  end)

  it("tells the time as text", function()
    local client = assert(connect "clock.text")
    client:readMessage()
    client:writeTextMessage "what time is it?"
    assert.matches("^%d%d:%d%d:%d%d$", (client:readMessage()))
    client:close()
  end)

  it("tells the time as JSON", function()
    local client = assert(connect "clock.json")
    client:readMessage()
    client:writeTextMessage "what time is it?"
    local unix = tonumber(client:readMessage():match '^{"unix":(%d+)}$')
    assert.is_true(math.abs(unix - os.time()) < 60)
    client:close()
  end)

  it("refuses who speaks neither", function()
    for _, asked in ipairs { {}, { "clock.xml", "CLOCK.JSON" } } do
      local client, err = testing.connect("/clock", { subProtocols = asked[1] and asked })
      assert.is_nil(client)
      assert.equal(400, err.status)
      assert.matches("ask for clock.json or clock.text", err.body)
    end
  end)
end)
