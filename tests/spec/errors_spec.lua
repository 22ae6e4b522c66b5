-- SPDX-License-Identifier: MIT
--
-- docs/errors.md: each example is given to the real program, and what it says compared with the page.
--
--      ### title
--      ```lua           the mistake: app.lua; a block that begins with a comment `-- name.lua` is that file beside it
--      ```text          what `neap check` says of it, whole; after ```text log, what is in the log when it runs
--      ```lua           what to write instead; `neap check` has nothing to say of it
--
-- All examples are checked by one shell, as starting a shell for each takes longer than the checks.

local socket = require "socket"
local testing = require "neap.testing"

local PROGRAM = os.getenv "NEAP" or "build/neap"
local PRELUDE = 'local websocket, task = require "neap.websocket", require "neap.task" '
  .. 'local json, xml = require "neap.json", require "neap.xml" '
  .. 'local constraint = require "neap.constraint" '
  .. 'local shared = require "neap.shared" '
  .. "local listener = websocket.listener(tonumber(arg[1]) or 0) "

local function contents(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- What a block of the page is to its entry.
local function addBlock(entry, kind, lines)
  if kind:match "^text" then
    entry.said, entry.log = lines, kind == "text log"
    return
  end
  local name = lines[1]:match "^%-%- (%w+%.lua)$" or "app.lua"
  local files = entry.said and entry.right or entry.wrong
  files[name] = table.concat(lines, "\n") .. "\n"
end

-- The entries of the page: { title, wrong = files, right = files, said = lines, log = whether it is found there }.
local function readPage()
  local entries, kind, lines = {}, nil, nil
  for line in contents("docs/errors.md"):gmatch "([^\n]*)\n" do
    if kind and line == "```" then
      addBlock(entries[#entries] or { wrong = {}, right = {} }, kind, lines)
      kind = nil
    elseif kind then
      lines[#lines + 1] = line
    elseif line:match "^```" then
      kind, lines = line:sub(4), {}
    elseif line:match "^### " then
      entries[#entries + 1] = { title = line:sub(5), wrong = {}, right = {} }
    end
  end
  return entries
end

local entries = readPage()
local root

local function folderOf(number, form)
  return ("%s/%d-%s"):format(root, number, form)
end

local function place(folder, files)
  for name, text in pairs(files) do
    write(folder .. "/" .. name, (name == "app.lua" and PRELUDE or "") .. text)
  end
end

-- Lines of the output that begin with a file of the example.
local function problems(folder)
  local found = {}
  for line in contents(folder .. "/out"):gmatch "[^\n]+" do
    line = line:gsub(folder:gsub("%W", "%%%0") .. "/", "")
    if line:match "^%w+%.lua:%d+: " then
      found[#found + 1] = line
    end
  end
  return found
end

local SCRIPT = [[
cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 2 \
  -keyout key.pem -out cert.pem 2>openssl.log || exit 1
for folder in *-wrong *-right; do
  cp key.pem cert.pem $folder
  '%s' check "$PWD/$folder/app.lua" >$folder/out 2>$folder/err </dev/null
  echo $? >$folder/status
done]]

setup(function()
  local pipe = io.popen "mktemp -d"
  root = pipe:read "*l"
  pipe:close()
  for number, entry in ipairs(entries) do
    for _, form in ipairs { "wrong", "right" } do
      os.execute(("mkdir '%s'"):format(folderOf(number, form)))
      place(folderOf(number, form), entry[form])
    end
  end
  local program = PROGRAM:sub(1, 1) == "/" and PROGRAM or os.getenv "PWD" .. "/" .. PROGRAM
  assert(os.execute(SCRIPT:format(root, program)) == 0)
end)

teardown(function()
  os.execute(("rm -rf '%s'"):format(root))
end)

-- The log of a run in which a client has come and sent a message.
local function logOf(folder, wanted)
  local good, why = pcall(testing.start, folder .. "/app.lua")
  if not good then
    return tostring(why)
  end
  local client = testing.connect "/"
  if client then
    client:writeTextMessage "hi"
  end
  local deadline = socket.gettime() + 10
  while not testing.log():find(wanted, 1, true) and socket.gettime() < deadline do
    socket.sleep(0.01)
  end
  if client then
    client:close()
  end
  return testing.stop()
end

describe("docs/errors.md", function()
  it("has entries, each of them whole", function()
    assert.is_true(#entries > 50)
    for _, entry in ipairs(entries) do
      assert(entry.wrong["app.lua"] and entry.right["app.lua"] and entry.said and entry.said[1], entry.title)
    end
  end)

  for number, entry in ipairs(entries) do
    it(entry.title, function()
      local wrong, right = folderOf(number, "wrong"), folderOf(number, "right")
      if entry.log then
        local log = logOf(wrong, entry.said[1]:match "%.lua:%d+: (.*)")
        assert.is_truthy(log:gsub(wrong:gsub("%W", "%%%0") .. "/", ""):find(entry.said[1], 1, true), log)
      else
        assert.same(entry.said, problems(wrong))
      end
      assert.same({}, problems(right))
      assert.equal("0\n", contents(right .. "/status"))
      assert.equal("", contents(right .. "/err"))
    end)
  end
end)
