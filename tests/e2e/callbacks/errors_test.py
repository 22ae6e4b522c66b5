#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is said of error values: one conversion, wherever an app may raise or return one.

KINDS has the values and what the log says of each; PLACES where they are raised or returned, how
the log line begins, and what the client is told. Every kind is tried at every place.
"""
import fnmatch
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import TEXT, Failed, Raw, Suite, request, run_neap  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("errors")

# kind: (Lua expression, what the log says, the message of an error object made of it, what a client
# may read or None). Regexes, but for the last.
KINDS = {
    "text": ('"expected text"', "expected text", None, "expected text"),
    "number": ("42", "42", None, "42"),
    "object": ('websocket.Error("RoomError", "no room")', "RoomError: no room", "no room", "no room"),
    "fields": ("{ code = 5, deep = { 1 } }", r"\{ code = 5, deep = \{ 1 \} \}", None, None),
    "message": ('{ message = "no luck", code = 5 }', r"no luck \{ code = 5 \}", "no luck", "no luck"),
    "tostring": ('says(function() return "said it" end)', "said it", None, "said it"),
    "raises": ('says(function() error("within", 0) end)', r"\{ code = 5 \} \(its __tostring raised within\)",
               None, None),
    "returns": ("says(function() return {} end)", r"\{ code = 5 \} \(its __tostring returned a table\)",
                None, None),
    "waits": ("says(function() task.sleep(0) end)",
              r"\{ code = 5 \} \(its __tostring raised .*cannot wait here.*\)", None, None),
    "yields": ("says(function() coroutine.yield() end)",
               r"\{ code = 5 \} \(its __tostring raised .*attempt to yield.*\)", None, None),
    "recurses": ("says(function(e) return tostring(e) .. 1 end)",
                 r"\{ code = 5 \} \(its __tostring raised .*stack overflow.*\)", None, None),
    "trap": ('setmetatable({}, { __index = function() error "within" end })', r"\{\}", None, None),
    "proxy": ("proxy", "by proxy", None, None),
    "forges": (r'says(function() return "a\n2026-01-01T00:00:00.000Z error forged" end)',
               r"a\\n2026-01-01T00:00:00.000Z error forged", "a\n2026-*", None),
}
LIBRARIES = """
local task = require "neap.task"
local websocket = require "neap.websocket"
"""
VALUES = r"""
local function says(fn)
  return setmetatable({ code = 5 }, { __tostring = fn })
end
local proxy = newproxy(true)
getmetatable(proxy).__tostring = function() return "by proxy" end
local values = {
%s}
""" % "".join("  %s = %s,\n" % (kind, value[0]) for kind, value in KINDS.items())

app = App(VALUES + r"""
local function raise(kind) error(values[kind], 0) end

recorded("raise", {}, { onMessage = function(_, _, kind) raise(kind) end })
recorded("return", {}, { onMessage = function(_, _, kind) return nil, values[kind] end })
recorded("stream", {}, { onMessage = function(_, _, kind) return function() raise(kind) end end })
recorded("thread", {}, { onMessage = function(_, _, kind) return coroutine.create(function() raise(kind) end) end })
recorded("ended", {}, { onMessage = function(_, _, kind) return function() return nil, values[kind] end end })

