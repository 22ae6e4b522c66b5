-- SPDX-License-Identifier: MIT
--
-- `neap check`: all that is wrong with an app, at once, without serving it.  Two passes:
--
--   1. The text: the entry file is compiled, and every module of the app that a `require "name"` in these files names,
--      also those that only a handler would load.
--   2. The run: the top level runs with a collector installed (error.fault), so that a misspelt callback or config key
--      is noted and the run goes on.  C binds no port in this mode.  What raises ends the run; its problem is the last
--      one found.  So does os.exit, which ends the program as soon as all is told.
--
-- Output, on stdout, in the order of files and lines:
--
--      apps/chat/init.lua:12: websocket.service "Chat": onMesage: no such callback; did you mean onMessage?
--      apps/chat/init.lua:30: warning: ...
--      1 problem, 1 warning

local core = require "neap.core"
local errors = require "neap.message.error"
local files = require "neap.app.file"
local loader = require "neap.app.loader"
local protect = require "neap.runtime.protect"
local source = require "neap.message.source"
local tell = require "neap.message.tell"

local rawExit = os.exit

local function newReport()
  return { list = {}, seen = {} }
end

local function add(report, file, line, message, level, unless)
  local key = ("%s:%s:%s"):format(file, line, message)
  if report.seen[key] then
    return
  end
  report.seen[key] = true
  report.list[#report.list + 1] = {
    file = file or "",
    line = line or 0,
    order = #report.list,
    level = level or "problem",
    message = message,
    unless = unless,
  }
end

-- Drops the warnings that what came later has made needless, and counts the rest.
local function settle(report)
  local kept = {}
  report.problem, report.warning = 0, 0
  for _, problem in ipairs(report.list) do
    if not (problem.unless and errors.isNoted(problem.unless)) then
      kept[#kept + 1] = problem
      report[problem.level] = report[problem.level] + 1
    end
  end
  report.list = kept
end

-- "file:line: message" in parts, where the file is one of the app's. Lua shortens long names to "...end/of/name.lua".
local function split(version, text)
  local file, line, message = text:match "^([^\n:]+):(%d+): (.*)$"
  if not file then
    return nil
  end
  local tail = file:match "^%.%.%.(.+)$"
  for _, path in ipairs(version.known) do
    if path == file or (tail and path:sub(-#tail) == tail) then
      return path, tonumber(line), message
    end
  end
  return nil
end

local function compile(report, version, path)
  local chunk, why = files.compile(path, version.env)
  if chunk then
    return chunk
  end
  local file, line, message = split(version, why)
  if file then
    add(report, file, line, message)
  else
    add(report, nil, nil, why)
  end
  return nil
end

-- Compiles a file and the modules that it names, each once.
local function scan(report, version, path)
  if version.scanned[path] then
    return nil
  end
  version.scanned[path] = true
  version.known[#version.known + 1] = path
  local chunk = compile(report, version, path)
  for name in (files.read(path) or ""):gmatch "require%s*%(?%s*[\"']([%w_.-]+)[\"']" do
    local module = loader.findModule(version, name)
    if module then
      scan(report, version, module)
    end
  end
  return chunk
end

-- What was raised, and where: the value itself is asked for its text later, when there is room on the stack.
local function raised(value)
  local file, line = source.position()
  return { value = value, file = file, line = line }
end

-- Without memory, and where an error is raised by `raised` itself, there is a text only.
local function addRaised(report, version, failure)
  if type(failure) ~= "table" then
    failure = { value = failure }
  end
  local text = tell.tell(failure.value)
  local file, line, message = split(version, text)
  if not file and failure.file then
    file, line, message = failure.file, failure.line, text
  end
  add(report, file, line, message or ("%s: while it was loading: %s"):format(version.entry, text))
end

local function execute(report, version, chunk)
  errors.collect(function(...)
    add(report, ...)
  end)
  local good, failure = protect.rawXpcall(source.run, raised, version.entry, chunk, unpack(version.env.arg))
  errors.collect(nil)
  if not good then
    addRaised(report, version, failure)
  end
end

local function before(a, b)
  if a.file ~= b.file then
    return a.file < b.file
  elseif a.line ~= b.line then
    return a.line < b.line
  end
  return a.order < b.order
end

local function counted(number, word)
  return ("%d %s%s"):format(number, word, number == 1 and "" or "s")
end

local function write(report, path, out)
  table.sort(report.list, before)
  for _, problem in ipairs(report.list) do
    local where = problem.file == "" and "" or ("%s:%d: "):format(problem.file, problem.line)
    local level = problem.level == "warning" and "warning: " or ""
    out:write(where, level, problem.message, "\n")
  end
  if #report.list == 0 then
    out:write(path, ": no problems\n")
    return
  end
  out:write(counted(report.problem, "problem"))
  if report.warning > 0 then
    out:write(", ", counted(report.warning, "warning"))
  end
  out:write "\n"
end

local function finish(report, path, out)
  report.finished = true
  settle(report)
  write(report, path, out)
end

-- An app that ends the program has told all that there is to find.
local function watchExit(report, path, out)
  -- luacheck: push ignore 122
  function os.exit()
    if not report.finished then
      local file, line = source.position()
      add(report, file, line, "os.exit ends the app while it loads; what would come after that was not looked at")
      finish(report, path, out)
    end
    core.checked()
    rawExit(1)
  end
  -- luacheck: pop
end

--- Checks an app and prints what is wrong. May yield, as the app's top level may.
---@param path string a file or a folder
---@param args? string[] what the app finds in `arg`
---@param out? file* stdout
---@return integer status exit status: 0 no problems (warnings do not count), 1 some, 2 no such app
local function run(path, args, out)
  local ok, version = pcall(loader.open, path, args)
  if not ok then
    io.stderr:write("neap: ", tostring(version), "\n")
    return 2
  end
  version.known, version.scanned = {}, {}
  local report = newReport()
  out = out or io.stdout
  watchExit(report, path, out)
  local chunk = scan(report, version, version.entry)
  if chunk then
    execute(report, version, chunk)
  end
  finish(report, path, out)
  return report.problem == 0 and 0 or 1
end

return {
  run = run,
}
