#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Streams that sleep when their client goes, in every way in which it can, and what is left of them.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import INSTRUMENTED, SECONDS, TEXT, Failed, Suite, frame  # noqa: E402
from neaptest.behaviour import App  # noqa: E402
from watched import ENDS, WATCHED, live, none_left  # noqa: E402

suite = Suite("stream_ends")
app = App(WATCHED + r"""
-- Asleep for an hour, in all the ways there are. What it says when it is stopped is noted.
local sleepers = {}
function sleepers.fn(note)
  return watched(function()
    local ok, err = pcall(task.sleep, 3600)
    note(ok and "slept" or "stopped " .. err.kind)
    return "late"
  end)
end
function sleepers.coroutine(note)
  return coroutine.create(watched(function()
    coroutine.yield "first"
    local _, err = pcall(task.sleep, 3600)
    note("stopped " .. err.kind)
    coroutine.yield "late"
    note "resumed"
  end))
end
function sleepers.twice(note)
  return watched(function()
    pcall(task.sleep, 3600)
    note "stopped once"
    task.sleep(3600)
    note "went on"
  end)
end
function sleepers.channel(note)
  local channel = task.channel()
  return watched(function()
    local _, err = pcall(channel.receive, channel)
    note("stopped " .. err.kind)
    local good, raised = pcall(channel.receive, channel)
    note(tostring(good) .. " " .. tostring(raised))
  end)
end
function sleepers.timeout(note)
  return watched(function()
    local _, err = pcall(task.timeout, 3600, task.sleep, 3600)
    note("stopped " .. err.kind)
  end)
end
function sleepers.nested(note)
  return coroutine.create(watched(function()
    local inner = coroutine.wrap(function()
      local _, err = pcall(task.sleep, 3600)
      note("stopped " .. err.kind)
      coroutine.yield "late"
    end)
    coroutine.yield(inner())
  end))
end
function sleepers.raises(note)
  return watched(function()
    task.sleep(3600)
    note "went on"
  end)
end
function sleepers.careless()
  return watched(function()
    while true do
      task.sleep(3600)
    end
  end)
end
recorded("sleeps", { idleTimeout = 0 }, { onMessage = function(self, caller, data)
  if data == "close" then
    caller:close(4000, "enough", 0.2)
    return nil
  elseif data == "raise" then
    error "expected"
  elseif not sleepers[data] then
    return data
  end
  return sleepers[data](function(text) note("no connection any more " .. self.id, text) end)
end })
recorded("quiet", {}, { onMessage = function(_, _, data)
  return sleepers[data] and sleepers[data](function() end) or data
end })
recorded("idle", { idleTimeout = 0.3 }, { onMessage = function()
  return function()
    task.sleep(0.05)
    return "tick"
  end
end })
""")


# What a sleeper notes.
SLEEPERS = {
    "fn": ["stopped Cancelled"], "coroutine": ["stopped Cancelled"], "twice": ["stopped once"],
    "channel": ["stopped Cancelled", "false Cancelled: *"], "timeout": ["stopped Cancelled"],
    "nested": ["stopped Cancelled"], "raises": [], "careless": [],
}

for way in ENDS:
    for kind in SLEEPERS:
        @suite.case("stopped.%s.%s" % (way, kind), "a stream asleep is stopped when its client goes")
        def _(way=way, kind=kind):
            act, closed = ENDS[way]
            with app.open("sleeps") as c:
                c.text(kind)
                app.noted(c.id, "message " + kind)
                if kind == "coroutine":
                    c.expect(TEXT, "first")
                act(c)
                app.noted(c.id, closed)
                app.told("no connection any more " + c.id, *SLEEPERS[kind])
            none_left(app)
            app.told("no connection any more " + c.id, *SLEEPERS[kind])


@suite.case("idle", "a stream does not keep its connection from being idle")
def _():
    with app.open("idle") as c:
        c.text("x")
        c.expect(TEXT, "tick")
        c.expect_close(1001, "idle timeout", reply=True, skip=True)
    app.noted(c.id, "close 1001*")


@suite.case("leak", "a thousand connections with a sleeping stream each come and go")
def _():
    def round_of(count):
        open_ = []
        for _ in range(count):
            c = app.open("quiet")
            open_.append(c)
            c.send(frame(TEXT, "fn") + frame(TEXT, "coroutine") + frame(TEXT, "careless")
                   + frame(TEXT, "here"))
        for c in open_:
            while c.recv_message()[1] != b"here":
                pass
        seen = live(app)["streams"]
        if seen < count * 3:
            raise Failed("%d streams of %d are alive" % (seen, count * 3))
        for i, c in enumerate(open_):
            c.reset() if i % 2 else c.close()
        for c in open_:
            app.noted(c.id, "close *")
        none_left(app, SECONDS * 4)

    round_of(100)
    before, resident = live(app)["kilobytes"], app.get().rss()
    for _ in range(4):
        round_of(250)
    grown = live(app)["kilobytes"] - before
    if grown > 1500:        # the notes of a thousand connections are some 600 of them
        raise Failed("Lua has %d KiB more than before" % grown)
    if not INSTRUMENTED and app.get().rss() > resident + (6 << 20):
        raise Failed("memory grew by %d" % (app.get().rss() - resident))


app.add_finals(suite, r"expected|cannot resume")

if __name__ == "__main__":
    suite.main()
