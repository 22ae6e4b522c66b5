#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starting and ending: what the program says and returns for every mistake in an app or on the
command line, addresses, scripts without a listener, and stopping while handlers wait.
"""
import os
import re
import signal
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    CLOSE, PING, PONG, SECONDS, TEXT, Failed, Raw, Server, Suite, close_payload, no_sanitizer_report, run_neap,
    wait_until)

suite = Suite("start")
WEBSOCKET = 'local websocket = require "neap.websocket"\n'
LISTEN = WEBSOCKET + '''local listener = websocket.listener(0, { host = "127.0.0.1" })
listener:attach("/echo", { onMessage = function(_, _, data) return data end })
'''


def run_app(source, *options, name="app.lua", args=(), command="run", **settings):
    with tempfile.TemporaryDirectory(prefix="neaptest-") as folder:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(source)
        return run_neap(command, os.path.join(folder, name.split("/")[0]), *options,
                        *(["--", *args] if args else []), **settings)


def ends(done, status, *patterns, absent=()):
    """The exit status, and what must stand in stderr."""
    if done.returncode != status:
        raise Failed("exit status %d, expected %d\n%s" % (done.returncode, status, done.stderr))
    for pattern in patterns:
        if not re.search(pattern, done.stderr, re.M):
            raise Failed("no %r in\n%s" % (pattern, done.stderr))
    for pattern in absent:
        if re.search(pattern, done.stderr, re.M):
            raise Failed("%r is in\n%s" % (pattern, done.stderr))


def case(ident, what, source, status, *patterns, options=(), **settings):
    suite.add(ident, what, lambda: ends(run_app(source, *options, **settings), status, *patterns))


# -- the command line


def usage(ident, what, *args, says=()):
    def run():
        done = run_neap(*args)
        ends(done, 2, *says)
        lines = [line for line in done.stderr.splitlines() if line]
        if len(lines) > 2:
            raise Failed("more than a line or two:\n" + done.stderr)
    suite.add("usage." + ident, what, run)


usage("nocommand-app", "no app", "run")
usage("missing", "an app that does not exist", "run", "/nonexistent/app.lua",
      says=[r"^neap: .*/nonexistent/app\.lua"])
usage("command", "an unknown command", "rnu", "app.lua", says=[r"rnu"])
usage("option", "an unknown option", "run", "--wrokers", "2", "app.lua", says=[r"--wrokers"])
usage("value", "a wrong value", "run", "--workers", "many", "app.lua", says=[r"--workers.*many|many"])
usage("zero", "no workers", "run", "--workers", "0", "app.lua", says=[r"--workers"])
usage("novalue", "a value that is missing", "run", "--workers", says=[r"--workers"])
usage("drain", "a wrong time", "run", "--drain", "-5", "app.lua", says=[r"--drain"])
usage("level", "a wrong level", "run", "--log-level", "loud", "app.lua", says=[r"--log-level|loud"])
usage("format", "a wrong format", "run", "--log-format", "xml", "app.lua", says=[r"--log-format|xml"])


@suite.case("usage.folder", "a folder without init.lua")
def _():
    with tempfile.TemporaryDirectory() as folder:
        ends(run_neap("run", folder), 2, r"init\.lua")


# -- mistakes in the app: exit 1, one clear line with file and line

case("app.syntax", "a syntax error", "local x =\nlocal y = 1\n", 1, r"app\.lua:2: ")
case("app.raise", "a top level that raises", '\nerror "expected"\n', 1, r"app\.lua:2: expected")
case("app.raise-table", "with a table", "error {}", 1, r"error in load: \{\}")
case("app.raise-nil", "with nil", "error(nil)", 1, r"error in load: nil")
case("app.yield", "a stray yield", "coroutine.yield()", 1, r"yield")
case("app.callback", "a misspelt callback", LISTEN + '''
websocket.service("Chat", {
  onMesage = function() end,
})''', 1, r"app\.lua:\d+: .*onMesage.*onMessage")
case("app.callback-plain", "in a plain table", LISTEN + '''
listener:attach("/x", {
  onColse = function() end,
})''', 1, r"app\.lua:\d+: .*onColse.*onClose")
case("app.callback-both", "onMessage beside onTextMessage", LISTEN + '''
listener:attach("/x", { onMessage = function() end, onTextMessage = function() end })''', 1,
     r"app\.lua:\d+: .*onMessage")
case("app.key", "an unknown key of a listener", WEBSOCKET + '''
websocket.listener(0, { hots = "127.0.0.1" })''', 1, r"app\.lua:3: .*hots.*did you mean host")
case("app.key-route", "of a route", LISTEN + '''
listener:attach("/x", { idleTimeuot = 5 }, { onMessage = function() end })''', 1,
     r"app\.lua:\d+: .*idleTimeuot.*did you mean idleTimeout")
case("app.key-nested", "of a table in it", WEBSOCKET + '''
websocket.listener(0, { requestLimits = { maxUriLenght = 5 } })''', 1,
     r"app\.lua:3: .*maxUriLenght.*maxUriLength")
case("app.value", "a wrong type", LISTEN + '''
listener:attach("/x", { idleTimeout = "5" }, { onMessage = function() end })''', 1,
     r"app\.lua:\d+: .*idleTimeout.*number")
for value in ("-2", "0/0", "2e9", '"x"'):
    case("app.closure." + value, "connectionClosureTimeout", LISTEN + '''
listener:attach("/x", { connectionClosureTimeout = %s }, { onMessage = function() end })''' % value,
         1, r"app\.lua:\d+: .*connectionClosureTimeout")
case("app.twice", "a path attached twice", LISTEN + '''
listener:attach("/echo/", { onMessage = function() end })''', 1, r"app\.lua:\d+: .*already attached")
case("app.detach", "detaching what is not attached", LISTEN + 'listener:detach "/x"', 1,
     r"app\.lua:\d+: .*not attached")
case("app.nothing", "an attach without a service", LISTEN + 'listener:attach "/x"', 1, r"app\.lua:\d+: ")
case("app.path", "an impossible path", LISTEN + '''
listener:attach("/x/*rest/more", { onMessage = function() end })''', 1, r"app\.lua:\d+: ")
for address in ('"nowhere:port"', "70000", '"::1:80"', '"unix:"', "-1", "{}", "nil", '"256.1.1.1:80"'):
    case("app.address." + address, "no address", WEBSOCKET + "websocket.listener(%s)" % address, 1,
         r"app\.lua:2: ")
case("app.module", "a module that does not exist", 'require "nothere"', 1, r"app\.lua:1: .*nothere")
case("app.module-syntax", "a syntax error in a module", 'require "bad"', 1, r"nothere|bad")
case("app.unready", "attach on a listener that has been stopped", LISTEN + '''
listener:immediateStop()
listener:attach("/x", {})''', 1, r"app\.lua:\d+: .*stopped")


@suite.case("app.port", "a port in use: one line with file and line that names the address")
def _():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_app(WEBSOCKET + '\nwebsocket.listener("127.0.0.1:%d")' % port)
        ends(done, 1, r"app\.lua:3: .*127\.0\.0\.1:%d.*in use" % port)
        if len(done.stderr.splitlines()) > 6:
            raise Failed(done.stderr)


@suite.case("app.port.shared", "... also by another server with several workers")
def _():
    with Server(lua=LISTEN, args=(), options=("--workers", "2")) as s:
        ends(run_app(WEBSOCKET + '\nwebsocket.listener("127.0.0.1:%d")' % s.port, "--workers", "2"), 1,
             r"app\.lua:3: .*127\.0\.0\.1:%d.*in use" % s.port)


@suite.case("app.workers", "several workers: told once, ended once")
def _():
    done = run_app('\nerror "expected"', "--workers", "3")
    ends(done, 1, r"app\.lua:2: expected")


case("app.folder", "an error in a module of the app's folder", 'require "neap.task"\nlocal x = nil\nx()', 1,
     r"init\.lua:3: ", name="app/init.lua")


@suite.case("app.timer", "a load that raises ends at once, also while timers and tasks are alive")
def _():
    began = time.monotonic()
    done = run_app('''local task = require "neap.task"
task.every(0.01, function() end)
task.after(60, function() end)
task.spawn(function() task.sleep(60) end)
task.sleep(0.02)
error "expected"''')
    ends(done, 1, r"app\.lua:6: expected")
    if time.monotonic() - began > SECONDS:
        raise Failed("it took %.1f s" % (time.monotonic() - began))


@suite.case("app.listener-timer", "the same with a listener that is bound already")
def _():
    began = time.monotonic()
    ends(run_app(LISTEN + '''require("neap.task").every(0.01, function() end)
error "expected"'''), 1, r"app\.lua:5: expected")
    if time.monotonic() - began > SECONDS:
        raise Failed("it took %.1f s" % (time.monotonic() - began))


# -- scripts

@suite.case("script.end", "a script without a listener ends with 0; arg has its arguments")
def _():
    done = run_app('print(arg[0]:match "[^/]+$", #arg, arg[1], arg[2])', args=["a", "b c"])
    ends(done, 0)
    if done.stdout != "app.lua\t2\ta\tb c\n":
        raise Failed("%r" % done.stdout)


case("script.raise", "1 when it raises, with a traceback", "local function f() error 'expected' end f()", 1,
     r"app\.lua:1: expected", r"stack traceback")


@suite.case("script.tasks", "it ends when its tasks have ended")
def _():
    done = run_app('''local task = require "neap.task"
task.spawn(function() task.sleep(0.05); print "task" end)
task.after(0.02, function() print "after" end)
print "main"''')
    ends(done, 0)
    if done.stdout != "main\nafter\ntask\n":
        raise Failed("%r" % done.stdout)


@suite.case("script.task-raise", "an error in a task is logged; the others go on")
def _():
    done = run_app('''local task = require "neap.task"
task.spawn(function() error "expected" end)
task.sleep(0.02)
print "done"''')
    ends(done, 0, r"error .*app\.lua:2: expected")
    if done.stdout != "done\n":
        raise Failed("%r" % done.stdout)


@suite.case("script.signal", "SIGTERM ends a script that waits")
def _():
    s = Server(lua='require("neap.task").sleep(1000)', args=(), wait=False)
    wait_until(s.workers, what="a worker")
    s.signal(signal.SIGTERM)
    if s.wait_exit() not in (0, 1):
        raise Failed("ended with %r" % s.status)
    no_sanitizer_report(s.log())


# -- addresses

def echoes(c):
    c.text("x")
    c.expect(TEXT, "x")
    c.send_frame(CLOSE, close_payload(1000))
    c.expect_close(1000)
    c.close()


@suite.case("listen.several", "several listeners in one app, each with routes of its own")
def _():
    with Server(lua=LISTEN + '''
for i = 1, 3 do
  websocket.listener("127.0.0.1:0"):attach("/only" .. i, { onMessage = function() return "from " .. i end })
end
assert(listener.port > 0 and listener.address == "127.0.0.1:" .. listener.port)
''', args=()) as s:
        if len(set(s.ports)) != 4:
            raise Failed("%r" % s.ports)
        echoes(Raw(s.ports[0], "/echo"))
        for i in (1, 2, 3):
            with Raw(s.ports[i], "/only%d" % i) as c:
                c.text("?")
                c.expect(TEXT, "from %d" % i)
            with Raw(s.ports[i]) as c:
                if c.handshake("/echo").status != 404:
                    raise Failed("route of another listener")


@suite.case("listen.unix", "a unix: listener")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s.sock")
        with Server(lua=WEBSOCKET + '''
local listener = websocket.listener "unix:%s"
listener:attach("/echo", { onMessage = function(_, caller, data)
  return data == "who" and tostring(caller:request().remoteAddress) or data
end })
''' % path, args=()) as s:
            if s.sockets != [path]:
                raise Failed("%r" % s.sockets)
            echoes(Raw(path, "/echo"))
            with Raw(path, "/echo") as c:
                c.text("who")
                c.recv_message()
        if os.path.exists(path):
            raise Failed("the socket's file is left behind")


@suite.case("listen.v6", "[::1]")
def _():
    with Server(lua=WEBSOCKET + '''
websocket.listener("[::1]:0"):attach("/echo", { onMessage = function(_, caller, data)
  return data == "who" and caller:remoteAddress() or data
end })''', args=()) as s:
        echoes(Raw(s.port, "/echo", host="::1"))
        with Raw(s.port, "/echo", host="::1") as c:
            c.text("who")
            c.expect(TEXT, "::1")


@suite.case("listen.localhost", "a host name")
def _():
    with Server(lua=WEBSOCKET + '''
websocket.listener("localhost:0"):attach("/echo", { onMessage = function(_, _, d) return d end })''',
                args=()) as s:
        echoes(Raw(s.port, "/echo"))


@suite.case("listen.yield", "the top level may wait; connections come in when it has loaded")
def _():
    with Server(lua=LISTEN + '''require("neap.task").sleep(0.1)
listener:attach("/late", { onOpen = function() end })''', args=()) as s:
        with Raw(s.port, "/late"):
            pass


@suite.case("listen.stop-last", "an app whose last listener has been stopped ends with 0")
def _():
    s = Server(lua=LISTEN + '''listener:attach("/stop", { onMessage = function()
  listener:gracefulStop()
end })''', args=())
    with Raw(s.port, "/stop") as c:
        c.text("x")
        c.expect_close(1001, reply=True)
    if s.wait_exit() != 0:
        raise Failed("ended with %d\n%s" % (s.status, s.log()))
    no_sanitizer_report(s.log())


# -- stopping

WAITING = LISTEN + '''
local task = require "neap.task"
listener:attach("/wait", {
  onMessage = function(_, caller, data)
    if data == "forever" then
      task.channel():receive()
    end
    task.sleep(tonumber(data))
    print "handler went on"
  end,
  onClose = function(_, _, code)
    task.sleep(0.05)
    print("closed " .. code)
  end,
})
listener:attach("/selfstop", { onMessage = function()
  listener:gracefulStop(60)
  print "stopped"
end })'''


def stopping(ident, what, text, wanted, drain="5", path="/wait", within=None):
    def run():
        s = Server(lua=WAITING, args=(), options=("--workers", "1", "--drain", drain))
        with Raw(s.port, path) as c:
            if text:
                c.text(text)
                c.send_frame(PING, "here")
                c.expect(PONG, "here")
            began = time.monotonic()
            s.signal(signal.SIGTERM)
            c.expect_close(1001, "server shutting down", reply=True)
            status = s.wait_exit()
            took = time.monotonic() - began
        no_sanitizer_report(s.log())
        if status != 0 or s.stdout() != wanted:
            raise Failed("ended with %d: %r\n%s" % (status, s.stdout(), s.log()))
        if within and took > within:
            raise Failed("it took %.1f s" % took)
    suite.add("stop." + ident, what, run, background=True)


stopping("idle", "onClose runs to its end before the exit", None, "closed 1001")
stopping("handler", "the drain waits for handlers", "0.5", "handler went on\nclosed 1001")
stopping("forever", "... but no longer than --drain", "forever", "", drain="0.5", within=SECONDS * 2)


@suite.case("stop.selfstop", "SIGTERM while a handler waits in gracefulStop of its own listener",
            background=True)
def _():
    s = Server(lua=WAITING, args=(), options=("--workers", "1", "--drain", "5"))
    with Raw(s.port, "/selfstop") as c:
        c.text("x")
        c.expect_close(1001, eof=False)
        s.signal(signal.SIGTERM)
        s.wait_log("stopping|shutting|drain")
        c.send_frame(CLOSE, close_payload(1001))
        c.expect_eof()
    if s.wait_exit() != 0 or s.stdout() != "stopped":
        raise Failed("ended with %d: %r" % (s.status, s.stdout()))
    no_sanitizer_report(s.log())


if __name__ == "__main__":
    suite.main()
