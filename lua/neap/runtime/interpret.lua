-- SPDX-License-Identifier: MIT
--
-- Keeps LuaJIT from compiling `next`.  The compiler of the LuaJIT that Debian 12 has, 2.1.0-beta3, cuts the pointer
-- that a compiled `next` returns to 32 bits when two registers happen to be swapped, and the process dies: any loop
-- over pairs() that becomes hot may do that, in a module of somebody else's as well as in an app's.  Mended upstream on
-- 2022-04-05; later versions have another number and are left alone (docs/decisions/0006-next-is-interpreted.md).
--
--      for … in pairs(t), in next, t      functions with such a loop are found by their bytecode when they are loaded,
--                                         and run by the interpreter: about as fast, since the loop is one instruction
--      next(t)                            the global is one that the compiler does not look into
--
-- All ways to load Lua go through here: load, loadstring, loadfile, and require.  Internal.

local AFFECTED = "LuaJIT 2.1.0-beta3"

local rawLoad, rawLoadfile, rawNext = load, loadfile, next

local function operation(util, fn, pc)
  return util.funcbc(fn, pc) % 256
end

-- The instruction with which a loop over pairs begins: the one in which these two functions differ.
local function loopOperation(util)
  local over = rawLoad "local t = ... for _ in pairs(t) do end"
  local other = rawLoad "local t = ... for _ in other(t) do end"
  for pc = 1, util.funcinfo(over).bytecodes - 1 do
    if operation(util, over, pc) ~= operation(util, other, pc) then
      return operation(util, over, pc)
    end
  end
  error "LuaJIT has another bytecode than was expected"
end

-- A function, or a prototype within one.
local function scan(util, loop, fn)
  local info = util.funcinfo(fn)
  for pc = 1, info.bytecodes - 1 do
    if operation(util, fn, pc) == loop then
      jit.off(fn)
      break
    end
  end
  for i = -1, info.children and -info.gcconsts or 0, -1 do
    local constant = util.funck(fn, i)
    if type(constant) == "proto" then
      scan(util, loop, constant)
    end
  end
end

-- As the loader of package.loaders that it replaces.
local function search(name)
  local path, why = package.searchpath(name, package.path)
  if not path then
    return why
  end
  local chunk, problem = loadfile(path)
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, problem), 0)
  end
  return chunk
end

--- Installs all this in the global functions, once, before other modules are loaded. Does nothing where LuaJIT is not
--- the affected one.
local function install()
  if jit.version ~= AFFECTED then
    return
  end
  local util = require "jit.util"
  local loop = loopOperation(util)
  local function checked(chunk, why)
    if chunk then
      scan(util, loop, chunk)
    end
    return chunk, why
  end
  -- luacheck: push ignore 121 122
  function load(...)
    return checked(rawLoad(...))
  end
  loadstring = load
  function loadfile(...)
    return checked(rawLoadfile(...))
  end
  function next(t, key)
    return rawNext(t, key)
  end
  jit.off(next)
  package.loaders[2] = search
  -- luacheck: pop
end

return {
  install = install,
}
