-- SPDX-License-Identifier: MIT
--
-- What apps/chat promises, played with one worker and with three.

local json = require "dkjson"
local testing = require "neap.testing"

local function send(client, message)
  assert(client:writeTextMessage(type(message) == "string" and message or json.encode(message)))
end

-- The client's next message, which must be of this event.
local function expect(client, event)
  local message = json.decode((assert(client:readMessage())))
  assert.equal(event, message.event, json.encode(message))
  return message
end

local function enter(room, nick)
  local client = assert(testing.connect(("/chat/%s?nick=%s"):format(room, nick)))
  return client, expect(client, "here")
end

local function problem(client, message)
  send(client, message)
  return expect(client, "problem").text
end

-- They go one after the other, and those who are left are told.
local function leave(...)
  local clients = { ... }
  for i, client in ipairs(clients) do
    assert(client:close())
    for j = i + 1, #clients do
      expect(clients[j], "left")
    end
  end
end

local function behaves(workers)
  return function()
    setup(function()
      testing.start("apps/chat", { "0" }, { "--workers", workers })
    end)

    teardown(function()
      local log = testing.stop()
      assert.is_nil(log:find " error ", log)
    end)

    it("shows who is there, who comes, and who goes", function()
      local ann, here = enter("blue", "Ann")
      assert.same({ event = "here", room = "blue", count = 1, nicks = { "Ann" } }, here)
      local bob
      bob, here = enter("blue", "Bob")
      assert.same({ "Ann", "Bob" }, here.nicks)
      assert.same({ event = "joined", room = "blue", nick = "Bob" }, expect(ann, "joined"))
      send(ann, { event = "who" })
      assert.same({ "Ann", "Bob" }, expect(ann, "here").nicks)
      bob:close()
      assert.same({ event = "left", room = "blue", nick = "Bob" }, expect(ann, "left"))
      send(ann, { event = "who" })
      assert.same({ "Ann" }, expect(ann, "here").nicks)
      leave(ann)
    end)

    it("tells all in the room what is said there, in order", function()
      local ann, bob, cleo = enter("blue", "Ann"), enter("blue", "Bob"), enter("green", "Cleo")
      expect(ann, "joined")
      for i = 1, 5 do
        send(ann, "line " .. i)
      end
      send(ann, { event = "say", text = "{}" })
      for _, client in ipairs { ann, bob } do
        for i = 1, 5 do
          assert.same({ event = "said", room = "blue", nick = "Ann", text = "line " .. i }, expect(client, "said"))
        end
        assert.equal("{}", expect(client, "said").text)
      end
      send(cleo, { event = "who" })
      assert.same({ "Cleo" }, expect(cleo, "here").nicks) -- nothing came before it
      leave(cleo)
      leave(ann, bob)
    end)

    it("hands private messages to one client, whatever room it is in", function()
      local ann, bob, cleo = enter("blue", "Ann"), enter("green", "Bob"), enter("green", "Cleo")
      expect(bob, "joined")
      send(ann, { event = "tell", nick = "bob", text = "psst" })
      local told = { event = "told", from = "Ann", to = "bob", text = "psst" }
      assert.same(told, expect(bob, "told"))
      assert.same(told, expect(ann, "told"))
      assert.equal("nobody is called Dan", problem(ann, { event = "tell", nick = "Dan", text = "psst" }))
      send(cleo, "hello")
      assert.equal("hello", expect(cleo, "said").text) -- nothing came before it
      expect(bob, "said")
      leave(bob, cleo)
      leave(ann)
    end)

    it("lets clients move to another room", function()
      local ann, bob, cleo = enter("blue", "Ann"), enter("blue", "Bob"), enter("green", "Cleo")
      expect(ann, "joined")
      send(bob, { event = "join", room = "green" })
      assert.same({ "Bob", "Cleo" }, expect(bob, "here").nicks)
      assert.equal("Bob", expect(ann, "left").nick)
      assert.same({ event = "joined", room = "green", nick = "Bob" }, expect(cleo, "joined"))
      send(bob, "hello")
      assert.equal("green", expect(cleo, "said").room)
      expect(bob, "said")
      leave(bob, cleo)
      leave(ann)
    end)

    it("gives each nick name to one client", function()
      local ann = enter("blue", "Ann")
      for _, nick in ipairs { "Ann", "ann", "ANN" } do
        local second = assert(testing.connect("/chat/green?nick=" .. nick))
        local message, err = second:readMessage()
        assert.is_nil(message)
        assert.equal(4001, err.statusCode)
        assert.equal("somebody else is " .. nick, err.reason)
      end
      leave(ann)
      local again
      repeat -- its worker may learn a moment later that the first one is gone
        again = assert(testing.connect "/chat/blue?nick=ann")
      until again:readMessage()
      send(again, { event = "tell", nick = "Ann", text = "it is me" })
      assert.equal("it is me", expect(again, "told").text)
      leave(again)
    end)

    it("of many who want the same nick name at the same time lets in one at most", function()
      local clients, inside = {}, {}
      for i = 1, 12 do
        clients[i] = assert(testing.connect "/chat/blue?nick=Everybody")
      end
      for _, client in ipairs(clients) do
        if client:readMessage() then
          table.insert(inside, client)
        end
      end
      assert.is_true(#inside <= 1, #inside .. " are called Everybody")
      leave(unpack(inside))
    end)

    it("says what is wrong, and goes on", function()
      local ann = enter("blue", "Ann")
      for message, text in pairs {
        [""] = "$: must have at least 1 character, has 0",
        [("x"):rep(1001)] = "$: must have at most 1000 characters, has 1001",
        ['{"event":"frob"}'] = 'send text, or {"event": "say"}, "tell", "join" or "who"',
        ['{"event":"tell","nick":"Bob"}'] = "$.text: is missing",
        ['{"event":"join","room":"a b"}'] = '$.room: must match the pattern "[%w_-]+", is "a b"',
      } do
        assert.equal(text, problem(ann, message))
      end
      send(ann, "hello")
      expect(ann, "said")
      leave(ann)
    end)

    it("does not let a client flood a room", function()
      local ann = enter("blue", "Ann")
      for _ = 1, 200 do
        send(ann, "spam")
      end
      local said, refused = 0, 0
      for _ = 1, 200 do
        if json.decode((ann:readMessage())).event == "said" then
          said = said + 1
        else
          refused = refused + 1
        end
      end
      assert.equal(200, said + refused)
      assert.is_true(refused > 0 and said >= 10, said .. " were said")
      leave(ann)
    end)

    it("refuses names that are none", function()
      for path, status in pairs {
        ["/chat/blue"] = 400,
        ["/chat/blue?nick="] = 400,
        ["/chat/blue?nick=a%20b"] = 400,
        ["/chat/blue?nick=%FF"] = 400,
        ["/chat/blue?nick=" .. ("x"):rep(21)] = 400,
        ["/chat/%3Cb%3E?nick=Ann"] = 400,
        ["/chat?nick=Ann"] = 404,
      } do
        local nothing, err = testing.connect(path)
        assert.is_nil(nothing)
        assert.equal(status, err.status, path)
      end
      local nothing, err = testing.connect("/chat/blue?nick=Ann", { headers = { Origin = "http://evil.example" } })
      assert.is_nil(nothing)
      assert.equal(403, err.status)
    end)
  end
end

describe("apps/chat with one worker", behaves(1))
describe("apps/chat with three workers", behaves(3))
