-- SPDX-License-Identifier: MIT
--
-- The files of an app: which there are, and their text compiled.  Only source text is taken; bytecode is refused, as
-- LuaJIT does not check it and a broken file could crash the worker.

local BOM = "\239\187\191"
local NO_FILE, NO_FOLDER = 2, 20 -- ENOENT, ENOTDIR

--- The content of a file.
---@param path string
---@return string? content
---@return string? why
local function read(path)
  local handle, why = io.open(path, "rb")
  if not handle then
    return nil, why
  end
  local content, problem = handle:read "*a"
  handle:close()
  if not content then
    return nil, ("%s: %s"):format(path, problem or "cannot be read")
  end
  return content
end

local function isFile(path)
  local handle = io.open(path, "rb")
  if not handle then
    return false
  end
  local _, why = handle:read(0) -- a folder opens but does not read; an empty file has no reason to fail
  handle:close()
  return why == nil
end

--- Whether something is there, readable or not.
---@param path string
---@return boolean
local function exists(path)
  local handle, _, code = io.open(path, "rb")
  if handle then
    handle:close()
    return true
  end
  return code ~= NO_FILE and code ~= NO_FOLDER
end

-- A first line that begins with # is for the shell. Its end of line stays, so that line numbers are right.
local function stripped(content)
  if content:sub(1, 3) == BOM then
    content = content:sub(4)
  end
  if content:sub(1, 1) == "#" then
    content = content:gsub("^[^\n]*", "")
  end
  return content
end

-- Lua shortens long paths in the messages of its compiler.
local function withFullPath(path, message)
  local line, what = message:match "^[^\n]-:(%d+): (.*)$"
  if not line then
    return path .. ": " .. message
  end
  return ("%s:%s: %s"):format(path, line, what)
end

--- Compiles a file of source text.
---@param path string
---@param env? table environment of the function
---@return function? chunk
---@return string? why begins with the path, and the line where there is one
local function compile(path, env)
  local content, why = read(path)
  if not content then
    return nil, why
  end
  content = stripped(content)
  if content:sub(1, 1) == "\27" then
    return nil, path .. ": is bytecode; only source text is loaded"
  end
  local chunk, problem = load(content, "@" .. path, "t", env)
  if not chunk then
    return nil, withFullPath(path, problem)
  end
  return chunk
end

--- The entry file and the folder of an app.
---@param path string a file or a folder
---@return string? entry nil when there is no app
---@return string rootOrWhy
local function locate(path)
  if isFile(path) then
    return path, path:match "^(.*)/[^/]*$" or "."
  end
  if not exists(path) then
    return nil, path .. ": no such file or folder"
  end
  local root = path:match "^(.-)/*$"
  root = root == "" and "/" or root
  local entry = (root == "/" and "" or root) .. "/init.lua"
  if isFile(entry) then
    return entry, root
  elseif exists(entry) then
    return nil, entry .. ": cannot be read"
  end
  local handle, why = io.open(path, "rb")
  if not handle then
    return nil, why
  end
  handle:close()
  return nil, path .. ": a folder without init.lua is not an app"
end

return {
  compile = compile,
  exists = exists,
  locate = locate,
  read = read,
}
