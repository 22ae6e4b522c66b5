-- SPDX-License-Identifier: MIT
-- neap.app.loader: where apps and their modules come from, and how each version is apart.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local folder = require "appfolder"
local loader = require "neap.app.loader"

before_each(fake.reset)
after_each(folder.remove)

local function load(path, ...)
  return fake.run(loader.load, path, { ... })
end

local function failure(path)
  local ok, err = pcall(load, path)
  assert.is_false(ok)
  return tostring(err)
end

describe("an app", function()
  it("is a folder with init.lua", function()
    local root = folder.write { ["init.lua"] = "answer = 42" }
    assert.equal(42, load(root).env.answer)
    assert.equal(42, load(root .. "/").env.answer)
    assert.equal(root .. "/init.lua", load(root .. "/").entry)
  end)

  it("is a file", function()
    local root = folder.write { ["app.lua"] = "answer = require 'answer'", ["answer.lua"] = "return 42" }
    assert.equal(42, load(root .. "/app.lua").env.answer)
  end)

  it("finds its arguments", function()
    local root = folder.write { ["init.lua"] = "first, all, zero = arg[1], { ... }, arg[0]" }
    local env = load(root, "9001", "x").env
    assert.equal("9001", env.first)
    assert.same({ "9001", "x" }, env.all)
    assert.equal(root, env.zero)
  end)

  it("may be empty, begin with a line for the shell or a byte-order mark", function()
    local root = folder.write {
      ["empty.lua"] = "",
      ["shell.lua"] = "#!/usr/bin/env neap\nanswer = 42",
      ["bom.lua"] = "\239\187\191answer = 42",
    }
    load(root .. "/empty.lua")
    assert.equal(42, load(root .. "/shell.lua").env.answer)
    assert.equal(42, load(root .. "/bom.lua").env.answer)
  end)

  it("may yield while it loads", function()
    fake.core.sleepy = fake.core.sleep
    local root = folder.write {
      ["init.lua"] = "answer = require 'slow'",
      ["slow.lua"] = "require('neap.core').sleepy(1) return 42",
    }
    assert.equal(42, load(root).env.answer)
  end)

  it("that is missing is named", function()
    assert.equal("/no/such/app: no such file or folder", failure "/no/such/app")
    local root = folder.write { ["other.lua"] = "" }
    assert.equal(root .. ": a folder without init.lua is not an app", failure(root))
    assert.equal(root .. "/other.lua/x: no such file or folder", failure(root .. "/other.lua/x"))
  end)

  it("with a syntax error is named with the line, however long the path", function()
    local root = folder.write { ["init.lua"] = "local a = 1\nlocal = 2" }
    assert.equal(root .. "/init.lua:2: '<name>' expected near '='", failure(root))
    local long = ("d"):rep(80)
    root = folder.write { [long .. "/init.lua"] = "x" }
    assert.matches("^" .. (root .. "/" .. long):gsub("%W", "%%%0") .. "/init%.lua:1: ", failure(root .. "/" .. long))
  end)

  it("keeps line numbers after a first line for the shell", function()
    local root = folder.write { ["init.lua"] = "#!/bin/x\n\nerror 'here'" }
    assert.equal(root .. "/init.lua:3: here", failure(root))
  end)

  it("of bytecode is refused", function()
    local root = folder.write {
      ["init.lua"] = string.dump(function() end),
      ["hidden.lua"] = "#!/bin/x\n" .. string.dump(function() end),
      ["module.lua"] = "require 'init'",
    }
    assert.equal(root .. "/init.lua: is bytecode; only source text is loaded", failure(root))
    assert.is_truthy(failure(root .. "/hidden.lua"))
    assert.equal(root .. "/init.lua: is bytecode; only source text is loaded", failure(root .. "/module.lua"))
  end)

  it("passes on any error value", function()
    local root = folder.write { ["init.lua"] = "error { kind = 'mine' }" }
    local ok, err = pcall(load, root)
    assert.is_false(ok)
    assert.equal("mine", err.kind)
  end)
end)

describe("a version", function()
  it("has globals of its own, shared by its modules", function()
    local root = folder.write {
      ["init.lua"] = "shared = 1 require 'module' return _G",
      ["module.lua"] = "shared = shared + 1; _G.other = load('return shared')(); loadstring('third = 3')()",
    }
    local one, two = load(root), load(root)
    assert.equal(2, one.env.shared)
    assert.equal(2, one.env.other)
    assert.equal(3, one.env.third)
    assert.equal(2, two.env.shared)
    assert.is_nil(rawget(_G, "shared"))
    assert.is_nil(rawget(_G, "third"))
    assert.are_not.equal(one.env, two.env)
  end)

  it("has modules of its own, each loaded once", function()
    local root = folder.write {
      ["init.lua"] = "a, b = require 'module', require 'module'",
      ["module.lua"] = "count = (count or 0) + 1 return { name = ... }",
    }
    local one, two = load(root).env, load(root).env
    assert.equal(one.a, one.b)
    assert.equal("module", one.a.name)
    assert.equal(1, one.count)
    assert.are_not.equal(one.a, two.a)
    assert.is_nil(package.loaded.module)
  end)

  it("lists its files", function()
    local root = folder.write { ["init.lua"] = "require 'a.b'", ["a/b.lua"] = "" }
    assert.same({ root .. "/init.lua", root .. "/a/b.lua" }, load(root).files)
  end)

  it("may be strict about globals", function()
    local root = folder.write {
      ["init.lua"] = "setmetatable(_G, { __newindex = function(_, k) error(k) end }) print = print; tostring(1)",
    }
    load(root)
  end)
end)

