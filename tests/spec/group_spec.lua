-- SPDX-License-Identifier: MIT
--
-- Groups, stored connections and broadcasts in the real program, one worker, on the wire. What several workers do is in
-- tests/e2e/groups. The app is support/playapp.lua: clients send code.

package.path = "tests/spec/support/?.lua;" .. package.path
local testing = require "neap.testing"

local methods = {}
local clients = {}

--- Runs code as a callback of this client; returns what it returned, as text. Other messages that come before are kept.
function methods:ask(source, ...)
  self.ws:writeTextMessage(source:format(...))
  while true do
    local message, binary = assert(self.ws:readMessage())
    if not binary and message:find "^[=!] " then
      return message:sub(1, 2) == "= " and message:sub(3) or message
    end
    table.insert(self.got, (binary and "#" or "") .. message)
  end
end

--- All messages since the last call; binary ones begin with #.
function methods:all()
  self:ask "" -- what was sent before comes before
  local got = self.got
  self.got = {}
  return got
end

--- Closes, and waits until the server has told onClose.
function methods:close()
  if self.ws then
    self.ws:close()
  end
  self.ws = nil
end

local function connect(path)
  local client = setmetatable({ ws = assert(testing.connect(path or "/play")), got = {} }, { __index = methods })
  table.insert(clients, client)
  return client
end

-- Asks until the answer is this one.
local function await(client, source, expected)
  local answer
  for _ = 1, 2000 do
    answer = client:ask(source)
    if answer == expected then
      return
    end
    client:ask "task.sleep(0.005)"
  end
  assert.equal(expected, answer)
end

-- Lets time pass until the log has this.
local function awaitLog(text)
  local client = connect "/other"
  for _ = 1, 2000 do
    if testing.log():find(text, 1, true) then
      return
    end
    client:ask "task.sleep(0.005)"
  end
  error(testing.log())
end

local function result(members, delivered, dropped, closed)
  return ("PushResult (members %d, delivered %d, dropped %d, closed %d)"):format(members, delivered or members,
    dropped or 0, closed or 0)
end

