-- SPDX-License-Identifier: MIT
--
-- A quiz: players join, answer one question after the other, and see how the others do.
--
--     neap run apps/quiz              serves ws://localhost:9090/quiz
--     neap run apps/quiz -- 9001      the same on port 9001
--
-- Every message is a JSON object whose field `event` says what it is. It leads to the callback of that name:
-- {"event": "join", ...} to onJoin. What a message must look like is said by constraints, so that the callbacks
-- need not check what they get.

local constraint = require "neap.constraint"
local json = require "neap.json"
local websocket = require "neap.websocket"

local questions = {
  { text = "How many bits has a byte?", choices = { "4", "8", "10" }, right = 2 },
  { text = "Which port is that of https?", choices = { "80", "443", "8080" }, right = 2 },
  { text = "What answers a ping?", choices = { "a pong", "an echo", "nothing" }, right = 1 },
}

-- Who plays, by name. Plain Lua: all connections of a worker share it, and callbacks run one at a time.
local players = {}

local Join = constraint.record {
  name = constraint.string { minLength = 1, maxLength = 20, pattern = "[%w ]+" },
}

local Answer = constraint.record {
  question = constraint.int { minValue = 1, maxValue = #questions },
  choice = constraint.int { minValue = 1, maxValue = 3 },
}

local function scores()
  local list = json.array() -- written as [] also when nobody plays
  for name, player in pairs(players) do
    table.insert(list, { name = name, score = player.score })
  end
  table.sort(list, function(a, b) return a.score > b.score or a.score == b.score and a.name < b.name end)
  return { event = "scores", players = list }
end

-- To everybody who plays. A push never waits: one slow client does not hold up the others.
local function tellAll(message)
  local text = json.encode(message)
  for _, player in pairs(players) do
    player.caller:pushText(text)
  end
end

local function problem(text)
  return { event = "problem", text = text }
end

-- A returned table is sent as JSON. `self` is the connection's own table: here it is the player.
local Quiz = websocket.service("Quiz", {
  ask = function(self)
    local question = questions[self.question]
    if not question then
      return { event = "finished", score = self.score }
    end
    return { event = "question", question = self.question, text = question.text, choices = question.choices }
  end,

  onJoin = websocket.bind(Join, function(self, caller, join)
    if self.name then
      return problem("you are " .. self.name .. " already")
    elseif players[join.name] then
      return problem("somebody else is " .. join.name)
    end
    self.name, self.caller, self.score, self.question = join.name, caller, 0, 1
    players[join.name] = self
    tellAll { event = "joined", name = join.name }
    return self:ask()
  end),

  onAnswer = websocket.bind(Answer, function(self, caller, answer)
    if not self.name then
      return problem "join first"
    elseif answer.question ~= self.question then
      return problem "that is not your question"
    end
    local right = answer.choice == questions[self.question].right
    self.score = self.score + (right and 1 or 0)
    self.question = self.question + 1
    caller:writeMessage { event = right and "right" or "wrong", score = self.score }
    tellAll(scores())
    return self:ask()
  end),

  onScores = function()
    return scores()
  end,

  -- What does not look as it must ends up here, and the connection stays open. Without these two callbacks it would be
  -- closed, with the same text as the reason.
  onJoinError = function(self, caller, err)
    return problem(err.message)
  end,

  onAnswerError = function(self, caller, err)
    return problem(err.message)
  end,

  -- Everything that leads to no other callback.
  onMessage = function()
    return problem 'send {"event": "join", "name": "..."}, "answer" or "scores"'
  end,

  onClose = function(self)
    if self.name then
      players[self.name] = nil
      tellAll { event = "left", name = self.name }
    end
  end,
})

websocket.listener(arg[1] or 9090):attach("/quiz", { dispatcherKey = "event" }, function()
  return Quiz {}
end)