local log = require "neap.log"
local work = {
  spawn = function(kind) task.spawn(raise, kind) end,
  after = function(kind) task.after(0, function() raise(kind) end) end,
  join = function(kind)
    local _, err = task.spawn(raise, kind):join()
    return tostring(err)
  end,
  log = function(kind) log.info(values[kind], { field = values[kind] }) end,
  finalizer = function(kind)
    local object = newproxy(true)
    getmetatable(object).__gc = function() raise(kind) end
    object = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
  end,
}
listener:attach("/work", { onTextMessage = function(_, _, text)
  local what, kind = text:match "(%w+) (%w+)"
  return work[what](kind) or "done"
end })
listener:attach("/upgrade/raise/:kind", function(r) raise(r.params.kind) end)
listener:attach("/upgrade/return/:kind", function(r) return nil, values[r.params.kind] end)
""")

# place: (how the log line begins, the reason without and with one of the app's own)
PLACES = {
    "raise": ("error +error in onMessage: ", "internal error", "internal error"),
    "return": ("warn +onMessage returned an error: ", "internal error", "%s"),
    "stream": ("error +error in stream of onMessage: ", "streaming failed", "streaming failed"),
    "thread": ("error +error in stream of onMessage: ", "streaming failed", "streaming failed"),
    "ended": ("warn +stream of onMessage returned an error: ", "streaming failed",
              "streaming failed: %s"),
}
WORK = {
    "spawn": "error +error in task: ",
    "after": "error +error in timer: ",
    "finalizer": "error +error in a finalizer: ",
}


def logged(start, said, id_=None):
    """Waits for the line, which a traceback or fields may follow; the ones before are forgotten."""
    end = r".*connection=" + id_ if id_ else ""
    app.get().wait_log(r"%s%s(\\nstack traceback|$|\"? \w+=)%s" % (start, said, end))
    app.get().forget_log()


def object_of(kind):
    """What tostring says of the error object that is made of the value, as a pattern of fnmatch."""
    _, said, message, _ = KINDS[kind]
    if kind == "object":
        return "RoomError: no room"
    plain = re.sub(r"\\(.)", r"\1", message or said).replace(".*", "*").replace("[", "?")
    return "Error: " + plain


def tried(place, kind):
    start, generic, own = PLACES[place]
    _, said, _, public = KINDS[kind]
    c = app.open(place, "%s-%s" % (place, kind))
    c.text(kind)
    reason = own % public if "%s" in own and public is not None else generic
    c.expect_close(1011, reason, reply=True)
    logged(start, said)
    app.noted(c.id, "error " + object_of(kind).split("*")[0][:90] + "*")     # notes are cut


for place_ in PLACES:
    @suite.case(place_, "every kind of value: in the log, to the client, to onError")
    def _(place=place_):
        for kind in KINDS:
            tried(place, kind)


for place_ in WORK:
    @suite.case(place_, "every kind of value in the log")
    def _(place=place_):
        with Raw(app.port, "/work") as c:
            for kind in KINDS:
                c.text("%s %s" % (place, kind))
                c.expect(TEXT, "done")
                logged(WORK[place], KINDS[kind][1])


@suite.case("join", "a join gets an error object of every kind of value")
def _():
    with Raw(app.port, "/work") as c:
        for kind in KINDS:
            c.text("join " + kind)
            got = c.recv_message()[1].decode()
            if not fnmatch.fnmatchcase(got, object_of(kind)):
                raise Failed("%s: got %r, expected %r" % (kind, got, object_of(kind)))
            logged("error +error in task: ", KINDS[kind][1])


@suite.case("log", "neap.log tells messages and fields in the same way")
def _():
    with Raw(app.port, "/work") as c:
        for kind in KINDS:
            c.text("log " + kind)
            c.expect(TEXT, "done")
            logged("info +", KINDS[kind][1] + ' field=.*"?' + KINDS[kind][1].replace("\\\\n", r"\\+n"))


@suite.case("upgrade", "upgrade functions: the log has it all, the client nothing of it")
def _():
    few = ("text", "object", "fields", "message", "tostring", "raises")  # more a second are counted only
    for kind in KINDS:
        said = KINDS[kind][1]
        refused = "info +upgrade refused by the app path=/upgrade/return/%s reason=\"?" % kind
        for how, status, start in (("raise", 500, "error +error in upgrade: "),
                                   ("return", 400, refused))[:2 if kind in few else 1]:
            with Raw(app.port) as c:
                c.send(request("/upgrade/%s/%s" % (how, kind)))
                response = c.recv_response()
                if response.status != status or response.body.strip() not in (
                        b"internal error", b"upgrade refused"):
                    raise Failed("%s %s: %r" % (how, kind, response.body))
            logged(start, said)


def told(command, lua, *options):
    """Runs an app of this source to its end."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "app.lua")
        with open(path, "w") as f:
            f.write(LIBRARIES + lua)
        return run_neap(command, path, *options)


