-- SPDX-License-Identifier: MIT
--
-- Prices as they change: a client subscribes to as many as it likes, over one connection.
--
--     neap run apps/ticker               serves ws://localhost:9090/ticker, new prices each second
--     neap run apps/ticker -- 9001 0.1   the same on port 9001, ten times a second
--
-- A callback that returns a function answers with a stream: the function is called for one value after the other, each
-- is sent as a message, and nil ends it. It may sleep in between; the connection's other messages go on meanwhile.

local constraint = require "neap.constraint"
local task = require "neap.task"
local websocket = require "neap.websocket"

local port, interval = arg[1] or 9090, tonumber(arg[2] or 1)

local prices = { AAA = 100, BBB = 20, CCC = 5 } -- in the whole worker

task.every(interval, function()
  for symbol, price in pairs(prices) do
    prices[symbol] = math.max(0.01, price * (0.99 + math.random() * 0.02))
  end
end)

local Id = constraint.int { minValue = 1, maxValue = 100 } -- so there are never more than 100 streams to remember

local Subscribe = constraint.record {
  id = Id,
  symbol = constraint.enum { "AAA", "BBB", "CCC" },
  count = constraint.optional(constraint.int { minValue = 1 }), -- so many prices; without end when left out
}

local Unsubscribe = constraint.record { id = Id }

local function refuse(self, caller, err)
  return { event = "refused", why = err.message }
end

local Ticker = websocket.service("Ticker", {
  onOpen = function(self)
    self.wanted = {} -- by id: what was subscribed to last
    return { event = "welcome", symbols = { "AAA", "BBB", "CCC" } }
  end,

  onSubscribe = websocket.bind(Subscribe, function(self, caller, wish)
    local sent = 0
    self.wanted[wish.id] = wish -- a stream of the same id ends
    return function()
      if sent == wish.count then
        return nil
      elseif sent > 0 then
        task.sleep(interval)
      end
      if self.wanted[wish.id] ~= wish then
        return nil
      end
      sent = sent + 1
      return { event = "price", symbol = wish.symbol, price = tonumber(("%.2f"):format(prices[wish.symbol])) }
    end
  end),

  onUnsubscribe = websocket.bind(Unsubscribe, function(self, caller, wish)
    local known = self.wanted[wish.id] ~= nil
    self.wanted[wish.id] = nil
    return { event = known and "unsubscribed" or "unknown" }
  end),

  onSubscribeError = refuse,
  onUnsubscribeError = refuse,
})

-- Tables that a callback returns, and those of its streams, get the `id` of the message that they answer: so a client
-- knows which of its subscriptions a price is for.
local config = { dispatcherKey = "event", dispatcherStreamId = "id" }

websocket.listener(port):attach("/ticker", config, function()
  return Ticker {}
end)
