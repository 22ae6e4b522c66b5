-- SPDX-License-Identifier: MIT
--
-- What apps/echo promises, asked of it by a client.

local testing = require "neap.testing"

describe("apps/echo", function()
  local client

  setup(function()
    testing.start "apps/echo"
  end)

  teardown(function()
    testing.stop()
  end)

  before_each(function()
    client = assert(testing.connect "/echo")
  end)

  after_each(function()
    client:close()
  end)

  it("sends text back as text", function()
    for _, text in ipairs { "hello", "", "äöü €", ("x"):rep(70000) } do
      client:writeTextMessage(text)
      local answer, binary = client:readMessage()
      assert.equal(text, answer)
      assert.is_false(binary)
    end
  end)

  it("sends binary back as binary", function()
    for _, data in ipairs { "\0\255\128", "", ("\0"):rep(2 * 1024 * 1024) } do
      client:writeBinaryMessage(data)
      local answer, binary = client:readMessage()
      assert.is_true(data == answer)
      assert.is_true(binary)
    end
  end)

  it("keeps the order", function()
    for i = 1, 100 do
      client:writeTextMessage("message " .. i)
    end
    for i = 1, 100 do
      assert.equal("message " .. i, client:readMessage())
    end
  end)

  it("keeps clients apart", function()
    local other = assert(testing.connect "/echo")
    other:writeTextMessage "of the other"
    client:writeTextMessage "of the first"
    assert.equal("of the first", client:readMessage())
    assert.equal("of the other", other:readMessage())
    other:close()
  end)

  it("answers pings, and closes when asked to", function()
    assert(client:ping "still there?")
    assert(client:close(1000, "done"))
    local message, err = client:readMessage()
    assert.is_nil(message)
    assert.equal(1000, err.statusCode)
  end)

  it("serves /echo and nothing else", function()
    local nothing, err = testing.connect "/"
    assert.is_nil(nothing)
    assert.equal(404, err.status)
  end)
end)
