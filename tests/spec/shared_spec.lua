-- SPDX-License-Identifier: MIT
--
-- neap.shared in the real program, one worker: what comes back, what is refused, what expires, what is full, and what
-- lies on a disk.  What several workers do with one dictionary is in tests/e2e/groups/shared_test.py.

package.path = "tests/spec/support/?.lua;" .. package.path
local folder = require "appfolder"
local testing = require "neap.testing"

after_each(folder.remove)

local BEGIN = [[
local shared = require "neap.shared"
local json = require "neap.json"
local task = require "neap.task"
local function show(...)
  local out = {}
  for i = 1, select("#", ...) do
    out[i] = tostring((select(i, ...)))
  end
  print(table.concat(out, " "))
end
]]

-- Runs a script; `root` may be a folder that has been used before.
local function run(source, root)
  root = folder.write({ ["script.lua"] = BEGIN .. source }, root)
  local status, output, log = testing.run { "run", root .. "/script.lua", "--", root }
  return status, output, log, root
end

-- What a script prints that must end well.
local function outputOf(source, root)
  local status, output, log
  status, output, log, root = run(source, root)
  assert.equal(0, status, log)
  return output, root
end

-- The message of the error that a script ends with, without file and line.
local function mistakeOf(source)
  local status, _, log = run(source)
  assert.equal(1, status)
  return (assert(log:match "script%.lua:%d+: ([^\n]-)\\nstack traceback", log):gsub('\\"', '"'))
end

