-- SPDX-License-Identifier: MIT
--
-- What calls of neap.shared cost: processor time a call, and calls a second of all workers together.
--
--      build/neap run tests/bench/apps/shared.lua --workers 4 [-- SECONDS [FILE]]
--
-- All workers do the same thing at the same time, to one dictionary of 1,000 keys; with FILE it is on disk, with 100
-- tasks in each worker.  The lines are those of the worker that ends last, so run it on a quiet machine.

local shared = require "neap.shared"
local task = require "neap.task"

local seconds, file = tonumber(arg[1]) or 1, arg[2]
local d = shared.dict("bench", { persist = file, maxSize = 256 * 2 ^ 20 })
local meeting = shared.dict "meeting"
local TASKS = file and 100 or 1
local STEP = file and 1 or 100

-- Wall-clock seconds by the ttl of an entry, as Lua's own clock has whole seconds only.
meeting:add("clock", true, 1e6)
local function wall()
  return 1e6 - meeting:ttl "clock"
end

local keys = {}
for i = 0, 999 do
  keys[i] = ("key:%06d"):format(i)
end
local record = { name = "Anna", score = 12, tags = { "a", "b" } }

local function number(i) d:set(keys[i % 1000], i) end
local function text(i) d:set(keys[i % 1000], "a text of some forty bytes, as names are") end
local function table_(i) d:set(keys[i % 1000], record) end
local function get(i) return d:get(keys[i % 1000]) end
local function incr() d:incr "counter" end
local function expiring(i) d:set(keys[i % 1000], i, 60) end

local function many(fn, deadline, counts, at)
  local n = 0
  repeat
    for _ = 1, STEP do
      n = n + 1
      fn(n)
    end
  until wall() > deadline
  counts[at] = n
end

-- Waits until `count` workers have come here.
local function meet(name, count)
  meeting:incr(name)
  while meeting:get(name) < count do
    task.sleep(0.001)
  end
end

local function measure(name, fn, workers)
  meet("begin " .. name, workers)
  local counts, tasks, began, cpu = {}, {}, wall(), os.clock()
  for i = 1, TASKS do
    tasks[i] = task.spawn(many, fn, began + seconds, counts, i)
  end
  local n = 0
  for i = 1, TASKS do
    tasks[i]:join()
    n = n + counts[i]
  end
  local took = wall() - began
  meeting:incr("calls " .. name, n)
  meeting:incr("cpu " .. name, os.clock() - cpu)
  if meeting:incr("ended " .. name) == workers then
    local calls = meeting:get("calls " .. name)
    print(("%-22s %8.2f us of processor time %12.0f calls a second"):format(name,
      meeting:get("cpu " .. name) / calls * 1e6, calls / took))
  end
  meet("end " .. name, workers)
end

local workers = 0
repeat -- as many as come within a quarter of a second
  local before = workers
  if before == 0 then
    meeting:incr "workers"
  end
  task.sleep(0.25)
  workers = meeting:get "workers"
until workers == before

measure("set number", number, workers)
measure("get number", get, workers)
measure("set 40 bytes", text, workers)
measure("get 40 bytes", get, workers)
measure("set table", table_, workers)
measure("get table", get, workers)
measure("incr, one key", incr, workers)
measure("set with ttl", expiring, workers)
