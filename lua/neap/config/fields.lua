-- SPDX-License-Identifier: MIT
--
-- The kinds of settings: functions that make the description of one,
--
--      { default =, expect = "what it must be", check = function(value) -> value or nil, and why not }
--
-- listener.lua, route.lua and secure.lua say which settings there are, settings.lua holds an app's table against them.

local numbers = require "neap.runtime.number"
local text = require "neap.message.text"

local MAX_TEXT = 256 -- bytes

local isWhole = numbers.isWhole

local function boolean(default)
  return {
    default = default,
    expect = "true or false",
    check = function(v)
      if type(v) == "boolean" then
        return v
      end
    end,
  }
end

-- Seconds from `least` on; `forever` also admits -1.
local function seconds(default, least, forever)
  local expect = "a number of seconds, " .. (least == 0 and "0 or more" or "more than 0")
  return {
    default = default,
    expect = forever and expect .. ", or -1 to wait for ever" or expect,
    check = function(v)
      if (forever and v == -1) or (numbers.isSeconds(v) and (least == 0 or v > 0)) then
        return v
      end
    end,
  }
end

local function count(default, least, most)
  return {
    default = default,
    expect = ("a whole number from %d to %d"):format(least, most),
    check = function(v)
      if isWhole(v, least, most) then
        return v
      end
    end,
  }
end

local function choice(default, ...)
  local known = { ... }
  return {
    default = default,
    expect = '"' .. table.concat(known, '" or "') .. '"',
    check = function(v)
      for _, name in ipairs(known) do
        if v == name then
          return v
        end
      end
    end,
  }
end

-- A text that is not long; `suits` is asked whether it may be this one.
local function short(default, expect, suits)
  return {
    default = default,
    expect = expect,
    check = function(v)
      if type(v) == "string" and #v <= MAX_TEXT and suits(v) then
        return v
      end
    end,
  }
end

local function line(default, expect)
  return short(default, expect, text.isLine)
end

local function headerValue(default)
  return short(default, "the text of the header, without control characters", text.isFieldValue)
end

-- The name of a field of JSON messages.
local function member(example)
  return short(nil, ("the name of a field of the messages, such as %q"):format(example), function(v)
    return v ~= "" and text.isLine(v)
  end)
end

-- An array of texts; each goes through `element`, which returns it (perhaps in another form) or nil and why not.
local function list(default, expect, element)
  return {
    default = default,
    expect = expect,
    check = function(v)
      if type(v) ~= "table" then
        return nil
      end
      local out = {}
      for key, item in pairs(v) do
        local kept, why
        if isWhole(key, 1, #v) then
          kept, why = element(item)
        end
        if kept == nil then
          return nil, why
        end
        out[key] = kept
      end
      return out
    end,
  }
end

return {
  boolean = boolean,
  choice = choice,
  count = count,
  headerValue = headerValue,
  line = line,
  list = list,
  member = member,
  seconds = seconds,
  -- The most that numbers of bytes may be: strings of LuaJIT end at 2^31, and an answer is somewhat longer than what it
  -- answers. Other numbers are 32 bits in C.
  MAX_BYTES = 2 ^ 30,
  MAX_COUNT = 2 ^ 31 - 1,
}
