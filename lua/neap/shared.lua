-- SPDX-License-Identifier: MIT
--
-- neap.shared: dictionaries that all workers of a server share.  A value goes into one as bytes and comes out as a new
-- value, so that nobody changes what another one holds; each call is one transaction of LMDB (src/bind/data/lshared.c,
-- src/store/store.h).  This file checks arguments and makes error objects.  What a wrong argument is, the app's author
-- can know beforehand, so it raises; what depends on the data and the disk comes back as nil and an error.

local core = require "neap.core"
local errors = require "neap.message.error"
local numbers = require "neap.runtime.number"
local text = require "neap.message.text"
local wait = require "neap.runtime.wait"

local sharedGet, sharedSet, sharedIncr = core.sharedGet, core.sharedSet, core.sharedIncr
local sharedDelete, sharedKeys, sharedTtl = core.sharedDelete, core.sharedKeys, core.sharedTtl

local MAX_KEY = 500 -- bytes
local KEYS, MAX_KEYS = 1000, 1000000 -- that one call lists
local SIZE, MIN_SIZE, MAX_SIZE = 64 * 2 ^ 20, 2 ^ 20, 2 ^ 36 -- bytes

---@class neap.SharedOptions
---@field persist? string path of a file that outlives the server; in memory when left out
---@field maxSize? integer bytes, 64 MiB

local open = {} -- by name: { dict =, persist =, maxSize = }

local function mistake(call, message)
  errors.raise(("dict:%s: %s"):format(call, message))
end

local meta -- of dictionaries

local function checkSelf(dict, call)
  if getmetatable(dict) ~= meta then
    errors.wrongSelf("dict:" .. call, "shared.dict")
  end
end

-- What C tells is text, but for a task that was cancelled while it waited for the disk.
local function failure(message)
  wait.passed(nil, message)
  return errors.isError(message) and message or errors.new("Error", message)
end

