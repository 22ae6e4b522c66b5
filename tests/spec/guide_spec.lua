-- SPDX-License-Identifier: MIT
--
-- The programs in docs/guide.md are what they claim to be: each Lua block names its file in the first line, passes
-- `neap check`, runs, and does what the guide says. The block of mistake.lua is followed by what `neap check` says.

package.path = "tests/spec/support/?.lua;" .. package.path
local testing = require "neap.testing"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local guide = read "docs/guide.md"

-- All Lua blocks: { name =, source =, said = the text block that follows at once, or nil }.
local function programs()
  local list = {}
  for source, at in guide:gmatch "\n```lua\n(.-\n)```\n()" do
    local name = source:match "^%-%- ([%w_]+%.lua)\n"
    local said = guide:match("^[^`]*`[^`]*`[^`]*\n```text\n(.-)```\n", at)
    table.insert(list, { name = name, source = source, said = said })
  end
  return list
end

describe("docs/guide.md", function()
  local folder
  local byName = {}

  setup(function()
    local pipe = assert(io.popen "mktemp -d")
    folder = pipe:read "*l"
    pipe:close()
    for _, program in ipairs(programs()) do
      byName[program.name] = program
      local file = assert(io.open(folder .. "/" .. program.name, "wb"))
      file:write(program.source)
      file:close()
    end
  end)

  teardown(function()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  -- Starts a program of the guide, hands a function that connects to `test`, and stops it. Returns the log.
  local function serve(name, test)
    testing.start(folder .. "/" .. name)
    local good, err = pcall(test)
    local log = testing.stop() -- what follows a close is in it for certain
    assert(good, tostring(err) .. "\n" .. log)
    return log
  end

  it("has programs, each with a name of its own", function()
    local seen, count = {}, 0
    for _, program in ipairs(programs()) do
      assert.is_string(program.name, "a block does not begin with its name:\n" .. program.source)
      assert.is_nil(seen[program.name])
      seen[program.name] = true
      count = count + 1
    end
    assert.is_true(count >= 8)
    assert.equal(select(2, guide:gsub("\n```lua", "")), count)
  end)

  it("has programs that pass neap check, and one with mistakes that are told as printed", function()
    for name, program in pairs(byName) do
      local status, output, log = testing.run { "check", folder .. "/" .. name }
      local text = output .. log
      if name == "mistake.lua" then
        assert.equal(1, status)
        assert.is_string(program.said)
        assert.equal(program.said, (text:gsub(folder:gsub("%p", "%%%0") .. "/", "")))
      else
        assert.equal(0, status, name .. ": " .. text)
      end
    end
  end)

  it("says hello", function()
    serve("hello.lua", function()
      local client = assert(testing.connect "/hello")
      client:writeTextMessage "world"
      assert.equal("hello, world", client:readMessage())
      client:close()
    end)
  end)

  it("counts", function()
    local log = serve("counter.lua", function()
      local client = assert(testing.connect "/counter")
      assert.equal("send me numbers", client:readMessage())
      client:writeTextMessage "40"
      assert.equal("plus 40", client:readMessage())
      assert.equal('{"sum":40}', client:readMessage())
      client:writeTextMessage "many"
      assert.matches('"error":"not a number"', (client:readMessage()))
      client:writeTextMessage "61"
      local message, err = client:readMessage()
      assert.is_nil(message)
      assert.equal(1000, err.statusCode)
      assert.equal("enough", err.reason)
      client:close()
    end)
    assert.is_truthy(log:find('info  gone code=1000 reason="" sum=101', 1, true), log)
  end)

  it("lets in who may, and refuses others", function()
    serve("rooms.lua", function()
      local client = assert(testing.connect "/room/blue?key=key-of-ann")
      assert.equal("ann, this is room blue", client:readMessage())
      client:close()
      assert.equal(401, select(2, testing.connect "/room/blue").status)
      local function from(origin)
        return testing.connect("/room/blue?key=key-of-bob", { headers = { Origin = origin } })
      end
      assert.equal(403, select(2, from "https://example.org").status)
      assert(from "https://example.com"):close()
    end)
  end)

  it("has rooms", function()
    serve("lounge.lua", function()
      local ann = assert(testing.connect "/blue/ann")
      assert.equal("1 in blue", ann:readMessage())
      local bob = assert(testing.connect "/blue/bob")
      assert.equal("2 in blue", bob:readMessage())
      assert.equal("bob has come", ann:readMessage())
      ann:writeTextMessage "hello"
      assert.matches('"text":"hello"', (ann:readMessage()))
      assert.matches('"from":"ann"', (bob:readMessage()))
      ann:writeTextMessage "@bob psst"
      assert.equal("ann whispers: psst", bob:readMessage())
      bob:close()
      assert.equal("bob has gone", ann:readMessage())
      ann:writeTextMessage "@bob psst"
      assert.equal('no connection is stored under "bob"', ann:readMessage())
      ann:close()
    end)
  end)

  it("takes messages of a certain shape", function()
    local json = require "nativejson"
    serve("shop.lua", function()
      local client = assert(testing.connect "/shop")
      local function ask(text)
        client:writeTextMessage(text)
        return json.jsonDecode(client:readMessage())
      end
      assert.same({ event = "ordered", item = "tea" }, ask '{"event": "order", "item": "tea", "count": 2}')
      assert.same({ event = "refused", why = "$.count: must be at most 99, is 100" },
        ask '{"event": "order", "item": "tea", "count": 100}')
      assert.same({ event = "total", total = 2 }, ask '{"event": "show total"}')
      assert.same({ event = "unknown", got = "tea" }, ask "tea")
      client:close()
    end)
  end)

  it("chats", function()
    serve("chat.lua", function()
      local ann = assert(testing.connect "/chat/ann")
      assert.equal("ann has come", ann:readMessage())
      local bob = assert(testing.connect "/chat/bob")
      assert.equal("bob has come", ann:readMessage())
      assert.equal("bob has come", bob:readMessage())
      bob:writeTextMessage "hi"
      assert.equal("bob: hi", ann:readMessage())
      bob:close()
      assert.equal("bob has gone", ann:readMessage())
      ann:close()
    end)
  end)

  it("cooks, and tells the time meanwhile", function()
    serve("kitchen.lua", function()
      local clock = assert(testing.connect "/clock")
      local guest = assert(testing.connect "/kitchen")
      guest:writeTextMessage "soup"
      assert.matches("^soup, by cook [12]$", (guest:readMessage()))
      assert.is_string(clock:readMessage())
      assert.is_string(clock:readMessage())
      clock:close()
      guest:close()
    end)
  end)

  it("has a script whose tasks take turns", function()
    local status, output = testing.run { "run", folder .. "/tasks.lua" }
    assert.equal(0, status)
    assert.matches("fast is done\n", output)
    assert.matches("slow is done\nnil\tCancelled: [^\n]*\n$", output)
    assert.is_true(output:find("fast is done", 1, true) < output:find("slow is done", 1, true))
    assert.equal(6, select(2, output:gsub("%l+\t%d\n", "")))
  end)

  it("answers in pieces", function()
    serve("pieces.lua", function()
      local client = assert(testing.connect "/pieces")
      local function answers(text, ...)
        client:writeTextMessage(text)
        for _, expected in ipairs { ... } do
          assert.equal(expected, client:readMessage())
        end
      end
      answers("countdown", '{"left":2}', '{"left":1}', '{"left":0}')
      answers("tree", "left 1", "left 2", "right 1", "right 2")
      answers("go", "ready", "steady", "go")
      answers("one two", "one", "two")
      client:writeTextMessage "countdown"
      answers("beside it", "beside", "it", '{"left":2}')
      client:close()
    end)
  end)

  it("takes orders", function()
    serve("orders.lua", function()
      local client = assert(testing.connect "/orders")
      client:writeTextMessage "tea"
      assert.equal('{"error":"line 1, column 1: expected a value"}', client:readMessage())
      client:writeTextMessage '["tea"]'
      assert.equal('{"accepted":["tea"]}', client:readMessage())
      assert.equal('{"shipped":["tea"]}', client:readMessage())
      client:close()
    end)
  end)

  it("ends one connection when a callback raises, and no other", function()
    local log = serve("fragile.lua", function()
      local other = assert(testing.connect "/fragile")
      local client = assert(testing.connect "/fragile")
      client:writeTextMessage "x"
      local message, err = client:readMessage()
      assert.is_nil(message)
      assert.equal(1011, err.statusCode)
      client:close()
      assert(other:ping())
      other:close()
    end)
    assert.is_truthy(log:find("fragile.lua:7:", 1, true), log)
    assert.is_truthy(log:find("a connection failed", 1, true), log)
  end)
end)
