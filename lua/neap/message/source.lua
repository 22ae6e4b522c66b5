-- SPDX-License-Identifier: MIT
--
-- Where in the app something was written.  Messages about mistakes begin with that place, so the library looks for
-- the innermost stack frame whose file is not its own, for the line a function is defined at, and, as a config table
-- usually spans several lines, for the line that sets a certain key.  The last is a guess over the text: when it
-- finds nothing, the line of the call stands.
--
-- A call that a file returns (`return websocket.service(...)` at the end of a module) leaves no frame of that file.  So
-- the loader runs files through `run`, whose frame tells which file it is; the line is then that of its last `return`.

local LIBRARY = debug.getinfo(1, "S").source:match "^(.*/)message/source%.lua$"
local MAX_LINES = 200 -- a call longer than this keeps its first line

local function isLibrary(source)
  return source:sub(1, #LIBRARY) == LIBRARY
end

local function fileOf(info)
  local mark = info.source:sub(1, 1)
  if mark == "@" or mark == "=" then
    return info.source:sub(2)
  end
  return info.short_src
end

--- File and line where a function is defined; nil for C functions and for the library's own.
---@param fn function
---@return string? file
---@return integer? line
local function definition(fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" or isLibrary(info.source) then
    return nil
  end
  return fileOf(info), info.linedefined
end

local function readLines(file, first, most)
  local handle = io.open(file, "r")
  if not handle then
    return {}
  end
  local lines, number = {}, 0
  for line in handle:lines() do
    number = number + 1
    if number >= first then
      lines[#lines + 1] = line
    end
    if #lines == most then
      break
    end
  end
  handle:close()
  return lines
end

local function depthOf(line)
  local code = line:gsub("%-%-.*$", ""):gsub('"[^"]*"', ""):gsub("'[^']*'", "")
  local _, opened = code:gsub("[({]", "")
  local _, closed = code:gsub("[)}]", "")
  return opened - closed
end

local function setsKey(line, key)
  local pattern = "%f[%w_]" .. key:gsub("%W", "%%%0") .. "%f[^%w_]['\"%]]*%s*=[^=]"
  return (line .. " "):find(pattern) ~= nil
end

--- Runs the chunk of a file.
---@param path string what the chunk was compiled from
---@param chunk function
---@return any result the first
local function run(path, chunk, ...) -- `position` reads the first argument off the stack
  return (chunk(...))
end

local function lastReturn(path)
  local found = 1
  for number, line in ipairs(readLines(path, 1, math.huge)) do
    if line:find "^return%f[^%w_]" then
      found = number
    end
  end
  return found
end

--- File and line of the innermost frame that belongs to the app; nil when there is none.
---@return string? file
---@return integer? line
local function position()
  local level = 2
  local info = debug.getinfo(level, "Slf")
  while info do
    if info.func == run then
      local _, path = debug.getlocal(level, 1)
      return path, lastReturn(path)
    elseif info.what ~= "C" and not isLibrary(info.source) then
      return fileOf(info), info.currentline
    end
    level = level + 1
    info = debug.getinfo(level, "Slf")
  end
  return nil
end

--- The line, from that of a call to the call's end, that sets a key; the call's own when none seems to.
---@param file string
---@param line integer
---@param key string
---@return integer
local function lineOfKey(file, line, key)
  local depth = 0
  for i, code in ipairs(readLines(file, line, MAX_LINES)) do
    if setsKey(code, key) then
      return line + i - 1
    end
    depth = depth + depthOf(code)
    if depth <= 0 then
      break
    end
  end
  return line
end

local root = "."

--- The folder of the app that is loaded: where the files that its settings name are looked for.
---@return string
local function folder()
  return root
end

--- Says which folder that is.
---@param path string
local function enter(path)
  root = path
end

--- The path of something in a folder, no longer than it must be.
---@param parent string
---@param name string
---@return string
local function join(parent, name)
  if parent == "." then
    return name
  end
  return (parent == "/" and "" or parent) .. "/" .. name
end

return {
  enter = enter,
  folder = folder,
  join = join,
  position = position,
  run = run,
  definition = definition,
  lineOfKey = lineOfKey,
}