local function checkKey(dict, call, key)
  checkSelf(dict, call)
  if type(key) ~= "string" then
    local hint = type(key) == "number" and "; write tostring(key)" or ""
    mistake(call, ("key must be a string, it is %s%s"):format(text.show(key), hint))
  elseif #key == 0 or #key > MAX_KEY then
    mistake(call, ("a key has 1 to %d bytes, this one has %d"):format(MAX_KEY, #key))
  end
end

local function checkTtl(call, ttl)
  if not (numbers.isSeconds(ttl) and ttl > 0) then
    mistake(call, ("ttl must be a number of seconds, more than 0; it is %s"):format(text.show(ttl)))
  end
  return ttl
end

local function store(dict, call, key, value, ttl, add)
  checkKey(dict, call, key)
  if value == nil then
    mistake(call, "value is nil; dict:delete(key) removes one")
  end
  local done, message, wrong = sharedSet(dict.handle, key, value, ttl and checkTtl(call, ttl) or 0, add)
  if done ~= nil then
    return done
  elseif wrong then
    mistake(call, message)
  end
  return nil, failure(message)
end

---@class neap.SharedDict
---@field private handle userdata
local methods = {}

--- The value of a key. A table is a copy: changing it changes nothing in the dictionary. Does not yield.
---@param key string 1 to 500 bytes
---@return any value nil when there is none
---@return websocket.Error? err only when the file cannot be read
function methods:get(key)
  checkKey(self, "get(key)", key)
  local value, message = sharedGet(self.handle, key)
  if message then
    return nil, failure(message)
  end
  return value
end

--- Stores a value, in place of what was there, and of its ttl. On disk it yields, as all calls that change something.
---@param key string 1 to 500 bytes
---@param value string|number|boolean|table|userdata json.null is the only userdata
---@param ttl? number seconds until it is gone by itself; for ever when left out
---@return boolean? stored true
---@return websocket.Error? err it is too large, or the dictionary is full; nothing was changed
function methods:set(key, value, ttl)
  return store(self, "set(key, value, ttl)", key, value, ttl, false)
end

--- Stores a value when there is none: of all who try at the same time, one succeeds.
---@param key string 1 to 500 bytes
---@param value string|number|boolean|table|userdata json.null is the only userdata
---@param ttl? number seconds until it is gone by itself; for ever when left out
---@return boolean? added false when there is a value
---@return websocket.Error? err it is too large, or the dictionary is full; nothing was changed
function methods:add(key, value, ttl)
  return store(self, "add(key, value, ttl)", key, value, ttl, true)
end

--- Adds to a number; its ttl stays.
---@param key string 1 to 500 bytes
---@param n? number 1; may be negative
---@param initial? number 0, to which n is added when there is no value
---@return number? sum
---@return websocket.Error? err the value is no number, the sum is too large, or the dictionary is full
function methods:incr(key, n, initial)
  checkKey(self, "incr(key, n, initial)", key)
  n, initial = n == nil and 1 or n, initial == nil and 0 or initial
  if not numbers.isFinite(n) then
    mistake("incr(key, n, initial)", "n must be a number, it is " .. text.show(n))
  elseif not numbers.isFinite(initial) then
    mistake("incr(key, n, initial)", "initial must be a number, it is " .. text.show(initial))
  end
  local sum, message = sharedIncr(self.handle, key, n, initial)
  if not sum then
    return nil, failure(message)
  end
  return sum
end

--- Removes a value.
---@param key string 1 to 500 bytes
---@return boolean? existed whether there was one
---@return websocket.Error? err only when the file cannot be written
function methods:delete(key)
  checkKey(self, "delete(key)", key)
  local existed, message = sharedDelete(self.handle, key)
  if existed == nil then
    return nil, failure(message)
  end
  return existed
end

--- Keys that begin with a prefix, in the order of their bytes. Does not yield.
---@param prefix? string ""
---@param limit? integer 1000
---@return string[]? keys
---@return boolean|websocket.Error more true when there may be more than these
function methods:keys(prefix, limit)
  checkSelf(self, "keys(prefix, limit)")
  prefix, limit = prefix == nil and "" or prefix, limit == nil and KEYS or limit
  if type(prefix) ~= "string" then
    mistake("keys(prefix, limit)", "prefix must be a string, it is " .. text.show(prefix))
  elseif not numbers.isWhole(limit, 1, MAX_KEYS) then
    mistake("keys(prefix, limit)", ("limit must be a whole number from 1 to %d, it is %s"):format(MAX_KEYS,
      text.show(limit)))
  end
  local keys, more = sharedKeys(self.handle, prefix, limit)
  if not keys then
    return nil, failure(more)
  end
  return keys, more
end

--- How long a value has to live. Does not yield.
---@param key string 1 to 500 bytes
---@return number? seconds math.huge when it is not bounded; nil when there is no value
---@return websocket.Error? err only when the file cannot be read
function methods:ttl(key)
  checkKey(self, "ttl(key)", key)
  local seconds, message = sharedTtl(self.handle, key)
  if message then
    return nil, failure(message)
  end
  return seconds
end

meta = {
  __index = methods,
  __name = "neap.SharedDict",
  __tostring = function(dict)
    return ("shared.dict %q"):format(dict.name)
  end,
}

local OPTIONS = {
  persist = function(v)
    return type(v) == "string" and v ~= "" and not v:find "%z", "the path of a file"
  end,
  maxSize = function(v)
    return numbers.isWhole(v, MIN_SIZE, MAX_SIZE),
      ("a whole number of bytes from %.0f (1 MiB) to %.0f (64 GiB)"):format(MIN_SIZE, MAX_SIZE)
  end,
}

-- What the options say, without those that are wrong: `neap check` wants to hear of all of them.
local function readOptions(what, options)
  local good = {}
  if options ~= nil and type(options) ~= "table" then
    errors.fault(("%s: the options must be a table, they are %s"):format(what, text.show(options)))
    return good
  end
  for _, key in ipairs(text.sortedKeys(options or {})) do
    local check, value = OPTIONS[key], options[key]
    if not check then
      local near = type(key) == "string" and text.nearest(key, text.sortedKeys(OPTIONS))
      errors.fault(("%s: %s: no such key; %s"):format(what, tostring(key),
        near and "did you mean " .. near .. "?" or "the keys are maxSize and persist"), key)
    else
      local ok, expect = check(value)
      if ok then
        good[key] = value
      else
        errors.fault(("%s: %s must be %s; it is %s"):format(what, key, expect, text.show(value)), key)
      end
    end
  end
  return good
end

-- What is open stays open; asked for again it is the same, so the options must be.
local function again(what, known, options)
  for key in pairs(OPTIONS) do
    if options[key] ~= nil and options[key] ~= known[key] then
      errors.fault(("%s: it is open already with %s = %s; restart the server to change that"):format(what, key,
        text.show(known[key])), key)
    end
  end
  return known.dict
end

--- The dictionary of that name: the same one in all workers, made when it is first asked for.
---@param name string letters, digits, `_`, `-` and `.`, at most 64
---@param options? neap.SharedOptions
---@return neap.SharedDict
local function dict(name, options)
  if type(name) ~= "string" or #name > 64 or not name:find "^[%w_-][%w_.-]*$" then
    errors.raise("shared.dict(name, options): name must be 1 to 64 letters, digits, \"_\", \"-\" and \".\", it is "
      .. text.show(name))
  end
  local what = ("shared.dict %q"):format(name)
  local given = readOptions(what, options)
  if open[name] then
    return again(what, open[name], given)
  end
  local size = given.maxSize or SIZE
  local handle, message = core.sharedOpen(name, given.persist, size)
  if not handle then
    errors.raise(("%s: cannot open %s"):format(what, message))
  end
  local made = setmetatable({ handle = handle, name = name }, meta)
  open[name] = { dict = made, persist = given.persist, maxSize = size }
  return made
end

return {
  dict = dict,
}
