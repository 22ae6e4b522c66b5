-- SPDX-License-Identifier: MIT
--
-- neap.testing for specs that plain busted runs: it starts an app with the real program on a free port, and gives the
-- spec clients that block. Under `neap test` a module of the same name and shape will do this inside the runtime.
--
--     local testing = require "neap.testing"
--     testing.start "apps/echo"                    -- neap run apps/echo -- 0, until the log says `ready`
--     local client = testing.connect "/echo"
--     client:writeTextMessage "hi"
--     assert.equal("hi", client:readMessage())
--     testing.stop()
--
-- Nothing sleeps and nothing waits for ever: each wait is for a condition, with a deadline.
--
-- The program is $NEAP, or build/neap of this checkout. A shell stays between it and us: it notes the process id and in
-- the end the exit status, because Lua can start a process but not wait for it.

local socket = require "socket"
local wsclient = require "neap.wsclient"

local ROOT = debug.getinfo(1, "S").source:match "^@(.*)tests/support/lua/neap/testing%.lua$" or ""
local PROGRAM = os.getenv "NEAP" or ROOT .. "build/neap"
local SECONDS = PROGRAM:find "asan" and 30 or 10

local testing = {}
local server -- { folder, pid, log, ports, host } of the program that runs, or nil

local function quoted(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function words(list)
  local quotes = {}
  for i, word in ipairs(list) do
    quotes[i] = quoted(word)
  end
  return table.concat(quotes, " ")
end

local function contents(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a" or ""
  if file then
    file:close()
  end
  return text
end

-- Asks again and again until the answer is true or the time is up; returns the answer.
local function eventually(seconds, ask)
  local deadline = socket.gettime() + seconds
  local answer = ask()
  while not answer and socket.gettime() < deadline do
    socket.sleep(0.005)
    answer = ask()
  end
  return answer
end

local function folder()
  local pipe = assert(io.popen "mktemp -d")
  local path = pipe:read "*l"
  pipe:close()
  return assert(path, "mktemp failed")
end

-- Starts `neap ARGUMENTS` in the background, its files in a folder of its own; its control socket too, so that no
-- `neap stop` of a person, or of another test, finds it.
local function launch(arguments)
  local path = folder()
  local files = { out = path .. "/out", log = path .. "/log", pid = path .. "/pid", status = path .. "/status" }
  local script = ("( XDG_RUNTIME_DIR=%s %s %s </dev/null >%s 2>%s & echo $! >%s; "):format(
    path, quoted(PROGRAM), words(arguments), files.out, files.log, files.pid)
  script = script .. ("wait $!; echo $? >%s.new; mv %s.new %s ) &"):format(files.status, files.status, files.status)
  assert(os.execute(script) == 0, "the shell does not start")
  local pid = eventually(SECONDS, function()
    return contents(files.pid):match "^(%d+)\n"
  end)
  assert(pid, "the program does not start")
  return { folder = path, files = files, pid = pid }
end

local function statusOf(run)
  return tonumber(contents(run.files.status):match "^(%d+)\n")
end

local function remove(run)
  os.execute("rm -rf " .. quoted(run.folder))
end

-- Waits for the end; kills the program when that takes too long. Returns the exit status.
local function waitFor(run, seconds)
  local status = eventually(seconds, function()
    return statusOf(run)
  end)
  if not status then
    os.execute("kill -KILL " .. run.pid)
    local log = contents(run.files.log)
    remove(run)
    error("neap did not end within " .. seconds .. " s; its log:\n" .. log)
  end
  return status
end

local function sanitizerReport(log)
  return log:find("Sanitizer", 1, true) or log:find("runtime error:", 1, true)
end

--- Runs the program to its end.
---@param arguments string[] of neap: { "run", "script.lua" }
---@param seconds? number how long it may take
---@return integer status exit status
---@return string output
---@return string log
function testing.run(arguments, seconds)
  local run = launch(arguments)
  local status = waitFor(run, seconds or SECONDS)
  local output, log = contents(run.files.out), contents(run.files.log)
  remove(run)
  assert(not sanitizerReport(log), log)
  return status, output, log
end

--- Starts an app and waits until it is ready.
---@param app string its file or folder
---@param args? string[] what it gets behind `--`; by default a 0, so that it takes any free port
---@param options? string[] of `neap run`
function testing.start(app, args, options)
  assert(not server, "testing.start: stop the app before first")
  local arguments = { "run", app }
  for _, list in ipairs { options or {}, { "--" }, args or { "0" } } do
    for _, word in ipairs(list) do
      table.insert(arguments, word)
    end
  end
  server = launch(arguments)
  local state = eventually(SECONDS, function()
    local log = testing.log()
    return log:find " info  ready" and "ready" or statusOf(server) and "ended"
  end)
  if state ~= "ready" then
    local log = testing.log()
    pcall(testing.stop)
    error("the app did not get ready; its log:\n" .. log)
  end
  server.host, server.port = testing.log():match "listening wss?://(%S-):(%d+)"
  server.port = tonumber(server.port)
end

--- The log of the running app so far.
---@return string
function testing.log()
  return contents(assert(server, "no app is running").files.log)
end

--- The port of its first listener.
---@return integer
function testing.port()
  return assert(server, "no app is running").port
end

--- Opens a connection to the running app.
---@param path string
---@param options? table subProtocols, headers, and `port` when it is not the first listener
---@return table? client see neap/wsclient.lua
---@return table? err with `status`, `headers` and `body` when the server answered otherwise
function testing.connect(path, options)
  options = options or {}
  local port = options.port or testing.port()
  return wsclient.connect("127.0.0.1", port, path, {
    headers = options.headers,
    seconds = options.seconds or SECONDS,
    subProtocols = options.subProtocols,
  })
end

--- Stops the running app as SIGTERM does; raises when it does not end well.
---@return string log all that it has logged
function testing.stop()
  local run = assert(server, "no app is running")
  server = nil
  os.execute("kill -TERM " .. run.pid .. " 2>/dev/null")
  local status = waitFor(run, SECONDS + 10)
  local log = contents(run.files.log)
  remove(run)
  assert(not sanitizerReport(log), log)
  assert(status == 0, "exit status " .. status .. "; the log:\n" .. log)
  return log
end

return testing