describe("require", function()
  it("looks into the app's folder first", function()
    local root = folder.write {
      ["init.lua"] = "own, deep, packageFolder = require 'say', require 'a.b', require 'c'",
      ["say.lua"] = "return 'own'",
      ["a/b.lua"] = "return 'deep'",
      ["c/init.lua"] = "return 'folder'",
    }
    local env = load(root).env
    assert.equal("own", env.own)
    assert.equal("deep", env.deep)
    assert.equal("folder", env.packageFolder)
  end)

  it("then wherever Lua looks, once", function()
    package.preload.elsewhere = function()
      return { "found" }
    end
    local root = folder.write { ["init.lua"] = "a, b = require 'elsewhere', require 'string'" }
    local env = load(root).env
    package.preload.elsewhere, package.loaded.elsewhere = nil, nil
    assert.same({ "found" }, env.a)
    assert.equal(string, env.b)
  end)

  it("finds the library under its own name only", function()
    local root = folder.write {
      ["init.lua"] = "own = require 'neap.websocket'",
      ["neap/websocket.lua"] = "return 'mine'",
    }
    assert.equal(require "neap.websocket", load(root).env.own)
  end)

  it("returns true, or what the module put into package.loaded", function()
    local root = folder.write {
      ["init.lua"] = "a, b = require 'plain', require 'own'",
      ["plain.lua"] = "",
      ["own.lua"] = "package.loaded[...] = 'put'",
    }
    local env = load(root).env
    assert.is_true(env.a)
    assert.equal("put", env.b)
    assert.is_nil(package.loaded.own)
  end)

  it("names file and line of what is wrong", function()
    local root = folder.write {
      ["init.lua"] = "\nrequire(what)",
      ["broken.lua"] = "local x\nx x",
      ["raising.lua"] = "\nerror 'boom'",
      ["missing.lua"] = "\nrequire 'nowhere.at_all'",
    }
    assert.equal(root .. "/init.lua:2: require(name): name must be a string, it is nil", failure(root))
    folder.write({ ["init.lua"] = "require 'broken'" }, root)
    assert.matches("^" .. root:gsub("%W", "%%%0") .. "/broken%.lua:2: ", failure(root))
    folder.write({ ["init.lua"] = "require 'raising'" }, root)
    assert.equal(root .. "/raising.lua:2: boom", failure(root))
    folder.write({ ["init.lua"] = "require 'missing'" }, root)
    local err = failure(root)
    assert.matches("^" .. root:gsub("%W", "%%%0") .. "/missing%.lua:2: module 'nowhere%.at_all' not found:", err)
    assert.matches("no file '" .. root:gsub("%W", "%%%0") .. "/nowhere/at_all%.lua'", err)
  end)

  it("tries a module again that failed", function()
    local root = folder.write {
      ["init.lua"] = "first = pcall(require, 'once') second = require 'once'",
      ["once.lua"] = "count = (count or 0) + 1 if count == 1 then error 'boom' end return 'well'",
    }
    local env = load(root).env
    assert.is_false(env.first)
    assert.equal("well", env.second)
  end)

  it("refuses circles", function()
    local root = folder.write { ["init.lua"] = "require 'a'", ["a.lua"] = "require 'b'", ["b.lua"] = "require 'a'" }
    assert.equal(root .. '/b.lua:1: require "a": it is being loaded; modules must not require each other in a circle; '
      .. "put what both need into a third", failure(root))
  end)

  it("makes a second task wait for the first", function()
    local root = folder.write {
      ["init.lua"] = [[
        local core = require "neap.core"
        local main = core.current()
        core.spawn(function()
          other = require "slow"
          core.wake(main)
        end)
        mine = require "slow"
        if not other then core.park() end
      ]],
      ["slow.lua"] = "require('neap.core').sleep(1) count = (count or 0) + 1 return {}",
    }
    local env = load(root).env
    assert.equal(1, env.count)
    assert.is_table(env.mine)
    assert.equal(env.mine, env.other)
  end)

  it("refuses circles over two tasks", function()
    local root = folder.write {
      ["init.lua"] = [[
        local core = require "neap.core"
        core.spawn(function()
          theirs = { pcall(require, "b") }
        end)
        mine = { pcall(require, "a") }
        core.sleep(1) core.sleep(1) core.sleep(1)
      ]],
      ["a.lua"] = "require('neap.core').sleep(1) require 'b'",
      ["b.lua"] = "require('neap.core').sleep(1) require 'a'",
    }
    local env = load(root).env
    local results = { env.mine[1], env.theirs[1] }
    assert.is_true(results[1] == false or results[2] == false)
    assert.matches("in a circle", tostring(env.mine[2]) .. tostring(env.theirs[2]))
  end)
end)

describe("dofile and loadfile", function()
  it("use the app's globals", function()
    local root = folder.write {
      ["init.lua"] = "local root = arg[0] a = dofile(root .. '/x.lua') b = loadfile(root .. '/x.lua')()",
      ["x.lua"] = "set = (set or 0) + 1 return set",
    }
    local env = load(root).env
    assert.equal(1, env.a)
    assert.equal(2, env.b)
    assert.is_nil(rawget(_G, "set"))
  end)
end)