describe("groups", function()
  setup(function()
    testing.start "tests/spec/support/playapp.lua"
  end)

  teardown(function()
    testing.stop()
  end)

  local a, b, c

  before_each(function()
    a, b, c = connect(), connect(), connect()
  end)

  -- Nobody is left in the next spec's groups.
  after_each(function()
    local last = connect "/other"
    for _, client in ipairs(clients) do
      if client ~= last then
        client:close()
      end
    end
    clients = {}
    await(last, "return websocket.broadcast('Play', '').members", "0")
    last:ask "kept.notes = {}"
    last:close()
  end)

  local function join(group, ...)
    for _, client in ipairs { ... } do
      client:ask("assert(websocket.addConnectionToGroup(%q, caller) == caller)", group)
    end
  end

  describe("a group", function()
    it("gets what is pushed to it: text, binary and values, each as writeMessage sends them", function()
      join("g", a, b)
      assert.equal(result(2), c:ask "return websocket.pushTextToGroup('g', 'text')")
      assert.equal(result(2), c:ask [[return websocket.pushBinaryToGroup('g', '\0\255')]])
      assert.equal(result(2), c:ask [[return websocket.pushBinaryToGroup('g', '')]])
      for _, value in ipairs {
        "'a string'", "12.5", "true", "{ a = 1 }", "websocket.bytes 'bytes'", "websocket.xml { tag = 'x' }",
        "require('neap.json').null", "require('neap.json').array {}", "''",
      } do
        assert.equal(result(2), c:ask("return websocket.pushToGroup('g', %s)", value))
      end
      local expected = { "text", "#\0\255", "#", "a string", "12.5", "true", '{"a":1}', "#bytes", "<x/>", "null", "[]",
        "" }
      assert.same(expected, a:all())
      assert.same(expected, b:all())
      assert.same({}, c:all())
    end)

    it("leaves out who is excepted, member or not", function()
      join("g", a, b)
      assert.equal(result(1), a:ask "return websocket.pushTextToGroup('g', '1', { except = caller })")
      assert.equal(result(1), a:ask "return websocket.pushBinaryToGroup('g', '2', { except = caller })")
      assert.equal(result(1), a:ask "return websocket.pushToGroup('g', { 3 }, { except = caller })")
      assert.equal(result(2), c:ask "return websocket.pushTextToGroup('g', '4', { except = caller })")
      assert.equal(result(2), c:ask "return websocket.pushTextToGroup('g', '5', {})")
      assert.same({ "4", "5" }, a:all())
      assert.same({ "1", "#2", "[3]", "4", "5" }, b:all())
    end)

    it("counts who is in it, once however often it was added", function()
      assert.equal("0", a:ask "return websocket.groupSize 'g'")
      join("g", a, a, b)
      assert.equal("2", c:ask "return websocket.groupSize 'g'")
      assert.equal("1, true", a:ask [[
        local ids = websocket.groupMembers 'other'
        websocket.addConnectionToGroup('other', caller)
        ids = websocket.groupMembers 'other'
        return #ids, ids[1] == caller:getConnectionId()]])
      local ids = a:ask "local ids = websocket.groupMembers 'g' table.sort(ids) return unpack(ids)"
      local expected = { a:ask "return caller:getConnectionId()", b:ask "return caller:getConnectionId()" }
      table.sort(expected)
      assert.equal(table.concat(expected, ", "), ids)
      assert.equal("table, 0", a:ask "local t = websocket.groupMembers 'nobody' return type(t), #t")
    end)

    it("loses a member that is taken out, and tells whether it was in", function()
      join("g", a, b)
      assert.equal("true, false", a:ask [[return websocket.removeConnectionFromGroup('g', caller),
        websocket.removeConnectionFromGroup('g', caller)]])
      assert.equal("false", c:ask "return websocket.removeConnectionFromGroup('nowhere', caller)")
      assert.equal(result(1), c:ask "return websocket.pushTextToGroup('g', 'x')")
      assert.same({}, a:all())
      assert.same({ "x" }, b:all())
    end)

    it("is empty once it was removed, and there again with the next member", function()
      join("g", a, b)
      assert.equal("true, false", c:ask [[return websocket.removeConnectionGroup 'g',
        websocket.removeConnectionGroup 'g']])
      assert.equal(result(0), c:ask "return websocket.pushTextToGroup('g', 'x')")
      assert.equal("true, 0", a:ask "return caller:isOpen(), websocket.groupSize 'g'")
      join("g", b)
      assert.equal(result(1), c:ask "return websocket.pushTextToGroup('g', 'y')")
      assert.same({}, a:all())
      assert.same({ "y" }, b:all())
    end)

    it("has any bytes for a name, up to 255", function()
      for _, name in ipairs { "'\\0'", "'a\\0b'", "'\\255\\254'", "('x'):rep(255)", "' '", "'g\\n'" } do
        assert.equal("true", a:ask("return websocket.addConnectionToGroup(%s, caller) == caller", name))
        assert.equal(result(1), b:ask("return websocket.pushTextToGroup(%s, 'x')", name))
        assert.equal("1", b:ask("return websocket.groupSize(%s)", name))
      end
      assert.equal(result(0), b:ask "return websocket.pushTextToGroup('a', 'x')")
      assert.equal(result(0), b:ask "return websocket.pushTextToGroup(('x'):rep(254), 'x')")
      assert.equal(6, #a:all())
    end)

    it("is another one than the service or the stored connection of that name", function()
      a:ask "websocket.storeConnection('Play', caller)"
      join("Play", b)
      assert.equal(result(1), c:ask "return websocket.pushTextToGroup('Play', 'group')")
      assert.equal(result(1), c:ask "return websocket.pushTextToConnection('Play', 'name')")
      assert.equal(result(3), c:ask "return websocket.broadcastText('Play', 'service')")
      assert.equal("true", c:ask "return websocket.removeConnectionGroup 'Play'")
      assert.same({ "name", "service" }, a:all())
      assert.same({ "group", "service" }, b:all())
      assert.same({ "service" }, c:all())
    end)

    it("is left by a connection that closes, before anybody is told", function()
      join("g", a, b)
      a:ask [[
        self.name = "a"
        function self.onEnd(caller)
          local joined, err = websocket.addConnectionToGroup("g", caller)
          return table.concat({ websocket.pushTextToGroup("g", "bye").members, websocket.groupSize "g",
            tostring(joined), tostring(err), tostring(websocket.storeConnection("g", caller)),
            tostring(websocket.removeConnectionFromGroup("g", caller)),
            tostring(caller:broadcastText "all") }, " ")
        end]]
      a:close()
      await(b, "return #kept.notes", "2")
      assert.equal("a closed 1000, a 1 1 nil ConnectionError: connection closed nil false " .. result(2),
        b:ask "return unpack(kept.notes)")
      assert.same({ "bye", "all" }, b:all())
      assert.same({ "all" }, c:all())
    end)

    it("is left when the server closes, at once", function()
      join("g", a, b)
      assert.equal("1", a:ask [[
        kept.a = caller
        task.spawn(function() caller:close(4000, "bye") end)
        return websocket.pushTextToGroup("g", "x", { except = caller }).members]])
      await(b, "return tostring(kept.a:isOpen())", "false")
      assert.equal("1, nil, ConnectionError: connection closed", b:ask [[
        return websocket.pushTextToGroup("g", "x").members, websocket.addConnectionToGroup("g", kept.a)]])
      a.ws = nil
    end)

    it("takes a connection that is in 10,000 of them no more", function()
      assert.equal("10000, Error: the connection is in 10000 groups, which is the most", a:ask [[
        local n, ok, err = 0, true
        while ok do
          ok, err = websocket.addConnectionToGroup("g" .. n, caller)
          n = n + 1
        end
        return n - 1, err]])
      assert.equal("nil, Error: the connection is in 10000 groups, which is the most",
        a:ask "return websocket.storeConnection('name', caller)")
      assert.equal("true, true", a:ask [[return websocket.removeConnectionFromGroup("g77", caller),
        websocket.storeConnection('name', caller) == caller]])
      a:close()
      await(b, "return websocket.pushTextToGroup('g78', 'x').members", "0")
    end)

    it("keeps the order of what one handler writes and pushes", function()
      join("g", a, b)
      a:ask [[
        for i = 1, 50 do
          caller:writeTextMessage("w" .. i)
          websocket.pushTextToGroup("g", "p" .. i)
          caller:pushText("s" .. i)
          websocket.pushToGroup("g", i)
        end]]
      local atA, atB = {}, {}
      for i = 1, 50 do
        for _, message in ipairs { "w" .. i, "p" .. i, "s" .. i, tostring(i) } do
          table.insert(atA, message)
        end
        table.insert(atB, "p" .. i)
        table.insert(atB, tostring(i))
      end
      assert.same(atA, a:all())
      assert.same(atB, b:all())
    end)
  end)

  describe("a push", function()
    it("of text that is not UTF-8 is refused, and nobody gets it", function()
      join("g", a)
      a:ask "websocket.storeConnection('s', caller)"
      local refused = "nil, Error: text is not valid UTF-8: push it as binary"
      for _, call in ipairs {
        "pushTextToGroup('g', %s)", "pushToGroup('g', %s)", "pushTextToConnection('s', %s)",
        "pushToConnection('s', %s)", "broadcastText('Play', %s)", "broadcast('Play', %s)",
      } do
        assert.equal(refused, b:ask("return websocket." .. call, "'\\255'"))
      end
      assert.equal(refused, b:ask [[return caller:broadcastText '\255']])
      assert.equal(refused, b:ask [[return caller:broadcast '\255']])
      assert.matches("^nil, Error: text is not valid UTF%-8", b:ask [[return caller:pushText '\255']])
      assert.matches("^nil, Error: text is not valid UTF%-8", b:ask [[return caller:push '\255']])
      assert.same({}, a:all())
    end)

    it("of what is no message is refused", function()
      join("g", a)
      a:ask "websocket.storeConnection('s', caller)"
      for value, why in pairs {
        ["nil"] = "nil cannot be sent",
        ["print"] = "a stream cannot be pushed; push its values in a loop",
        ["websocket.stream { 1 }"] = "a stream cannot be pushed; push its values in a loop",
        ["websocket.NORMAL_CLOSURE"] = "a close frame cannot be pushed; caller:close() closes a connection",
        ["caller"] = "a Caller cannot be sent",
        ["websocket.pushTextToGroup('nobody', 'x')"] = "the result of a push cannot be sent",
        ["websocket.Error('Error', 'an error')"] = "an error",
        ["io.stdout"] = "a userdata cannot be sent",
        ["websocket.service('X', {})"] = "a service cannot be sent",
      } do
        for _, call in ipairs {
          "websocket.pushToGroup('g', %s)", "websocket.pushToConnection('s', %s)", "websocket.broadcast('Play', %s)",
          "caller:broadcast(%s)", "caller:push(%s)",
        } do
          assert.equal("nil, Error: " .. why, b:ask("return " .. call, value))
        end
      end
      assert.matches("^nil, Error: .* has no JSON form", b:ask "return websocket.pushToGroup('g', { print })")
      assert.same({}, a:all())
    end)

    it("converts a value once, whatever the number of members", function()
      join("g", a, b, c)
      assert.equal("1", a:ask [[
        local xml, calls = require "neap.xml", 0
        local encode = xml.encode
        xml.encode = function(...) calls = calls + 1 return encode(...) end
        websocket.pushToGroup("g", websocket.xml { tag = "x" })
        xml.encode = encode
        return calls]])
    end)

    it("that a callback returns sends nothing, in streams and dispatch as well", function()
      join("g", b)
      local function returned(path, message, send)
        local client = connect(path)
        client.ws[send or "writeBinaryMessage"](client.ws, message)
        client.ws:ping()
        return client
      end
      returned("/play", "return websocket.pushTextToGroup('g', 'returned')")
      returned("/play", "return websocket.pushTextToGroup('g', '\255')"):close()
      local stream = returned("/play", [[local n = 0 return function()
        n = n + 1
        if n < 3 then return websocket.pushTextToGroup('g', 'streamed' .. n) end
        if n == 3 then return 'last' end
      end]])
      assert.equal("last", stream.ws:readMessage())
      returned("/dispatched", '{"event":"push","group":"g","text":"dispatched"}', "writeTextMessage")
      returned("/sidebyside", '{"event":"push","id":1,"group":"g","text":"beside"}', "writeTextMessage")
      await(b, "return websocket.groupSize 'g'", "1")
      assert.same({ "returned", "streamed1", "streamed2", "dispatched", "beside" }, b:all())
      assert.equal("true", a:ask "return caller:writeMessage(websocket.pushTextToGroup('nobody', '')) == caller")
      for _, client in ipairs(clients) do
        assert.is_nil(client.ws and client.ws:readMessage(0))
      end
    end)

    it("works from timers, tasks, upgrade functions, and coroutines of the app's own", function()
      join("g", a)
      b:ask "task.spawn(websocket.pushTextToGroup, 'g', 'task')"
      b:ask "task.after(0, function() websocket.pushTextToGroup('g', 'timer ' .. websocket.groupSize 'g') end)"
      await(a, "return #websocket.groupMembers 'g'", "1")
      connect "/upgrading?code=return(websocket.pushTextToGroup('g','upgrade'))"
      assert.equal("= " .. result(1), b:ask "return kept.upgraded")
      connect "/upgrading?code=return(websocket.groupSize('g'))"
      assert.equal("= 1", b:ask "return kept.upgraded")
      assert.equal("1", b:ask "return coroutine.wrap(function() return websocket.groupSize 'g' end)()")
      local got = a:all()
      table.sort(got)
      assert.same({ "task", "timer 1", "upgrade" }, got)
    end)

    it("works at load, when nobody is there", function()
      assert.equal(("= %s, 0, false, %s, Error: no connection is stored under \"load\""):format(result(0), result(0)),
        a:ask "return kept.atLoad")
    end)

    it("has a result of four numbers and nothing else", function()
      assert.equal("0, 0, 0, 0, nil, nil, userdata", a:ask [[
        local r = websocket.pushTextToGroup("g", "x")
        return r.members, r.delivered, r.dropped, r.closed, r.other, r[1], type(r)]])
      assert.matches("^! ", a:ask "websocket.pushTextToGroup('g', 'x').members = 1")
      assert.matches("^! ", a:ask "return getmetatable(websocket.pushTextToGroup('g', 'x')).__index({}, 'members')")
      assert.matches("^! ", a:ask "return getmetatable(websocket.pushTextToGroup('g', 'x')).__tostring(io.stdout)")
    end)

    it("makes nothing but its result", function()
      join("g", a)
      -- A userdata of 16 bytes has a head of 48 on top.
      local bytes = tonumber(a:ask [[
        local options = { except = caller }
        local function push() websocket.pushTextToGroup("g", "x", options) end
        jit.off(push)
        push()
        collectgarbage() collectgarbage "stop"
        local before = collectgarbage "count"
        for _ = 1, 1000 do push() end
        local after = collectgarbage "count"
        collectgarbage "restart"
        return (after - before) * 1024 / 1000]])
      assert.is_true(bytes <= 72, "a push makes " .. bytes .. " bytes")
    end)
  end)

  describe("a stored connection", function()
    it("gets what is pushed to its name", function()
      assert.equal("true", a:ask "return websocket.storeConnection('n', caller) == caller")
      assert.equal(result(1), b:ask "return websocket.pushTextToConnection('n', 'text')")
      assert.equal(result(1), b:ask [[return websocket.pushBinaryToConnection('n', '\1\0')]])
      assert.equal(result(1), b:ask "return websocket.pushToConnection('n', { 1 })")
      assert.equal(result(1), b:ask "return websocket.pushToConnection('n', websocket.bytes 'b')")
      assert.equal(result(1), a:ask "return websocket.pushTextToConnection('n', 'self')")
      assert.same({ "text", "#\1\0", "[1]", "#b", "self" }, a:all())
      assert.same({}, b:all())
    end)

    it("may have several names, and keep them when it is stored again", function()
      a:ask "websocket.storeConnection('n', caller) websocket.storeConnection('m', caller)"
      a:ask "websocket.storeConnection('n', caller)"
      b:ask "websocket.pushTextToConnection('n', '1') websocket.pushTextToConnection('m', '2')"
      assert.same({ "1", "2" }, a:all())
    end)

    it("loses its name to the one that is stored next, and stays open", function()
      a:ask "websocket.storeConnection('n', caller)"
      b:ask "websocket.storeConnection('n', caller)"
      assert.equal(result(1), c:ask "return websocket.pushTextToConnection('n', 'x')")
      assert.same({ "x" }, b:all())
      assert.same({}, a:all())
      a:ask "self.name = 'a'"
      a:close() -- who has lost it takes nothing with it
      await(c, "return #kept.notes", "1")
      assert.equal(result(1), c:ask "return websocket.pushTextToConnection('n', 'y')")
      assert.same({ "y" }, b:all())
    end)

    it("loses its name when it is removed, and when it closes", function()
      local nobody = 'nil, Error: no connection is stored under "n"'
      assert.equal(nobody, b:ask "return websocket.pushTextToConnection('n', 'x')")
      assert.equal("false", b:ask "return websocket.removeStoredConnection 'n'")
      a:ask "websocket.storeConnection('n', caller)"
      assert.equal("true, false", b:ask [[return websocket.removeStoredConnection 'n',
        websocket.removeStoredConnection 'n']])
      for _, call in ipairs {
        "pushTextToConnection('n', '')", "pushBinaryToConnection('n', '')", "pushToConnection('n', 1)",
      } do
        assert.equal(nobody, b:ask("return websocket." .. call))
      end
      a:ask "websocket.storeConnection('n', caller)"
      a:close()
      await(b, "return select(2, websocket.pushTextToConnection('n', 'x'))", 'Error: no connection is stored under "n"')
      assert.equal("false", b:ask "return websocket.removeStoredConnection 'n'")
      assert.equal([[nil, Error: no connection is stored under "\000\010"]],
        b:ask [[return websocket.pushTextToConnection("\0\n", 'x')]])
    end)

    it("does not come to a connection that is closed", function()
      a:ask "kept.gone = caller"
      a:close()
      await(b, "return tostring(kept.gone)", "Caller (gone)")
      for _, call in ipairs {
        "websocket.storeConnection('n', kept.gone)", "websocket.addConnectionToGroup('g', kept.gone)",
        "kept.gone:broadcastText 'x'", "kept.gone:broadcastBinary 'x'", "kept.gone:broadcast(1)",
        "kept.gone:pushText 'x'", "kept.gone:pushBinary 'x'", "kept.gone:push(1)", "kept.gone:push 'x'",
      } do
        assert.equal("nil, ConnectionError: connection closed", b:ask("return " .. call))
      end
      assert.equal("false", b:ask "return websocket.removeConnectionFromGroup('g', kept.gone)")
      join("g", b)
      assert.equal(result(1), b:ask "return websocket.pushTextToGroup('g', 'x', { except = kept.gone })")
    end)
  end)

  describe("a broadcast", function()
    it("reaches all clients of the services of that name", function()
      local again, other = connect "/again", connect "/other"
      assert.equal(result(4), other:ask "return websocket.broadcastText('Play', 'text')")
      assert.equal(result(4), other:ask "return websocket.broadcastBinary('Play', 'bytes')")
      assert.equal(result(4), other:ask "return websocket.broadcast('Play', { 1 })")
      assert.equal(result(3), a:ask "return websocket.broadcast('Play', 2, { except = caller })")
      assert.equal(result(3), a:ask "return websocket.broadcastText('Play', '3', { except = caller })")
      assert.equal(result(3), a:ask "return websocket.broadcastBinary('Play', '4', { except = caller })")
      assert.equal(result(0), a:ask "return websocket.broadcast('Nobody', 2)")
      assert.same({ "text", "#bytes", "[1]" }, a:all())
      for _, client in ipairs { b, c, again } do
        assert.same({ "text", "#bytes", "[1]", "2", "3", "#4" }, client:all())
      end
      assert.same({}, other:all())
    end)

    it("of a Caller reaches all clients of its service, itself included", function()
      local again, other = connect "/again", connect "/other"
      assert.equal(result(4), a:ask "return caller:broadcastText 'text'")
      assert.equal(result(4), a:ask "return caller:broadcastBinary 'bytes'")
      assert.equal(result(4), a:ask "return caller:broadcast { 1 }")
      assert.equal(result(4), again:ask "return caller:broadcast 'again'")
      for _, client in ipairs { a, b, c, again } do
        assert.same({ "text", "#bytes", "[1]", "again" }, client:all())
      end
      assert.same({}, other:all())
    end)

    it("of a Caller whose service has no name reaches the clients of its path", function()
      local long = "/" .. ("long"):rep(80)
      for _, path in ipairs { "/plain", "/plain/two", long, long .. "er" } do
        local one, two = connect(path), connect(path)
        assert.equal(result(2), one:ask "return caller:broadcastText 'x'")
        assert.same({ "x" }, one:all())
        assert.same({ "x" }, two:all())
      end
      assert.same({}, a:all())
    end)

    it("finds a client from its first callback on", function()
      local other = connect "/other"
      for n = 4, 13 do
        connect()
        assert.equal(tostring(n), other:ask "return websocket.broadcastText('Play', '').members")
      end
    end)
  end)

  describe("given anything at all", function()
    local names = [[
      local functions = {}
      for _, name in ipairs {
        "addConnectionToGroup", "removeConnectionFromGroup", "removeConnectionGroup", "pushTextToGroup",
        "pushBinaryToGroup", "pushToGroup", "groupMembers", "groupSize", "storeConnection", "removeStoredConnection",
        "pushTextToConnection", "pushBinaryToConnection", "pushToConnection", "broadcast", "broadcastText",
        "broadcastBinary",
      } do
        functions[#functions + 1] = { name = name, fn = websocket[name], ours = true }
      end
      for _, name in ipairs { "push", "pushText", "pushBinary", "broadcast", "broadcastText", "broadcastBinary" } do
        functions[#functions + 1] = { name = name, fn = caller[name] }
      end
      for name, fn in pairs(require "neap.core") do
        if name:find "^group" or name == "isPushResult" then
          functions[#functions + 1] = { name = name, fn = fn }
        end
      end
      local result = websocket.pushTextToGroup("g", "x")
      for _, name in ipairs { "__index", "__tostring" } do
        functions[#functions + 1] = { name = name, fn = getmetatable(result)[name] }
      end
      local values = {
        true, false, 0, 1, 2, 3, -1, 0.5, 1e300, -1e300, 0 / 0, 1 / 0, "", "g", "Play", ("x"):rep(255), ("x"):rep(256),
        "\0", "\255", "members", {}, { 1 }, { except = caller }, { except = kept.gone }, { except = 1 },
        { 1, except = caller }, { unknown = 1 }, caller, kept.gone, result, print, coroutine.create(print), io.stdout,
        newproxy(true), require("ffi").new "int[4]", websocket.NORMAL_CLOSURE, websocket.bytes "x",
        websocket.xml { tag = "x" },
        websocket.Error("Error", "x"), websocket, caller, caller, "g", "g",
      }
      local function pick() return values[math.random(#values + 3)] end
      local bad = 0
      for _ = 1, 300 do
        local f = functions[math.random(#functions)]
        local ok, err = pcall(f.fn, unpack({ pick(), pick(), pick(), pick(), pick() }, 1, math.random(0, 5)))
        err = tostring(err)
        if not ok and f.ours and not err:find("websocket." .. f.name, 1, true) or err:find "neap/" then
          return f.name, err
        end
      end
      return "fine"]]

    it("functions do their work or say what is wrong, and never more", function()
      c:ask "kept.gone = caller"
      c:close()
      for seed = 1, 20 do
        assert.equal("fine", a:ask(("math.randomseed(%d) "):format(seed) .. names:gsub("%%", "%%%%")))
        b:all()
      end
    end)
  end)

  describe("pushes to one's own client", function()
    it("send text, binary and values", function()
      assert.equal("true, true, true, true, true", a:ask [[
        return caller:pushText "t" == caller, caller:pushBinary "b" == caller, caller:push "s" == caller,
          caller:push { 1 } == caller, caller:push(websocket.bytes "v") == caller]])
      assert.same({ "t", "#b", "s", "[1]", "#v" }, a:all())
    end)
  end)

  describe("a slow client", function()
    local big = "('x'):rep(100000)"

    -- Pushes until the client's socket and its queue are full; the number of pushes.
    local function fill(group)
      return tonumber(a:ask([[
        for i = 1, 1000 do
          local r = websocket.pushTextToGroup("%s", %s)
          if r.dropped > 0 then return i end
          task.sleep(0)
        end]], group, big))
    end

    it("misses messages where its route says drop, and is told of in result and log", function()
      local slow = connect "/drop"
      join("g", slow)
      local pushes = assert(fill "g", "nothing was dropped")
      join("g", b)
      assert.equal(result(2, 1, 1), a:ask("return websocket.pushTextToGroup('g', %s)", big))
      assert.equal(result(2, 1, 1), a:ask "return websocket.pushTextToGroup('g', 'small')")
      assert.equal("2", a:ask "return websocket.groupSize 'g'")
      for _ = 1, pushes - 1 do -- none is cut, none comes twice
        assert.equal(100000, #assert(slow.ws:readMessage()))
      end
      await(a, "return websocket.pushTextToGroup('g', 'again').dropped", "0")
      assert.equal("again", slow.ws:readMessage())
      assert.equal(100000, #b:all()[1])
      awaitLog "slow clients: 3 pushed messages were dropped, 0 connections closed group=g"
    end)

    it("is closed with 1013 where its route says close, and told of it once", function()
      local slow = connect "/close"
      slow:ask "self.name = 'slow'"
      join("g", slow)
      assert(fill "g", "nothing was dropped")
      join("g", b)
      assert.equal(result(1), a:ask "return websocket.pushTextToGroup('g', 'x')")
      await(a, "return #kept.notes", "2")
      assert.matches("^slow error ConnectionError: .*, slow closed 1013$", a:ask "return unpack(kept.notes)")
      local message, err
      repeat
        message, err = slow.ws:readMessage()
      until not message
      assert.equal(1013, err.statusCode)
      awaitLog "slow clients: 0 pushed messages were dropped, 1 connections closed group=g"
    end)
  end)
end)