@suite.case("load", "an app that raises at load is told in the same way")
def _():
    for kind, (_, said, _, _) in KINDS.items():
        result = told("run", VALUES + "error(values.%s, 0)\n" % kind)
        if result.returncode != 1 or not re.search("error in load: " + said, result.stderr):
            raise Failed("%s: %d %s" % (kind, result.returncode, result.stderr))


MISTAKE = 'websocket.service("Chat", { onMesage = print })\n'


def checked(lua, problem):
    """`neap check` tells the mistake before, this problem (a regex), and nothing else."""
    result = told("check", MISTAKE + lua)
    lines = [line for line in result.stdout.splitlines() if "onMesage" not in line]
    good = result.returncode == 1 and lines[-1:] == ["2 problems"] and \
        re.search(problem, "\n".join(lines[:-1])) and "onMesage" in result.stdout
    if not good:
        raise Failed("%s: %d\n%s%s" % (lua, result.returncode, result.stdout, result.stderr))


@suite.case("check", "and by neap check, after the mistakes that it had found before")
def _():
    for kind, (_, said, _, _) in KINDS.items():
        checked(VALUES + "error(values.%s, 0)\n" % kind, said.replace(r"\\n", r"\n"))


EXITS = {
    "plain": "os.exit(0)",
    "closing": "os.exit(true, true)",
    "caught": "pcall(os.exit, 0)",
    "compared": "table.sort({ 2, 1 }, function() os.exit(0) end)",
    "coroutine": "coroutine.wrap(function() os.exit(0) end)()",
    "task": "task.spawn(function() os.exit(0) end) task.sleep(60)",
    "timer": "task.after(0, function() os.exit(0) end) task.sleep(60)",
    "renamed": "local leave = os.exit leave()",
}


@suite.case("check.exit", "an app that calls os.exit hides nothing")
def _():
    for lua in EXITS.values():
        checked("\n" + lua, r"app.lua:6: os.exit ends the app while it loads")
    result = told("check", 'local ffi = require "ffi"\nffi.cdef "void exit(int);"\nffi.C.exit(0)')
    if result.returncode != 1 or "ended the program" not in result.stderr:
        raise Failed("exit of the C library: %d %s" % (result.returncode, result.stderr))


@suite.case("check.memory", "nor one that runs out of memory")
def _():
    checked('print(#("x"):rep(2 ^ 31 - 1))', "app.lua: while it was loading: not enough memory")
    checked("local function deep() return deep() + 1 end deep()", "stack overflow")


@suite.case("check.sound", "a sound app has no problems, also one that has os.exit in a handler")
def _():
    result = told("check", "return function() os.exit(1) end")
    if result.returncode != 0 or "no problems" not in result.stdout:
        raise Failed("%d %s" % (result.returncode, result.stdout))
    if "top level runs" not in run_neap("help", "check").stdout:
        raise Failed("the help does not say that the app runs")


endless = App(VALUES + r"""
local function spin() while true do end end
local function endless() error(says(spin), 0) end
recorded("raise", {}, { onMessage = endless })
recorded("return", {}, { onMessage = function() return nil, says(spin) end })
recorded("thread", {}, { onMessage = function() return coroutine.create(endless) end })
recorded("spawn", {}, { onMessage = function() task.spawn(endless); return "done" end })
listener:attach("/upgrade", endless)
""", options=("--workers", "1", "--handler-timeout", "0.2"))


@suite.case("endless", "a __tostring without end is ended, and what raised it is ended as it should")
def _():
    for name, reason in (("raise", "internal error"), ("return", "internal error"),
                         ("thread", "streaming failed")):
        c = endless.open(name)
        c.text("x")
        c.expect_close(1011, reason, reply=True)
        endless.noted(c.id, "close 1011 *")
    with endless.open("spawn") as c:
        c.text("x")
        c.expect(TEXT, "done")
        endless.get().wait_log(r"error in task: .*its __tostring raised .*exceeded its time limit")
    with Raw(endless.port) as c:
        c.send(request("/upgrade"))
        if c.recv_response().status != 500:
            raise Failed("answered otherwise")
    if len(re.findall("exceeded its time limit", endless.get().log())) < 5:
        raise Failed("it is not told why")


app.add_finals(suite, errors=".")

if __name__ == "__main__":
    suite.main()
