-- SPDX-License-Identifier: MIT
--
-- core.isUtf8 for specs that run without C (src/proto/ws/utf8.c): whether a text is valid UTF-8.

-- The first continuation byte after these leads is bounded further: no overlong forms, no surrogates, nothing past
-- U+10FFFF (RFC 3629 §4).
local SECOND = { [0xE0] = { 0xA0, 0xBF }, [0xED] = { 0x80, 0x9F }, [0xF0] = { 0x90, 0xBF }, [0xF4] = { 0x80, 0x8F } }

local function sequenceLength(lead)
  if lead < 0x80 then
    return 1
  elseif lead >= 0xC2 and lead <= 0xDF then
    return 2
  elseif lead >= 0xE0 and lead <= 0xEF then
    return 3
  elseif lead >= 0xF0 and lead <= 0xF4 then
    return 4
  end
  return nil
end

local function isSequence(s, at, length)
  local low, high = 0x80, 0xBF
  local bounds = SECOND[s:byte(at)]
  if bounds then
    low, high = bounds[1], bounds[2]
  end
  for i = at + 1, at + length - 1 do
    local byte = s:byte(i)
    if not byte or byte < low or byte > high then
      return false
    end
    low, high = 0x80, 0xBF
  end
  return true
end

local function isUtf8(s)
  local at = 1
  while at <= #s do
    local length = sequenceLength(s:byte(at))
    if not length or not isSequence(s, at, length) then
      return false
    end
    at = at + length
  end
  return true
end

return isUtf8
