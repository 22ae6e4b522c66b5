-- SPDX-License-Identifier: MIT
--
-- Where in the app something was written.  Messages about mistakes begin with that place, so the library looks for
-- the innermost stack frame whose file is not its own, for the line a function is defined at, and, as a config table
-- usually spans several lines, for the line that sets a certain key.  The last is a guess over the text: when it
-- finds nothing, the line of the call stands.

local LIBRARY = debug.getinfo(1, "S").source:match "^(.*/)source%.lua$"
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

--- File and line of the innermost frame that belongs to the app; nil when there is none.
---@return string? file
---@return integer? line
local function position()
  local level = 2
  local info = debug.getinfo(level, "Sl")
  while info do
    if info.what ~= "C" and not isLibrary(info.source) then
      return fileOf(info), info.currentline
    end
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  return nil
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

local function readLines(file, first)
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
    if #lines == MAX_LINES then
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

--- The line, from that of a call to the call's end, that sets a key; the call's own when none seems to.
---@param file string
---@param line integer
---@param key string
---@return integer
local function lineOfKey(file, line, key)
  local depth = 0
  for i, code in ipairs(readLines(file, line)) do
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

return {
  position = position,
  definition = definition,
  lineOfKey = lineOfKey,
}
