-- SPDX-License-Identifier: MIT
--
-- What apps/quiz promises, played by one or two players.

local json = require "dkjson"
local testing = require "neap.testing"

describe("apps/quiz", function()
  setup(function()
    testing.start "apps/quiz"
  end)

  teardown(function()
    testing.stop()
  end)

  local function send(player, message)
    assert(player:writeTextMessage(type(message) == "string" and message or json.encode(message)))
  end

  -- The player's next message, which must be of this event.
  local function expect(player, event)
    local message = json.decode((assert(player:readMessage())))
    assert.equal(event, message.event, json.encode(message))
    return message
  end

  local function problem(player, message)
    send(player, message)
    return expect(player, "problem").text
  end

  local function join(name)
    local player = assert(testing.connect "/quiz")
    send(player, { event = "join", name = name })
    assert.equal(name, expect(player, "joined").name)
    assert.equal(1, expect(player, "question").question)
    return player
  end

  -- The others see that a player is gone; until then its name is taken.
  local function leave(player, ...)
    assert(player:close())
    for _, other in ipairs { ... } do
      expect(other, "left")
    end
  end

  local function answer(player, question, choice)
    send(player, { event = "answer", question = question, choice = choice })
  end

  it("asks until the last question, and counts", function()
    local ann = join "Ann"
    answer(ann, 1, 2)
    assert.equal(1, expect(ann, "right").score)
    assert.same({ { name = "Ann", score = 1 } }, expect(ann, "scores").players)
    assert.equal(3, #expect(ann, "question").choices)
    answer(ann, 2, 1)
    assert.equal(1, expect(ann, "wrong").score)
    expect(ann, "scores")
    expect(ann, "question")
    answer(ann, 3, 1)
    assert.equal(2, expect(ann, "right").score)
    expect(ann, "scores")
    assert.equal(2, expect(ann, "finished").score)
    assert.equal("that is not your question", problem(ann, { event = "answer", question = 3, choice = 1 }))
    leave(ann)
  end)

  it("shows everybody who plays, and how", function()
    local bob = join "Bob"
    local cleo = join "Cleo"
    assert.equal("Cleo", expect(bob, "joined").name)
    answer(cleo, 1, 2)
    expect(cleo, "right")
    for _, player in ipairs { bob, cleo } do
      assert.same({ { name = "Cleo", score = 1 }, { name = "Bob", score = 0 } }, expect(player, "scores").players)
    end
    expect(cleo, "question")
    local second = assert(testing.connect "/quiz")
    assert.equal("somebody else is Bob", problem(second, { event = "join", name = "Bob" }))
    leave(second)
    leave(cleo, bob)
    send(bob, { event = "scores" })
    assert.same({ { name = "Bob", score = 0 } }, expect(bob, "scores").players)
    leave(bob)
  end)

  it("says what is wrong with a message, and goes on", function()
    local dan = join "Dan"
    for message, text in pairs {
      ['{"event":"answer","question":1,"choice":7}'] = "$.choice: must be at most 3, is 7",
      ['{"event":"answer","question":1}'] = "$.choice: is missing",
      ['{"event":"answer","question":"1","choice":1}'] = '$.question: must be a whole number, is "1"',
      ['{"event":"answer","question":2,"choice":1}'] = "that is not your question",
      ['{"event":"join","name":"<Dan>"}'] = '$.name: must match the pattern "[%w ]+", is "<Dan>"',
      ['{"event":"join","name":"Eve"}'] = "you are Dan already",
    } do
      assert.equal(text, problem(dan, message))
    end
    for _, message in ipairs { "hello", "{}", "[1]", '{"event":"close"}', '{"event":"joinError"}', '{"event":1}' } do
      assert.matches('^send {"event": "join"', problem(dan, message))
    end
    answer(dan, 1, 2)
    expect(dan, "right")
    leave(dan)
  end)

  it("lets only players answer", function()
    local watcher = assert(testing.connect "/quiz")
    assert.equal("join first", problem(watcher, { event = "answer", question = 1, choice = 1 }))
    send(watcher, '{"event":"scores"}')
    expect(watcher, "scores")
    leave(watcher)
  end)
end)
