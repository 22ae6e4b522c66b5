-- SPDX-License-Identifier: MIT
--
-- What apps/ticker promises. It runs with a hundred prices a second; nothing here depends on how fast they come.

local json = require "dkjson"
local testing = require "neap.testing"

describe("apps/ticker", function()
  local client

  setup(function()
    testing.start("apps/ticker", { "0", "0.01" })
  end)

  teardown(function()
    testing.stop()
  end)

  local function send(message)
    assert(client:writeTextMessage(json.encode(message)))
  end

  local function receive()
    return json.decode((assert(client:readMessage())))
  end

  -- The next message with this event; prices that come before it are passed over.
  local function await(event)
    local message
    repeat
      message = receive()
      assert.is_true(message.event == event or message.event == "price", json.encode(message))
    until message.event == event
    return message
  end

  before_each(function()
    client = assert(testing.connect "/ticker")
    assert.same({ "AAA", "BBB", "CCC" }, receive().symbols)
  end)

  after_each(function()
    client:close()
  end)

  it("sends as many prices as were asked for, with the id", function()
    send { event = "subscribe", id = 7, symbol = "AAA", count = 5 }
    for _ = 1, 5 do
      local message = receive()
      assert.equal("price", message.event)
      assert.equal("AAA", message.symbol)
      assert.equal(7, message.id)
      assert.is_true(message.price > 0)
    end
    send { event = "unsubscribe", id = 8 }
    assert.same({ event = "unknown", id = 8 }, receive()) -- no sixth price was before it
  end)

  it("sends several streams over one connection", function()
    local left = { [1] = 3, [2] = 4, [3] = 2 }
    local symbols = { "AAA", "BBB", "CCC" }
    for id, count in ipairs(left) do
      send { event = "subscribe", id = id, symbol = symbols[id], count = count }
    end
    for _ = 1, 9 do
      local message = receive()
      assert.equal(symbols[message.id], message.symbol)
      left[message.id] = left[message.id] - 1
    end
    assert.same({ 0, 0, 0 }, left)
  end)

  it("goes on until it is told to stop", function()
    send { event = "subscribe", id = 1, symbol = "BBB" }
    for _ = 1, 10 do
      assert.equal("BBB", await("price").symbol)
    end
    send { event = "unsubscribe", id = 1 }
    assert.same({ event = "unsubscribed", id = 1 }, await "unsubscribed")
    send { event = "subscribe", id = 1, symbol = "CCC", count = 1 }
    repeat
      local message = receive()
      assert.equal("price", message.event)
    until message.symbol == "CCC"
  end)

  it("ends a stream when its id is used again", function()
    send { event = "subscribe", id = 1, symbol = "AAA" }
    await "price"
    send { event = "subscribe", id = 1, symbol = "BBB", count = 3 }
    local seen = 0
    repeat
      seen = seen + (receive().symbol == "BBB" and 1 or 0)
    until seen == 3
    send { event = "unsubscribe", id = 1 }
    await "unsubscribed"
  end)

  it("refuses what it does not have", function()
    send { event = "subscribe", id = 1, symbol = "DDD" }
    assert.same({ event = "refused", id = 1, why = '$.symbol: must be "AAA", "BBB" or "CCC", is "DDD"' }, receive())
    send { event = "subscribe", symbol = "AAA" }
    assert.same({ event = "refused", why = "$.id: is missing" }, receive())
  end)

  it("goes on for others when a client leaves in the middle", function()
    send { event = "subscribe", id = 1, symbol = "AAA" }
    await "price"
    local other = assert(testing.connect "/ticker")
    other:writeTextMessage '{"event":"subscribe","id":1,"symbol":"AAA"}'
    other:readMessage()
    other:readMessage()
    other:close()
    for _ = 1, 5 do
      assert.equal("price", receive().event)
    end
    assert.is_nil(testing.log():find " error ")
  end)
end)