describe("values", function()
  it("of every kind come back as they were", function()
    assert.equal(("true\n"):rep(10), outputOf [[
      local d = shared.dict "values"
      for _, value in ipairs { "text", "", "bin\0ary\255", 12.5, -0.1, 2 ^ 60, math.huge, true, false, json.null } do
        d:set("key", value)
        show(d:get "key" == value)
      end
    ]])
  end)

  it("may be tables, whose keys are strings, numbers and booleans", function()
    assert.equal("a b 3 x true off 7 nil\n[] {} [1,null]\n", outputOf [[
      local d = shared.dict "tables"
      d:set("t", { "a", "b", 3, [2.5] = "x", [true] = { { deep = true } }, [false] = "off", [10] = 7, empty =
        json.array {}, none = {}, list = json.array { 1, json.null } })
      local t = d:get "t"
      show(t[1], t[2], t[3], t[2.5], t[true][1].deep, t[false], t[10], t[4])
      show(json.encode(t.empty), json.encode(t.none), json.encode(t.list))
    ]])
  end)

  it("keep numbers inside tables exact", function()
    assert.equal("true\n", outputOf [[
      local d = shared.dict "numbers"
      local list = { 0, 127, 128, 16383, 16384, 2 ^ 53, 2 ^ 53 + 2, -1, 0.1, 1e308, -1e-308, math.huge, -math.huge }
      d:set("list", list)
      local same = 1 / d:get("list")[1] == math.huge
      for i, n in ipairs(d:get "list") do
        same = same and n == list[i]
      end
      d:set("zero", { -0.0 })
      show(same and 1 / d:get("zero")[1] == -math.huge)
    ]])
  end)

  it("are copies", function()
    assert.equal("1 2\n", outputOf [[
      local d = shared.dict "copies"
      local t = { n = 1 }
      d:set("t", t)
      t.n = 2
      local copy = d:get "t"
      show(copy.n, t.n)
    ]])
  end)

  it("may be nested 128 deep, and no deeper", function()
    assert.equal("true\n128\nnil Error: value.n.n", outputOf([[
      local d = shared.dict "deep"
      local function nested(depth)
        local t = {}
        for _ = 2, depth do t = { n = t } end
        return t
      end
      show(d:set("t", nested(128)))
      local t, depth = d:get "t", 0
      while t do t, depth = t.n, depth + 1 end
      show(depth)
      show(d:set("t", nested(129)))
    ]]):sub(1, 29))
  end)

  it("that contain themselves are refused, and nothing changes", function()
    assert.equal("true\nbefore\n", outputOf [[
      local d = shared.dict "cycle"
      d:set("t", "before")
      local t = {}
      t.self = t
      local ok, err = d:set("t", t)
      show(ok == nil and err.kind == "Error" and err.message:find("contains itself", 1, true) ~= nil)
      show(d:get "t")
    ]])
  end)

  it("have at most 1 MiB", function()
    assert.equal("true 1048576\ntrue nil\n", outputOf [[
      local d = shared.dict "large"
      show(d:set("k", ("x"):rep(2 ^ 20)), #d:get "k")
      local ok, err = d:set("k2", ("x"):rep(2 ^ 20 + 1))
      show(ok == nil and err.message:find("1 MiB", 1, true) ~= nil, d:get "k2")
      local big = {}
      for i = 1, 70 do big[i] = big end
    ]])
  end)

  it("that have no stored form are mistakes, told with their place", function()
    local begin = [[local d = shared.dict "d" ]]
    assert.equal("dict:set(key, value, ttl): value: a function cannot be stored",
      mistakeOf(begin .. "d:set('k', print)"))
    assert.equal("dict:add(key, value, ttl): value.a[2]: a thread cannot be stored",
      mistakeOf(begin .. "d:add('k', { a = { 1, coroutine.create(print) } })"))
    assert.equal("dict:set(key, value, ttl): value[table]: a key is a string, a number or a boolean",
      mistakeOf(begin .. "d:set('k', { [{}] = 1 })"))
    assert.equal("dict:set(key, value, ttl): value.x: nan cannot be stored",
      mistakeOf(begin .. "d:set('k', { x = 0/0 })"))
    assert.equal("dict:set(key, value, ttl): value is nil; dict:delete(key) removes one",
      mistakeOf(begin .. "d:set('k')"))
  end)
end)

describe("keys", function()
  it("are strings of 1 to 500 bytes, any bytes", function()
    assert.equal("true true\n", outputOf [[
      local d = shared.dict "keys"
      local long = ("k"):rep(500)
      d:set(long, 1)
      d:set("\0\255", 2)
      show(d:get(long) == 1, d:get "\0\255" == 2)
    ]])
    assert.equal("dict:get(key): a key has 1 to 500 bytes, this one has 501",
      mistakeOf 'shared.dict "d":get(("k"):rep(501))')
    assert.equal("dict:delete(key): a key has 1 to 500 bytes, this one has 0", mistakeOf 'shared.dict "d":delete ""')
    assert.equal("dict:ttl(key): key must be a string, it is 5; write tostring(key)",
      mistakeOf 'shared.dict "d":ttl(5)')
    assert.equal("dict:incr(key, n, initial): key must be a string, it is nil", mistakeOf 'shared.dict "d":incr()')
  end)

  it("are listed in order, by prefix, up to a limit", function()
    assert.equal("a a:1 a:2 b false\na:1 a:2 false\na true\nfalse\n1000 true\n", outputOf [[
      local d = shared.dict "keys"
      local function list(keys, more) show(table.concat(keys, " ") .. (#keys > 0 and " " or "") .. tostring(more)) end
      for _, key in ipairs { "b", "a:2", "a", "a:1" } do d:set(key, true) end
      list(d:keys())
      list(d:keys "a:")
      list(d:keys("a", 1))
      list(d:keys "c")
      for i = 1, 1001 do d:set("n" .. i, i) end
      local keys, more = d:keys "n"
      show(#keys, more)
    ]])
    assert.equal("dict:keys(prefix, limit): limit must be a whole number from 1 to 1000000, it is 0",
      mistakeOf 'shared.dict "d":keys("", 0)')
  end)
end)

describe("calls", function()
  it("set, add, delete tell what came of them", function()
    assert.equal("true\ntrue 1\nfalse 1\ntrue nil\nfalse\ntrue 3\n", outputOf [[
      local d = shared.dict "calls"
      show(d:set("k", 0))
      d:delete "k"
      show(d:add("k", 1), d:get "k")
      show(d:add("k", 2), d:get "k")
      show(d:delete "k", d:get "k")
      show(d:delete "k")
      show(d:set("k", 3), d:get "k")
    ]])
  end)

  it("incr adds, begins with what is said, and takes numbers only", function()
    assert.equal("1 3 2.5 110\nnil true text\nnil true\n", outputOf [[
      local d = shared.dict "incr"
      show(d:incr "n", d:incr("n", 2), d:incr("n", -0.5), d:incr("m", 10, 100))
      d:set("s", "text")
      local sum, err = d:incr "s"
      show(sum, tostring(err) == 'Error: shared.dict "incr": what is stored there is no number', d:get "s")
      d:set("n", 1e308)
      sum, err = d:incr("n", 1e308)
      show(sum, tostring(err) == 'Error: shared.dict "incr": the sum is too large')
    ]])
    assert.equal("dict:incr(key, n, initial): n must be a number, it is \"1\"",
      mistakeOf 'shared.dict "d":incr("k", "1")')
    assert.equal("dict:incr(key, n, initial): initial must be a number, it is nan", (mistakeOf
      'shared.dict "d":incr("k", 1, 0/0)':gsub("%-nan", "nan")))
  end)

  it("the same name is the same dictionary", function()
    assert.equal("true 1 nil\nshared.dict \"one\"\n", outputOf [[
      shared.dict("one"):set("k", 1)
      show(shared.dict "one" == shared.dict "one", shared.dict("one"):get "k", shared.dict("two"):get "k")
      show(shared.dict "one")
    ]])
  end)
end)

describe("ttl", function()
  it("is what remains; math.huge without one; nil without a value", function()
    assert.equal("true inf nil\ninf\n", outputOf [[
      local d = shared.dict "ttl"
      d:set("k", 1, 100)
      d:set("forever", 1)
      local left = d:ttl "k"
      show(left > 50 and left <= 100, d:ttl "forever", d:ttl "none")
      d:set("k", 2)
      show(d:ttl "k")
    ]])
  end)

  it("ends a value for every call", function()
    assert.equal("nil nil 0\ntrue 2 1 inf\n", outputOf [[
      local d = shared.dict "ttl"
      for _, key in ipairs { "get", "add", "incr" } do d:set(key, 1, 0.001) end
      while d:get "incr" do task.sleep(0.001) end
      show(d:get "get", d:ttl "get", #d:keys())
      show(d:add("add", 2), d:get "add", d:incr "incr", d:ttl "incr")
    ]])
  end)

  it("stays when a number is added to", function()
    assert.equal("true\n", outputOf [[
      local d = shared.dict "ttl"
      d:set("n", 1, 100)
      d:incr "n"
      show(d:ttl "n" <= 100)
    ]])
  end)

  it("is a positive number of seconds", function()
    for _, wrong in ipairs { "0", "-1", "0/0", "math.huge", "'1'", "{}" } do
      assert.matches("ttl must be a number of seconds, more than 0; it is ",
        mistakeOf('shared.dict "d":set("k", 1, ' .. wrong .. ")"), 1, true)
    end
  end)

  it("gives the space back", function()
    assert.equal("true\n", outputOf [[
      local d = shared.dict("space", { maxSize = 2 ^ 20 })
      local text, good = ("x"):rep(1000), true
      for i = 1, 20000 do
        good = good and d:set("k" .. i, text, 0.001)
        if i % 200 == 0 then task.sleep(0.002) end
      end
      show(good)
    ]])
  end)
end)

describe("a full dictionary", function()
  it("says so, loses nothing, and takes again what fits", function()
    assert.equal("true\ntrue\ntrue true\ntrue\n", outputOf [[
      local d = shared.dict("full", { maxSize = 2 ^ 20 })
      local text, n = ("x"):rep(500), 0
      local ok, err
      repeat
        n = n + 1
        ok, err = d:set("k" .. n, text)
      until not ok
      show(tostring(err) == 'Error: shared.dict "full" is full (maxSize 1 MiB)')
      local all = n > 500
      for i = 1, n - 1 do all = all and d:get("k" .. i) == text end
      show(all and d:get("k" .. n) == nil)
      show(d:set("k1", "short"), d:set("k2", ("y"):rep(500)))
      for i = 1, n - 1 do assert(d:delete("k" .. i)) end
      show(d:set("k", ("z"):rep(100000)))
    ]])
  end)
end)

describe("persist", function()
  it("outlives the program", function()
    local source = [[
      local d = shared.dict("p", { persist = arg[1] .. "/store" })
      show(d:incr "starts", d:add("table", { 1, 2, { 3 } }), #d:get "table", d:get("table")[3][1])
    ]]
    local first, root = outputOf(source)
    assert.equal("1 true 3 3\n", first)
    assert.equal("2 false 3 3\n", (outputOf(source, root)))
  end)

  it("keeps what expires, by the clock on the wall", function()
    local first, root = outputOf [[
      local d = shared.dict("p", { persist = arg[1] .. "/store" })
      d:set("soon", 1, 0.001)
      d:set("later", 1, 1000)
    ]]
    assert.equal("", first)
    assert.equal("nil true\n", (outputOf([[
      local d = shared.dict("p", { persist = arg[1] .. "/store" })
      while d:get "soon" do task.sleep(0.001) end
      show(d:get "soon", d:ttl "later" > 100)
    ]], root)))
  end)

  it("has a handler wait for the disk, and nobody else", function()
    assert.equal("other\nwritten true 1\n", (outputOf [[
      local d = shared.dict("p", { persist = arg[1] .. "/store" })
      local writer = task.spawn(function() show("written", d:set("k", 1), d:get "k") end)
      task.sleep(0)
      show "other"
      writer:join()
    ]]))
  end)

  it("has a cancelled task no longer wait; what it asked for is done", function()
    assert.equal("false Cancelled false Cancelled\ntrue 1\n", (outputOf [[
      local d = shared.dict("p", { persist = arg[1] .. "/store" })
      local writer = task.spawn(function()
        local ok, err = pcall(d.set, d, "k", 1)
        local again, why = pcall(d.incr, d, "k")
        show(ok, err.kind, again, why.kind)
      end)
      task.sleep(0)
      writer:cancel()
      writer:join()
      show(d:set("later", 1), d:get "k")
    ]]))
  end)

  it("works where nothing can wait", function()
    assert.equal("true\n3\n1,2,3\n", (outputOf [[
      local d = shared.dict("p", { persist = arg[1] .. "/store" })
      local list = { 3, 1, 2 }
      table.sort(list, function(a, b)
        d:incr "comparisons"
        return a < b
      end)
      show(d:get "comparisons" > 1)
      show(("abc"):gsub(".", function(c) d:incr "letters" end) and d:get "letters")
      show(table.concat(list, ","))
    ]]))
  end)

  it("has writes of many tasks in their order", function()
    assert.equal("500 true\n", (outputOf [[
      local d = shared.dict("p", { persist = arg[1] .. "/store" })
      local jobs, inOrder = {}, true
      for i = 1, 50 do
        jobs[i] = task.spawn(function()
          local before = 0
          for _ = 1, 10 do
            local sum = d:incr "n"
            inOrder, before = inOrder and sum > before, sum
          end
        end)
      end
      for _, job in ipairs(jobs) do job:join() end
      show(d:get "n", inOrder)
    ]]))
  end)

  it("in a place that cannot be written does not load, and is named", function()
    local message = mistakeOf [[shared.dict("p", { persist = arg[1] .. "/missing/store" })]]
    assert.matches('^shared%.dict "p": cannot open /.*/missing/store: No such file or directory$', message)
    message = mistakeOf [[shared.dict("p", { persist = arg[1] })]]
    assert.matches('^shared%.dict "p": cannot open /.*: Is a directory$', message)
    message = mistakeOf [[shared.dict("p", { persist = arg[1] .. "/script.lua" })]]
    assert.matches('^shared%.dict "p": cannot open /.*/script.lua: the file is not one of neap%.shared$', message)
  end)

  it("of one file by two names is a mistake", function()
    assert.matches('^shared%.dict "b": cannot open /.*/store: shared%.dict "a" has that file$', mistakeOf [[
      shared.dict("a", { persist = arg[1] .. "/store" })
      shared.dict("b", { persist = arg[1] .. "/../" .. arg[1]:match "[^/]+$" .. "/store" })
    ]])
  end)
end)

describe("wrong use", function()
  it("of shared.dict is told", function()
    for _, name in ipairs { '""', "nil", "5", '"a/b"', '".."', '("x"):rep(65)', '"a b"' } do
      assert.matches("name must be 1 to 64 letters, digits", mistakeOf("shared.dict(" .. name .. ")"), 1, true)
    end
    assert.equal('shared.dict "d": persits: no such key; did you mean persist?',
      mistakeOf 'shared.dict("d", { persits = "x" })')
    assert.equal('shared.dict "d": persist must be the path of a file; it is true',
      mistakeOf 'shared.dict("d", { persist = true })')
    assert.matches("maxSize must be a whole number of bytes from 1048576",
      mistakeOf 'shared.dict("d", { maxSize = 5 })', 1, true)
    assert.equal('shared.dict "d": the options must be a table, they are "/path"',
      mistakeOf 'shared.dict("d", "/path")')
    assert.equal('shared.dict "d": it is open already with maxSize = 67108864; restart the server to change that',
      mistakeOf 'shared.dict "d" shared.dict("d", { maxSize = 2 ^ 21 })')
  end)
end)

describe("neap check", function()
  local function check(source)
    local root = folder.write { ["init.lua"] = source }
    local status, output = testing.run { "check", root }
    local files = assert(io.popen("ls " .. root))
    local found = files:read "*a"
    files:close()
    return status, output:gsub(root:gsub("%W", "%%%0") .. "/?", ""), found
  end

  it("lets an app write at load, and touches none of its files", function()
    local status, output, found = check [[
      local d = require("neap.shared").dict("d", { persist = "/nowhere/at/all" })
      assert(d:incr "starts" == 1)
    ]]
    assert.equal(": no problems\n", output)
    assert.equal(0, status)
    assert.equal("init.lua\n", found)
  end)

  it("tells all that is wrong with the options", function()
    local status, output = check [[
local d = require("neap.shared").dict("d", {
  persit = "x",
  maxSize = 1,
})
d:set("k", 1)
]]
    assert.equal(1, status)
    assert.matches("init%.lua:2: shared%.dict \"d\": persit: no such key; did you mean persist%?\n", output)
    assert.matches("init%.lua:3: shared%.dict \"d\": maxSize must be", output)
    assert.matches("2 problems\n$", output)
  end)
end)
